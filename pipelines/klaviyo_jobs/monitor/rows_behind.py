"""
Say where to look: the query that shows the rows behind a finding.

In:     a finding, and the beginning of the window that it was counted in.
Out:    SQL on the views, ready to be pasted, whose rows are those that the finding counted.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from klaviyo_jobs.monitor.measures import Finding
from klaviyo_jobs.warehouse.engines.connection import VIEW_SCHEMA, quoted

# By the name of the check; `{place}` stands for the finding's account and kind, `{since}` for the window's beginning.
_QUERIES: Final = {
    "failed_share": (
        f"select job_id, total_count, operations_failed from {VIEW_SCHEMA}.jobs where {{place}} and total_count > 0 "
        "and outcome in ('succeeded', 'partly_failed', 'failed', 'incomplete') and "
        "coalesce(last_changed_at_utc, first_seen_at_utc, completed_at_utc, created_at_utc) >= {since} "
        "order by operations_failed desc"
    ),
    "stuck_jobs": (f"select * from {VIEW_SCHEMA}.stuck_jobs where {{place}}"),
    "rejected_records": (
        f"select * from {VIEW_SCHEMA}.rejected_records where {{place}} and last_rejected_at_utc >= {{since}}"
    ),
    "silence": (
        f"select created_at_utc, job_id from {VIEW_SCHEMA}.jobs where {{place}} order by created_at_utc desc limit 20"
    ),
    "limit_share": (f"select * from {VIEW_SCHEMA}.jobs_in_progress where {{place}}"),
    "vanished_jobs": (
        f"select * from {VIEW_SCHEMA}.jobs where {{place}} and not is_finished and outcome = 'vanished' "
        "and coalesce(vanished_at_utc, ended_at_utc) >= {since}"
    ),
    "new_errors": (
        f"select fingerprint, count(*) as errors from {VIEW_SCHEMA}.job_errors "
        f"inner join {VIEW_SCHEMA}.jobs using (account, job_kind, job_id) where {{place}} group by fingerprint having "
        "min(coalesce(last_changed_at_utc, first_seen_at_utc, completed_at_utc, jobs.created_at_utc)) >= {since} "
        "order by errors desc"
    ),
    "listing_age_seconds": (f"select * from {VIEW_SCHEMA}.listing_freshness where {{place}}"),
}


def look_at(finding: Finding, since: dt.datetime) -> str:
    """Return the query whose rows *finding* counted in the window that began at *since*, or how to get at it."""
    query = _QUERIES.get(finding.check)
    if query is None:
        return f"the query of sql/checks/{finding.check}.sql"
    places = {"account": finding.account, "job_kind": finding.job_kind}
    place = " and ".join(f"{name} = {quoted(value)}" for name, value in places.items() if value is not None)
    return query.format(place=place or "true", since=f"timestamp '{since:%Y-%m-%d %H:%M:%S}'")
