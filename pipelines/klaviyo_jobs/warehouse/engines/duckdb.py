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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

from klaviyo_jobs.errors import WarehouseError, find_cause
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.memory import DEFAULT_MEMORY, MemoryBounds

RAW_SCHEMA: Final = "klaviyo_raw"
VIEW_SCHEMA: Final = "klaviyo"

# What the tables mean and which columns they have; counted up when an older warehouse has to be changed to fit.
CONTRACT_VERSION: Final = 2

Connection = duckdb.DuckDBPyConnection
DatabaseError = duckdb.Error
MissingTableError = duckdb.CatalogException
OutOfMemoryError = duckdb.OutOfMemoryException

_CONTRACT_PREFIX: Final = "klaviyo-jobs contract "
# How everything begins that is noted in a comment; no description of a table does.
_MARKS: Final = ("klaviyo-jobs ", "days in ", "rule ")
# The end of the comment of a table that a published copy has in the place of a view: nobody else's is ever dropped.
TABLE_OF_A_VIEW: Final = "A table of the rows that the view had when this copy was published."
# Where dlt puts the rows of a load before it merges them.
_STAGING_SCHEMA: Final = f"{RAW_SCHEMA}_staging"
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
    """

    name: str
    untouched: str
    elsewhere: str
    is_replaced: bool


WAREHOUSE: Final = Role("warehouse", "nothing was read or written.", "choose another path with --warehouse", False)
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
) -> Connection:
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
        _refuse_foreign_tables(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Do what the block does with *connection* all or not at all."""
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def open_copy(path: Path, memory: MemoryBounds = DEFAULT_MEMORY) -> Connection:
    """
    Open a published copy as a reader does.

    Raises:
        DatabaseError: There is no such file, or it is no DuckDB file.
    """
    return _connect(path, memory, read_only=True)


def be_frugal(connection: Connection) -> None:
    """Make *connection* read views of any size within its memory: in one thread, and in whatever order rows come."""
    connection.execute("set threads = 1")
    connection.execute("set preserve_insertion_order = false")


def _connect(path: Path, memory: MemoryBounds, *, read_only: bool) -> Connection:
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


def mark_contract(connection: Connection) -> None:
    """Note in the warehouse which contract its tables follow."""
    mark_table(connection, "jobs", f"{_CONTRACT_PREFIX}{CONTRACT_VERSION}")


def contract_of(connection: Connection) -> int:
    """Return which contract the tables follow, 0 if no run has noted one."""
    version = (mark_of(connection, "jobs") or "").removeprefix(_CONTRACT_PREFIX)
    return int(version) if version.isdigit() else 0


def drop_staging(connection: Connection) -> None:
    """Drop the tables that dlt makes for the rows of a load before it merges them."""
    connection.execute(f"drop schema if exists {_STAGING_SCHEMA} cascade")


def mark_table(connection: Connection, table: str, mark: str) -> None:
    """Note *mark* at a raw table, behind what its comment says of it."""
    described, _ = _parted(_comments(connection).get(table))
    connection.execute(f"comment on table {RAW_SCHEMA}.{table} is {quoted(_composed(described, mark))}")


def mark_of(connection: Connection, table: str) -> str | None:
    """Return what was noted at a raw table last; None if nothing was, or there is no such table."""
    return _parted(_comments(connection).get(table))[1]


def mark_column(connection: Connection, table: str, column: str, mark: str) -> None:
    """Note *mark* at a column of a raw table, behind what its comment says of it."""
    described, _ = _parted(_column_comments(connection, table).get(column))
    connection.execute(f"comment on column {RAW_SCHEMA}.{table}.{column} is {quoted(_composed(described, mark))}")


def mark_of_column(connection: Connection, table: str, column: str) -> str | None:
    """Return what was noted at a column of a raw table last; None if nothing was, or there is no such column."""
    return _parted(_column_comments(connection, table).get(column))[1]


def tables_without_description(connection: Connection, names: Iterable[str]) -> list[str]:
    """Return those of the raw tables called *names* that are there and whose comments do not say what they are."""
    comments = _comments(connection)
    return [name for name in names if name in comments and not _parted(comments[name])[0]]


def describe_table(connection: Connection, table: str, text: str, columns: Mapping[str, str]) -> None:
    """Say what a raw table is, and those of its *columns* that are named, in comments; what is noted there stays."""
    _, mark = _parted(_comments(connection).get(table))
    connection.execute(f"comment on table {RAW_SCHEMA}.{table} is {quoted(_composed(text, mark))}")
    for column, comment in _column_comments(connection, table).items():
        if column in columns:
            composed = _composed(columns[column], _parted(comment)[1])
            connection.execute(f'comment on column {RAW_SCHEMA}.{table}."{column}" is {quoted(composed)}')


def _composed(text: str, mark: str | None) -> str:
    return f"{text} [{mark}]".strip() if mark else text


def _parted(comment: str | None) -> tuple[str, str | None]:
    """Return what *comment* says of the table or column, and what was noted there."""
    text, opening, mark = (comment or "").removesuffix("]").rpartition("[")
    if opening and mark.startswith(_MARKS):
        return text.strip(), mark
    # Earlier releases noted, and said nothing.
    return ("", comment) if comment and comment.startswith(_MARKS) else (comment or "", None)


def quoted(text: str | None) -> str:
    """Return *text* as SQL writes it, for the statements that take no parameters."""
    return "null" if text is None else "'" + text.replace("'", "''") + "'"


def _column_comments(connection: Connection, table: str) -> dict[str, str | None]:
    """Return the comment of every column of a raw table by its name."""
    found = connection.execute(
        "select column_name, comment from duckdb_columns() where schema_name = ? and table_name = ?",
        (RAW_SCHEMA, table),
    )
    return dict(found.fetchall())


def has_table(connection: Connection, name: str) -> bool:
    """Tell whether the raw schema has the table called *name*."""
    return name in _comments(connection)


def _comments(connection: Connection) -> dict[str, str | None]:
    """Return the comment of every raw table by its name."""
    found = connection.execute("select table_name, comment from duckdb_tables() where schema_name = ?", (RAW_SCHEMA,))
    return dict(found.fetchall())


@contextmanager
def warehouse_errors(path: Path, role: Role = WAREHOUSE) -> Iterator[None]:
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
            next_step="make one with `klaviyo-jobs run`, or name another with --warehouse.",
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


def _error_of_opening(path: Path, error: DatabaseError, role: Role = WAREHOUSE) -> WarehouseError:
    text = str(error).splitlines()[0]
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


def _disk_full(path: Path) -> WarehouseError:
    return WarehouseError(
        f"the disk of {path}, or that of the folder for temporary files, is full.",
        data="what was there before stays; what was cut off is done again by the next run.",
        next_step="make room and run again.",
    )


def _refuse_foreign_tables(path: Path, connection: Connection) -> None:
    """Refuse tables of somebody else's making, and those of a newer version of this program."""
    comments = _comments(connection)
    if "jobs" not in comments:
        return
    columns = connection.execute(
        "select column_name from duckdb_columns() where schema_name = ? and table_name = 'jobs'", (RAW_SCHEMA,)
    ).fetchall()
    if not {"account", "job_kind", "job_id", "run_id"} <= {name for (name,) in columns}:
        raise WarehouseError(
            f"the table {RAW_SCHEMA}.jobs of {path} is not of this program's making.",
            data="the file is as it was.",
            next_step="choose another path with --warehouse.",
        )
    if (version := contract_of(connection)) > CONTRACT_VERSION:
        raise WarehouseError(
            f"the tables of {path} were made by a newer klaviyo-jobs (contract {version}, known here: "
            f"{CONTRACT_VERSION}).",
            data="the file is as it was.",
            next_step="install that version or a later one.",
        )
