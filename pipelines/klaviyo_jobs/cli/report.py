"""Show the report, or write it as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from klaviyo_jobs.cli.console import out, print_tables
from klaviyo_jobs.cli.options import DestinationOption, JsonOption, WarehouseOption, engine_to_read, open_views
from klaviyo_jobs.monitor.report import ALL_DAYS, REPORT_DAYS


def report_command(
    days: Annotated[
        int | None,
        typer.Option(
            "--days",
            metavar="N",
            help="How far back to look.  \\[default: 7; of a page 30]",
            min=1,
            max=ALL_DAYS,
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="PATH", help="Write one page for a browser instead, all that it needs in it."),
    ] = None,
    warehouse: WarehouseOption = None,
    destination: DestinationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show freshness, throughput, failure rates, latency, errors, failing resources and stuck jobs."""
    from klaviyo_jobs.choices import select_kinds
    from klaviyo_jobs.monitor.page.html import PAGE_DAYS, check_page, make_page
    from klaviyo_jobs.monitor.report import read_report, render_report
    from klaviyo_jobs.places import path_of
    from klaviyo_jobs.settings import read_check_settings, read_settings

    settings = read_settings()
    thresholds = read_check_settings()
    kinds = [kind.name for kind in select_kinds(settings.kinds)]
    engine = engine_to_read(settings, "report", warehouse, destination)
    page = path_of(html, "--html") if html is not None else None
    if page is not None:
        check_page(page)
    with open_views(engine, settings) as connection:
        if page is not None:
            size = make_page(
                connection, page, thresholds, days=days or PAGE_DAYS, kinds=kinds, accounts=settings.labels
            )
            if as_json:
                print(json.dumps({"page": str(page), "bytes": size}))
            else:
                out.print(f"{page.as_uri()} ({size / 1e6:.1f} MB)", highlight=False, soft_wrap=True)
        elif as_json:
            print(json.dumps(read_report(connection, days or REPORT_DAYS), default=str))
        else:
            print_tables(*render_report(connection, days or REPORT_DAYS))
