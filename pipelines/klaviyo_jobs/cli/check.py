"""Compare what the views say with thresholds."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from klaviyo_jobs.cli.console import out, print_json
from klaviyo_jobs.cli.options import DestinationOption, JsonOption, WarehouseOption, engine_of, open_views
from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.log import LOGGER

if TYPE_CHECKING:
    from klaviyo_jobs.settings import Settings
    from klaviyo_jobs.warehouse.alarms import Alarm
    from klaviyo_jobs.warehouse.engines.engine import Engine


def check_command(
    warehouse: WarehouseOption = None,
    destination: DestinationOption = None,
    accounts: Annotated[
        list[str] | None, typer.Option("--account", metavar="LABEL", help="Check only this account; repeatable.")
    ] = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", metavar="KIND", help="Check only this kind; repeatable.")
    ] = None,
    max_failed_share: Annotated[
        str | None,
        typer.Option("--max-failed-share", metavar="SHARE", help="Highest share of failed operations: 0.05 or 5%."),
    ] = None,
    min_operations: Annotated[
        int | None, typer.Option("--min-operations", metavar="N", help="From how many operations on it is judged.")
    ] = None,
    max_stuck_jobs: Annotated[
        int | None, typer.Option("--max-stuck-jobs", metavar="N", help="Highest number of stuck jobs.")
    ] = None,
    max_listing_age: Annotated[
        str | None,
        typer.Option("--max-listing-age", metavar="DURATION", help="Highest age of the last complete listing: 26h."),
    ] = None,
    max_rejected_records: Annotated[
        int | None, typer.Option("--max-rejected-records", metavar="N", help="Highest number of rejected records.")
    ] = None,
    max_silence: Annotated[
        float | None,
        typer.Option("--max-silence", metavar="TIMES", help="Longest silence, in usual pauses of the kind."),
    ] = None,
    max_limit_share: Annotated[
        str | None,
        typer.Option("--max-limit-share", metavar="SHARE", help="Highest share of the limit on jobs in progress."),
    ] = None,
    max_vanished_jobs: Annotated[
        int | None, typer.Option("--max-vanished-jobs", metavar="N", help="Highest number of jobs that vanished.")
    ] = None,
    max_new_errors: Annotated[
        int | None,
        typer.Option("--max-new-errors", metavar="N", help="Highest number of errors of sorts never seen before."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option("--window", metavar="DURATION", help="How far back to look at what runs came to know: 1d, 6h."),
    ] = None,
    is_thorough: Annotated[
        bool, typer.Option("--all", help="Look for contradictions in all that is kept, not only in the window.")
    ] = False,
    acknowledges: Annotated[
        bool, typer.Option("--acknowledge", help="Say that what is breached is known: no alarm until it changes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare failures, stuck and vanished jobs, silence and freshness with thresholds; exit 8 if one is breached."""
    from klaviyo_jobs.choices import select_kinds
    from klaviyo_jobs.cli.render import render_checklist
    from klaviyo_jobs.monitor.alarms import follow
    from klaviyo_jobs.monitor.check import breach_of, render_findings, run_checks, window_of
    from klaviyo_jobs.monitor.notify import announced
    from klaviyo_jobs.settings import read_check_settings, read_settings, resolve_keys
    from klaviyo_jobs.warehouse.alarms import read_alarms

    settings = read_settings()
    thresholds = read_check_settings(
        max_failed_share=max_failed_share,
        min_operations=min_operations,
        max_stuck_jobs=max_stuck_jobs,
        max_listing_age_seconds=max_listing_age,
        max_rejected_records=max_rejected_records,
        max_silence=max_silence,
        max_limit_share=max_limit_share,
        max_vanished_jobs=max_vanished_jobs,
        max_new_errors=max_new_errors,
        check_window_seconds=window,
    )
    wanted_kinds = [kind.name for kind in select_kinds(kinds or settings.kinds)]
    if accounts and settings.labels:
        resolve_keys(settings.api_key, settings.accounts, accounts)
    engine = engine_of(settings, "check", warehouse, destination)
    since = window_of(thresholds)
    urls = {"ping_url": settings.check_ping_url, "webhook_url": settings.webhook_url}
    with announced("check", **urls) as announcement:
        with open_views(engine, settings) as connection:
            findings = run_checks(
                connection,
                thresholds,
                since=since,
                kinds=wanted_kinds,
                accounts=accounts or settings.labels,
                is_narrowed=bool(accounts or kinds),
                is_thorough=is_thorough,
            )
            noted = read_alarms(connection)
        now = dt.datetime.now(dt.UTC)
        followed = follow(findings, noted, now, repeat_after=thresholds.repeat_after, acknowledges=acknowledges)
        # Others are remembered only if there is somebody to be told, or something to be forgotten; not in a copy.
        if acknowledges or any(urls.values()) or (noted and not _is_copy(engine)):
            _note(engine, settings, followed.alarms, list(noted.values()), must=acknowledges)
        findings = followed.findings
        announcement.text = f"all {len(findings)} checks are within their thresholds"
        announcement.fields = {"breaches": [asdict(finding) for finding in findings if finding.is_breached]}
        announcement.is_known = not followed.is_due
        announcement.has_recovered = followed.has_recovered
        breach = breach_of(findings, since)
        if as_json:
            exit_code = breach.exit_code if breach else 0
            objects = [asdict(finding) for finding in findings]
            print_json({"exit_code": exit_code, "findings": objects}, since=since, until=now)
        else:
            out.print(render_checklist(render_findings(findings)), soft_wrap=True)
        if breach is not None:
            raise breach


def _is_copy(engine: Engine) -> bool:
    """Tell whether the warehouse is a file that is there to be read only, as `publish` leaves it."""
    return engine.file is not None and not engine.file.stat().st_mode & 0o222


def _note(engine: Engine, settings: Settings, alarms: list[Alarm], noted: list[Alarm], *, must: bool) -> None:
    """Write down *alarms* where they are not those *noted*; say so if that cannot be done, or fail if it *must*."""
    from klaviyo_jobs.warehouse.alarms import write_alarms

    if sorted(map(repr, alarms)) == sorted(map(repr, noted)):
        return
    try:
        if _is_copy(engine):
            raise WarehouseError(
                f"{engine.place} is a published copy, in which nothing can be noted.",
                data="it is as it was.",
                next_step="check the warehouse itself.",
            )
        with (
            engine.open(must_exist=True, wait_seconds=settings.warehouse_wait_seconds) as connection,
            engine.errors(),
        ):
            write_alarms(connection, alarms)
    except WarehouseError as error:
        if must:
            raise
        LOGGER.warning("what was told is not remembered, and will be told again: %s", error.headline)
