"""
Read the views and draw them for people, or hand them over as plain objects.

In:     an open warehouse whose views are applied.
Out:    tables for a terminal, or rows for JSON; nothing is printed here.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from klaviyo_jobs.quantities import age_text

if TYPE_CHECKING:
    from klaviyo_jobs.warehouse.engines.connection import Connection, Cursor

# How far back the report looks unless it is told.
REPORT_DAYS: Final = 7
# So many rows of a ranking are drawn: of a hundred accounts of nine kinds nobody wants to see nine hundred.
_MOST_ROWS: Final = 25
# So many days that they reach back to the first job of any warehouse.
ALL_DAYS: Final = 36500

THROUGHPUT_COLUMNS: Final = """
    day,
    sum(jobs_created) as created,
    sum(jobs_finished) as finished,
    sum(operations_completed) as "operations done",
    sum(operations_failed) as "operations failed"
"""
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
# Days of the reporting zone reach the tables, and are at most a day off the hours.
_RECENT_DAY: Final = "cast($since_utc as date) - 1"


@dataclass(frozen=True, slots=True)
class Section:
    """
    One question of the report.

    Attributes:
        name: The section's name in JSON.
        title: What it shows, for people; `{days}` is how far back it looks.
        query: SQL on the views, with the parameter `$since_utc` if it looks back: so many days of 24 hours, as the
            window of `check` does.
        ranks: Whether its rows, the worst first, are one for each account and kind.
    """

    name: str
    title: str
    query: str
    ranks: bool = False


# What klaviyo.failing_entities would say if there were no other failures than those of these days, from the rows of
# these days alone: to tell of every entity that ever failed whether it was repaired takes minutes where years are kept.
_FAILING: Final = """
    with

    recent_jobs as (
        select account, job_kind, job_id, entity, operation, outcome, created_at_utc
        from klaviyo.jobs
        where created_at_utc >= $since_utc
    ),

    failed as (
        select
            e.account,
            j.entity,
            e.related_id,
            count(distinct e.job_kind || ' ' || e.job_id) as failures,
            max(j.created_at_utc) as failed_utc,
            max(case when j.operation = 'delete' then j.created_at_utc end) as failed_delete_utc,
            max(case when j.operation <> 'delete' then j.created_at_utc end) as failed_write_utc
        from klaviyo_raw.job_errors as e
        inner join recent_jobs as j using (account, job_kind, job_id)
        where e.related_id is not null
        group by e.account, j.entity, e.related_id
    ),

    succeeded as (
        select
            l.account,
            j.entity,
            l.related_id,
            max(case when j.operation = 'delete' then j.created_at_utc end) as deleted_utc,
            max(j.created_at_utc) as succeeded_utc
        from recent_jobs as j
        inner join klaviyo_raw.job_linkages as l using (account, job_kind, job_id)
        where j.outcome in ('succeeded', 'partly_failed', 'incomplete')
        group by l.account, j.entity, l.related_id
    ),

    failing as (
        select
            f.account,
            f.entity,
            f.related_id,
            coalesce(nullif(regexp_extract(f.related_id, '^.*?:::.*?:::(.*)$', 1), ''), f.related_id) as external_id,
            f.failures,
            f.failed_utc
        from failed as f
        left join succeeded as s
            on s.account = f.account and s.related_id = f.related_id and s.entity = f.entity
        where
            (f.failed_delete_utc is not null and (s.deleted_utc is null or s.deleted_utc <= f.failed_delete_utc))
            or (f.failed_write_utc is not null and (s.succeeded_utc is null or s.succeeded_utc <= f.failed_write_utc))
    ),

    most as (
        select *
        from failing
        order by failures desc, failed_utc desc, account, entity, related_id
        limit {limit}
    ),

    -- Of these few alone: of all that ever failed, texts would not fit into memory.
    details as (
        select
            e.account,
            j.entity,
            e.related_id,
            arg_max(coalesce(e.detail, ''), (j.created_at_utc, e.position)) as detail
        from klaviyo_raw.job_errors as e
        inner join recent_jobs as j using (account, job_kind, job_id)
        where e.related_id in (select m.related_id from most as m)
        group by e.account, j.entity, e.related_id
    )

    select
        m.account,
        m.entity,
        m.related_id,
        m.external_id,
        m.failures,
        m.failed_utc,
        nullif(d.detail, '') as last_detail
    from most as m
    left join details as d on d.account = m.account and d.entity = m.entity and d.related_id = m.related_id
"""


def failing_entities(limit: int) -> str:
    """Return the query for the *limit* resources that failed most since `$since_utc` and are not repaired; no order."""
    return _FAILING.format(limit=limit)


REPORT: Final = (
    Section(
        "freshness",
        "Age of the listings",
        """
        select account, job_kind as kind, last_complete_at_utc, age_seconds, last_error
        from klaviyo.listing_freshness
        order by age_seconds desc nulls first, account, job_kind
        """,
        ranks=True,
    ),
    Section(
        "throughput",
        "Throughput of the last {days} days",
        f"""
        select {THROUGHPUT_COLUMNS}
        from klaviyo.job_throughput_hourly
        where day >= {_RECENT_DAY} and hour_utc >= date_trunc('hour', cast($since_utc as timestamp))
        group by day
        order by day
        """,
    ),
    Section(
        "failure_rates",
        "Failure rates of the last {days} days",
        f"""
        select *
        from (
            select
                account,
                job_kind as kind,
                count(case when outcome <> 'cancelled' then 1 end) as jobs,
                count(case when outcome = 'failed' then 1 end) as failed,
                count(case when outcome = 'partly_failed' then 1 end) as partly,
                count(case when outcome = 'cancelled' then 1 end) as cancelled,
                sum(case when outcome <> 'cancelled' and total_count > 0 then total_count else 0 end) as operations,
                sum(case when outcome <> 'cancelled' and total_count > 0 then operations_failed else 0 end)
                / nullif(sum(case when outcome <> 'cancelled' and total_count > 0 then total_count end), 0)
                as failed_share
            from klaviyo.jobs
            where ended_on >= {_RECENT_DAY} and ended_at_utc >= $since_utc and outcome <> 'vanished'
            group by account, job_kind
        ) as rates
        -- Where no job tells how many operations it has, by the share of jobs.
        order by coalesce(failed_share, 1.0 * failed / nullif(jobs, 0)) desc nulls last, account, kind
        """,
        ranks=True,
    ),
    Section(
        "latency",
        "Seconds that jobs of the last {days} days took",
        f"""
        select
            account,
            job_kind as kind,
            count(*) as jobs,
            quantile_cont(duration_seconds, 0.5) as p50,
            quantile_cont(duration_seconds, 0.95) as p95,
            max(duration_seconds) as longest
        from klaviyo.jobs
        where is_finished and ended_on >= {_RECENT_DAY} and ended_at_utc >= $since_utc
        group by account, job_kind
        order by longest desc, account, job_kind
        """,
        ranks=True,
    ),
    Section(
        "errors",
        "Errors of the last {days} days, most frequent first",
        f"""
        select
            account,
            job_kind as kind,
            count(*) as times,
            count(distinct job_id) as jobs,
            strftime(max(created_at_utc), '%Y-%m-%d') as "last on",
            fingerprint
        from klaviyo.job_errors
        where created_on >= {_RECENT_DAY} and created_at_utc >= $since_utc
        group by account, job_kind, fingerprint
        order by times desc, fingerprint, account, kind
        limit 10
        """,
    ),
    Section(
        "failing_entities",
        "Failed in the last {days} days and not repaired since",
        f"""
        select
            account,
            entity,
            external_id as id,
            failures,
            strftime(failed_utc, '%Y-%m-%d') as "last on",
            last_detail
        from ({failing_entities(10)}) as failing
        order by failures desc, failed_utc desc, account, entity, related_id
        """,
    ),
    Section(
        "stuck_jobs",
        "Stuck now",
        """
        select account, job_kind as kind, job_id, status, age_seconds
        from klaviyo.stuck_jobs
        order by age_seconds desc, account, job_kind, job_id
        limit 10
        """,
    ),
)


def read_report(connection: Connection, days: int) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every section of the report by its name; times are naive UTC."""
    report = {}
    for section in REPORT:
        result = _execute(connection, section.query, days)
        names = [column[0] for column in result.description]
        report[section.name] = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    return report


def render_report(connection: Connection, days: int) -> Iterator[Table | str]:
    """Yield every section of the report as a table, or as a line where it has no rows; of long rankings the worst."""
    [(accounts,)] = connection.execute("select count(distinct account) from klaviyo.listings").fetchall()
    for section in REPORT:
        title = section.title.format(days=days)
        most = _MOST_ROWS if section.ranks else None
        table = render_query(connection, title, section.query, days, has_accounts=accounts > 1, most=most)
        yield table if table.row_count else f"{title}: none\n"


def plain_table(title: str) -> Table:
    """Return an empty table in the style of all of ours: a title, a heading, a rule, and no boxes."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )


def printable(text: str) -> str:
    """Return *text* with its control characters escaped (`\\x1b`), which a terminal would obey; lines stay lines."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def render_query(
    connection: Connection,
    title: str,
    query: str,
    days: int = ALL_DAYS,
    *,
    has_accounts: bool = False,
    most: int | None = None,
) -> Table:
    """
    Return the rows of *query* as a table: a `*_share` in percent, an age in days and hours.

    However narrow the terminal, no number is cut or folded: texts are.

    Args:
        has_accounts: Whether the warehouse has several accounts, so that their labels are shown.
        most: How many rows to draw at most; the title tells how many there are.
    """
    result = _execute(connection, query, days)
    names = [column[0] for column in result.description]
    rows = result.fetchall()
    if most is not None and len(rows) > most:
        title = f"{title}, the {most} worst of {len(rows):,} (--json has all)"
        rows = rows[:most]
    table = plain_table(title)
    if names[0] == "account" and not has_accounts:
        names, rows = names[1:], [row[1:] for row in rows]
    cells = [[_cell_of(name, value) for name, value in zip(names, row, strict=True)] for row in rows]
    for index, name in enumerate(names):
        is_number = any(isinstance(row[index], int | float | Decimal) for row in rows)
        heading = "age" if name == "age_seconds" else name.replace("_", " ")
        # A day, too, is one word that nobody wants to see in two lines.
        whole = is_number or name == "day"
        least = max(len(text) for text in (*(row[index] for row in cells), *heading.split())) if whole else None
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold", min_width=least)
    for row in cells:
        table.add_row(*map(escape, row))
    return table


def _execute(connection: Connection, query: str, days: int) -> Cursor:
    since_utc = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=min(days, ALL_DAYS))
    return connection.execute(query, {"since_utc": since_utc} if "$since_utc" in query else None)


def _cell_of(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name.endswith("_share"):
        return f"{value:.1%}"
    if name == "age_seconds":
        return age_text(value)
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int | Decimal):
        return f"{value:,}"
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return printable(str(value))
