"""Show the report, or write it as a page."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from klaviyo_jobs.cli.console import out, print_json, print_tables
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
    from klaviyo_jobs.cli.render import render_checklist
    from klaviyo_jobs.monitor.alarms import with_known
    from klaviyo_jobs.monitor.check import run_checks, verdict_of
    from klaviyo_jobs.monitor.page.contents import PAGE_DAYS, read_contents
    from klaviyo_jobs.monitor.page.html import check_page, write_page
    from klaviyo_jobs.monitor.report import read_report, render_report
    from klaviyo_jobs.monitor.trend import read_trend, render_trend, trend_objects
    from klaviyo_jobs.places import path_of
    from klaviyo_jobs.settings import read_check_settings, read_settings

    settings = read_settings()
    thresholds = read_check_settings()
    kinds = [kind.name for kind in select_kinds(settings.kinds)]
    engine = engine_to_read(settings, "report", warehouse, destination)
    page = path_of(html, "--html") if html is not None else None
    if page is not None:
        check_page(page, engine.file, settings.copy_path)
        days = days or PAGE_DAYS
        with open_views(engine, settings) as connection:
            contents = read_contents(connection, days, thresholds, kinds=kinds, accounts=settings.labels)
        size = write_page(page, contents)
        if as_json:
            print_json({"page": str(page), "size_bytes": size}, since=_since(days))
        else:
            out.print(f"{page.as_uri()} ({size / 1e6:.1f} MB)", highlight=False, soft_wrap=True)
        return
    with open_views(engine, settings) as connection:
        days = days or REPORT_DAYS
        found = run_checks(connection, thresholds, kinds=kinds, accounts=settings.labels)
        findings = with_known(found, connection)
        trend = read_trend(connection)
        if as_json:
            breaches = [asdict(finding) for finding in findings if finding.is_breached]
            verdict = {"is_well": not breaches, "check_count": len(findings), "breaches": breaches}
            report = {"verdict": verdict, "trend": trend_objects(trend), **read_report(connection, days)}
            print_json(report, since=_since(days))
            return
        out.print(render_checklist(verdict_of(findings)), highlight=False, soft_wrap=True)
        print_tables("", render_trend(trend, out.encoding), "", *render_report(connection, days))


def _since(days: int) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
