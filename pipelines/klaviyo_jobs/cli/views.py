"""Apply the SQL views and list them, or print them for another engine."""

from __future__ import annotations

from typing import Annotated

import typer

from klaviyo_jobs.cli.console import print_json, print_tables
from klaviyo_jobs.cli.options import DestinationOption, JsonOption, WarehouseOption, engine_of, naming_way_back


def views_command(
    warehouse: WarehouseOption = None,
    destination: DestinationOption = None,
    dialect: Annotated[
        str,
        typer.Option(
            "--dialect", metavar="NAME", help="With --print: the SQL dialect of another engine, e.g. postgres or spark."
        ),
    ] = "duckdb",
    is_printed: Annotated[
        bool, typer.Option("--print", help="Print the SQL that makes the views instead; no warehouse is needed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Apply the SQL views to the warehouse and list them."""
    if is_printed:
        _print_views(dialect)
        return
    if dialect != "duckdb":
        raise typer.BadParameter(
            "goes with --print; where views are applied, --destination says.", param_hint="'--dialect'"
        )
    from klaviyo_jobs.monitor.report import plain_table
    from klaviyo_jobs.settings import read_settings
    from klaviyo_jobs.warehouse.views import apply_views

    settings = read_settings()
    engine = engine_of(settings, "views", warehouse, destination)
    with naming_way_back(settings), engine.open(must_exist=True) as connection, engine.errors():
        with engine.changing_tables():
            names = apply_views(connection, **settings.of_views)
        comments = connection.view_comments()
    if as_json:
        views = [{"view": f"klaviyo.{name}", "comment": comments.get(name)} for name in names]
        print_json({"warehouse": engine.place, "views": views}, since=None)
        return
    table = plain_table(f"Views in {engine.place}")
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
