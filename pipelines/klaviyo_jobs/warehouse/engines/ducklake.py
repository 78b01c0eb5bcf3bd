"""
A DuckLake: Parquet files that DuckDB reads and writes, and a catalog of them in Postgres or in a file.

In:     dlt's credentials for it.
Out:    connections in which the lake is attached.
Rules:  extensions of DuckDB come from packages or from where the user has installed them; they are fetched only if the
        setting `download_extensions` says so. The password of a catalog is in no statement, which errors would quote.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import duckdb
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.destinations.impl.ducklake.sql_client import DuckLakeSqlClient

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.warehouse.engines.connection import quoted
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection, Native

if TYPE_CHECKING:
    from dlt.destinations.impl.ducklake.configuration import DuckLakeCredentials

# The drivers of catalogs that a server keeps.
POSTGRES: Final = ("postgres", "postgresql")
_CATALOG: Final = "klaviyo_jobs_catalog"
# By the driver of a catalog, or the protocol of a storage: the extension that it takes, and the package that brings it.
_EXTENSIONS: Final = {
    "postgres": ("postgres_scanner", "duckdb_extension_postgres_scanner"),
    "postgresql": ("postgres_scanner", "duckdb_extension_postgres_scanner"),
    "sqlite": ("sqlite_scanner", "duckdb_extension_sqlite_scanner"),
    "s3": ("httpfs", "duckdb_extension_httpfs"),
    "gs": ("httpfs", "duckdb_extension_httpfs"),
    "gcs": ("httpfs", "duckdb_extension_httpfs"),
    "az": ("azure", "duckdb_extension_azure"),
    "abfss": ("azure", "duckdb_extension_azure"),
}
_DUCKLAKE: Final = ("ducklake", "duckdb_extension_ducklake")


class DuckLakeConnection(DuckDBConnection):
    """A connection to DuckDB in which a lake is attached and in use."""

    has_comments_on_view_columns: ClassVar = False
    has_other_files: ClassVar = True


class LakeDatabase:
    """
    A database in memory in which a lake is attached, for any number of connections.

    To load the extensions and to attach takes a tenth of a second, and a run has thirty connections.

    Args:
        credentials: dlt's, resolved.
        settings: DuckDB's settings, by name.
        extensions: What it is told to load: names, or paths in quotes.
        read_only: Attach the lake for reading only.
    """

    def __init__(
        self,
        credentials: DuckLakeCredentials,
        settings: Mapping[str, str],
        extensions: Sequence[str],
        *,
        read_only: bool = False,
    ) -> None:
        self._lake = credentials.ducklake_name
        self._native = duckdb.connect(":memory:")
        try:
            for name, value in settings.items():
                self._native.execute(f"set global {name} = ?", [value])
            for extension in extensions:
                self._native.execute(f"load {extension}")
            if not credentials.storage.is_local_filesystem:
                storing = LakeClient(self, credentials)
                storing.open_connection()
                storing.create_secret(credentials.storage.bucket_url, credentials.storage.credentials)
                storing.close_connection()
            for statement in _attachment(credentials, read_only=read_only):
                self._native.execute(statement)
        except BaseException:
            self._native.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Detached first, or the catalog may be left in the middle of something.
        with suppress(duckdb.Error):
            self._native.execute(f"use memory; detach {self._lake}")
        self._native.close()

    def connect(self) -> Native:
        """Return a connection of its own, in which the lake is in use."""
        connection = self._native.cursor()
        with suppress(duckdb.CatalogException):  # before it is attached
            connection.execute(f"use {self._lake}")
        return connection


class LakeClient(DuckLakeSqlClient):
    """dlt's client of a lake, whose connections are those of one database."""

    def __init__(self, database: LakeDatabase, credentials: DuckLakeCredentials, *names: Any) -> None:
        super().__init__(*(names or ("", "", credentials, DestinationCapabilitiesContext.generic_capabilities())))
        self._database = database
        self.credentials = credentials

    def open_connection(self) -> Native:
        """Connect to the database; a dataset that is there is looked into for names without one."""
        self._conn = self._database.connect()
        with suppress(duckdb.CatalogException):
            self._conn.execute(f"set search_path = '{self.fully_qualified_dataset_name()}'")
        return self._conn

    def close_connection(self) -> None:
        """Undo what was not committed, and close this connection; the lake stays attached for others."""
        connection, self._conn = self._conn, None  # type: ignore[assignment]  # as dlt has it
        if connection is not None:
            with suppress(duckdb.TransactionException):
                connection.execute("rollback")
            connection.close()


def _attachment(credentials: DuckLakeCredentials, *, read_only: bool) -> Iterator[str]:
    """Yield the statements that attach a lake; the password of its catalog is in a secret that the extension reads."""
    catalog = credentials.catalog
    options = f"data_path {quoted(credentials.storage_url)}"
    if catalog.drivername in POSTGRES:
        from psycopg2.extensions import make_dsn, parse_dsn

        parts = parse_dsn(catalog.to_native_representation())
        if password := parts.pop("password", None):
            yield f"create or replace secret {_CATALOG} (type postgres, password {quoted(password)})"
            options += f", meta_secret '{_CATALOG}'"
        place = f"ducklake:postgres:{make_dsn(**parts)}"
        options += f", metadata_schema {quoted(credentials.metadata_schema or credentials.ducklake_name)}"
    else:
        place = f"ducklake:{catalog.database}"
        if catalog.drivername == "sqlite":
            # As dlt does it, so that several processes may read and write.
            options += ", meta_type 'sqlite', meta_journal_mode 'WAL', meta_busy_timeout 1000"
    yield f"attach {quoted(place)} as {credentials.ducklake_name} ({options}{', read_only' if read_only else ''})"


def extensions_for(credentials: DuckLakeCredentials, *, may_download: bool) -> list[str]:
    """
    Return what DuckDB is told to load for a lake: names, or the paths of files that packages have brought.

    Raises:
        WarehouseError: One is nowhere, and must not be fetched.
    """
    needed = [_DUCKLAKE]
    for name in (credentials.catalog.drivername, credentials.storage.protocol):
        if name in _EXTENSIONS and _EXTENSIONS[name] not in needed:
            needed.append(_EXTENSIONS[name])
    found = []
    with duckdb.connect(":memory:") as connection:
        for name, package in needed:
            with suppress(ImportError):
                file = Path(str(files(importlib.import_module(package))))
                file = file / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
                if file.exists():
                    found.append(quoted(str(file)))
                    continue
            [(is_installed,)] = connection.execute(
                "select coalesce(bool_or(installed), false) from duckdb_extensions() "
                "where extension_name = ? or list_contains(aliases, ?)",
                (name, name),
            ).fetchall()
            if not is_installed:
                if not may_download:
                    raise WarehouseError(
                        f"the extension {name} of DuckDB {duckdb.__version__} is neither installed nor in a package.",
                        data="nothing was read or written.",
                        next_step='python -m pip install "klaviyo-jobs[ducklake]", or let DuckDB fetch it: '
                        "set download_extensions = true.",
                    )
                connection.execute(f"install {name}")
            found.append(name)
    return found
