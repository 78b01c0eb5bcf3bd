"""
The main job without a key: start the sandbox, run against it, and show the views.

The sandbox is a program of its own that this package never imports: it is started beside it and read over HTTP.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from klaviyo_jobs.cli.console import out, print_json, print_tables
from klaviyo_jobs.cli.options import DEMO_WAREHOUSE, JsonOption
from klaviyo_jobs.cli.progress import show_progress
from klaviyo_jobs.errors import KlaviyoJobsError, SettingError
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.model.kinds import DEFAULT_KINDS
from klaviyo_jobs.monitor.report import THROUGHPUT_COLUMNS

if TYPE_CHECKING:
    from klaviyo_jobs.settings import Settings
    from klaviyo_jobs.warehouse.engines.duckdb_engine import DuckDBFile


def demo_command(
    warehouse: Annotated[Path, typer.Option("--warehouse", metavar="PATH", help="The DuckDB file.")] = Path(
        DEMO_WAREHOUSE
    ),
    clock: Annotated[
        dt.datetime | None,
        typer.Option(
            "--clock",
            metavar="UTC",
            help="When the demo's week ends, e.g. 2026-11-20T12:00.  \\[default: with the last full hour]",
            formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"],
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run once against the sandbox, without a key, and show throughput and failure rates."""
    from klaviyo_jobs.cli.render import render_listings, render_rows, summary_line, summary_object
    from klaviyo_jobs.monitor.report import render_query
    from klaviyo_jobs.places import path_of
    from klaviyo_jobs.runs.run import run
    from klaviyo_jobs.settings import refuse_unread_settings
    from klaviyo_jobs.warehouse.engines.duckdb_engine import DuckDBFile

    refuse_unread_settings()
    path = path_of(warehouse, "--warehouse")
    engine = DuckDBFile(path)
    _refuse_others(engine)
    LOGGER.setLevel(logging.WARNING)  # the tables below say it all
    with sandbox_settings(clock or _end_of_week(engine)) as settings, show_progress(settings.progress_seconds) as watch:
        summary = run(settings, engine, watch=watch)
    if as_json:
        print_json(summary_object(summary), since=summary.started_at)
        if summary.error is not None:
            raise summary.error
        return
    print_tables(render_listings(summary.outcomes), render_rows(summary))
    with engine.open() as connection:
        print_tables(
            render_query(connection, "Throughput by day, from klaviyo.job_throughput_daily", _THROUGHPUT),
            render_query(connection, "Failure rates by kind, from klaviyo.job_failure_rates_daily", _FAILURE_RATES),
        )
    out.print(summary_line(summary), highlight=False, soft_wrap=True)
    there = "" if path == path_of(DEMO_WAREHOUSE, "--warehouse") else f" --warehouse {warehouse}"
    query = "select external_id, failures, last_detail from klaviyo.failing_entities order by failures desc limit 5"
    for what, asked in (
        ("\nLook at it", f"report{there}"),
        ("In a browser", f"report --html page.html{there}"),
        ("In SQL", f'query{there} "{query}"'),
    ):
        out.print(f"{what}: klaviyo-jobs {asked}", highlight=False, soft_wrap=True)
    if summary.error is not None:
        raise summary.error


def _refuse_others(engine: DuckDBFile) -> None:
    """Raise SettingError if there are jobs that the demo has not made: its own would stand among them for ever."""
    from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA

    found = _row_of(
        engine, f"select count(*), count(case when job_id = $id then 1 end) from {RAW_SCHEMA}.jobs", {"id": _A_JOB}
    )
    count, own_count = found or (0, 0)
    if count and not own_count:
        raise SettingError(
            f"{engine.place} holds {count:,} jobs that are not the demo's, which are made up.",
            data="nothing was read or written.",
            next_step=f"name another file with --warehouse, or leave it out: {DEMO_WAREHOUSE}.",
        )


def _end_of_week(engine: DuckDBFile) -> dt.datetime:
    """
    Return the last full hour; if the demo ran today, the one of its first run today, so that nothing has changed.

    The demo's jobs keep their ids: on another day they are the same jobs, moved.
    """
    from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA

    now = dt.datetime.now(dt.UTC)
    found = _row_of(
        engine,
        f"select min(started_at) from {RAW_SCHEMA}.listings where started_at >= $today",
        {"today": now.replace(hour=0, minute=0, second=0, microsecond=0)},
    )
    first = found[0] if found else None
    return (first or now).astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)


def _row_of(engine: DuckDBFile, query: str, values: dict[str, Any]) -> tuple[Any, ...] | None:
    """Return the row that *query* gives; None where there is no warehouse yet, or not that table."""
    from klaviyo_jobs.warehouse.engines.connection import MissingTableError

    if engine.exists():
        with engine.open(read_only=True) as connection, suppress(MissingTableError):
            return connection.execute(query, values).fetchone()
    return None


# The first of its jobs; their ids are the same on every day.
_A_JOB: Final = "01M7BQDN0ABC6Q6J52DD7FEZX2"
# Days after the demo's own, up to now, are zeros that differ from day to day.
_THROUGHPUT: Final = f"""
    with

    worked as (
        select max(day) as day
        from klaviyo.job_throughput_daily
        where jobs_created > 0
    )

    select {THROUGHPUT_COLUMNS}
    from klaviyo.job_throughput_daily
    where day <= (select worked.day from worked)
    group by day
    order by day
"""
_FAILURE_RATES: Final = """
    select
        job_kind as kind,
        sum(jobs_complete) as jobs,
        sum(jobs_failed) as failed,
        sum(jobs_partly_failed) as partly,
        sum(jobs_cancelled) as cancelled,
        sum(operations_total) as operations,
        sum(operations_failed) / nullif(sum(operations_total), 0) as failed_share
    from klaviyo.job_failure_rates_daily
    group by job_kind
    having sum(jobs_complete + jobs_cancelled) > 0
    order by job_kind
"""


@contextmanager
def sandbox_settings(clock: dt.datetime) -> Iterator[Settings]:
    """Start a sandbox whose clock stands at *clock*, yield settings that read it, and end it."""
    from klaviyo_jobs.choices import DEFAULT_INCLUDE
    from klaviyo_jobs.model.revisions import DEFAULT_REVISION
    from klaviyo_jobs.settings import Settings

    command = [sys.executable, "-m", "klaviyo_sandbox", "--clock", clock.isoformat(), "--until-stdin-closes"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise KlaviyoJobsError(
                    f"the sandbox did not start (exit code {process.wait(5)}).",
                    data="nothing was read or written.",
                    next_step="run `klaviyo-jobs sandbox` to see what it says.",
                )
            ready = json.loads(line)
            # Every setting is given, so that none of the user's own is taken from the environment or a file.
            yield Settings(
                api_key=ready["accounts"]["default"],
                accounts={},
                base_url=ready["base_url"],
                revision=DEFAULT_REVISION,
                kinds=list(DEFAULT_KINDS),
                include=list(DEFAULT_INCLUDE),
            )
        finally:
            process.terminate()
