"""Delete history older than an age."""

from __future__ import annotations

import datetime as dt
from contextlib import nullcontext
from typing import Annotated

import typer

from klaviyo_jobs.cli.console import print_json, print_tables
from klaviyo_jobs.cli.options import DestinationOption, JsonOption, WarehouseOption, engine_of, naming_way_back


def prune_command(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="In days or weeks: 400d, 60w; at least 8d.")
    ],
    jobs: Annotated[
        bool, typer.Option("--jobs", help="Delete jobs created before that as well, with all that belongs to them.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the rows; delete nothing.")] = False,
    warehouse: WarehouseOption = None,
    destination: DestinationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete old observations, ledger rows and rejected records; jobs only with --jobs."""
    from klaviyo_jobs.monitor.report import plain_table
    from klaviyo_jobs.settings import read_settings
    from klaviyo_jobs.warehouse.lock import lock_of
    from klaviyo_jobs.warehouse.prune import parse_age, prune

    settings = read_settings()
    engine = engine_of(settings, "prune", warehouse, destination)
    age = parse_age(older_than)
    with (
        naming_way_back(settings),
        lock_of(engine, []),
        engine.open(must_exist=True) as connection,
        engine.errors(),
        nullcontext() if dry_run else engine.writing(),
    ):
        counts = prune(connection, age, with_jobs=jobs, is_dry_run=dry_run)
    if as_json:
        until = dt.datetime.now(dt.UTC) - age
        print_json({"is_dry_run": dry_run, "rows": counts}, since=None, until=until)
        return
    table = plain_table("Rows that would be deleted" if dry_run else "Rows deleted")
    table.add_column("table", no_wrap=True)
    table.add_column("rows", justify="right")
    for name, count in counts.items():
        table.add_row(f"klaviyo_raw.{name}", f"{count:,}")
    print_tables(table)
