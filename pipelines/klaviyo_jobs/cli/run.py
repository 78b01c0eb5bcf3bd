"""Read what is new or changed, load it and apply the views; or say what that would take."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Annotated

import typer

from klaviyo_jobs.cli.console import out, print_json, print_tables
from klaviyo_jobs.cli.logs import Steps, is_quiet, told_steps
from klaviyo_jobs.cli.options import DestinationOption, JsonOption, WarehouseOption, engine_of, naming_way_back
from klaviyo_jobs.cli.progress import Progress, may_draw, show_progress
from klaviyo_jobs.log import LOGGER, OUTCOME
from klaviyo_jobs.model.kinds import KINDS

if TYPE_CHECKING:
    from klaviyo_jobs.runs.run import RunSummary
    from klaviyo_jobs.settings import Settings
    from klaviyo_jobs.warehouse.engines.engine import Engine


def run_command(
    warehouse: WarehouseOption = None,
    destination: DestinationOption = None,
    account: Annotated[
        list[str] | None,
        typer.Option("--account", metavar="LABEL", help="Read only this account; repeatable.  \\[default: all]"),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help=f"Read only this kind, or those of a pattern (profile-*); repeatable: {', '.join(KINDS)}, or all.  "
            "\\[default: those of catalogs]",
        ),
    ] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Read every listed job again, known or not; history is kept.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Read the listings, say what a run would read and how long; write nothing."),
    ] = False,
    wait_lock: Annotated[
        float,
        typer.Option(
            "--wait-lock", metavar="SECONDS", help="Wait for another run of the same warehouse to end.", min=0
        ),
    ] = 0,
    replay_rejected: Annotated[
        bool,
        typer.Option("--replay-rejected", help="Read rejected records again as well, as after an upgrade."),
    ] = False,
    progress: Annotated[
        Progress,
        typer.Option("--progress", help="How to show what is being read; auto: bars on a terminal, else log lines."),
    ] = Progress.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Read what is new or changed, load it and apply the views."""
    from klaviyo_jobs.cli.render import summary_counts, summary_line
    from klaviyo_jobs.monitor.notify import announced
    from klaviyo_jobs.runs.run import run
    from klaviyo_jobs.settings import read_settings

    settings = read_settings()
    if kind:
        settings.kinds = kind
    engine = engine_of(settings, "run", warehouse, destination)
    if dry_run:
        with naming_way_back(settings):
            _show_plan(settings, engine, progress, labels=account, full_refresh=full_refresh, as_json=as_json)
        return
    with announced("run", ping_url=settings.ping_url, webhook_url=settings.webhook_url) as announcement:
        is_drawn = progress is Progress.BAR or (progress is Progress.AUTO and may_draw(as_json))
        steps = Steps.DROP if is_drawn else Steps.TELL if LOGGER.isEnabledFor(logging.DEBUG) else Steps.HOLD
        with (
            naming_way_back(settings),
            told_steps(steps, settings.progress_seconds),
            show_progress(settings.progress_seconds, progress, is_drawn=is_drawn) as watch,
        ):
            summary = run(
                settings,
                engine,
                labels=account,
                full_refresh=full_refresh,
                replays=replay_rejected,
                lock_wait_seconds=wait_lock,
                watch=watch,
            )
        announcement.text = summary_line(summary)
        announcement.fields = summary_counts(summary)
        _tell(summary, as_json=as_json)
        if summary.error is not None:
            raise summary.error


def _tell(summary: RunSummary, *, as_json: bool) -> None:
    """Print how the run went."""
    from klaviyo_jobs.cli.render import render_news, summary_counts, summary_line, summary_object

    if as_json:
        print_json(summary_object(summary), since=summary.started_at)
    elif out.is_terminal and not is_quiet():
        print_tables(*render_news(summary))
    for job_kind, names in summary.unmodelled.items():
        LOGGER.warning("drift: %s has members without a column, kept in `extra`: %s", job_kind, ", ".join(names))
    if (replayed := summary.replayed) is not None:
        OUTCOME.info(
            f"replayed {replayed.record_count:,} rejected records: {replayed.job_count:,} jobs and "
            f"{replayed.resource_count:,} resources can be read now, {replayed.left_count:,} records stay rejected"
        )
    OUTCOME.info(summary_line(summary), extra=summary_counts(summary))


def _show_plan(
    settings: Settings,
    engine: Engine,
    progress: Progress,
    *,
    labels: list[str] | None,
    full_refresh: bool,
    as_json: bool,
) -> None:
    from klaviyo_jobs.cli.render import outcome_object, render_listings
    from klaviyo_jobs.extract.source import build_listings
    from klaviyo_jobs.runs.failures import failure_of
    from klaviyo_jobs.runs.plan import least_seconds_of, plan_run

    started_at = dt.datetime.now(dt.UTC)
    listings = build_listings(settings, labels=labels, full_refresh=full_refresh)
    with show_progress(settings.progress_seconds, progress, is_drawn=may_draw(as_json)) as watch:
        outcomes = plan_run(listings, engine, watch=watch)
    list_calls = sum(outcome.page_count for outcome in outcomes)
    detail_calls = sum(outcome.detail_count for outcome in outcomes)
    seconds = least_seconds_of(outcomes)
    if as_json:
        plan = {"list_calls": list_calls, "detail_calls": detail_calls, "least_seconds": seconds}
        objects = [outcome_object(outcome) for outcome in outcomes]
        print_json({**plan, "listings": objects}, since=started_at)
    else:
        print_tables(render_listings(outcomes, is_plan=True))
        limits = sorted({outcome.kind.rate_limit for outcome in outcomes}, key=lambda limit: limit.steady)
        rates = " and ".join(f"{limit.burst}/s, {limit.steady}/min" for limit in limits)
        out.print(
            f"A run would make {list_calls:,} list calls and {detail_calls:,} detail calls, at {rates} for each "
            f"account: {f'at least {seconds:.0f} s' if seconds >= 1 else 'about a second'}. Nothing was written.",
            highlight=False,
            soft_wrap=True,
        )
    failed = failure_of(outcomes)
    if failed is not None:
        # Of a run it would say what is loaded.
        failed.data = "nothing was written."
        raise failed
