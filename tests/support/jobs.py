"""Jobs as tests put them into the sandbox: finished or under way, an hour old unless told otherwise."""

from __future__ import annotations

import datetime as dt
from typing import Any

from klaviyo_sandbox import Job, RawJob, Sandbox, related_id
from support.loads import DAY, HOUR, NOW

MINUTE = dt.timedelta(minutes=1)


def job(job_id: str, *, kind: str = "item-create", created_at: dt.datetime = NOW - HOUR, **members: Any) -> Job:
    """Return a complete job of no operations; *members* are added or take the place of its own."""
    return Job(kind, job_id, created_at, **members)


def finished(kind: str, job_id: str, *related: str, **members: Any) -> Job:
    """Return a job that completed now and dealt with the entities *related*, named by the shop's own ids."""
    count = len(related) or 1
    own = {"completed_at": NOW, "total_count": count, "completed_count": count}
    return Job(kind, job_id, **{"created_at": NOW - HOUR, **own, "related_ids": _ids(related), **members})


def under_way(kind: str, job_id: str, *related: str, **members: Any) -> Job:
    """Return a job that is processing and has dealt with the entities *related* so far."""
    own = {"status": "processing", "total_count": len(related) + 1}
    return Job(kind, job_id, **{"created_at": NOW - HOUR, **own, "related_ids": _ids(related), **members})


def add_jobs(sandbox: Sandbox, count: int, *, kind: str = "item-create") -> list[str]:
    """Add *count* jobs of *kind*, a minute apart, and return their ids as the API lists them, newest first."""
    ids = [f"J{number:03}" for number in range(count)]
    sandbox.world.add(*(job(job_id, kind=kind, created_at=NOW - n * MINUTE) for n, job_id in enumerate(ids)))
    return ids


def expired(kind: str, job_id: str) -> RawJob:
    """Return a finished job that is still listed two days after it expired."""
    created_at, expires_at = NOW - 9 * DAY, NOW - 2 * DAY
    attributes = {"status": "complete", "created_at": created_at.isoformat(), "expires_at": expires_at.isoformat()}
    return raw_job(kind, job_id, created_at, **attributes)


def raw_job(kind: str, job_id: str, listed_at: dt.datetime = NOW, **attributes: Any) -> RawJob:
    """Return a job whose resource object has the *attributes* as they are given; its place in the list is *listed_at*."""
    entity, _, operation = kind.partition("-")
    record = {
        "type": f"catalog-{entity}-bulk-{operation}-job",
        "id": job_id,
        "attributes": {"total_count": 1, **attributes},
        "links": {"self": "x"},
    }
    return RawJob(kind, record, id=job_id, created_at=listed_at)


def odd(kind: str, job_id: str = "ODD", created_at: dt.datetime = NOW) -> RawJob:
    """Return a record that has an id and nothing else that could be read."""
    return RawJob(kind, {"id": job_id, "attributes": {}}, id=job_id, created_at=created_at)


def _ids(names: tuple[str, ...]) -> list[str]:
    return [related_id(name) for name in names]
