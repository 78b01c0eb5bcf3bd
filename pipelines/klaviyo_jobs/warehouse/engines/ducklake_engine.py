"""
A warehouse in a DuckLake: readers see whole snapshots, and never stand in the way of a run.

In:     dlt's configuration, section `destination.ducklake`.
Out:    the engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.memory import DEFAULT_MEMORY, MemoryBounds
from klaviyo_jobs.warehouse.engines.connection import Connection, refuse_foreign_tables
from klaviyo_jobs.warehouse.engines.duckdb import Role, bounds_of, check_place, warehouse_errors
from klaviyo_jobs.warehouse.engines.ducklake import POSTGRES, DuckLakeConnection, LakeDatabase, extensions_for
from klaviyo_jobs.warehouse.engines.ducklake_load import DuckLakeDestination
from klaviyo_jobs.warehouse.engines.engine import Engine

if TYPE_CHECKING:
    from dlt.destinations.impl.ducklake.configuration import DuckLakeCredentials

    from klaviyo_jobs.warehouse.engines.postgres import PostgresConnection
    from klaviyo_jobs.warehouse.engines.postgres_locks import PostgresLocks


_READ_ITSELF = "readers attach the lake itself: they see whole snapshots, and never stand in the way of a run."
# How many files of rows a table may have before they are put together: each costs every query a little.
_MANY_FILES = 100


class DuckLake(Engine):
    """
    The lake that *credentials* name.

    Args:
        credentials: dlt's, resolved.
        memory: What DuckDB may take.
        may_download: Whether DuckDB may fetch extensions that are not there.
        wait_seconds: How long to wait for others who change tables.
    """

    name = "ducklake"
    dialect: ClassVar = "duckdb"
    lacks: ClassVar = {
        "publish": _READ_ITSELF,
        "bi_copy": _READ_ITSELF,
        "restore": "an earlier snapshot is still there: attach the lake with SNAPSHOT_TIME, and copy what you miss.",
    }

    def __init__(
        self,
        credentials: DuckLakeCredentials,
        memory: MemoryBounds = DEFAULT_MEMORY,
        *,
        may_download: bool = False,
        wait_seconds: float = 10.0,
    ) -> None:
        self._credentials = credentials
        self._wait_seconds = wait_seconds
        self._has_server = credentials.catalog.drivername in POSTGRES
        self._extensions = extensions_for(credentials, may_download=may_download)
        # Rows of a table have no order. Nothing is fetched behind the back of `may_download`.
        self._settings = {
            **bounds_of(memory),
            "preserve_insertion_order": "false",
            "autoinstall_known_extensions": "false",
        }
        self._kept: LakeDatabase | None = None

    @property
    def place(self) -> str:
        catalog = self._credentials.catalog
        where = (
            f"{unquote(catalog.host or '')}:{catalog.port}/{catalog.database}" if self._has_server else catalog.database
        )
        return f"the lake {self._credentials.ducklake_name} of {where}"

    @property
    def _role(self) -> Role:
        return Role("lake", "nothing was read or written.", "see what `destination.ducklake` names", False)

    @property
    def is_shared(self) -> bool:
        return self._has_server

    def check_place(self) -> None:
        if self._is_there():
            with self.errors(), self._connected(read_only=True) as connection:
                refuse_foreign_tables(connection, self.place)
        elif not self._has_server:
            check_place(self._file)

    def exists(self) -> bool:
        if not self._is_there():
            return False
        with self.errors(), self._connected(read_only=True) as connection:
            return connection.has_table("jobs")

    def _is_there(self) -> bool:
        """Tell whether there is a catalog: to attach a lake for writing makes one."""
        if not self._has_server:
            return self._file.exists()
        with self.errors(), self._catalog() as connection:
            return connection.ask("select to_regclass(%s)", f"{self._schema}.ducklake_metadata").fetchone() != (None,)

    @property
    def _file(self) -> Path:
        """The file of a catalog that no server keeps."""
        return Path(str(self._credentials.catalog.database))

    @property
    def _schema(self) -> str:
        """Where a server keeps the catalog."""
        return str(self._credentials.metadata_schema or self._credentials.ducklake_name)

    @contextmanager
    def open(
        self, *, must_exist: bool = False, read_only: bool = False, wait_seconds: float = 0.0
    ) -> Iterator[DuckLakeConnection]:
        with ExitStack() as stack:
            with self.errors():
                if must_exist and not self.exists():
                    raise WarehouseError(
                        f"{self.place} holds no warehouse yet.",
                        data="nothing was read or written.",
                        next_step="make one with `klaviyo-jobs run`, or name another lake.",
                    )
                connection = stack.enter_context(self._connected(read_only=read_only))
                refuse_foreign_tables(connection, self.place)
            yield connection

    @contextmanager
    def changing_tables(self) -> Iterator[None]:
        if not self._has_server:
            yield
            return
        from klaviyo_jobs.warehouse.engines.postgres_locks import changing_tables

        with self._catalog() as connection, changing_tables(connection):
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Accounts share files, and of two transactions that delete from one file the second fails."""
        if not self._has_server:
            yield
            return
        from klaviyo_jobs.warehouse.engines.postgres_locks import writing_rows

        with self._catalog() as connection, writing_rows(connection):
            yield

    def lock_place(self) -> Path | AbstractContextManager[PostgresLocks]:
        return self._locks() if self._has_server else self._file

    @contextmanager
    def _locks(self) -> Iterator[PostgresLocks]:
        from klaviyo_jobs.warehouse.engines.postgres_locks import PostgresLocks

        with self._catalog() as connection:
            yield PostgresLocks(connection, f"{self._schema}_runs")

    @contextmanager
    def kept(self, wait_seconds: float) -> Iterator[LakeDatabase]:
        """Keep the lake attached inside the block."""
        if self._kept is not None:
            yield self._kept
            return
        with self.errors():
            database = self._database()
        with database:
            self._kept = database
            try:
                yield database
            finally:
                self._kept = None

    @contextmanager
    def destination(self, *, read_only: bool = False) -> Iterator[DuckLakeDestination]:
        with self.kept(0) as database:
            yield DuckLakeDestination(database, self._credentials)

    @contextmanager
    def errors(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self._has_server:
                from klaviyo_jobs.warehouse.engines.postgres import postgres_errors

                stack.enter_context(
                    postgres_errors(f"the catalog of {self.place}", "destination.ducklake.credentials.catalog")
                )
            stack.enter_context(warehouse_errors(self.place.removeprefix("the lake "), self._role))
            yield

    def tend(self, connection: Connection) -> None:
        """Put small files together when there are many."""
        lake = self._credentials.ducklake_name
        [(most,)] = connection.execute(
            f"select coalesce(max(file_count), 0) from ducklake_table_info('{lake}')"
        ).fetchall()
        if most > _MANY_FILES:
            connection.run_own(f"call ducklake_merge_adjacent_files('{lake}')")

    @contextmanager
    def _catalog(self) -> Iterator[PostgresConnection]:
        from klaviyo_jobs.warehouse.engines.postgres import PostgresConnection

        url = self._credentials.catalog.to_native_representation()
        with self.errors():
            connection = PostgresConnection(url, wait_seconds=self._wait_seconds)
        with connection:
            yield connection

    @contextmanager
    def _connected(self, *, read_only: bool = False) -> Iterator[DuckLakeConnection]:
        opened = self._database(read_only=read_only) if self._kept is None else nullcontext(self._kept)
        with opened as database, DuckLakeConnection(database.connect()) as connection:
            yield connection

    def _database(self, *, read_only: bool = False) -> LakeDatabase:
        # To attach a lake that is not there makes it, which two cannot do at once.
        with nullcontext() if read_only or self._is_there() else self.changing_tables():
            return LakeDatabase(self._credentials, self._settings, self._extensions, read_only=read_only)
