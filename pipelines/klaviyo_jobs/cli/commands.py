"""
The command `klaviyo-jobs`: arguments in, exit code out; the one place that prints or exits.

Exit codes: 0 done, 1 unexpected, 2 usage or settings, 3 key refused, 4 API unavailable, 5 partial, 6 another run holds
the lock, 7 warehouse problem, 8 a check's threshold is breached, 130 stopped by SIGINT, 143 stopped by SIGTERM.
Results go to stdout; progress, log lines and errors to stderr.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import duckdb
import typer

from klaviyo_jobs import __version__
from klaviyo_jobs.cli.console import err, out
from klaviyo_jobs.cli.demo import sandbox_settings
from klaviyo_jobs.cli.logs import LogFormat, is_logging_json, log_to_stderr
from klaviyo_jobs.cli.progress import Progress, show_progress
from klaviyo_jobs.cli.render import (
    outcome_object,
    render_checklist,
    render_listings,
    render_rows,
    summary_counts,
    summary_line,
    summary_object,
)
from klaviyo_jobs.errors import KlaviyoJobsError, SettingError, find_cause
from klaviyo_jobs.extract.source import build_listings
from klaviyo_jobs.log import LOGGER, OUTCOME
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.monitor.check import breach_of, render_findings, run_checks
from klaviyo_jobs.monitor.doctor.diagnosis import diagnose, render_diagnosis
from klaviyo_jobs.monitor.notify import announced
from klaviyo_jobs.monitor.report import (
    ALL_DAYS,
    FAILURE_RATES,
    THROUGHPUT,
    plain_table,
    read_report,
    render_query,
    render_report,
)
from klaviyo_jobs.runs.plan import least_seconds_of, plan_run
from klaviyo_jobs.runs.run import RunSummary, run
from klaviyo_jobs.runs.signals import stoppable
from klaviyo_jobs.settings import Settings, read_check_settings, read_settings, select_kinds
from klaviyo_jobs.warehouse.engines.duckdb import open_warehouse
from klaviyo_jobs.warehouse.lock import RunLock
from klaviyo_jobs.warehouse.migrations import add_missing_columns
from klaviyo_jobs.warehouse.prune import parse_age, prune
from klaviyo_jobs.warehouse.publish import publish
from klaviyo_jobs.warehouse.views import apply_views, views_needed

app = typer.Typer(
    name="klaviyo-jobs",
    help="Keep the history of Klaviyo's catalog bulk jobs in a SQL warehouse.",
    no_args_is_help=True,
    add_completion=False,
    # Tracebacks that show local variables would show keys.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

WarehouseOption = Annotated[
    Path | None,
    typer.Option(
        "--warehouse", metavar="PATH", help="The DuckDB file.  \\[default: warehouse.duckdb]", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of tables.")]


def _print_version(is_asked: bool) -> None:
    if is_asked:
        out.print(f"klaviyo-jobs {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            "--log-format",
            help="Log lines on stderr for people, or one JSON object a line; auto: as dlt's runtime.log_format says.",
        ),
    ] = LogFormat.AUTO,
) -> None:
    """Keep the history of Klaviyo's catalog bulk jobs in a SQL warehouse."""
    # The doctor's checklist says all that its calls would log.
    log_to_stderr(log_format, logging.CRITICAL if context.invoked_subcommand == "doctor" else logging.INFO)


@app.command("run")
def run_command(
    warehouse: WarehouseOption = None,
    account: Annotated[
        list[str] | None,
        typer.Option("--account", metavar="LABEL", help="Read only this account; repeatable.  \\[default: all]"),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help=f"Read only this kind; repeatable: {', '.join(KINDS)}.  \\[default: all]",
        ),
    ] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Read every listed job again, held or not; history is kept.")
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
    settings = read_settings()
    if kind:
        settings.kinds = kind
    path = _warehouse_path(warehouse, settings)
    if dry_run:
        _show_plan(settings, path, labels=account, full_refresh=full_refresh, as_json=as_json)
        return
    with announced("run", ping_url=settings.ping_url, webhook_url=settings.webhook_url) as announcement:
        with show_progress(progress, may_draw=not as_json) as watch:
            summary = run(
                settings,
                path,
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
    if as_json:
        print(json.dumps(summary_object(summary)))
    elif out.is_terminal:
        out.print(render_listings(summary.outcomes), render_rows(summary))
    for job_kind, names in summary.unmodelled.items():
        LOGGER.warning("drift: %s has members without a column, kept in `extra`: %s", job_kind, ", ".join(names))
    if (replayed := summary.replayed) is not None:
        OUTCOME.info(
            f"replayed {replayed.record_count:,} rejected records: {replayed.job_count:,} jobs and "
            f"{replayed.resource_count:,} resources can be read now, {replayed.left_count:,} records stay rejected"
        )
    OUTCOME.info(summary_line(summary), extra=summary_counts(summary))


def _show_plan(
    settings: Settings, warehouse: Path, *, labels: list[str] | None, full_refresh: bool, as_json: bool
) -> None:
    listings = build_listings(settings, labels=labels, full_refresh=full_refresh)
    outcomes = plan_run(listings, warehouse)
    list_calls = sum(outcome.page_count for outcome in outcomes)
    detail_calls = sum(outcome.detail_count for outcome in outcomes)
    seconds = least_seconds_of(outcomes)
    if as_json:
        plan = {"list_calls": list_calls, "detail_calls": detail_calls, "least_seconds": seconds}
        print(json.dumps({**plan, "listings": [outcome_object(outcome) for outcome in outcomes]}))
    else:
        out.print(render_listings(outcomes, is_plan=True))
        limits = sorted({outcome.kind.rate_limit for outcome in outcomes}, key=lambda limit: limit.steady)
        rates = " and ".join(f"{limit.burst}/s, {limit.steady}/min" for limit in limits)
        out.print(
            f"A run would make {list_calls:,} list calls and {detail_calls:,} detail calls, at {rates} for each "
            f"account: {f'at least {seconds:.0f} s' if seconds >= 1 else 'about a second'}. Nothing was written.",
            highlight=False,
            soft_wrap=True,
        )
    failed = next((outcome.error for outcome in outcomes if outcome.error), None)
    if failed is not None:
        raise failed


@app.command("publish")
def publish_command(
    target: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help="The copy.  \\[default: the setting bi_copy]", show_default=False),
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="DIR", help="Write one Parquet file a view there as well.")
    ] = None,
    keep: Annotated[int, typer.Option("--keep", metavar="N", help="Keep this many earlier copies.", min=0)] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a copy that holds jobs by one that holds none.")
    ] = False,
    warehouse: WarehouseOption = None,
    wait_lock: Annotated[
        float, typer.Option("--wait-lock", metavar="SECONDS", help="Wait for a run of the warehouse to end.", min=0)
    ] = 0,
) -> None:
    """Publish a read-only copy of the warehouse that BI tools may hold open."""
    settings = read_settings()
    path = _warehouse_path(warehouse, settings)
    if target is None and settings.bi_copy is None:
        raise SettingError(
            "there is no path for the copy.",
            data="nothing was copied.",
            next_step="name it: klaviyo-jobs publish PATH, or set `bi_copy`.",
        )
    copy = (target or Path(settings.bi_copy or "")).absolute()
    with RunLock(path, [], wait_seconds=wait_lock):
        published = publish(path, copy, force=force, keep=keep, parquet=parquet)
    out.print(
        f"{published.path}: {published.size_bytes / 2**20:,.1f} MiB, {len(published.views)} views checked"
        + (f", {len(published.parquet)} Parquet files in {parquet}" if parquet else ""),
        highlight=False,
        soft_wrap=True,
    )


@app.command("prune")
def prune_command(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="In days or weeks: 400d, 60w; 8d at the least.")
    ],
    jobs: Annotated[
        bool, typer.Option("--jobs", help="Delete jobs created before that as well, with all that belongs to them.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the rows; delete nothing.")] = False,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete old observations, ledger rows and rejected records; jobs only with --jobs."""
    path = _warehouse_path(warehouse, read_settings())
    age = parse_age(older_than)
    with RunLock(path, []), open_warehouse(path, must_exist=True) as connection:
        counts = prune(connection, age, with_jobs=jobs, is_dry_run=dry_run)
    if as_json:
        print(json.dumps({"is_dry_run": dry_run, "rows": counts}))
        return
    table = plain_table("Rows that would be deleted" if dry_run else "Rows deleted")
    table.add_column("table", no_wrap=True)
    table.add_column("rows", justify="right")
    for name, count in counts.items():
        table.add_row(f"klaviyo_raw.{name}", f"{count:,}")
    out.print(table)


@app.command("check")
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
    as_json: JsonOption = False,
) -> None:
    """Compare failures, stuck jobs, freshness and rejected records with thresholds; exit 8 if one is breached."""
    settings = read_settings()
    thresholds = read_check_settings(
        max_failed_share=max_failed_share,
        max_stuck_jobs=max_stuck_jobs,
        max_listing_age_seconds=max_listing_age,
        max_rejected_records=max_rejected_records,
        check_window_seconds=window,
    )
    path = _warehouse_path(warehouse, settings)
    with announced("check", ping_url=settings.check_ping_url, webhook_url=settings.webhook_url) as announcement:
        with _views_of(path, settings) as connection:
            findings = run_checks(
                connection,
                thresholds,
                kinds=[kind.name for kind in select_kinds(settings.kinds)],
                accounts=settings.labels,
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


@contextmanager
def _views_of(path: Path, settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the warehouse for reading its views."""
    wait_seconds = settings.warehouse_wait_seconds
    with (
        open_warehouse(path, must_exist=True, read_only=True, wait_seconds=wait_seconds) as connection,
        views_needed(path),
    ):
        yield connection


@app.command("report")
def report_command(
    days: Annotated[int, typer.Option("--days", metavar="N", help="How far back to look.", min=1, max=ALL_DAYS)] = 7,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show freshness, throughput, failure rates, latency, errors, failing resources and stuck jobs."""
    settings = read_settings()
    with _views_of(_warehouse_path(warehouse, settings), settings) as connection:
        if as_json:
            print(json.dumps(read_report(connection, days), default=str))
        else:
            out.print(*render_report(connection, days))


@app.command("doctor")
def doctor_command(
    warehouse: WarehouseOption = None,
    account: Annotated[
        list[str] | None,
        typer.Option("--account", metavar="LABEL", help="Look at this account only; repeatable.  \\[default: all]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the checklist.")] = False,
) -> None:
    """Look at settings, keys, the API, the warehouse's place and the versions; nothing is written."""
    diagnosis = diagnose(warehouse=warehouse, labels=account)
    if as_json:
        print(json.dumps(diagnosis.as_object()))
    else:
        out.print(render_checklist(render_diagnosis(diagnosis, out.width)), soft_wrap=True)
    raise typer.Exit(diagnosis.exit_code)


@app.command("views")
def views_command(warehouse: WarehouseOption = None) -> None:
    """Apply the SQL views to the warehouse and list them."""
    settings = read_settings()
    path = _warehouse_path(warehouse, settings)
    with open_warehouse(path, must_exist=True) as connection:
        add_missing_columns(connection)
        names = apply_views(connection, **settings.of_views)
        comments = dict(
            connection.execute("select view_name, comment from duckdb_views() where schema_name = 'klaviyo'").fetchall()
        )
    table = plain_table(f"Views in {path}")
    table.add_column("view", overflow="fold")
    table.add_column("what it shows")
    for name in names:
        table.add_row(f"klaviyo.{name}", comments.get(name) or "")
    out.print(table)


@app.command(
    "sandbox",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def sandbox_command(context: typer.Context) -> None:
    """Serve a local stand-in for the API, on this machine only; `klaviyo-jobs sandbox --help` lists its options."""
    os.execv(sys.executable, [sys.executable, "-m", "klaviyo_sandbox", *context.args])  # noqa: S606 - our own program


@app.command("demo")
def demo_command(
    warehouse: Annotated[Path, typer.Option("--warehouse", metavar="PATH", help="The DuckDB file.")] = Path(
        "demo.duckdb"
    ),
) -> None:
    """Run once against the sandbox, without a key, and show throughput and failure rates."""
    path = warehouse.absolute()
    LOGGER.setLevel(logging.WARNING)  # the tables below say it all
    with sandbox_settings() as settings, show_progress() as watch:
        summary = run(settings, path, watch=watch)
    out.print(render_listings(summary.outcomes), render_rows(summary))
    with open_warehouse(path) as connection:
        out.print(
            render_query(connection, "Throughput by day, from klaviyo.job_throughput_daily", THROUGHPUT),
            render_query(connection, "Failure rates by kind, from klaviyo.job_failure_rates_daily", FAILURE_RATES),
        )
    out.print(summary_line(summary), highlight=False, soft_wrap=True)
    out.print(f'\nLook into it yourself: duckdb {warehouse} -c "from klaviyo.jobs"', highlight=False, soft_wrap=True)
    if summary.error is not None:
        raise summary.error


def _warehouse_path(option: Path | None, settings: Settings) -> Path:
    return (option or Path(settings.warehouse)).absolute()


def main() -> None:
    """Run the command and exit with its code."""
    try:
        with stoppable():
            app()
    except Exception as error:
        ours = find_cause(error)
        if ours is None:
            LOGGER.exception("unexpected error")
            ours = KlaviyoJobsError(
                f"unexpected {type(error).__name__}: {error}",
                data="what was loaded before stays; a load that was cut off is repeated by the next run.",
                next_step="run again; if it repeats, open an issue with the lines above.",
            )
        if is_logging_json():
            parts = {"data": ours.data, "next_step": ours.next_step, "exit_code": ours.exit_code}
            OUTCOME.error(ours.headline, extra=parts)
        else:
            err.print(ours.render(), style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(ours.exit_code)
