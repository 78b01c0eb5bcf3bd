"""
What a listing has read and not yet handed on.

In:     changed jobs, included resources and records that cannot be read, in the order of reading.
Out:    what is to be written of them, a batch at a time.
Twice:  a list may move while it is read, and show a job on two pages. The later read counts. A job that may still move
        is therefore kept back from a batch until the listing ends; the API allows 500 of them at a time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from klaviyo_jobs.extract.questions import FINISHED, KnownJob
from klaviyo_jobs.extract.rows import SeenJob, rank_of
from klaviyo_jobs.model.records import Fault, Job, Observation, Resource

# A batch costs dlt a few milliseconds whatever its size, and its rows stay in memory until it is full.
BATCH_JOBS: Final = 1000
BATCH_CHILDREN: Final = 100_000
# An included resource takes as much memory as so many linkages.
RESOURCE_WEIGHT: Final = 8


@dataclass(slots=True)
class Change:
    """
    A job that is new or changed: how it was last read, and what the warehouse knew of it before.

    Attributes:
        listed_as: The hash of the content that the listing showed; `job` may be what its detail says.
    """

    job: Job
    read_at: dt.datetime
    known: KnownJob | None
    last_observation: Observation | None
    listed_as: str
    detail_read_at: dt.datetime | None = None
    errors_read_at: dt.datetime | None = None

    def seen(self) -> SeenJob:
        """Return what is to be written of the job."""
        known, job = self.known, self.job
        is_same = known is not None and known.is_same(job)
        if known is not None and not job.errors_are_known:
            job.unread_error_count = known.unread_error_count
            job.kept_error_count = (known.state.observation.error_count or 0) - known.unread_error_count
        return SeenJob(
            job=self.job,
            read_at=self.read_at,
            first_seen_at=known.first_seen_at if known else self.read_at,
            last_changed_at=known.last_changed_at if known and is_same else self.read_at,
            # The detail of an unchanged job, read by an earlier run, is still that of the job.
            detail_read_at=self.detail_read_at or (known.detail_read_at if known and is_same else None),
            # Of a load that was cut off the errors may be missing.
            errors_read_at=self.errors_read_at
            or (known.errors_read_at if known and is_same and known.is_settled else None),
            is_observed=job.observation != self.last_observation,
        )


@dataclass(slots=True)
class Pending:
    """
    What is read and not yet handed on.

    Attributes:
        seen: What is to be written of each job, by its id.
        superseded: Earlier reads of them in this listing, whose observations are written all the same.
        resources: Each included resource by its id, with the job that it came with.
        rejected: Endpoint and fault of each record that cannot be read, by its hash.
    """

    seen: dict[str, SeenJob] = field(default_factory=dict)
    superseded: list[SeenJob] = field(default_factory=list)
    resources: dict[str, tuple[str, Resource]] = field(default_factory=dict)
    rejected: dict[str, tuple[str, Fault]] = field(default_factory=dict)
    _child_count: int = 0

    def add(self, seen: SeenJob) -> None:
        """Take a job in; of two reads of one, the later is to be written, as a change of the earlier."""
        job_id = seen.job.job_id
        if (other := self.seen.get(job_id)) is not None:
            if seen.read_at < other.read_at:
                return
            if other.is_observed:
                self.superseded.append(other)
            seen.first_seen_at = other.first_seen_at
            seen.is_observed = seen.job.observation != other.job.observation
            self._child_count -= _children_of(other)
        self.seen[job_id] = seen
        self._child_count += _children_of(seen)

    def add_resource(self, job_id: str, resource: Resource) -> None:
        """Take a resource in that came with a job; of two reads the one of the higher rank stays."""
        other = self.resources.get(resource.resource_id)
        if other is None or rank_of(*other) < rank_of(job_id, resource):
            self.resources[resource.resource_id] = job_id, resource

    def is_full(self) -> bool:
        """Tell whether it is a batch."""
        weight = self._child_count + RESOURCE_WEIGHT * len(self.resources)
        return len(self.seen) >= BATCH_JOBS or weight >= BATCH_CHILDREN

    def keep_back(self) -> Self:
        """Take out, and return, the jobs that may still move, unless they would fill half of a batch themselves."""
        moving = [seen for seen in self.seen.values() if seen.job.status not in FINISHED]
        if len(moving) > BATCH_JOBS // 2 or sum(map(_children_of, moving)) > BATCH_CHILDREN // 2:
            moving = []
        kept = type(self)()
        for seen in moving:
            kept.add(self.seen.pop(seen.job.job_id))
        kept.superseded, self.superseded = _parted(self.superseded, kept.seen)
        return kept


def _children_of(seen: SeenJob) -> int:
    return len(seen.job.errors) + len(seen.job.linkages)


def _parted(reads: Iterable[SeenJob], of: Iterable[str]) -> tuple[list[SeenJob], list[SeenJob]]:
    """Return the *reads* of the jobs named, and the others."""
    named = set(of)
    both: tuple[list[SeenJob], list[SeenJob]] = ([], [])
    for read in reads:
        both[read.job.job_id not in named].append(read)
    return both
