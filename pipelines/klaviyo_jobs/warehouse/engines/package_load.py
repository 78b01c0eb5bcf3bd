"""
How dlt loads a package of ours, whatever the engine: its files stay where they are until all are there, and the merges
of all tables are one transaction.

In:     a package of Parquet files.
Out:    parts of a destination, and of its client, that an engine's own are made of.
Why:    dlt merges each table in a transaction of its own: of a job that leaves the API between a kill and the next run,
        some tables would tell, and others never. It first copies each file into a table of a second schema, which runs
        that work side by side would share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from dlt.common.destination import PreparedTableSchema
from dlt.common.destination.client import FollowupJobRequest, HasFollowupJobs, LoadJob, RunnableLoadJob
from dlt.common.storages.load_package import LoadJobInfo, ParsedLoadJobFileName
from dlt.destinations.sql_jobs import SqlFollowupJob, SqlMergeFollowupJob

# The names of a package's files of rows.
_FILES: Final = "*.parquet"


class ReadsSettingsOnce:
    """
    A destination as dlt knows it, which reads dlt's settings once and keeps one pool of connections.

    A load asks for its configuration thirty times; each time dlt looks into every place of its settings and begins a
    pool of its own, which opens the file again: a fifth of a quiet run.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._resolved: dict[tuple[str | None, bool], Any] = {}

    def configuration(self, initial_config: Any, accept_partial: bool = False) -> Any:
        """Return what was resolved for the same dataset, or partly for none, before; the first time resolve it."""
        asked = (initial_config.dataset_name if initial_config else None, accept_partial)
        if asked not in self._resolved:
            self._resolved[asked] = super().configuration(initial_config, accept_partial)  # type: ignore[misc]
        return self._resolved[asked]


class MergesPackage:
    """A client for which a file is loaded by the merge that follows when the files of all tables are there."""

    # What the merge is: it finds the files by `files_of`, beside its own.
    merge_job: ClassVar[type[SqlFollowupJob]]
    # Of dlt's client.
    sql_client: Any
    prepare_load_table: Any

    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:
        """No table has one in another schema."""
        return False

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        """Leave a Parquet file where it is; what else there is, such as the merge itself, is run."""
        if table["write_disposition"] == "merge" and Path(file_path).match(_FILES):
            return _File(file_path)
        job: LoadJob = super().create_load_job(table, file_path, load_id, restore)  # type: ignore[misc]
        return job

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[PreparedTableSchema],
        completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None,
    ) -> list[FollowupJobRequest]:
        """Merge the files of all tables at once, when those of the last table are there; dlt keeps them until then."""
        if table_chain[0]["write_disposition"] != "merge":
            jobs: list[FollowupJobRequest] = super().create_table_chain_completed_followup_jobs(  # type: ignore[misc]
                table_chain, completed_table_chain_jobs
            )
            return jobs
        of_table = [Path(job.file_path) for job in completed_table_chain_jobs or ()]
        package = of_table[0].parent.parent
        open_names = {path.name for state in ("new_jobs", "started_jobs") for path in (package / state).glob(_FILES)}
        if open_names - {path.name for path in of_table}:
            return []
        files = files_of(package, of_table)
        tables = [self.prepare_load_table(name) for name in files]
        return [self.merge_of(files).from_table_chain(tables, self.sql_client)]

    def merge_of(self, files: dict[str, list[str]]) -> type[SqlFollowupJob]:
        """Return the merge of *files*, by table: dlt makes its SQL in a method of the class."""
        return type(self.merge_job.__name__, (self.merge_job,), {"files": files})


def files_of(package: Path, last: Sequence[Path] = ()) -> dict[str, list[str]]:
    """Return the files of rows that dlt is done with, by table; the *last* are named where they are to be."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted({*(package / "completed_jobs").glob(_FILES), *last}):
        files[ParsedLoadJobFileName.parse(path.name).table_name].append(str(path))
    return dict(files)


class MergeByJob(SqlMergeFollowupJob):
    """dlt's merge, which looks for each job once, and not once for each of its children."""

    @classmethod
    def gen_key_table_clauses(
        cls,
        root_table_name: str,
        staging_root_table_name: str,
        primary_keys: Sequence[str],
        merge_keys: Sequence[str],
        *others: Any,
        **more: Any,
    ) -> list[str]:
        """Return dlt's conditions, on distinct keys; its versions differ in what else they hand over."""
        if merge_keys:
            staging_root_table_name = f"(SELECT DISTINCT {', '.join(merge_keys)} FROM {staging_root_table_name})"
        clauses: list[str] = super().gen_key_table_clauses(
            root_table_name, staging_root_table_name, primary_keys, merge_keys, *others, **more
        )
        return clauses


class _File(RunnableLoadJob, HasFollowupJobs):
    """
    The job of a file that is left where it is.

    It runs, although there is nothing to do: dlt looks a second later for what was done without having been run.
    """

    def run(self) -> None:
        """Do nothing."""
