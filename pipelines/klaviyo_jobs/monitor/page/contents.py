"""
Ask the views what the page shows.

In:     an open warehouse, how many days back to look, thresholds.
Out:    an object ready for JSON, small enough for the page.
Cost:   the rows of these days; nothing but `check` and what is under way looks further back.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pendulum

from klaviyo_jobs import __version__
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.monitor.alarms import with_known
from klaviyo_jobs.monitor.check import checklist, run_checks
from klaviyo_jobs.monitor.report import failing_entities
from klaviyo_jobs.settings import CheckSettings
from klaviyo_jobs.warehouse.engines.connection import Connection

# How far back a page looks unless it is told.
PAGE_DAYS: Final = 30
# The rows of a page, as JSON. With the scripts, 0.9 MB, it stays below 3 MB.
MAX_BYTES: Final = 1_900_000
_MOST_ERRORS: Final = 50
_MOST_FAILING: Final = 25
_MOST_EVENTS: Final = 600
_HOURS_OF_DAYS: Final = 14
# Of a young warehouse fewer days are shown, but not fewer than Klaviyo lists.
_LEAST_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Dataset:
    """
    Rows that the page filters.

    Attributes:
        name: Its name on the page.
        day: The column that a range of days is looked for in.
        query: SQL on the views, with `$since_day`, and `$since_utc` if it has to look for a time.
    """

    name: str
    day: str
    query: str


# Rows that count nothing are left out: the page fills the days and hours between.
DATASETS: Final = (
    Dataset(
        "throughput",
        "day",
        """
        select
            account,
            job_kind,
            day,
            jobs_created,
            jobs_finished,
            jobs_vanished,
            operations_completed,
            operations_failed,
            operations_skipped
        from klaviyo.job_throughput_daily
        where day >= $since_day
            and jobs_created + jobs_finished + jobs_vanished + operations_completed + operations_failed > 0
        order by day, account, job_kind
        """,
    ),
    Dataset(
        "hours",
        "day",
        """
        select
            account,
            job_kind,
            day,
            hour,
            jobs_finished,
            operations_completed,
            operations_failed
        from klaviyo.job_throughput_hourly
        where day >= $since_day and jobs_finished > 0
        order by day, hour, account, job_kind
        """,
    ),
    Dataset(
        "rates",
        "day",
        """
        select
            account,
            job_kind,
            day,
            jobs_complete,
            jobs_failed,
            jobs_partly_failed,
            jobs_cancelled,
            operations_total,
            operations_failed
        from klaviyo.job_failure_rates_daily
        where day >= $since_day and jobs_complete + jobs_cancelled > 0
        order by day, account, job_kind
        """,
    ),
    # Quantiles do not add up: each choice of an account and a kind, and of all of them, has rows of its own.
    Dataset(
        "latency",
        "day",
        """
        select
            coalesce(account, '') as account,
            coalesce(job_kind, '') as job_kind,
            ended_on as day,
            count(*) as jobs_finished,
            quantile_cont(duration_seconds, 0.5) as p50_seconds,
            quantile_cont(duration_seconds, 0.95) as p95_seconds,
            quantile_cont(duration_seconds, 0.99) as p99_seconds,
            max(duration_seconds) as max_seconds
        from klaviyo.jobs
        where is_finished and ended_on >= $since_day and duration_seconds is not null
        group by grouping sets (
            (ended_on), (account, ended_on), (job_kind, ended_on), (account, job_kind, ended_on)
        )
        order by day, account, job_kind
        """,
    ),
    Dataset(
        "errors",
        "day",
        f"""
        with

        recent as (
            select account, job_kind, fingerprint, created_on as day, job_id, detail
            from klaviyo.job_errors
            where created_on >= $since_day
        ),

        most as (
            select fingerprint, count(*) as times
            from recent
            group by fingerprint
            order by times desc, fingerprint
            limit {_MOST_ERRORS}
        ),

        before as (
            select e.account, e.job_kind, e.fingerprint
            from (select distinct account, job_kind, fingerprint from recent) as r
            inner join klaviyo_raw.job_errors as e
                on e.account = r.account and e.job_kind = r.job_kind and e.fingerprint = r.fingerprint
            inner join klaviyo_raw.jobs as j
                on j.account = e.account and j.job_kind = e.job_kind and j.job_id = e.job_id
            where j.created_on < $since_day
            group by e.account, e.job_kind, e.fingerprint
        )

        select
            r.account,
            r.job_kind,
            r.day,
            r.fingerprint,
            count(*) as occurrences,
            count(distinct r.job_id) as jobs,
            max(case when b.fingerprint is null then 0 else 1 end) as is_older
        from recent as r
        inner join most on most.fingerprint = r.fingerprint
        left join before as b
            on b.account = r.account and b.job_kind = r.job_kind and b.fingerprint = r.fingerprint
        group by r.account, r.job_kind, r.day, r.fingerprint
        order by r.day, r.account, r.job_kind, r.fingerprint
        """,
    ),
)

_NOW: Final = {
    "freshness": """
        select account, job_kind, last_complete_at_utc, last_error
        from klaviyo.listing_freshness
        order by account, job_kind
    """,
    "in_progress": """
        select account, job_kind, jobs_in_progress, limit_count
        from klaviyo.jobs_in_progress
        order by account, job_kind
    """,
    "stuck": """
        select account, job_kind, job_id, status, created_at_utc
        from klaviyo.stuck_jobs
        order by age_seconds desc, account, job_kind, job_id
        limit 500
    """,
}

# Ends with the first row that is found: of years, the first that is looked at.
_OLDER: Final = "select 1 from klaviyo_raw.jobs where created_on < $since_day limit 1"

_FAILING: Final = f"""
    select *
    from ({failing_entities(_MOST_FAILING)}) as failing
    order by failures desc, failed_utc desc, account, entity, related_id
"""


def read_contents(
    connection: Connection,
    days: int,
    thresholds: CheckSettings,
    *,
    kinds: Collection[str],
    accounts: Collection[str] = (),
    max_bytes: int = MAX_BYTES,
) -> dict[str, Any]:
    """
    Return all that the page shows, ready for JSON; times are UTC, days those of the reporting zone.

    Args:
        days: How many days to show, today among them; fewer are shown if nothing is known of the first, or if the rows
            do not fit.
        kinds: Which `check` looks at.
        accounts: Which `check` looks at; those that the warehouse knows by default.
        max_bytes: How long the rows may be as JSON.
    """
    [(zone,)] = connection.execute("select reporting_timezone from klaviyo.reporting_settings").fetchall()
    now = pendulum.now("UTC")
    today: dt.date = now.in_timezone(zone).date()
    since = today - dt.timedelta(days=days - 1)
    since_utc = _naive(pendulum.datetime(since.year, since.month, since.day, tz=zone))
    findings = with_known(run_checks(connection, thresholds, kinds=kinds, accounts=accounts), connection)
    datasets = {each.name: _rows_of(connection, each, since, today) for each in DATASETS}
    if not connection.execute(_OLDER, {"since_day": since}).fetchall():
        since = _first_day(datasets, since, today)
        days = (today - since).days + 1
    contents: dict[str, Any] = {
        "made_at": _plain(now),
        "version": __version__,
        "timezone": zone,
        "hours_of_days": _HOURS_OF_DAYS,
        "wanted_days": days,
        "until": _plain(today),
        "kinds": list(KINDS),
        "thresholds": {"listing_age_seconds": thresholds.max_listing_age_seconds},
        "check_count": len(findings),
        "breach_count": sum(finding.is_breached for finding in findings),
        "checks": [line._asdict() for line in checklist(findings)],
        **{name: _table(connection, query) for name, query in _NOW.items()},
        "failing": _table(connection, _FAILING, {"since_utc": since_utc}),
    }
    contents["events"] = _events(connection, contents["failing"], since_utc)
    return contents | _fitting(datasets, since, today, max_bytes - len(dumped(contents)))


def dumped(value: Any) -> str:
    """Return *value* as JSON that can stand inside a script of HTML, whatever texts are in it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _rows_of(connection: Connection, dataset: Dataset, since: dt.date, today: dt.date) -> dict[str, Any]:
    if dataset.name == "hours":
        since = max(since, today - dt.timedelta(days=_HOURS_OF_DAYS - 1))
    return _table(connection, dataset.query, {"since_day": since})


def _first_day(datasets: dict[str, Any], since: dt.date, today: dt.date) -> dt.date:
    """Return the first day that has a row, or the first of the last seven; *since* if that is later."""
    found = [table["rows"][0][table["columns"].index("day")] for table in datasets.values() if table["rows"]]
    first = min([dt.date.fromisoformat(day) for day in found], default=today)
    return max(since, min(first, today - dt.timedelta(days=_LEAST_DAYS - 1)))


def _events(connection: Connection, failing: dict[str, Any], since_utc: dt.datetime) -> dict[str, Any]:
    """Return what happened to the resources that fail, newest first."""
    ids = [row[failing["columns"].index("related_id")] for row in failing["rows"]]
    return _table(
        connection,
        f"""
        select account, related_id, at_utc, job_kind, job_id, result, detail
        from klaviyo.entity_history
        where list_contains($ids, related_id) and at_utc >= $since_utc
        order by at_utc desc, account, job_kind, job_id, result, position
        limit {_MOST_EVENTS}
        """,
        {"ids": ids, "since_utc": since_utc},
    )


def _fitting(datasets: dict[str, Any], since: dt.date, today: dt.date, room: int) -> dict[str, Any]:
    """Return the datasets from the first day on from which they fit into *room* bytes, and that day."""
    while True:
        size = sum(len(dumped(dataset)) for dataset in datasets.values())
        days = (today - since).days + 1
        if size <= room or days == 1:
            return {"since": _plain(since), "days": days, **datasets}
        since = today - dt.timedelta(days=max(1, min(days - 1, days * room // size)) - 1)
        for dataset in datasets.values():
            place = dataset["columns"].index("day")
            dataset["rows"] = [row for row in dataset["rows"] if row[place] >= since.isoformat()]


def _table(connection: Connection, query: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
    result = connection.execute(query, values)
    columns = [column[0] for column in result.description or ()]
    return {"columns": columns, "rows": [[_plain(value) for value in row] for row in result.fetchall()]}


def _naive(at: dt.datetime) -> dt.datetime:
    return dt.datetime.fromisoformat(at.isoformat()).astimezone(dt.UTC).replace(tzinfo=None)


def _plain(value: Any) -> Any:
    """Return *value* as JSON has it: times with the Z of UTC, whole numbers as such."""
    if isinstance(value, dt.datetime):
        at = value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
        return f"{at.isoformat(timespec='seconds')}Z"
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return round(value, 3)
    return value
