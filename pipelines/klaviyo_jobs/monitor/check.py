"""
Compare what the views say with the thresholds of the settings.

In:     an open warehouse whose views are applied, and thresholds.
Out:    one `Finding` for each thing that was checked: its value, its threshold, and whether that is breached.
Checks: the failed share of what ended lately, jobs that are stuck, the age of the last complete listing, records that
        were rejected lately, and the queries of `sql/checks/`, which must find nothing in what runs wrote lately.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pendulum

from klaviyo_jobs.errors import ThresholdError
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.settings import CheckSettings
from klaviyo_jobs.warehouse.engines.duckdb import VIEW_SCHEMA, Connection
from klaviyo_jobs.warehouse.views import read_checks

_FAILED_SHARE: Final = f"""
    select
        account,
        job_kind,
        sum(failed_count) / sum(total_count) as value,
        format('{{}} of {{}} operations', cast(sum(failed_count) as bigint), cast(sum(total_count) as bigint)) as seen
    from {VIEW_SCHEMA}.jobs
    where outcome in ('succeeded', 'partly_failed', 'failed')
        and total_count > 0
        and completed_at_utc >= (current_timestamp at time zone 'UTC') - to_seconds($window)
    group by account, job_kind
    order by account, job_kind
"""
_STUCK: Final = f"""
    select
        account,
        job_kind,
        count(*) as value,
        format(
            'the oldest is {{}}, created at {{}}',
            arg_max(job_id, age_seconds),
            strftime(min(created_at_utc), '%Y-%m-%d %H:%M:%S')
        ) as seen
    from {VIEW_SCHEMA}.stuck_jobs
    group by account, job_kind
    order by account, job_kind
"""
_FRESHNESS: Final = f"""
    select
        account,
        job_kind,
        age_seconds as value,
        coalesce('last complete at ' || strftime(last_complete_at_utc, '%Y-%m-%d %H:%M:%S'), 'never complete')
        || coalesce('; ' || last_error, '') as seen
    from {VIEW_SCHEMA}.listing_freshness
    order by account, job_kind
"""
_REJECTED: Final = f"""
    select
        account,
        job_kind,
        count(*) as value,
        'the newest: ' || arg_max(reason, last_rejected_at_utc) as seen
    from {VIEW_SCHEMA}.rejected_records
    where last_rejected_at_utc >= (current_timestamp at time zone 'UTC') - to_seconds($window)
    group by account, job_kind
    order by account, job_kind
"""
# What shows the rows behind a breach.
_QUERY_OF: Final = {
    "failed_share": f"select * from {VIEW_SCHEMA}.error_ranking order by occurrences desc",
    "stuck_jobs": f"from {VIEW_SCHEMA}.stuck_jobs",
    "listing_age_seconds": f"from {VIEW_SCHEMA}.listing_freshness",
    "rejected_records": f"from {VIEW_SCHEMA}.rejected_records",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was checked.

    Attributes:
        check: `failed_share`, `stuck_jobs`, `listing_age_seconds`, `rejected_records`, or the name of a file of
            `sql/checks/`.
        account: The account it is about; None for all.
        job_kind: The job kind it is about; None for all.
        value: What was found: a share, jobs, seconds, records or rows. None if there is nothing to measure yet.
        threshold: The highest value that is no breach.
        is_breached: Whether the value is higher, or not known where it has to be.
        seen: What it was found on, in a few words.
    """

    check: str
    account: str | None
    job_kind: str | None
    value: float | None
    threshold: float
    is_breached: bool
    seen: str


def run_checks(
    connection: Connection,
    thresholds: CheckSettings,
    *,
    kinds: Collection[str] = tuple(KINDS),
    accounts: Collection[str] = (),
    is_thorough: bool = False,
) -> list[Finding]:
    """
    Run every check.

    Args:
        connection: Open on a warehouse or on a published copy; nothing is written.
        thresholds: What is no breach, and how far back the window reaches.
        kinds: The job kinds that runs read; of others no new listing is to be expected.
        accounts: The accounts that runs read; if none is named, those that the warehouse knows.
        is_thorough: Whether the queries of `sql/checks/` look at all that is kept, and not only at the window.
    """
    since = None if is_thorough else pendulum.now("UTC").subtract(seconds=thresholds.check_window_seconds)
    window = {"window": thresholds.check_window_seconds}
    no_operation = "no operation ended in the window"
    no_record = "no record was rejected in the window"
    return [
        *_findings_of(connection, "failed_share", thresholds.max_failed_share, _FAILED_SHARE, window, no_operation),
        *_findings_of(connection, "stuck_jobs", thresholds.max_stuck_jobs, _STUCK, None, "no job is stuck"),
        *_ages(connection, thresholds.max_listing_age_seconds, kinds, accounts),
        *_findings_of(connection, "rejected_records", thresholds.max_rejected_records, _REJECTED, window, no_record),
        *run_sql_checks(connection, since),
    ]


def breach_of(findings: list[Finding]) -> ThresholdError | None:
    """Return the error of the breached thresholds among *findings*, or None."""
    breached = [finding for finding in findings if finding.is_breached]
    if not breached:
        return None
    first = breached[0]
    queries = [_QUERY_OF.get(each.check, f"the query of sql/checks/{each.check}.sql") for each in breached]
    return ThresholdError(
        f"{len(breached)} of {len(findings)} checks are breached. First: {describe(first)}.",
        data="the warehouse is as it was.",
        next_step=f"look at: {'; '.join(dict.fromkeys(queries))}.",
    )


def describe(finding: Finding) -> str:
    """Return *finding* in one line."""
    of_place = f" of {_place_of(finding)}" if _place_of(finding) else ""
    return f"{finding.check}{of_place} is {_described(finding)}"


def render_findings(findings: Iterable[Finding]) -> str:
    """Return a checklist for people: a line for each breach, and one for each check without any."""
    lines = []
    for check, group in itertools.groupby(findings, key=lambda finding: finding.check):
        of_check = list(group)
        breached = [finding for finding in of_check if finding.is_breached]
        for finding in breached:
            place = f"{_place_of(finding)}: " if _place_of(finding) else ""
            lines.append(f"FAIL  {check:<20}  {place}{_described(finding)}")
        if not breached:
            worst = max(of_check, key=lambda finding: finding.value or 0)
            lines.append(f"ok    {check:<20}  {_described(worst)}")
    return "\n".join(lines)


def _place_of(finding: Finding) -> str:
    return "/".join(filter(None, [finding.account, finding.job_kind]))


def _described(finding: Finding) -> str:
    value, threshold = _with_unit(finding, finding.value), _with_unit(finding, finding.threshold)
    return f"{value}, at most {threshold} ({finding.seen})"


def _with_unit(finding: Finding, value: float | None) -> str:
    """Return *value* in the unit of *finding*: a share in percent, an age in hours, anything else as a number."""
    if value is None:
        return "unknown"
    if finding.check == "failed_share":
        return f"{value:.1%}"
    if finding.check == "listing_age_seconds":
        return f"{value / 3600:,.1f} h"
    return f"{value:,.0f}"


def _findings_of(
    connection: Connection, check: str, threshold: float, query: str, parameters: dict[str, Any] | None, nothing: str
) -> Iterator[Finding]:
    """Yield a finding for each row of *query*, and one that says *nothing* if there is none."""
    rows = connection.execute(query, parameters).fetchall()
    for account, job_kind, value, seen in rows or [(None, None, 0, nothing)]:
        yield Finding(check, account, job_kind, value, threshold, value > threshold, seen or "")


def _ages(
    connection: Connection, threshold: float, kinds: Collection[str], accounts: Collection[str]
) -> Iterator[Finding]:
    """Yield how old the last complete listing of each account and kind is, those never listed included."""
    known = {(account, kind): (age, seen) for account, kind, age, seen in connection.execute(_FRESHNESS).fetchall()}
    for account in accounts or sorted({account for account, _ in known}) or [""]:
        for kind in kinds:
            age, seen = known.get((account, kind), (None, "never listed"))
            is_breached = age is None or age > threshold
            yield Finding("listing_age_seconds", account or None, kind, age, threshold, is_breached, seen)


def run_sql_checks(connection: Connection, since: dt.datetime | None) -> Iterator[Finding]:
    """Yield what each query of `sql/checks/` finds in what runs wrote *since* then, or ever: any row is too many."""
    for name, query in read_checks().items():
        counted = f"select count(*) over (), * from ({query.rstrip().rstrip(';')}) limit 1"
        found = connection.execute(counted, {"since": since}).fetchone()
        if found is None:
            yield Finding(name, None, None, 0, 0, False, "it finds no row")
        else:
            count, account, job_kind, job_id, subject, problem = found
            place = " ".join(filter(None, [account, job_kind, job_id]))
            yield Finding(name, None, None, count, 0, True, f"{subject}: {problem}{f' ({place})' if place else ''}")
