"""Ask the warehouse, or the copy of it, in SQL."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from klaviyo_jobs.cli.console import print_json, print_tables
from klaviyo_jobs.cli.options import (
    DestinationOption,
    WarehouseOption,
    engine_to_read,
    naming_way_back,
    read_within_memory,
)
from klaviyo_jobs.errors import SettingError

if TYPE_CHECKING:
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
    settings = read_settings()
    engine = engine_to_read(settings, "query", _file_to_ask(warehouse, destination, settings), destination)
    statement = sys.stdin.read() if sql == "-" else sql

    @contextmanager
    def opened() -> Iterator[Connection]:
        with (
            naming_way_back(settings),
            engine.open(must_exist=True, read_only=True, wait_seconds=settings.warehouse_wait_seconds) as connection,
            engine.errors(),
        ):
            yield connection

    with ExitStack() as stack:
        columns, rows = read_within_memory(stack, opened, partial(_answer, sql=statement))
        if as_json:
            objects = [dict(zip(columns, row, strict=True)) for row in rows]
            print_json({"database": engine.place, "rows": objects}, since=None)
        elif as_csv:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        else:
            _print_table(columns, list(rows))


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


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.text import Text

    from klaviyo_jobs.monitor.report import plain_table

    table = plain_table("")
    table.title = None
    for place, name in enumerate(columns):
        is_number = any(isinstance(row[place], int | float) and not isinstance(row[place], bool) for row in rows)
        table.add_column(Text(name), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    print_tables(table)
