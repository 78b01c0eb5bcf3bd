"""
How dlt loads into Postgres: files go into temporary tables of the transaction that merges them, by COPY.

In:     dlt's credentials.
Out:    dlt's destination.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.destination import PreparedTableSchema
from dlt.common.destination.client import LoadJob, RunnableLoadJob
from dlt.destinations.impl.postgres.postgres import PostgresClient
from dlt.destinations.sql_client import SqlClientBase
from dlt.destinations.sql_jobs import SqlFollowupJob

from klaviyo_jobs.warehouse.engines.package_load import MergeByJob, MergesPackage, ReadsSettingsOnce, files_of
from klaviyo_jobs.warehouse.engines.postgres import copy_rows

_COMING: Final = "coming_"
_ROWS_AT_ONCE: Final = 50_000


class _MergeOfPackage(SqlFollowupJob):
    """What asks for the merge: it names the tables, and the job that it becomes does the rest."""

    @classmethod
    def generate_sql(cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]) -> list[str]:
        """Return the names of the tables, in a comment."""
        return [f"-- {table['name']}" for table in table_chain]


class _Merge(RunnableLoadJob):
    """The merge of a package: all of it is there afterwards, or nothing."""

    def run(self) -> None:
        """Copy the files of each table into a temporary one, and merge from there; in one transaction."""
        files = files_of(Path(self._file_path).parent.parent)
        client: Any = self._job_client
        with client.sql_client.begin_transaction():
            for name, of_table in files.items():
                table = client.prepare_load_table(name)
                stored = client.sql_client.make_qualified_table_name(name)
                coming = f'"{_COMING}{name}"'
                client.sql_client.execute_sql(f"create temporary table {coming} (like {stored}) on commit drop")
                with client.sql_client.native_connection.cursor() as cursor:
                    for file in of_table:
                        columns = [f'"{column}"' for column in pq.read_schema(file).names]
                        copy_rows(cursor, coming, _batches_of(file), columns)
                # Or the planner believes that there is nothing in it, and reads all that is kept.
                client.sql_client.execute_sql(f"analyze {coming}")
                for statement in _MergeFromTemporary.generate_sql([table], client.sql_client):
                    client.sql_client.execute_sql(statement)


def _batches_of(file: str) -> Iterator[pa.RecordBatch]:
    with contextlib.closing(pq.ParquetFile(file)) as opened:
        yield from opened.iter_batches(_ROWS_AT_ONCE)


class _MergeFromTemporary(MergeByJob):
    """dlt's merge, which reads a temporary table where dlt would read one of a second schema."""

    @classmethod
    def generate_sql(cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]) -> list[str]:
        """Return the statements of the merge."""
        name = str(table_chain[0]["name"])
        _, staging = sql_client.get_qualified_table_names(name)
        statements: list[str] = super().generate_sql(table_chain, sql_client)
        return [statement.replace(staging, f'"{_COMING}{name}"') for statement in statements]


class _Client(MergesPackage, PostgresClient):
    """dlt's client, which merges a package as ours."""

    merge_job: ClassVar = _MergeOfPackage

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        """Merge where dlt would run a file of SQL: there is no other."""
        if Path(file_path).suffix == ".sql":
            return _Merge(file_path)
        return super().create_load_job(table, file_path, load_id, restore)


class PostgresDestination(ReadsSettingsOnce, dlt.destinations.postgres):
    """Postgres as dlt knows it, which takes Parquet files without a driver of their own."""

    @property
    def client_class(self) -> type[PostgresClient]:
        """What makes the jobs of a load."""
        return _Client

    def _raw_capabilities(self) -> Any:
        capabilities: Any = super()._raw_capabilities()
        capabilities.preferred_loader_file_format = "parquet"
        capabilities.loader_file_format_selector = None
        return capabilities
