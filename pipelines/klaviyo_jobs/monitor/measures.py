"""
Measure in the views what a threshold can be set for.

In:     an open warehouse whose views are applied, and thresholds.
Out:    a `Finding` for each account and job kind that there is something to tell of.
Window: what runs came to know in it. A job that ended before, but was first seen now, counts now; what is known for
        longer has been told.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from klaviyo_jobs.quantities import age_text
from klaviyo_jobs.settings import CheckSettings
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA, VIEW_SCHEMA, Connection


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was checked.

    Attributes:
        check: The name of a measure, or of a file of `sql/checks/` or `sql/information/`.
        account: The account it is about; None for all.
        job_kind: The job kind it is about; None for all.
        value: What was found: a share, jobs, seconds, records, rows or pauses. None if there is nothing to measure yet.
        threshold: The highest value that is no breach.
        is_breached: Whether the value is higher, or not known where it has to be.
        seen: What it was found on, in a few words.
        is_judged: Whether there is enough to judge; if not, nothing is breached.
        is_information: Whether it tells of Klaviyo's own contradictions, which nobody can mend; never breached.
        is_acknowledged: Whether somebody has said that it is known; then it is not breached until it changes.
        subject: What it stands on, if that tells better than the value whether it has changed.
    """

    check: str
    account: str | None
    job_kind: str | None
    value: float | None
    threshold: float
    is_breached: bool
    seen: str
    is_judged: bool = True
    is_information: bool = False
    is_acknowledged: bool = False
    subject: str | None = None


class Measure(NamedTuple):
    """
    A question to the views.

    Attributes:
        check: Its name in findings.
        setting: The setting that holds its threshold.
        nothing: What is said if it has no row.
        query: Answers with account, job_kind, value, seen, subject and whether there is enough to judge.
    """

    check: str
    setting: str
    nothing: str
    query: str


# The jobs of which a run came to know in the window how they stand. The table is asked, whose times need no conversion.
_RECENT_JOBS: Final = f"""
    recent_jobs as (
        select account, job_kind, job_id
        from {RAW_SCHEMA}.jobs
        where coalesce(last_changed_at, first_seen_at, completed_at, created_at) >= $since
    )
"""

MEASURES: Final = (
    Measure(
        "failed_share",
        "max_failed_share",
        "no operation ended in the window",
        f"""
        with {_RECENT_JOBS}

        select
            account,
            job_kind,
            sum(operations_failed) / sum(total_count) as value,
            cast(sum(operations_failed) as bigint) || ' of ' || cast(sum(total_count) as bigint) || ' operations'
            || case when sum(total_count) < $min_operations then ', too few to judge' else '' end as seen,
            null as subject,
            sum(total_count) >= $min_operations as is_judged
        from {VIEW_SCHEMA}.jobs
        inner join recent_jobs using (account, job_kind, job_id)
        where outcome in ('succeeded', 'partly_failed', 'failed', 'incomplete') and total_count > 0
        group by account, job_kind
        order by account, job_kind
        """,
    ),
    Measure(
        "stuck_jobs",
        "max_stuck_jobs",
        "no job is stuck",
        f"""
        select
            account,
            job_kind,
            count(*) as value,
            'the oldest is ' || arg_max(job_id, age_seconds) || ', created at '
            || strftime(min(created_at_utc), '%Y-%m-%d %H:%M:%S') as seen,
            md5(string_agg(job_id, ' ' order by job_id)) as subject,
            true as is_judged
        from {VIEW_SCHEMA}.stuck_jobs
        group by account, job_kind
        order by account, job_kind
        """,
    ),
    Measure(
        "rejected_records",
        "max_rejected_records",
        "no record was rejected in the window",
        f"""
        select
            account,
            job_kind,
            count(*) as value,
            'the newest: ' || arg_max(reason, last_rejected_at_utc) as seen,
            md5(string_agg(record_hash, ' ' order by record_hash)) as subject,
            true as is_judged
        from {VIEW_SCHEMA}.rejected_records
        where last_rejected_at_utc >= $since_utc
        group by account, job_kind
        order by account, job_kind
        """,
    ),
    Measure(
        "silence",
        "max_silence",
        "no kind has pauses that are known",
        # Busy hours and not jobs, so that a hundred jobs of one push are one sign of life; the longest pause but for
        # one in twenty is the usual one. Of four weeks, so that what is used no more is forgotten.
        f"""
        with

        listed as (
            select account, job_kind, max(finished_at_utc) as listed_at_utc
            from {VIEW_SCHEMA}.listings
            where is_complete
            group by account, job_kind
        ),

        busy as (
            select distinct
                jobs.account, jobs.job_kind, listed.listed_at_utc, date_trunc('hour', jobs.created_at_utc) as hour_utc
            from {VIEW_SCHEMA}.jobs as jobs
            inner join listed on jobs.account = listed.account and jobs.job_kind = listed.job_kind
            where jobs.created_at_utc > listed.listed_at_utc - interval '28 days'
                -- Said twice, as the day reaches the table.
                and jobs.created_on >= cast((current_timestamp at time zone 'UTC') - interval '60 days' as date)
        ),

        paused as (
            select
                *,
                epoch(hour_utc - lag(hour_utc) over (partition by account, job_kind order by hour_utc)) as pause_seconds
            from busy
        ),

        usual as (
            select
                account,
                job_kind,
                quantile_cont(pause_seconds, 0.95) as usual_seconds,
                epoch(max(listed_at_utc) - max(hour_utc)) as silent_seconds,
                max(hour_utc) as last_hour_utc
            from paused
            group by account, job_kind
            having count(pause_seconds) >= 5
        )

        select
            account,
            job_kind,
            silent_seconds / usual_seconds as value,
            'no new job for [[' || cast(silent_seconds as bigint) || ']], usually [[' || cast(usual_seconds as bigint)
            || ']] at most; the last after ' || strftime(last_hour_utc, '%Y-%m-%d %H:%M') as seen,
            strftime(last_hour_utc, '%Y-%m-%d %H:%M') as subject,
            true as is_judged
        from usual
        order by account, job_kind
        """,
    ),
    Measure(
        "limit_share",
        "max_limit_share",
        "nothing was ever listed",
        f"""
        select
            account,
            job_kind,
            used_share as value,
            jobs_in_progress || ' of ' || limit_count || ' jobs in progress' as seen,
            null as subject,
            true as is_judged
        from {VIEW_SCHEMA}.jobs_in_progress
        union all
        select
            account,
            null as job_kind,
            max(account_used_share) as value,
            max(account_jobs_in_progress) || ' of ' || max(limit_count) || ' jobs in progress, all kinds together'
                as seen,
            null as subject,
            true as is_judged
        from {VIEW_SCHEMA}.jobs_in_progress
        group by account
        order by account, job_kind nulls first
        """,
    ),
    Measure(
        "vanished_jobs",
        "max_vanished_jobs",
        "no job vanished in the window",
        f"""
        select
            account,
            job_kind,
            count(*) as value,
            'the newest is ' || arg_max(job_id, coalesce(vanished_at_utc, ended_at_utc)) as seen,
            md5(string_agg(job_id, ' ' order by job_id)) as subject,
            true as is_judged
        from {VIEW_SCHEMA}.jobs
        where not is_finished and outcome = 'vanished' and coalesce(vanished_at_utc, ended_at_utc) >= $since_utc
        group by account, job_kind
        order by account, job_kind
        """,
    ),
    Measure(
        "new_errors",
        "max_new_errors",
        "no error was new in the window",
        # To an account and kind that was first listed in the window, every error is new.
        f"""
        with

        listed as (
            select account, job_kind
            from {VIEW_SCHEMA}.listings
            where is_complete
            group by account, job_kind
            having min(finished_at_utc) < $since_utc
        ),

        {_RECENT_JOBS},

        recent as (
            select e.account, e.job_kind, e.fingerprint, count(*) as errors
            from {RAW_SCHEMA}.job_errors as e
            inner join recent_jobs using (account, job_kind, job_id)
            inner join listed using (account, job_kind)
            group by e.account, e.job_kind, e.fingerprint
        ),

        before as (
            select distinct e.account, e.job_kind, e.fingerprint
            from {RAW_SCHEMA}.job_errors as e
            inner join recent using (account, job_kind, fingerprint)
            left join recent_jobs as r on r.account = e.account and r.job_kind = e.job_kind and r.job_id = e.job_id
            where r.job_id is null
        )

        select
            account,
            job_kind,
            sum(errors) as value,
            'the most frequent, ' || max(errors) || ' times: ' || arg_max(fingerprint, errors) as seen,
            md5(string_agg(fingerprint, ' ' order by fingerprint)) as subject,
            true as is_judged
        from recent
        left join before using (account, job_kind, fingerprint)
        where before.fingerprint is null
        group by account, job_kind
        order by account, job_kind
        """,
    ),
)

# A table of its own, as what was never listed has no row.
AGE: Final = Measure(
    "listing_age_seconds",
    "max_listing_age_seconds",
    "",
    f"""
    select
        account,
        job_kind,
        age_seconds as value,
        coalesce('last complete at ' || strftime(last_complete_at_utc, '%Y-%m-%d %H:%M:%S'), 'never complete')
        || coalesce('; ' || last_error, '') as seen,
        coalesce(cast(last_complete_at_utc as varchar), 'never') as subject,
        true as is_judged
    from {VIEW_SCHEMA}.listing_freshness
    order by account, job_kind
    """,
)


# Seconds as a query writes them, for `age_text`.
_SECONDS: Final = re.compile(r"\[\[(\d+)\]\]")


class Asked(NamedTuple):
    """Which accounts and kinds findings are asked for; no account stands for all that the warehouse knows."""

    accounts: Collection[str]
    kinds: Collection[str]

    def has(self, account: str | None, job_kind: str | None) -> bool:
        """Tell whether what is found of these is asked for; what is found of all accounts or kinds is."""
        return (account is None or not self.accounts or account in self.accounts) and (
            job_kind is None or job_kind in self.kinds
        )


def findings_of(
    connection: Connection, measure: Measure, thresholds: CheckSettings, since: dt.datetime, asked: Asked
) -> Iterator[Finding]:
    """Yield a finding for each row of *measure* that is *asked* for, and one that says so if there is none."""
    threshold = getattr(thresholds, measure.setting)
    rows = [
        Finding(
            measure.check,
            account,
            job_kind,
            value,
            threshold,
            is_judged and value > threshold,
            # Nothing that somebody else wrote stands in what is said of silence.
            _SECONDS.sub(lambda found: age_text(int(found[1])), seen) if measure.check == "silence" else seen,
            is_judged,
            subject=subject,
        )
        for account, job_kind, value, seen, subject, is_judged in _rows_of(connection, measure, thresholds, since)
        if value is not None and asked.has(account, job_kind)
    ]
    yield from rows or [Finding(measure.check, None, None, 0, threshold, False, measure.nothing)]


def ages(connection: Connection, thresholds: CheckSettings, since: dt.datetime, asked: Asked) -> Iterator[Finding]:
    """Yield how old the last complete listing of each account and kind is, those never listed included."""
    threshold = thresholds.max_listing_age_seconds
    rows = {(account, kind): row for account, kind, *row in _rows_of(connection, AGE, thresholds, since)}
    for account in asked.accounts or sorted({account for account, _ in rows}) or [""]:
        for kind in asked.kinds:
            age, seen, subject, _ = rows.get((account, kind), (None, "never listed", "never", True))
            is_breached = age is None or age > threshold
            yield Finding(AGE.check, account or None, kind, age, threshold, is_breached, seen, subject=subject)


def _rows_of(
    connection: Connection, measure: Measure, thresholds: CheckSettings, since: dt.datetime
) -> list[tuple[Any, ...]]:
    values = {"since": since, "since_utc": since.replace(tzinfo=None), "min_operations": thresholds.min_operations}
    used = {name: value for name, value in values.items() if re.search(rf"\${name}\b", measure.query)}
    return connection.execute(measure.query, used).fetchall()
