"""Ask the warehouse, or the copy of it, in SQL."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from klaviyo_jobs.cli.console import print_tables
from klaviyo_jobs.cli.options import WarehouseOption, naming_way_back, warehouse_path
from klaviyo_jobs.errors import SettingError

if TYPE_CHECKING:
    from klaviyo_jobs.settings import Settings
    from klaviyo_jobs.warehouse.engines.duckdb import Connection

_ROWS_AT_ONCE: Final = 10_000


def query_command(
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="One statement that reads; - reads it from the standard input.")
    ],
    warehouse: WarehouseOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV, the names of columns first.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the file asked, and the rows.")
    ] = False,
) -> None:
    """Ask the copy (the setting bi_copy), or the warehouse where there is none, in SQL; nothing can be changed."""
    from klaviyo_jobs.settings import read_settings
    from klaviyo_jobs.warehouse.engines.duckdb import warehouse_errors

    if as_csv and as_json:
        raise typer.BadParameter("goes not with --csv.", param_hint="'--json'")
    settings = read_settings()
    path = _file_to_ask(warehouse, settings)
    statement = sys.stdin.read() if sql == "-" else sql
    with naming_way_back(settings), _opened(path, settings) as connection, warehouse_errors(path):
        columns, rows = _answer(connection, statement)
        if as_json:
            objects = [dict(zip(columns, row, strict=True)) for row in rows]
            print(json.dumps({"database": str(path), "rows": objects}, default=str))
        elif as_csv:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        else:
            _print_table(columns, list(rows))


def _file_to_ask(warehouse: Path | None, settings: Settings) -> Path:
    """Return the copy, whose readers never stand in the way of a run, unless a file is named or there is no copy."""
    copy = settings.copy_path
    return copy if warehouse is None and copy is not None and copy.exists() else warehouse_path(warehouse, settings)


def _opened(path: Path, settings: Settings) -> Connection:
    from klaviyo_jobs.warehouse.engines.duckdb import open_warehouse

    connection = open_warehouse(
        path, settings.memory, must_exist=True, read_only=True, wait_seconds=settings.warehouse_wait_seconds
    )
    # The file is open for reading only; no other file is to be written, or read, either.
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def _answer(connection: Connection, sql: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
    """Return the names of the columns that *sql* gives, and its rows as they come."""
    from klaviyo_jobs.warehouse.engines.duckdb import DatabaseError

    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1:
            raise _refused(f"{len(statements)} statements were given, and one can be answered.")
        found = connection.execute(statements[0])
    except DatabaseError as error:
        raise _refused(f"{type(error).__name__}: {error}") from error
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
        "\"select table_name, column_name, comment from duckdb_columns() where schema_name = 'klaviyo'\"",
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
