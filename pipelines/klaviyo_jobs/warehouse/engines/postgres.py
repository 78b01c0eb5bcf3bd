"""
A Postgres server: a connection to it, and why there is none.

In:     its URL.
Out:    connections that speak DuckDB's words, translated; every reason why there is none is a `WarehouseError`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Final, cast

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import sqlglot

from klaviyo_jobs.errors import WarehouseError, find_cause
from klaviyo_jobs.warehouse.dialects import POSTGRES, translate_query
from klaviyo_jobs.warehouse.engines.connection import (
    RAW_SCHEMA,
    VIEW_SCHEMA,
    Column,
    Connection,
    Cursor,
    Derivation,
    MissingTableError,
    Values,
)

# A holder whose machine has died is found out after two minutes, and not after two hours.
_SESSION: Final = """
    set timezone = 'UTC';
    set client_min_messages = 'warning';
    set tcp_keepalives_idle = 60;
    set tcp_keepalives_interval = 10;
    set tcp_keepalives_count = 6;
"""
_ROWS_AT_ONCE: Final = 50_000
# With what a statement begins that reads, and whether its rows can be fetched bit by bit.
_STREAMED: Final = ("select", "with", "values", "table")
_READING: Final = ("explain", "show")
_TYPES: Final[list[tuple[Any, str]]] = [
    (pa.types.is_string, "varchar"),
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_integer, "bigint"),
    (pa.types.is_timestamp, "timestamp with time zone"),
    (pa.types.is_date, "date"),
    (pa.types.is_floating, "double precision"),
    (pa.types.is_decimal, "numeric(38, 9)"),
]
# What Postgres cannot hold in a text, and what stands for it.
_NUL: Final = "\x00"
_INSTEAD_OF_NUL: Final = "\N{REPLACEMENT CHARACTER}"

# Sums of counts are numbers of any size there, and numbers to us.
_NUMBER: Final = psycopg2.extensions.new_type(
    psycopg2.extensions.DECIMAL.values,
    "NUMBER",
    lambda text, _: text if text is None else float(text) if "." in text or "N" in text else int(text),
)
_TABLES: Final = """
    select c.relname, obj_description(c.oid, 'pg_class')
    from pg_class as c
    inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = %s and c.relkind = any(%s)
    order by c.relname
"""
_COLUMNS: Final = """
    select n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum)
    from pg_attribute as a
    inner join pg_class as c on c.oid = a.attrelid
    inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = any(%s) and (%s is null or c.relname = %s) and c.relkind in ('r', 'p', 'v') and a.attnum > 0
        and not a.attisdropped
    order by n.nspname, c.relname, a.attnum
"""


class PostgresConnection(Connection):
    """
    A connection to a Postgres database.

    Args:
        url: Where it is, credentials included.
        read_only: Refuse to write anything.
        wait_seconds: How long to wait for others who hold what is to be changed, such as a view that is read.
    """

    errors: ClassVar = psycopg2.Error
    views_keep_columns: ClassVar = True

    def __init__(self, url: str, *, read_only: bool = False, wait_seconds: float = 10.0) -> None:
        self.native = psycopg2.connect(dsn=url, application_name="klaviyo-jobs")
        self.native.autocommit = True
        psycopg2.extensions.register_type(_NUMBER, self.native)
        self.run_own(_SESSION)
        self.run_own(f"set lock_timeout = '{max(1, round(wait_seconds * 1000))}ms'")
        if read_only:
            self.run_own("set default_transaction_read_only = on")

    def close(self) -> None:
        self.native.close()

    def execute(self, sql: str, values: Values | None = None) -> Cursor:
        cursor = self.native.cursor()
        try:
            for statement in _translated(sql, values is not None):
                cursor.execute(statement, values)
        except psycopg2.errors.UndefinedTable as error:
            raise MissingTableError(str(error)) from error
        return cast("Cursor", cursor)

    def change(self, sql: str, values: Values | None = None) -> int:
        return int(cast("Any", self.execute(sql, values)).rowcount)

    def run_own(self, sql: str) -> Cursor:
        return self.ask(sql)

    def ask(self, sql: str, *values: Any) -> Cursor:
        """Run *sql* in Postgres' own words, with `%s` for each of *values*."""
        cursor = self.native.cursor()
        cursor.execute(sql, values or None)
        return cast("Cursor", cursor)

    def answer(self, sql: str) -> Cursor:
        tokens = sqlglot.tokenize(sql, read=POSTGRES)
        while tokens and tokens[-1].token_type.name == "SEMICOLON":
            tokens.pop()
        count = sum(token.token_type.name == "SEMICOLON" for token in tokens) + bool(tokens)
        if count != 1:
            raise ValueError(f"{count} statements were given, and one can be answered.")
        first = tokens[0].text.lower()
        self.native.autocommit = False
        if first in _STREAMED:
            # Rows stay with the server until they are fetched.
            cursor: Any = self.native.cursor("answer")
        elif first in _READING:
            cursor = self.native.cursor()
        else:
            raise ValueError(f"{first} is not among what only reads: {', '.join((*_STREAMED, *_READING))}.")
        cursor.execute(sql)
        if cursor.description is None:
            # The names of the columns come with the first rows.
            cursor.fetchmany(0)
        return cast("Cursor", cursor)

    def be_frugal(self) -> None:
        """Its memory is the server's."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.native.autocommit = False
        try:
            yield
            self.native.commit()
        except BaseException:
            # Of a connection that is lost nothing is left to be undone.
            with suppress(psycopg2.Error):
                self.native.rollback()
            raise
        finally:
            if not self.native.closed:
                self.native.autocommit = True

    def is_of_statement(self, error: Exception) -> bool:
        code = getattr(error, "pgcode", None) or ""
        return isinstance(error, MissingTableError) or (code.startswith("42") and code != "42501")

    @contextmanager
    def undoable(self) -> Iterator[None]:
        self.run_own("savepoint undoable")
        try:
            yield
        except BaseException:
            self.run_own("rollback to savepoint undoable")
            raise
        self.run_own("release savepoint undoable")

    def columns(self, table: str | None = None) -> list[Column]:
        schemas = [RAW_SCHEMA] if table is not None else [RAW_SCHEMA, VIEW_SCHEMA]
        return list(map(Column._make, self.ask(_COLUMNS, schemas, table, table).fetchall()))

    def table_comments(self) -> dict[str, str | None]:
        return dict(self.ask(_TABLES, RAW_SCHEMA, ["r", "p"]).fetchall())

    def view_comments(self) -> dict[str, str | None]:
        return dict(self.ask(_TABLES, VIEW_SCHEMA, ["v"]).fetchall())

    @contextmanager
    def put_rows(self, name: str, rows: pa.Table) -> Iterator[None]:
        columns = ", ".join(f"{column} {column_type}" for column, column_type in self.types_of(rows.schema).items())
        self.run_own(f"create temporary table {name} ({columns})")
        copy_rows(self.native.cursor(), name, rows.to_batches())
        yield
        self.run_own(f"drop table {name}")

    def types_of(self, schema: pa.Schema) -> dict[str, str]:
        return {field.name: next(name for is_of, name in _TYPES if is_of(field.type)) for field in schema}

    def rewrite(
        self, table: str, columns: Mapping[str, pa.DataType], sources: Sequence[str], where: str, derive: Derivation
    ) -> None:
        types = self.types_of(pa.schema(list(columns.items())))
        made = ", ".join(f"{column} {column_type}" for column, column_type in types.items())
        self.run_own(f"create temporary table derived (place tid, {made})")
        [query] = _translated(f"select ctid, {', '.join(sources)} from {RAW_SCHEMA}.{table} where {where}", False)
        with self.native.cursor("derived_from") as read:
            read.itersize = _ROWS_AT_ONCE
            read.execute(query)
            while rows := read.fetchmany(_ROWS_AT_ONCE):
                values = [derive(*row[1:]) for row in rows]
                derived: dict[str, Any] = {"place": pa.array([row[0] for row in rows], pa.string())}
                for index, (column, column_type) in enumerate(columns.items()):
                    derived[column] = pa.array([value[index] for value in values], column_type)
                copy_rows(self.native.cursor(), "derived", pa.table(derived).to_batches())
        setters = ", ".join(f"{column} = derived.{column}" for column in columns)
        name = f"{RAW_SCHEMA}.{table}"
        self.run_own(f"update {name} as stored set {setters} from derived where stored.ctid = derived.place")
        self.run_own("drop table derived")


@functools.lru_cache(maxsize=256)
def _translated(sql: str, has_values: bool) -> list[str]:
    return translate_query(sql, POSTGRES, has_values=has_values)


class _Csv:
    """A file for COPY to read, whose text is made while it is read. An empty text is quoted there, and null is not."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._chunks = map(_csv_of, batches)
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
        taken, self._rest = (self._rest, memoryview(b"")) if size < 0 else (self._rest[:size], self._rest[size:])
        return bytes(taken)


def copy_rows(cursor: Any, table: str, batches: Iterable[pa.RecordBatch], columns: Sequence[str] = ()) -> None:
    """Put the rows of *batches* into *table*, whose *columns* they have in this order; all of them if none is named."""
    named = f" ({', '.join(columns)})" if columns else ""
    cursor.copy_expert(f"copy {table}{named} from stdin with (format csv)", _Csv(batches), size=2**20)


def _csv_of(batch: pa.RecordBatch) -> bytes:
    columns = [_writable(column) for column in batch.columns]
    sink = pa.BufferOutputStream()
    options = pcsv.WriteOptions(include_header=False, quoting_style="needed", batch_size=16_384)
    pcsv.write_csv(pa.RecordBatch.from_arrays(columns, names=batch.schema.names), sink, options)
    text: bytes = sink.getvalue().to_pybytes()
    return text


def _writable(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) and pc.any(pc.match_substring(column, _NUL)).as_py():
        column = pc.replace_substring(column, _NUL, _INSTEAD_OF_NUL)
    return column


@contextmanager
def postgres_errors(place: str, setting: str = "destination.postgres.credentials") -> Iterator[None]:
    """
    Make `WarehouseError` of an error whose reason is Postgres; leave all others.

    Args:
        place: What it is called.
        setting: What names it.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = None if find_cause(error) else error
        while cause is not None:
            if isinstance(cause, psycopg2.Error):
                raise _error_of(place, setting, cause) from error
            cause = cause.__cause__ or cause.__context__
        raise


# What is said of an error of Postgres, by the class of its code or by all of it: what state the data is in, what next.
_KNOWN: Final = {
    "42501": ("what was there before stays.", "grant it: docs/scale.md says what a run needs."),
    "53100": (
        "what was there before stays; what was cut off is done again by the next run.",
        "make room on the server.",
    ),
    "55P03": (
        "what was loaded stays; the views and tables are as they were.",
        "somebody reads or holds what is to be changed: run again later, or raise `warehouse_wait_seconds`.",
    ),
    "2BP01": (
        "the views are as they were; what was loaded stays.",
        "others have built views on ours: drop those, `klaviyo-jobs views`, and make them again.",
    ),
    "25006": ("nothing was written.", "this server only reads: name the one that writes."),
    "40": ("what was there before stays; what was cut off is done again by the next run.", "run again."),
}


def _error_of(place: str, setting: str, error: psycopg2.Error) -> WarehouseError:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    code = error.pgcode or ""
    if not code and isinstance(error, psycopg2.OperationalError):
        return WarehouseError(
            f"{place} cannot be reached, or was lost on the way: {text}",
            data="what was loaded before stays; what was cut off is done again by the next run.",
            next_step=f"see that the server runs, and that `{setting}` names it.",
        )
    data, next_step = (
        _KNOWN.get(code)
        or _KNOWN.get(code[:2])
        or (
            "what was there before stays; a load that was cut off is repeated by the next run.",
            "see what the message says.",
        )
    )
    return WarehouseError(f"{place} refused: {text}", data=data, next_step=next_step)
