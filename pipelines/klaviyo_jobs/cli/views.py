"""Apply the SQL views and list them, or print them for another engine."""

from __future__ import annotations

from typing import Annotated

import typer

from klaviyo_jobs.cli.console import print_tables
from klaviyo_jobs.cli.options import WarehouseOption, naming_way_back, warehouse_path


def views_command(
    warehouse: WarehouseOption = None,
    dialect: Annotated[
        str,
        typer.Option(
            "--dialect", metavar="NAME", help="With --print: the SQL dialect of another engine, e.g. postgres or spark."
        ),
    ] = "duckdb",
    is_printed: Annotated[
        bool, typer.Option("--print", help="Print the SQL that makes the views instead; no warehouse is needed.")
    ] = False,
) -> None:
    """Apply the SQL views to the warehouse and list them."""
    if is_printed:
        _print_views(dialect)
        return
    if dialect != "duckdb":
        raise typer.BadParameter(
            "goes with --print; this command applies views to DuckDB only.", param_hint="'--dialect'"
        )
    from klaviyo_jobs.monitor.report import plain_table
    from klaviyo_jobs.settings import read_settings
    from klaviyo_jobs.warehouse.engines.duckdb import open_warehouse
    from klaviyo_jobs.warehouse.views import apply_views

    settings = read_settings()
    path = warehouse_path(warehouse, settings)
    with naming_way_back(settings), open_warehouse(path, settings.memory, must_exist=True) as connection:
        names = apply_views(connection, **settings.of_views)
        comments = dict(
            connection.execute("select view_name, comment from duckdb_views() where schema_name = 'klaviyo'").fetchall()
        )
    table = plain_table(f"Views in {path}")
    table.add_column("view", overflow="fold")
    table.add_column("what it shows")
    for name in names:
        table.add_row(f"klaviyo.{name}", comments.get(name) or "")
    print_tables(table)


def _print_views(dialect: str) -> None:
    from klaviyo_jobs.settings import read_settings
    from klaviyo_jobs.warehouse.views import statements_of_views

    for statement in statements_of_views(dialect, **read_settings().of_views):
        print(f"{statement};\n")
