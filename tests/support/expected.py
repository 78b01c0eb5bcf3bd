"""What the API holds and what the warehouse holds, in the same columns, to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from klaviyo_sandbox import KINDS, Job, JobError, Sandbox
from support.loads import Warehouse


def expected_jobs(sandbox: Sandbox, kind: str) -> list[tuple[Any, ...]]:
    """What the API holds of *kind*, in the columns of `jobs`."""
    return sorted(
        (
            job.id,
            job.status,
            job.created_at,
            job.completed_at,
            job.expires_at,
            *(job.attributes().get(f"{name}_count") for name in ("total", "completed", "failed", "skipped")),
            len(_errors_of(job)),
            len(_related_of(job)),
        )
        for job in sandbox.expected(kind)
    )


def _errors_of(job: Job) -> Sequence[JobError | dict[str, Any]]:
    """What the API shows of its errors, be they an attribute or a list of their own."""
    kind = KINDS[job.kind]
    return job.errors or () if "errors" in kind.fields or kind.has_own_errors else ()


def _related_of(job: Job) -> list[str]:
    """What its relationships hold, one after the other."""
    return [each for relationship in KINDS[job.kind].relationships for each in job.related(relationship.name) or ()]


def loaded_jobs(warehouse: Warehouse, kind: str) -> list[tuple[Any, ...]]:
    """What the warehouse holds of *kind*, in the same columns."""
    return warehouse.rows(
        """
        select job_id, status, created_at, completed_at, expires_at, total_count, completed_count, failed_count,
            skipped_count, error_count, linkage_count
        from klaviyo_raw.jobs where job_kind = ? order by job_id
        """,
        kind,
    )


def expected_errors(sandbox: Sandbox, kind: str) -> list[tuple[Any, ...]]:
    """Every error the API holds of *kind*, with its place in its job."""
    inline = "errors" in KINDS[kind].fields
    return sorted(
        # Only an error that is an attribute of its job names the resource.
        (job.id, position, error.id, error.code, error.title, error.detail, error.related_id if inline else None)
        for job in sandbox.expected(kind)
        for position, error in enumerate(_errors_of(job))
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
        for position, linkage in enumerate(_related_of(job))
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
