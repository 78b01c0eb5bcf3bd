"""
A warehouse in a Postgres database: readers and writers do not wait for each other, so nothing is published.

In:     dlt's configuration, section `destination.postgres`.
Out:    the engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import unquote

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.model.tables import TABLES
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA, refuse_foreign_tables
from klaviyo_jobs.warehouse.engines.engine import Engine
from klaviyo_jobs.warehouse.engines.postgres import PostgresConnection, postgres_errors
from klaviyo_jobs.warehouse.engines.postgres_load import PostgresDestination
from klaviyo_jobs.warehouse.engines.postgres_locks import PostgresLocks, changing_tables

if TYPE_CHECKING:
    from dlt.common.destination import Destination
    from dlt.destinations.impl.postgres.configuration import PostgresCredentials

_READ_ITSELF: Final = "readers open the warehouse itself: in Postgres they never stand in the way of a run."


class Postgres(Engine):
    """
    The database that *credentials* name.

    Args:
        credentials: dlt's, resolved.
        wait_seconds: How long to wait for others who hold what is to be changed, such as a view that is read.
    """

    name = "postgres"
    dialect: ClassVar = "postgres"
    lacks: ClassVar = {
        "publish": _READ_ITSELF,
        "bi_copy": _READ_ITSELF,
        "restore": "restore it as you restore any database: from its backup (pg_dump, or a snapshot of the server).",
    }

    def __init__(self, credentials: PostgresCredentials, wait_seconds: float = 10.0) -> None:
        self._credentials = credentials
        self._wait_seconds = wait_seconds

    @property
    def place(self) -> str:
        named = self._credentials
        return f"the Postgres database {named.database} at {unquote(named.host or '')}:{named.port}"

    @property
    def is_shared(self) -> bool:
        return True

    def check_place(self) -> None:
        with self._connected() as connection:
            refuse_foreign_tables(connection, self.place)

    def exists(self) -> bool:
        with self._connected(read_only=True) as connection:
            return connection.has_table("jobs")

    @contextmanager
    def open(
        self, *, must_exist: bool = False, read_only: bool = False, wait_seconds: float = 0.0
    ) -> Iterator[PostgresConnection]:
        with self._connected(read_only=read_only) as connection:
            with self.errors():
                if must_exist and not connection.has_table("jobs"):
                    raise WarehouseError(
                        f"{self.place} holds no warehouse yet.",
                        data="nothing was read or written.",
                        next_step="make one with `klaviyo-jobs run`, or name another database.",
                    )
                refuse_foreign_tables(connection, self.place)
            yield connection

    @contextmanager
    def changing_tables(self) -> Iterator[None]:
        with self._connected() as connection, changing_tables(connection):
            yield

    @contextmanager
    def lock_place(self) -> Iterator[PostgresLocks]:
        with self._connected() as connection:
            yield PostgresLocks(connection, RAW_SCHEMA)

    def destination(self, *, read_only: bool = False) -> AbstractContextManager[Destination[Any, Any]]:
        return nullcontext(PostgresDestination(self._credentials))

    def errors(self) -> AbstractContextManager[None]:
        return postgres_errors(self.place)

    def tend(self, connection: Any) -> None:
        """Have an index on the key of every table: or each run reads all children that are kept."""
        tables = connection.table_comments()
        found = connection.ask("select indexname from pg_indexes where schemaname = %s", RAW_SCHEMA).fetchall()
        for name, table in TABLES.items():
            index = f"{name}_by_key"
            if name in tables and (index,) not in found:
                connection.run_own(
                    f"create index if not exists {index} on {RAW_SCHEMA}.{name} ({', '.join(table.replaced_by)})"
                )

    @contextmanager
    def _connected(self, *, read_only: bool = False) -> Iterator[PostgresConnection]:
        with self.errors():
            connection = PostgresConnection(
                self._credentials.to_native_representation(), read_only=read_only, wait_seconds=self._wait_seconds
            )
        with connection:
            yield connection
