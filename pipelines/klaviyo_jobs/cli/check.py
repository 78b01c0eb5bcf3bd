"""Compare what the views say with thresholds."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from klaviyo_jobs.cli.console import out
from klaviyo_jobs.cli.options import JsonOption, WarehouseOption, open_views, warehouse_path


def check_command(
    warehouse: WarehouseOption = None,
    max_failed_share: Annotated[
        float | None,
        typer.Option("--max-failed-share", metavar="SHARE", help="Highest share of failed operations, 0 to 1."),
    ] = None,
    max_stuck_jobs: Annotated[
        int | None, typer.Option("--max-stuck-jobs", metavar="N", help="Highest number of stuck jobs.")
    ] = None,
    max_listing_age: Annotated[
        float | None,
        typer.Option("--max-listing-age", metavar="SECONDS", help="Highest age of the last complete listing."),
    ] = None,
    max_rejected_records: Annotated[
        int | None, typer.Option("--max-rejected-records", metavar="N", help="Highest number of rejected records.")
    ] = None,
    window: Annotated[
        float | None,
        typer.Option("--window", metavar="SECONDS", help="How far back to look at jobs and rejected records."),
    ] = None,
    is_thorough: Annotated[
        bool, typer.Option("--all", help="Look for contradictions in all that is kept, not only in the window.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare failures, stuck jobs, freshness and rejected records with thresholds; exit 8 if one is breached."""
    from klaviyo_jobs.cli.render import render_checklist
    from klaviyo_jobs.monitor.check import breach_of, render_findings, run_checks
    from klaviyo_jobs.monitor.notify import announced
    from klaviyo_jobs.settings import read_check_settings, read_settings, select_kinds

    settings = read_settings()
    thresholds = read_check_settings(
        max_failed_share=max_failed_share,
        max_stuck_jobs=max_stuck_jobs,
        max_listing_age_seconds=max_listing_age,
        max_rejected_records=max_rejected_records,
        check_window_seconds=window,
    )
    path = warehouse_path(warehouse, settings)
    with announced("check", ping_url=settings.check_ping_url, webhook_url=settings.webhook_url) as announcement:
        with open_views(path, settings) as connection:
            findings = run_checks(
                connection,
                thresholds,
                kinds=[kind.name for kind in select_kinds(settings.kinds)],
                accounts=settings.labels,
                is_thorough=is_thorough,
            )
        announcement.text = f"all {len(findings)} checks are within their thresholds"
        announcement.fields = {"breaches": [asdict(finding) for finding in findings if finding.is_breached]}
        breach = breach_of(findings)
        if as_json:
            exit_code = breach.exit_code if breach else 0
            print(json.dumps({"exit_code": exit_code, "findings": [asdict(finding) for finding in findings]}))
        else:
            out.print(render_checklist(render_findings(findings)), soft_wrap=True)
        if breach is not None:
            raise breach
