"""
The DuckDB file: where it may be, how it is opened, and why it cannot be.

In:     a path.
Out:    an open connection; every reason why there can be none is a `WarehouseError` that says what to do.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import duckdb

from klaviyo_jobs.errors import WarehouseError, find_cause
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.memory import DEFAULT_MEMORY, MemoryBounds
from klaviyo_jobs.warehouse.engines.connection import (
    RAW_SCHEMA,
    VIEW_SCHEMA,
    Column,
    Connection,
    Derivation,
    MissingTableError,
    Values,
    refuse_foreign_tables,
)

if TYPE_CHECKING:
    import pyarrow as pa

Native = duckdb.DuckDBPyConnection
DatabaseError = duckdb.Error
OutOfMemoryError = duckdb.OutOfMemoryException

# How many rows are derived at once.
_ROWS_AT_ONCE: Final = 50_000
# The end of the comment of a table that a published copy has in the place of a view: nobody else's is ever dropped.
TABLE_OF_A_VIEW: Final = "A table of the rows that the view had when this copy was published."
# DuckDB's own words for a file that is empty, cut short or garbled, or none of its own.
_OF_DAMAGE: Final = (
    "not a valid DuckDB",
    "Could not read enough bytes",
    "Corrupt",
    "checksum",
    "Failed to deserialize",
)
# DuckDB's own words for a file that somebody else has open.
_HOLDER: Final = re.compile(r"lock is held in (\S+) \(PID (\d+)\)")


class Role(NamedTuple):
    """
    What a file is to us, in messages.

    Attributes:
        name: What it is called.
        untouched: What is true of the data when the file could not even be opened.
        elsewhere: How to name another.
        is_replaced: Whether another file is put in its place, so that its folder has to be writable, and not the file.
        missing: What to do where there is none.
    """

    name: str
    untouched: str
    elsewhere: str
    is_replaced: bool
    missing: str = "name another."


WAREHOUSE: Final = Role(
    "warehouse",
    "nothing was read or written.",
    "choose another path with --warehouse",
    False,
    "make one with `klaviyo-jobs run`, or name another with --warehouse.",
)
COPY: Final = Role(
    "copy",
    "nothing was copied; the copy before it, if there is one, is as it was.",
    "choose another path: `bi_copy`, or `klaviyo-jobs publish PATH`",
    True,
)


def open_warehouse(
    path: Path,
    memory: MemoryBounds = DEFAULT_MEMORY,
    *,
    must_exist: bool = False,
    read_only: bool = False,
    wait_seconds: float = 0.0,
) -> Native:
    """
    Open the DuckDB file, or say why that cannot be done.

    Args:
        path: The file; made if it is not there, unless it *must_exist*.
        memory: What the database may take.
        read_only: Open it for reading, which any number of programs can do at once.
        wait_seconds: How long to wait for another program to close it.
    Raises:
        WarehouseError: The folder is missing or closed, the file is no DuckDB file or one of a newer DuckDB, somebody
            else has it open, or its tables are not of this program's making.
    """
    check_place(path, must_exist=must_exist, read_only=read_only)
    deadline = time.monotonic() + wait_seconds
    told: str | None = None
    while True:
        try:
            connection = _connect(path, memory, read_only=read_only)
            break
        except DatabaseError as error:
            holder = _HOLDER.search(str(error))
            if holder is None or time.monotonic() >= deadline:
                raise _error_of_opening(path, error) from error
            if holder[0] != told:
                told = holder[0]
                LOGGER.info("the warehouse is open in %s (process %s); waiting", holder[1], holder[2])
            time.sleep(min(1.0, max(0.05, deadline - time.monotonic())))
    try:
        refuse_foreign_tables(DuckDBConnection(connection), str(path), is_file=True)
    except BaseException:
        connection.close()
        raise
    return connection


class DuckDBConnection(Connection):
    """A connection to a database of DuckDB, our own words being its."""

    errors: ClassVar = duckdb.Error
    out_of_memory: ClassVar = (OutOfMemoryError,)
    # Whether what is asked is in other files than the one that is open.
    has_other_files: ClassVar = False

    def __init__(self, native: Native) -> None:
        self.native = native

    def close(self) -> None:
        self.native.close()

    def execute(self, sql: str, values: Values | None = None) -> Native:
        try:
            return self.native.execute(sql, values)
        except duckdb.CatalogException as error:
            raise MissingTableError(str(error)) from error

    def change(self, sql: str, values: Values | None = None) -> int:
        [(count,)] = self.execute(sql, values).fetchall()
        return int(count)

    def run_own(self, sql: str) -> Native:
        return self.native.execute(sql)

    def answer(self, sql: str) -> Native:
        if not self.has_other_files:
            # The file is open for reading only; no other file is to be written, or read, either.
            self.native.execute("set enable_external_access = false")
        self.native.execute("set lock_configuration = true")
        statements = self.native.extract_statements(sql)
        if len(statements) != 1:
            raise ValueError(f"{len(statements)} statements were given, and one can be answered.")
        return self.native.execute(statements[0])

    def be_frugal(self) -> None:
        be_frugal(self.native)

    def transaction(self) -> AbstractContextManager[None]:
        return transaction(self.native)

    def columns(self, table: str | None = None) -> list[Column]:
        which = "" if table is None else "and schema_name = ? and table_name = ?"
        found = self.native.execute(
            f"""
            select schema_name, table_name, column_name, data_type, comment from duckdb_columns()
            where database_name = current_database() and schema_name in ('{VIEW_SCHEMA}', '{RAW_SCHEMA}') {which}
            order by schema_name, table_name, column_index
            """,
            None if table is None else (RAW_SCHEMA, table),
        )
        return list(map(Column._make, found.fetchall()))

    def table_comments(self) -> dict[str, str | None]:
        return self._comments("table", RAW_SCHEMA)

    def view_comments(self) -> dict[str, str | None]:
        return self._comments("view", VIEW_SCHEMA)

    def _comments(self, kind: str, schema: str) -> dict[str, str | None]:
        found = self.native.execute(
            f"select {kind}_name, comment from duckdb_{kind}s() "
            f"where database_name = current_database() and schema_name = ? order by {kind}_name",
            (schema,),
        )
        return dict(found.fetchall())

    def tables_of_views(self) -> set[str]:
        found = self.native.execute(
            "select table_name from duckdb_tables() where schema_name = ? and ends_with(comment, ?)",
            [VIEW_SCHEMA, TABLE_OF_A_VIEW],
        ).fetchall()
        return {name for (name,) in found}

    @contextmanager
    def put_rows(self, name: str, rows: pa.Table) -> Iterator[None]:
        self.native.register(name, rows)
        try:
            yield
        finally:
            self.native.unregister(name)

    def types_of(self, schema: pa.Schema) -> dict[str, str]:
        rows = self.native.from_arrow(schema.empty_table())
        return dict(zip(rows.columns, map(str, rows.types), strict=True))

    def rewrite(
        self, table: str, columns: Mapping[str, pa.DataType], sources: Sequence[str], where: str, derive: Derivation
    ) -> None:
        # Only where something is derived anew: a command that reads does without it.
        import pyarrow as pa

        name = f"{RAW_SCHEMA}.{table}"
        [(first, last)] = self.native.execute(f"select min(rowid), max(rowid) from {name} where {where}").fetchall()
        for start in () if first is None else range(first, last + 1, _ROWS_AT_ONCE):
            rows = self.native.execute(
                f"select rowid, {', '.join(sources)} from {name} where {where} and rowid >= ? and rowid < ?",
                (start, start + _ROWS_AT_ONCE),
            ).fetchall()
            values = [derive(*row[1:]) for row in rows]
            derived: dict[str, Any] = {"nth": pa.array([row[0] for row in rows])}
            for index, (column, column_type) in enumerate(columns.items()):
                derived[column] = pa.array([value[index] for value in values], column_type)
            setters = ", ".join(f"{column} = derived.{column}" for column in columns)
            with self.put_rows("derived", pa.table(derived)):
                self.native.execute(f"update {name} set {setters} from derived where {table}.rowid = derived.nth")


@contextmanager
def transaction(connection: Native) -> Iterator[None]:
    """Do what the block does with *connection* all or not at all."""
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def open_copy(path: Path, memory: MemoryBounds = DEFAULT_MEMORY) -> Native:
    """
    Open a published copy as a reader does.

    Raises:
        DatabaseError: There is no such file, or it is no DuckDB file.
    """
    return _connect(path, memory, read_only=True)


def be_frugal(connection: Native) -> None:
    """Make *connection* read views of any size within its memory: in one thread, and in whatever order rows come."""
    connection.execute("set threads = 1")
    connection.execute("set preserve_insertion_order = false")


def _connect(path: Path, memory: MemoryBounds, *, read_only: bool) -> Native:
    connection = duckdb.connect(str(path), read_only=read_only)
    for name, value in bounds_of(memory).items():
        connection.execute(f"set global {name} = ?", [value])
    return connection


def bounds_of(memory: MemoryBounds) -> dict[str, str]:
    """Return what DuckDB is told of *memory*, by the names of its settings."""
    bounds = {"memory_limit": f"{memory.database_bytes // 1000}KB"}
    if memory.spill_directory is not None:
        bounds["temp_directory"] = str(memory.spill_directory)
    return bounds


@contextmanager
def warehouse_errors(path: Path | str, role: Role = WAREHOUSE) -> Iterator[None]:
    """Make `WarehouseError` of an error whose reason is the DuckDB file at *path* or a full disk; leave all others."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = None if find_cause(error) else error
        while cause is not None:
            if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
                raise _disk_full(path) from error
            if isinstance(cause, DatabaseError):
                raise _error_of_opening(path, cause, role) from error
            cause = cause.__cause__ or cause.__context__
        raise


def check_place(path: Path, role: Role = WAREHOUSE, *, must_exist: bool = False, read_only: bool = False) -> None:
    """Raise WarehouseError if the file cannot be at *path*, as far as that shows without opening it."""
    if must_exist and not path.exists():
        raise WarehouseError(
            f"there is no {role.name} {path}.",
            data=role.untouched,
            next_step=role.missing,
        )
    if path.stem in (VIEW_SCHEMA, RAW_SCHEMA):
        raise WarehouseError(
            f"a DuckDB file cannot be called {path.name!r}: {path.stem}.jobs would mean two things in it.",
            data=role.untouched,
            next_step="choose another file name, e.g. warehouse.duckdb.",
        )
    if not path.parent.is_dir():
        raise WarehouseError(
            f"the folder of the {role.name} {path} does not exist.",
            data=role.untouched,
            next_step=f"make it (mkdir -p {path.parent}), or {role.elsewhere}.",
        )
    if path.is_dir():
        raise WarehouseError(
            f"the {role.name} {path} is a folder, not a file.",
            data=role.untouched,
            next_step=f"name a file in it, e.g. {path / f'{role.name}.duckdb'}.",
        )
    written = path if path.exists() and not role.is_replaced else path.parent
    if not read_only and not os.access(written, os.W_OK):
        raise WarehouseError(
            f"the {role.name} {path} cannot be written: no permission for {written}.",
            data=role.untouched,
            next_step=f"change the permissions, or {role.elsewhere}.",
        )


def _error_of_opening(path: Path | str, error: DatabaseError, role: Role = WAREHOUSE) -> WarehouseError:
    # What follows "LINE 1:" is our own SQL.
    text = " ".join(takewhile(lambda line: line.strip() and not line.startswith("LINE "), str(error).splitlines()))
    if isinstance(error, OutOfMemoryError):
        return WarehouseError(
            f"the memory that `memory_limit` leaves to the database of {path} is not enough.",
            data="what was there before stays; what was cut off is done again by the next run.",
            next_step="raise `memory_limit`, or let `temp_directory` be on a disk with more room.",
        )
    if holder := _HOLDER.search(str(error)):
        return WarehouseError(
            f"the {role.name} {path} is open in {holder[1]} (process {holder[2]}).",
            data="the tables are as they were.",
            next_step="close it there and run again; let readers open a copy instead: set `bi_copy` to its path.",
        )
    if "No space left" in text:
        return _disk_full(path)
    if "version number" in text:
        return WarehouseError(
            f"the {role.name} {path} was written by another version of DuckDB than {duckdb.__version__}: {text}",
            data="the file is as it was.",
            next_step=f"install a DuckDB that reads it, or {role.elsewhere}.",
        )
    if any(mark in text for mark in _OF_DAMAGE):
        return WarehouseError(
            f"the {role.name} {path} is damaged, or no DuckDB file: {text}",
            data="the file is as it was; nothing was written to it.",
            next_step=f"put a copy of the file in its place, or {role.elsewhere}.",
            is_damaged=True,
        )
    return WarehouseError(
        f"the {role.name} {path} cannot be opened or written: {text}",
        data="the file is as it was; a load that was cut off is repeated by the next run.",
        next_step=f"see what the message says of the file, or {role.elsewhere}.",
    )


def _disk_full(path: Path | str) -> WarehouseError:
    return WarehouseError(
        f"the disk of {path}, or that of the folder for temporary files, is full.",
        data="what was there before stays; what was cut off is done again by the next run.",
        next_step="make room and run again.",
    )
