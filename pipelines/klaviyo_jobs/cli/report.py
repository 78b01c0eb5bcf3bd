"""Show the report."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from klaviyo_jobs.cli.console import print_tables
from klaviyo_jobs.cli.options import DestinationOption, JsonOption, WarehouseOption, engine_to_read, open_views
from klaviyo_jobs.monitor.report import ALL_DAYS


def report_command(
    days: Annotated[int, typer.Option("--days", metavar="N", help="How far back to look.", min=1, max=ALL_DAYS)] = 7,
    warehouse: WarehouseOption = None,
    destination: DestinationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show freshness, throughput, failure rates, latency, errors, failing resources and stuck jobs."""
    from klaviyo_jobs.monitor.report import read_report, render_report
    from klaviyo_jobs.settings import read_settings

    settings = read_settings()
    engine = engine_to_read(settings, "report", warehouse, destination)
    with open_views(engine, settings) as connection:
        if as_json:
            print(json.dumps(read_report(connection, days), default=str))
        else:
            print_tables(*render_report(connection, days))
