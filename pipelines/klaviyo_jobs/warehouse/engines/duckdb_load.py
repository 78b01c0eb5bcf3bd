"""
How dlt loads into the DuckDB file: rows go from the package's Parquet files into their tables, and nowhere in between.

In:     the path of a DuckDB file.
Out:    dlt's destination for it.
Why:    dlt copies each file into a table of a second schema and merges from there, so that every row is compressed and
        written twice; of a first load that is a fifth. DuckDB reads the files as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final

import dlt
import pyarrow.parquet as pq
from dlt.common.destination import Destination, PreparedTableSchema
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.sql_client import SqlClientBase
from dlt.destinations.sql_jobs import SqlFollowupJob

from klaviyo_jobs.memory import DEFAULT_MEMORY, MemoryBounds
from klaviyo_jobs.model.tables import JOB_LINKAGES, TOMBSTONE
from klaviyo_jobs.warehouse.engines.duckdb import bounds_of
from klaviyo_jobs.warehouse.engines.package_load import MergeByJob, MergesPackage, ReadsSettingsOnce

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


class MergeOfPackage(SqlFollowupJob):
    """The merges of all tables in one transaction."""

    files: Mapping[str, Sequence[str]] = MappingProxyType({})

    @classmethod
    def generate_sql(cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]) -> list[str]:
        """Return the statements of the merges of *table_chain*, which here are all tables of the package."""
        return [
            statement
            for table in table_chain
            for statement in _MergeOfFiles.of(cls.files[str(table["name"])]).generate_sql([table], sql_client)
        ]


class _MergeOfFiles(MergeByJob):
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
        *others: Any,
        **more: Any,
    ) -> list[str]:
        """
        Look between the first id of a job and the last only.

        Ids of jobs follow the time, so that of years of rows those of a week are looked at.
        """
        clauses = super().gen_key_table_clauses(
            root_table_name, staging_root_table_name, primary_keys, merge_keys, *others, **more
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


class _Client(MergesPackage, DuckDbClient):
    """dlt's client, which merges a package as ours."""

    merge_job: ClassVar = MergeOfPackage


class _Destination(ReadsSettingsOnce, dlt.destinations.duckdb):
    """DuckDB as dlt knows it."""

    @property
    def client_class(self) -> type[DuckDbClient]:
        """What makes the jobs of a load."""
        return _Client
