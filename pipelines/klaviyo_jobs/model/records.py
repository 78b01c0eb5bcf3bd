"""
What one answer holds, as records: jobs, their errors and linkages, included resources, and what could not be read.

In:     nothing; `parse.py` makes them.
Out:    the types that every room above speaks in.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from klaviyo_jobs.model.kinds import Entity

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Fault:
    """
    Something that could not be read.

    Attributes:
        json_path: Where, from the top of the answer, e.g. `$.data[3].attributes.created_at`.
        reason: What was expected and what was found.
        raw: The JSON of the smallest record around it.
        job_id: The job that the record is a part of; None if it is no part of a job that could be read.
    """

    json_path: str
    reason: str
    raw: bytes
    job_id: str | None = None


class JobError(msgspec.Struct, frozen=True, gc=False):
    """
    One error of a job; every part is optional.

    Attributes:
        meta: JSON, undocumented, and names the entity.
        original_payload: JSON that an import was sent; personal data, and None unless it is asked for.
    """

    position: int
    error_id: str | None
    code: str | None
    title: str | None
    detail: str | None
    source_pointer: str | None
    related_id: str | None
    meta: str | None
    original_payload: str | None = None


class Linkage(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One `{type, id}` pair of a job's relationship: an entity that the job has dealt with successfully so far."""

    type: str | None
    id: str | None


class Observation(NamedTuple):
    """What one observation of a job records."""

    status: str | None
    total_count: int | None
    completed_count: int | None
    failed_count: int | None
    error_count: int | None
    linkage_count: int | None
    skipped_count: int | None = None


class State(NamedTuple):
    """
    Status, counts and times: what tells whether a job changed that was stored before jobs had a `content_hash`.

    Attributes:
        observation: Status and counts.
        times: `created_at`, `completed_at` and `expires_at` in microseconds since 1970, cheap to keep and to compare.
    """

    observation: Observation
    times: tuple[int | None, int | None, int | None]


@dataclass(slots=True)
class Job:
    """
    A bulk job as one answer shows it.

    Attributes:
        linkages: What its relationships hold, one after the other, in the order served.
        linkage_positions: The place of each linkage in the answer; not 0, 1, 2 ... only where one could not be read.
        unread_error_count: Errors that could not be read; likewise *unread_linkage_count*.
        errors_are_known: Whether *errors* is what the API holds of them; if not, those that are stored stay.
        kept_error_count: How many stored errors stay.
        extra: A JSON object of the members that no column models.
        content_hash: The hash of all of this; see `content.py`.
        listed_hash: The hash of the bytes by which a listing shows the job so; None if none did.
    """

    job_id: str
    status: str
    created_at: dt.datetime
    completed_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    total_count: int | None = None
    completed_count: int | None = None
    failed_count: int | None = None
    skipped_count: int | None = None
    errors: list[JobError] = field(default_factory=list)
    linkages: list[Linkage] = field(default_factory=list)
    linkage_positions: Sequence[int] = ()
    unread_error_count: int = 0
    unread_linkage_count: int = 0
    extra: str | None = None
    errors_are_known: bool = True
    kept_error_count: int = 0
    content_hash: str = field(default="", compare=False)
    listed_hash: str | None = field(default=None, compare=False)

    @property
    def error_count(self) -> int:
        """Errors that the API holds of the job, those that could not be read included."""
        return len(self.errors) + self.kept_error_count + self.unread_error_count

    @property
    def linkage_count(self) -> int:
        """Linkages that the API holds of the job, those that could not be read included."""
        return len(self.linkages) + self.unread_linkage_count

    @property
    def observation(self) -> Observation:
        """What an observation of the job records."""
        counts = (self.total_count, self.completed_count, self.failed_count, self.error_count, self.linkage_count)
        return Observation(self.status, *counts, self.skipped_count)

    @property
    def state(self) -> State:
        """The job's state, to be compared with a stored one."""
        times = (microseconds_of(self.created_at), microseconds_of(self.completed_at), microseconds_of(self.expires_at))
        return State(self.observation, times)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that a detail includes: its id, its attributes by column name, and what no column models."""

    entity: Entity
    resource_id: str
    columns: dict[str, Any]
    extra: str | None


@dataclass(slots=True)
class Parsed:
    """
    What one answer held.

    Attributes:
        jobs: Those that could be read.
        resources: Included resources that could be read.
        faults: What could not be read.
        unmodelled: Names of members that no column models; their values are in `extra`.
    """

    jobs: list[Job] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unmodelled: set[str] = field(default_factory=set)


@dataclass(slots=True)
class ParsedErrors:
    """What one page of the errors of a job held: those that could be read, and what could not be."""

    errors: list[JobError] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def time_of(microseconds: int) -> dt.datetime:
    """Return the moment that many *microseconds* after 1970."""
    return _EPOCH + microseconds * _MICROSECOND


def microseconds_of(time: dt.datetime | None) -> int | None:
    """Return *time* as microseconds since 1970."""
    return None if time is None else (time - _EPOCH) // _MICROSECOND
