"""
Delete history that is older than the user wants to keep.

In:     an open warehouse and an age.
Out:    how many rows of each table went. Jobs go only when asked for, and then with all that belongs to them.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import pendulum

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.model.tables import JOB_ERRORS, JOB_LINKAGES, JOB_OBSERVATIONS, JOBS, LISTINGS, REJECTED_RECORDS
from klaviyo_jobs.quantities import seconds_of
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA, Connection

# A job stays in its listing for seven days; what may come back tomorrow must not be deleted today.
LEAST_AGE: Final = dt.timedelta(days=8)
_TIME_COLUMNS: Final = {
    JOB_OBSERVATIONS.name: "observed_at",
    LISTINGS.name: "started_at",
    REJECTED_RECORDS.name: "last_rejected_at",
}
_OF_A_JOB: Final = (JOB_ERRORS.name, JOB_LINKAGES.name, JOB_OBSERVATIONS.name)


def parse_age(text: str) -> pendulum.Duration:
    """Read an age in days or weeks, such as `400d` or `60w`; SettingError if it is none, or less than eight days."""
    try:
        age = pendulum.duration(seconds=seconds_of(text))
    except (ValueError, OverflowError):
        age = None
    if age is None or age < LEAST_AGE:
        raise SettingError(
            f"--older-than {text!r} is {'not an age' if age is None else 'too short'}.",
            data="nothing was deleted.",
            next_step=f"give days or weeks, {LEAST_AGE.days}d or more: Klaviyo lists a job for seven days.",
        )
    return age


def prune(
    connection: Connection,
    age: dt.timedelta,
    *,
    with_jobs: bool = False,
    is_dry_run: bool = False,
) -> dict[str, int]:
    """
    Delete observations, ledger rows and rejected records older than *age*, all or nothing.

    Args:
        connection: Open for writing.
        age: Rows older than this go.
        with_jobs: Whether jobs created before that go as well, with their errors, linkages and observations.
        is_dry_run: Count only.
    Returns:
        The number of rows of each table that went, or would go.
    """
    before = pendulum.now("UTC") - age
    clauses = {table: f"{column} < $before" for table, column in _TIME_COLUMNS.items()}
    if with_jobs:
        old_jobs = f"select account, job_kind, job_id from {RAW_SCHEMA}.{JOBS.name} where created_at < $before"
        for table in _OF_A_JOB:
            of_old_jobs = f"(account, job_kind, job_id) in ({old_jobs})"
            clauses[table] = f"{clauses[table]} or {of_old_jobs}" if table in clauses else of_old_jobs
        # Last: the others are found through it.
        clauses[JOBS.name] = "created_at < $before"
    counts = {}
    with connection.transaction():
        for table, clause in clauses.items():
            if not connection.has_table(table):
                continue
            rows, values = f"from {RAW_SCHEMA}.{table} where {clause}", {"before": before}
            if is_dry_run:
                [(counts[table],)] = connection.execute(f"select count(*) {rows}", values).fetchall()
            else:
                counts[table] = connection.change(f"delete {rows}", values)
    return counts
