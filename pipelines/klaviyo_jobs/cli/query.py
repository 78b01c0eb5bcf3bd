"""Ask the warehouse, or the copy of it, in SQL."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from klaviyo_jobs.cli.console import fit, out, print_json, print_tables, while_read
from klaviyo_jobs.cli.options import (
    DestinationOption,
    WarehouseOption,
    engine_to_read,
    open_to_read,
    read_within_memory,
    readable_text,
)
from klaviyo_jobs.errors import SettingError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from klaviyo_jobs.settings import Settings
    from klaviyo_jobs.warehouse.engines.connection import Connection

_ROWS_AT_ONCE: Final = 10_000


def query_command(
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="One statement that reads; - reads it from the standard input.")
    ],
    warehouse: WarehouseOption = None,
    destination: DestinationOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV, the names of columns first.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the file asked, and the rows.")
    ] = False,
) -> None:
    """Ask the copy (the setting bi_copy), or the warehouse where there is none, in SQL; nothing can be changed."""
    from klaviyo_jobs.settings import read_settings

    if as_csv and as_json:
        raise typer.BadParameter("goes not with --csv.", param_hint="'--json'")
    statement = readable_text(_from_stdin() if sql == "-" else sql, "the statement")
    settings = read_settings()
    engine = engine_to_read(settings, "query", _file_to_ask(warehouse, destination, settings), destination)
    with ExitStack() as stack:
        columns, rows = read_within_memory(
            stack, partial(open_to_read, engine, settings), partial(_answer, sql=statement)
        )
        if as_json:
            _refuse_same_names(columns)
            objects = [dict(zip(columns, map(_as_json, row), strict=True)) for row in rows]
            print_json({"database": engine.place, "rows": objects}, since=None)
        elif as_csv:
            # In Python 3.11 cells are quoted for what ends a line, and readers take either character for that.
            writer = csv.writer(_Lines(), lineterminator="\r\n")
            with while_read():
                writer.writerow(columns)
                writer.writerows(map(_text_of, row) for row in rows)
        else:
            _print_table(columns, list(rows))


class _Lines:
    """The standard output, where each line ends in a newline alone."""

    def write(self, line: str) -> None:
        sys.stdout.write(line.removesuffix("\r\n") + "\n")


def _from_stdin() -> str:
    """Return what stands there as the shell hands arguments over: bytes that are no UTF-8 as surrogates."""
    return sys.stdin.buffer.read().decode(errors="surrogateescape")


def _file_to_ask(warehouse: Path | None, destination: str | None, settings: Settings) -> Path | None:
    """Return the copy, whose readers never stand in the way of a run, unless a file is named or there is no copy."""
    from klaviyo_jobs.settings import DEFAULT_DESTINATION

    copy = settings.copy_path
    is_asked = warehouse is None and (destination or settings.destination) == DEFAULT_DESTINATION
    return copy if is_asked and copy is not None and copy.exists() else warehouse


def _answer(connection: Connection, sql: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
    """Return the names of the columns that *sql* gives, and its rows as they come."""
    try:
        found = connection.answer(sql)
    except connection.out_of_memory:
        raise
    except connection.errors as error:
        raise _refused(f"{type(error).__name__}: {error}") from error
    except ValueError as error:
        raise _refused(str(error)) from error
    names = [column[0] for column in found.description or ()]

    def rows() -> Iterator[Sequence[Any]]:
        while some := found.fetchmany(_ROWS_AT_ONCE):
            yield from some

    return names, rows()


def _refused(message: str) -> SettingError:
    return SettingError(
        " ".join(message.split()),
        data="nothing was changed.",
        next_step="the views and their columns: klaviyo-jobs query "
        "\"select table_name, column_name from information_schema.columns where table_schema = 'klaviyo'\"",
    )


def _refuse_same_names(columns: Sequence[str]) -> None:
    """Raise if two columns have one name: of those, an object of JSON could hold but one."""
    for place, name in enumerate(columns):
        if name in columns[:place]:
            raise SettingError(
                f"two columns have the name {name!r}, of which an object of JSON can hold one.",
                data="nothing was changed.",
                next_step="give one of them another name with `as`, or take --csv.",
            )


def _as_json(value: Any) -> Any:
    """Return *value* as JSON has it: times as ISO text, blobs as hexadecimal digits, null for what is no number."""
    match value:
        case dict():
            return {_json_text(key): _as_json(each) for key, each in value.items()}
        case list() | tuple():
            return [_as_json(each) for each in value]
        case Decimal():
            return _as_json(float(value)) if not value.is_finite() or value % 1 else int(value)
        case float():
            return value if math.isfinite(value) else None
        case dt.date() | dt.time():
            return value.isoformat()
        case bytes() | memoryview():
            return value.hex()
        case None | bool() | int() | str():
            return value
    return str(value)


def _json_text(value: Any) -> str:
    """Return the JSON of *value*; without quotes if that is a text."""
    inner = _as_json(value)
    return inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)


def _text_of(value: Any) -> str:
    """Return *value* for a cell: what is within others as JSON has it, and nothing for null."""
    if isinstance(value, dict | list | tuple | bytes | memoryview):
        return _json_text(value)
    return "" if value is None else str(value)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table, or a block for each row where a terminal has no room for all columns beside one another."""
    from rich.text import Text

    from klaviyo_jobs.monitor.report import plain_table, printable

    table = plain_table("")
    table.title = None
    names = [Text(printable(name)) for name in columns]
    cells = [[Text(printable(_text_of(value))) for value in row] for row in rows]
    for place, name in enumerate(names):
        values = [row[place] for row in rows if row[place] is not None and not isinstance(row[place], bool)]
        is_number = any(isinstance(value, int | float | Decimal) for value in values)
        # No number is folded, and no day and no time of the day.
        is_whole = is_number or any(isinstance(value, dt.date | dt.time) for value in values)
        words = [len(word) for row in cells for word in row[place].plain.split()] if is_whole else []
        justify: Literal["left", "right"] = "right" if is_number else "left"
        table.add_column(name, justify=justify, overflow="fold", min_width=max(words, default=None))
    for row in cells:
        table.add_row(*row)
    if cells and out.is_terminal and not fit(table):
        print_tables(*_records(names, cells))
    else:
        print_tables(table)


def _records(names: Sequence[Text], rows: Sequence[Sequence[Text]]) -> Iterator[RenderableType]:
    """Yield a block for each of *rows*, in which each line is a name and a value, and rules between the blocks."""
    from rich.rule import Rule
    from rich.table import Table

    for number, row in enumerate(rows):
        if number:
            yield Rule()
        block = Table.grid(padding=(0, 2))
        block.add_column(no_wrap=True, style="bold", min_width=max(name.cell_len for name in names))
        block.add_column(overflow="fold")
        for name, value in zip(names, row, strict=True):
            block.add_row(name, value)
        yield block
