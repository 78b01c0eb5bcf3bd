"""What the API holds and what the warehouse holds, in the same columns, to be compared."""

from __future__ import annotations

import datetime as dt
from typing import Any

from klaviyo_sandbox import JobError, Sandbox
from support.loads import Warehouse


def expected_jobs(sandbox: Sandbox, kind: str) -> list[tuple[Any, ...]]:
    """What the API holds of *kind*, in the columns of `jobs`."""
    return sorted(
        (
            job.id,
            job.status,
            job.created_at,
            job.completed_at,
            job.created_at + dt.timedelta(days=7),
            job.total_count,
            job.completed_count,
            job.failed_count,
            len(job.errors or ()),
            len(job.related_ids or ()),
        )
        for job in sandbox.expected(kind)
    )


def loaded_jobs(warehouse: Warehouse, kind: str) -> list[tuple[Any, ...]]:
    """What the warehouse holds of *kind*, in the same columns."""
    return warehouse.rows(
        """
        select job_id, status, created_at, completed_at, expires_at, total_count, completed_count, failed_count,
            error_count, linkage_count
        from klaviyo_raw.jobs where job_kind = ? order by job_id
        """,
        kind,
    )


def expected_errors(sandbox: Sandbox, kind: str) -> list[tuple[Any, ...]]:
    """Every error the API holds of *kind*, with its place in its job."""
    return sorted(
        (job.id, position, error.id, error.code, error.title, error.detail, error.related_id)
        for job in sandbox.expected(kind)
        for position, error in enumerate(job.errors or ())
        if isinstance(error, JobError)
    )


def loaded_errors(warehouse: Warehouse, kind: str) -> list[tuple[Any, ...]]:
    """Every error the warehouse holds of *kind*."""
    return warehouse.rows(
        """
        select job_id, position, error_id, code, title, detail, related_id
        from klaviyo_raw.job_errors where job_kind = ? order by job_id, position
        """,
        kind,
    )


def expected_linkages(sandbox: Sandbox, kind: str) -> list[tuple[Any, ...]]:
    """Every linkage the API holds of *kind*, with its place in its job."""
    return sorted(
        (job.id, position, linkage)
        for job in sandbox.expected(kind)
        for position, linkage in enumerate(job.related_ids or ())
    )


def loaded_linkages(warehouse: Warehouse, kind: str) -> list[tuple[Any, ...]]:
    """Every linkage the warehouse holds of *kind*."""
    return warehouse.rows(
        "select job_id, position, related_id from klaviyo_raw.job_linkages where job_kind = ? order by job_id, position",
        kind,
    )


def assert_loaded(sandbox: Sandbox, warehouse: Warehouse, kind: str) -> None:
    """The warehouse holds of *kind* what the API holds: every job, error and linkage, in order, field by field."""
    assert loaded_jobs(warehouse, kind) == expected_jobs(sandbox, kind)
    assert loaded_errors(warehouse, kind) == expected_errors(sandbox, kind)
    assert loaded_linkages(warehouse, kind) == expected_linkages(sandbox, kind)
