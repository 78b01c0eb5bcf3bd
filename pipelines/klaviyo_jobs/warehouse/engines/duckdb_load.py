"""
How dlt loads into the DuckDB file: rows go from the package's Parquet files into their tables, and nowhere in between.

In:     the path of a DuckDB file.
Out:    dlt's destination for it.
Why:    dlt copies each file into a table of a second schema and merges from there, so that every row is compressed and
        written twice; of a first load that is a fifth. DuckDB reads the files as they are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import dlt
import pyarrow.parquet as pq
from dlt.common.destination import Destination, PreparedTableSchema
from dlt.common.destination.client import FollowupJobRequest, HasFollowupJobs, LoadJob, RunnableLoadJob
from dlt.common.storages.load_package import LoadJobInfo, ParsedLoadJobFileName
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration, DuckDbCredentials
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.sql_client import SqlClientBase
from dlt.destinations.sql_jobs import SqlFollowupJob, SqlMergeFollowupJob

from klaviyo_jobs.memory import DEFAULT_MEMORY, MemoryBounds
from klaviyo_jobs.model.tables import JOB_LINKAGES, TOMBSTONE
from klaviyo_jobs.warehouse.engines.duckdb import bounds_of

# The names of a package's files of rows.
_FILES: Final = "*.parquet"
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]+")

_LINKAGE_VALUES: Final = [
    name for name in JOB_LINKAGES.schema.names if name not in (*JOB_LINKAGES.replaced_by, TOMBSTONE)
]
_SAME: Final = "jobs_of_same_linkages"
# The jobs whose linkages are stored as they come. Their rows say of no run that it wrote them, so that to write them
# again is for nothing: a full refresh would double the file, where they are three quarters of it.
_NOTE_SAME: Final = """
    CREATE TEMPORARY TABLE {same} AS
    WITH
    stored AS (
        SELECT {keys}, count(*) AS row_count, sum(hash({values})) AS row_hash
        FROM {stored} WHERE ({keys}) IN (SELECT DISTINCT {keys} FROM {source}){between} GROUP BY {keys}
    ),
    coming AS (
        SELECT {keys}, count(*) AS row_count, sum(hash({values})) AS row_hash
        FROM {source} WHERE ({keys}) IN (SELECT {keys} FROM stored) GROUP BY {keys}
    )
    SELECT {keys} FROM stored INNER JOIN coming USING ({keys}, row_count, row_hash)
"""


def destination_of(
    path: Path, memory: MemoryBounds = DEFAULT_MEMORY, *, read_only: bool = False
) -> Destination[Any, Any]:
    """
    Return dlt's destination for the DuckDB file at *path*.

    Unless told so, dlt deletes and inserts in DuckDB one statement at a time, and a kill in between would lose the
    children of jobs that are known and so not read again.
    """
    credentials = DuckDbCredentials(str(path))
    credentials.read_only = read_only
    # Rows of a table have no order: to keep that of the files costs a fifth of the merge, and lets one thread work.
    credentials.global_config = {**bounds_of(memory), "preserve_insertion_order": "false"}
    return _Destination(credentials, destination_name="duckdb", supports_transactions=True)


class _Destination(dlt.destinations.duckdb):
    """
    DuckDB as dlt knows it, which reads dlt's settings once and keeps one pool of connections.

    A load asks for its configuration thirty times; each time dlt looks into every place of its settings and begins a
    pool of its own, which opens the file again: a fifth of a quiet run.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._resolved: dict[tuple[str | None, bool], DuckDbClientConfiguration] = {}

    @property
    def client_class(self) -> type[DuckDbClient]:
        """What makes the jobs of a load."""
        return _Client

    def configuration(
        self, initial_config: DuckDbClientConfiguration, accept_partial: bool = False
    ) -> DuckDbClientConfiguration:
        """Return what was resolved for the same dataset, or partly for none, before; the first time resolve it."""
        asked = (initial_config.dataset_name if initial_config else None, accept_partial)
        if asked not in self._resolved:
            self._resolved[asked] = super().configuration(initial_config, accept_partial)
        return self._resolved[asked]


class _Client(DuckDbClient):
    """A client for which a file is loaded by the merge that follows when the files of all tables are there."""

    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:
        """No table has one in another schema."""
        return False

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        """Leave a Parquet file where it is; what else there is, such as the merge itself, is run."""
        if table["write_disposition"] == "merge" and Path(file_path).match(_FILES):
            return _File(file_path)
        return super().create_load_job(table, file_path, load_id, restore)

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[PreparedTableSchema],
        completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None,
    ) -> list[FollowupJobRequest]:
        """Merge the files of all tables at once, when those of the last table are there; dlt keeps them until then."""
        if table_chain[0]["write_disposition"] != "merge":
            return super().create_table_chain_completed_followup_jobs(table_chain, completed_table_chain_jobs)
        of_table = [Path(job.file_path) for job in completed_table_chain_jobs or ()]
        package = of_table[0].parent.parent
        open_names = {path.name for state in ("new_jobs", "started_jobs") for path in (package / state).glob(_FILES)}
        if open_names - {path.name for path in of_table}:
            return []
        files: defaultdict[str, list[str]] = defaultdict(list)
        for path in sorted({*(package / "completed_jobs").glob(_FILES), *of_table}):
            files[ParsedLoadJobFileName.parse(path.name).table_name].append(str(path))
        tables = [self.prepare_load_table(name) for name in files]
        return [_MergeOfPackage.of(files).from_table_chain(tables, self.sql_client)]


class _File(RunnableLoadJob, HasFollowupJobs):
    """
    The job of a file that is left where it is.

    It runs, although there is nothing to do: dlt looks a second later for what was done without having been run.
    """

    def run(self) -> None:
        """Do nothing."""


class _MergeOfPackage(SqlFollowupJob):
    """
    The merges of all tables in one transaction.

    dlt merges each table in one of its own: of a job that leaves the API between a kill and the next run, some tables
    would tell, and others never.
    """

    files: Mapping[str, Sequence[str]] = MappingProxyType({})

    @classmethod
    def of(cls, files: Mapping[str, Sequence[str]]) -> type[_MergeOfPackage]:
        """Return the merge of these *files*, by table: dlt makes its SQL in a method of the class."""
        return type(cls.__name__, (cls,), {"files": files})

    @classmethod
    def generate_sql(cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]) -> list[str]:
        """Return the statements of the merges of *table_chain*, which here are all tables of the package."""
        return [
            statement
            for table in table_chain
            for statement in _MergeOfFiles.of(cls.files[str(table["name"])]).generate_sql([table], sql_client)
        ]


class _MergeOfFiles(SqlMergeFollowupJob):
    """dlt's merge, which reads Parquet files where dlt would read a table that it has copied them into."""

    files: Sequence[str] = ()

    @classmethod
    def of(cls, files: Sequence[str]) -> type[_MergeOfFiles]:
        """Return the merge of these *files*."""
        return type(cls.__name__, (cls,), {"files": files})

    @classmethod
    def gen_key_table_clauses(
        cls,
        root_table_name: str,
        staging_root_table_name: str,
        primary_keys: Sequence[str],
        merge_keys: Sequence[str],
        for_delete: bool,
        source_filter: str | None = None,
    ) -> list[str]:
        """
        Look for each job once, not once for each of its children, and only between the first id and the last.

        Ids of jobs follow the time, so that of years of rows those of a week are looked at.
        """
        if merge_keys:
            staging_root_table_name = f"(SELECT DISTINCT {', '.join(merge_keys)} FROM {staging_root_table_name})"
        clauses: list[str] = super().gen_key_table_clauses(
            root_table_name, staging_root_table_name, primary_keys, merge_keys, for_delete, source_filter
        )
        id_column = next((key for key in (*primary_keys, *merge_keys) if key.strip('"') == "job_id"), None)
        return [clause + _between_bounds(f"d.{id_column}", cls.files) for clause in clauses] if id_column else clauses

    @classmethod
    def generate_sql(cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]) -> list[str]:
        """Return the statements of the merge."""
        table = table_chain[0]
        stored, staging = sql_client.get_qualified_table_names(str(table["name"]))
        # dlt takes a semicolon, wherever it stands, for the end of a statement.
        quoted = ", ".join("'" + file.replace("'", "''").replace(";", "' || chr(59) || '") + "'" for file in cls.files)
        source = f"read_parquet([{quoted}])"
        statements: list[str] = super().generate_sql(table_chain, sql_client)
        if table["name"] == JOB_LINKAGES.name:
            keys = ", ".join(map(sql_client.escape_column_name, JOB_LINKAGES.replaced_by))
            values = ", ".join(map(sql_client.escape_column_name, _LINKAGE_VALUES))
            between = _between_bounds("job_id", cls.files)
            note_same = _NOTE_SAME.format(
                same=_SAME, keys=keys, values=values, stored=stored, source=source, between=between
            )
            statements.insert(0, note_same)
            statements.append(f"DROP TABLE {_SAME}")
            source = f"(SELECT * FROM {source} ANTI JOIN {_SAME} USING ({keys}))"
        return [statement.replace(staging, source) for statement in statements]


def _between_bounds(column: str, files: Sequence[str]) -> str:
    """Return the condition that *column* is between the ids of jobs in *files*; nothing if they do not tell."""
    bounds = _bounds_of("job_id", files)
    return f" AND {column} >= '{bounds[0]}' AND {column} <= '{bounds[1]}'" if bounds else ""


def _bounds_of(column: str, files: Sequence[str]) -> tuple[str, str] | None:
    """
    Return the least and the greatest id of *column* in Parquet *files*, as they note them.

    None if a file does not, or if one of the two is no plain word: what somebody else has chosen is never put into SQL.
    """
    lows: list[str] = []
    highs: list[str] = []
    for file in files:
        # The last to be completed moves to its place when the merge has been made.
        path = Path(file) if Path(file).exists() else Path(file).parent.parent / "started_jobs" / Path(file).name
        metadata = pq.read_metadata(path)
        index = metadata.schema.to_arrow_schema().get_field_index(column)
        for group in range(metadata.num_row_groups):
            noted: Any = metadata.row_group(group).column(index).statistics
            if noted is None or not noted.has_min_max:
                return None
            lows.append(noted.min)
            highs.append(noted.max)
    bounds = (min(lows), max(highs)) if lows else None
    return bounds if bounds and all(map(_PLAIN_ID.fullmatch, bounds)) else None
