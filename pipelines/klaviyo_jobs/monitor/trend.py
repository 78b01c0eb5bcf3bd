"""
The last days at a glance: a row of small bars for jobs, and one for the share of operations that failed.

In:     an open warehouse whose views are applied.
Out:    a row for each day, or lines for a terminal.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pendulum
from rich.table import Table

from klaviyo_jobs.warehouse.engines.connection import Connection

TREND_DAYS: Final = 14

_BARS: Final = "▁▂▃▄▅▆▇█"
# Where a terminal cannot draw bars.
_DIGITS: Final = "01234567"
_NOTHING: Final = "·"

_QUERY: Final = """
    select
        day,
        sum(jobs_complete + jobs_cancelled) as jobs_finished,
        sum(operations_total) as operations,
        sum(operations_failed) as operations_failed
    from klaviyo.job_failure_rates_daily
    where day >= $since_day
    group by day
    order by day
"""


class Day(NamedTuple):
    """
    A day of the reporting zone.

    Attributes:
        jobs_finished: Jobs that ended on it, complete or cancelled.
        failed_share: Of the operations of the complete ones, how many failed, 0 to 1; None if there were none.
    """

    day: dt.date
    jobs_finished: int
    failed_share: float | None


def read_trend(connection: Connection) -> list[Day]:
    """Return the last days, oldest first, those on which nothing happened included."""
    [(zone,)] = connection.execute("select reporting_timezone from klaviyo.reporting_settings").fetchall()
    today = pendulum.now(zone).date()
    first = today.subtract(days=TREND_DAYS - 1)
    found = {
        day: (int(jobs), int(operations), int(failed))
        for day, jobs, operations, failed in connection.execute(_QUERY, {"since_day": first}).fetchall()
    }
    trend = []
    for day in (first.add(days=number) for number in range(TREND_DAYS)):
        jobs, operations, failed = found.get(day, (0, 0, 0))
        trend.append(Day(dt.date(day.year, day.month, day.day), jobs, failed / operations if operations else None))
    return trend


def render_trend(trend: Sequence[Day], encoding: str) -> Table:
    """Return both rows of bars with what they stand for; digits where *encoding* has no bars."""
    jobs = [day.jobs_finished for day in trend]
    shares = [day.failed_share for day in trend]
    known = [share for share in shares if share is not None]
    table = Table.grid(padding=(0, 2))
    for style in ("", "cyan", "", ""):
        table.add_column(style=style, no_wrap=True)
    table.add_row(
        "jobs finished", sparkline(jobs, encoding), f"{jobs[-1]:,} today", f"{max(jobs):,} on the busiest day"
    )
    today = "none today" if shares[-1] is None else f"{shares[-1]:.1%} today"
    worst = f"{max(known):.1%} on the worst day" if known else ""
    table.add_row("failed share", sparkline(shares, encoding), today, worst)
    table.add_row("", f"[dim]{trend[0].day:%b %d} – {trend[-1].day:%b %d}[/dim]")
    return table


def sparkline(values: Sequence[float | None], encoding: str = "utf-8") -> str:
    """Return a character for each of *values*, from nothing to the highest of them; a dot where there is none."""
    try:
        _BARS.encode(encoding)
        bars, nothing = _BARS, _NOTHING
    except (UnicodeEncodeError, LookupError):
        bars, nothing = _DIGITS, "."
    most = max((value for value in values if value is not None), default=0) or 1
    return "".join(nothing if value is None else bars[round(value / most * (len(bars) - 1))] for value in values)


def trend_objects(trend: Sequence[Day]) -> list[dict[str, Any]]:
    """Return the days for JSON."""
    return [{**day._asdict(), "day": day.day.isoformat()} for day in trend]
