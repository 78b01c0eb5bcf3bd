"""
What a connection to a warehouse is to everything above the engines: it runs SQL, and tells what is there.

In:     SQL in the words of DuckDB, with `?` or `$name` for each value; an engine of another dialect translates it.
Out:    `Connection`, which an engine opens.
Notes:  what has to be remembered of a table (its contract, its views) stands in the comment on it, behind what the
        comment says for people.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol, Self

from klaviyo_jobs.errors import WarehouseError

if TYPE_CHECKING:
    import pyarrow as pa

RAW_SCHEMA: Final = "klaviyo_raw"
VIEW_SCHEMA: Final = "klaviyo"

# What the tables mean and which columns they have; counted up when an older warehouse has to be changed to fit.
CONTRACT_VERSION: Final = 2

_CONTRACT_PREFIX: Final = "klaviyo-jobs contract "
# How everything begins that is noted in a comment; no description of a table does.
_MARKS: Final = ("klaviyo-jobs ", "days in ", "rule ")

Values = Sequence[Any] | Mapping[str, Any]
Derivation = Callable[..., tuple[Any, ...]]


class MissingTableError(Exception):
    """A statement named a table or view that is not there."""


class Cursor(Protocol):
    """What a statement answered, as PEP 249 has it."""

    @property
    def description(self) -> Any:
        """The columns: a sequence for each, its name first."""

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row; None behind the last."""

    def fetchmany(self, size: int) -> list[tuple[Any, ...]]:
        """Return the next rows, at most so many; none behind the last."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows that are left."""


class Column(NamedTuple):
    """A column of a table or view: where it is, its type in the engine's words, and what is said of it."""

    schema: str
    table: str
    name: str
    data_type: str
    comment: str | None


class Connection(ABC):
    """One connection to a warehouse, open for reading or for writing."""

    # The engine's own errors, by which callers tell them from ours.
    errors: ClassVar[type[Exception]]
    # Those of them that say that something does not fit into the memory which the settings allow.
    out_of_memory: ClassVar[tuple[type[Exception], ...]] = ()
    # Whether a view can be replaced only by one with the same columns.
    views_keep_columns: ClassVar[bool] = False
    has_comments_on_view_columns: ClassVar[bool] = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    @abstractmethod
    def execute(self, sql: str, values: Values | None = None) -> Cursor:
        """
        Run one or more statements in the words of DuckDB and answer with what the last one gives.

        Args:
            values: What `?` (a sequence) or `$name` (a mapping) stand for; always bound, never put into the text.
        Raises:
            MissingTableError: A table or view is not there.
        """

    @abstractmethod
    def change(self, sql: str, values: Values | None = None) -> int:
        """Run one statement that changes rows, as `execute` does, and return how many rows it changed."""

    @abstractmethod
    def run_own(self, sql: str) -> Cursor:
        """Run *sql*, which is in the engine's own words, such as what `dialects.translate` gives."""

    @abstractmethod
    def answer(self, sql: str) -> Cursor:
        """
        Answer one statement of somebody else's, in the engine's own words; it can change nothing, and rows are read as
        they are fetched. The connection is used for nothing else.

        Raises:
            ValueError: It is none that only reads, or more than one.
        """

    @abstractmethod
    def be_frugal(self) -> None:
        """Take less memory for what is read from now on, and more time; where there is a choice."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Do what the block does all or not at all."""

    def is_of_statement(self, error: Exception) -> bool:
        """Tell whether *error* is one of the statement's own, and not of rights, locks or the connection."""
        return True

    def undoable(self) -> AbstractContextManager[object]:
        """Undo what the block did if it fails, inside a transaction that goes on; only where views keep columns."""
        return nullcontext()

    def drop_view(self, name: str) -> None:
        """Drop a view of ours if it is there; never one that somebody else has built on it."""
        self.run_own(f'drop view if exists {VIEW_SCHEMA}."{name}"')

    def tables_of_views(self) -> set[str]:
        """Return the names of the tables that a published copy has in the place of views."""
        return set()

    @abstractmethod
    def columns(self, table: str | None = None) -> list[Column]:
        """Return the columns of all our tables and views, or of one raw *table*, sorted by schema, table and place."""

    @abstractmethod
    def table_comments(self) -> dict[str, str | None]:
        """Return the comment of every raw table by its name."""

    @abstractmethod
    def view_comments(self) -> dict[str, str | None]:
        """Return the comment of every view of ours and of others in the schema of views, by its name."""

    @abstractmethod
    def put_rows(self, name: str, rows: pa.Table) -> AbstractContextManager[None]:
        """Let statements inside the block read *rows* as a table called *name*."""

    @abstractmethod
    def rewrite(
        self, table: str, columns: Mapping[str, pa.DataType], sources: Sequence[str], where: str, derive: Derivation
    ) -> None:
        """
        Set *columns* of a raw table to what *derive* makes of *sources* (expressions), row by row, *where* that holds.

        No more than some ten thousand rows are in memory at a time.
        """

    @abstractmethod
    def types_of(self, schema: pa.Schema) -> dict[str, str]:
        """Return the type that each column of *schema* has in a table here, by its name."""

    def has_table(self, name: str) -> bool:
        """Tell whether the raw schema has the table called *name*."""
        return name in self.table_comments()

    def mark_table(self, table: str, mark: str) -> None:
        """Note *mark* at a raw table, behind what its comment says of it."""
        described, _ = _parted(self.table_comments().get(table))
        self._comment("table", f"{RAW_SCHEMA}.{table}", _composed(described, mark))

    def mark_of(self, table: str) -> str | None:
        """Return what was noted at a raw table last; None if nothing was, or there is no such table."""
        return _parted(self.table_comments().get(table))[1]

    def mark_column(self, table: str, column: str, mark: str) -> None:
        """Note *mark* at a column of a raw table, behind what its comment says of it."""
        described, _ = _parted(self._column_comments(table).get(column))
        self._comment("column", f"{RAW_SCHEMA}.{table}.{column}", _composed(described, mark))

    def mark_of_column(self, table: str, column: str) -> str | None:
        """Return what was noted at a column of a raw table last; None if nothing was, or there is no such column."""
        return _parted(self._column_comments(table).get(column))[1]

    def mark_contract(self) -> None:
        """Note in the warehouse which contract its tables follow."""
        mark = f"{_CONTRACT_PREFIX}{CONTRACT_VERSION}"
        if self.mark_of("jobs") != mark:
            self.mark_table("jobs", mark)

    @property
    def contract(self) -> int:
        """Which contract the tables follow, 0 if no run has noted one."""
        version = (self.mark_of("jobs") or "").removeprefix(_CONTRACT_PREFIX)
        return int(version) if version.isdigit() else 0

    def tables_without_description(self, names: Iterable[str]) -> list[str]:
        """Return those of the raw tables called *names* that are there and whose comments do not say what they are."""
        comments = self.table_comments()
        return [name for name in names if name in comments and not _parted(comments[name])[0]]

    def describe_table(self, table: str, text: str, columns: Mapping[str, str]) -> None:
        """Say what a raw table is, and those of its *columns* that are named, in comments; what is noted stays."""
        _, mark = _parted(self.table_comments().get(table))
        self._comment("table", f"{RAW_SCHEMA}.{table}", _composed(text, mark))
        for column, comment in self._column_comments(table).items():
            if column in columns:
                composed = _composed(columns[column], _parted(comment)[1])
                self._comment("column", f'{RAW_SCHEMA}.{table}."{column}"', composed)

    def _column_comments(self, table: str) -> dict[str, str | None]:
        """Return the comment of every column of a raw table by its name."""
        return {column.name: column.comment for column in self.columns(table)}

    def _comment(self, kind: str, name: str, text: str) -> None:
        self.run_own(f"comment on {kind} {name} is {quoted(text)}")


def quoted(text: str | None) -> str:
    """Return *text* as SQL writes it, for the statements that take no parameters."""
    return "null" if text is None else "'" + text.replace("'", "''") + "'"


def refuse_foreign_tables(connection: Connection, place: str, *, is_file: bool = False) -> None:
    """Refuse tables of somebody else's making, and those of a newer version of this program."""
    columns = {column.name for column in connection.columns("jobs")}
    if columns and not {"account", "job_kind", "job_id", "run_id"} <= columns:
        raise WarehouseError(
            f"the table {RAW_SCHEMA}.jobs of {place} is not of this program's making.",
            data="the file is as it was." if is_file else "it is as it was.",
            next_step="choose another path with --warehouse." if is_file else "choose another database.",
        )
    if columns and (version := connection.contract) > CONTRACT_VERSION:
        raise WarehouseError(
            f"the tables of {place} were made by a newer klaviyo-jobs (contract {version}, known here: "
            f"{CONTRACT_VERSION}).",
            data="the file is as it was." if is_file else "they are as they were.",
            next_step="install that version or a later one.",
        )


def _composed(text: str, mark: str | None) -> str:
    return f"{text} [{mark}]".strip() if mark else text


def _parted(comment: str | None) -> tuple[str, str | None]:
    """Return what *comment* says of the table or column, and what was noted there."""
    text, opening, mark = (comment or "").removesuffix("]").rpartition("[")
    if opening and mark.startswith(_MARKS):
        return text.strip(), mark
    # Earlier releases noted, and said nothing.
    return ("", comment) if comment and comment.startswith(_MARKS) else (comment or "", None)
