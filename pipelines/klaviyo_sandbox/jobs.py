"""
Jobs: one fixed state, a plan that unfolds over time, or a raw resource object.

In:     what a world or a test wants the API to hold.
Out:    for any time, whether a job is listed and what state it is in; a pure function of that time.
Source: recorded answers at revision 2026-07-15: counters lead the status, ids are ULIDs of the creation time,
        expiry is exactly seven days after creation, failures carry the failed resource in `meta.id`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple, overload
from uuid import UUID

from klaviyo_sandbox.clock import format_time, parse_time
from klaviyo_sandbox.kinds import KINDS, check_kind

LIFETIME = timedelta(days=7)

_THE_BEGINNING = datetime.min.replace(tzinfo=UTC)

# In the last tenth of a run every operation is counted already while the status still reads `processing`.
_COUNTED_SHARE_OF_RUN = 0.9

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Progress(NamedTuple):
    """What tells two states of one job apart: the status, and how many operations are done or failed."""

    status: str
    done_count: int


@dataclass(frozen=True, slots=True)
class JobError:
    """
    One failed operation. An empty *id* is replaced by one made from the other members: equal errors stay equal.

    Attributes:
        related_id: The failed resource, served as `meta.id`; none to serve no `meta`.
        pointer: `source.pointer`; the API points at the member of the job's request body, without an index.
        payload: What an import job was sent and could not use; served as `original_payload`.
    """

    detail: str
    related_id: str | None = None
    id: str = ""
    code: str = "invalid"
    title: str = "Invalid input"
    pointer: str | None = "/data"
    payload: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", stable_uuid(self.detail, self.related_id or "", self.pointer or ""))

    def error_object(self, *, with_meta: bool) -> dict[str, Any]:
        """The JSON:API error object; revisions before 2026-07-15 are not known to have had `meta`."""
        meta = {"meta": {"id": self.related_id}} if with_meta and self.related_id is not None else {}
        source = {"pointer": self.pointer}
        return {"id": self.id, "code": self.code, **meta, "title": self.title, "detail": self.detail, "source": source}

    def import_error(self) -> dict[str, Any]:
        """The resource object that an import job's list of errors holds."""
        attributes = {
            "code": self.code,
            "title": self.title,
            "detail": self.detail,
            "source": {"pointer": self.pointer},
            "original_payload": self.payload,
        }
        return {"type": "import-error", "id": self.id, "attributes": attributes}


@dataclass(frozen=True, slots=True)
class Job:
    """
    One job in one state, served as it is until it expires.

    Attributes:
        related_ids: What has succeeded so far; none to leave `relationships` out, as the API does when every
            operation of a catalog job failed. Of profile jobs, the lists they are about; none to serve links only.
        segment_ids: The segments that a suppression job is about.
        errors: Errors, or raw objects served as they are; none is served as null. An import job has them in a list of
            their own.
        expires_at: Seven days after `created_at` unless given; jobs of some kinds do not expire.
        extra_attributes: Added to the attributes of the resource object, or put in place of those above.
    """

    kind: str
    id: str
    created_at: datetime
    status: str = "complete"
    total_count: int = 0
    completed_count: int | None = 0
    failed_count: int | None = 0
    completed_at: datetime | None = None
    errors: Sequence[JobError | dict[str, Any]] | None = ()
    related_ids: Sequence[str] | None = ()
    expires_at: datetime | None = None
    started_at: datetime | None = None
    skipped_count: int | None = 0
    segment_ids: Sequence[str] | None = None
    extra_attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.kind, self.created_at)
        if self.expires_at is None and KINDS[self.kind].expires:
            object.__setattr__(self, "expires_at", self.created_at + LIFETIME)

    def is_listed(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at

    def progress(self, now: datetime) -> Progress:
        return Progress(self.status, (self.completed_count or 0) + (self.failed_count or 0))

    def at(self, now: datetime) -> Job:
        """The job itself: a fixed state does not depend on the time."""
        return self

    def attributes(self, *, with_meta: bool = True) -> dict[str, Any]:
        """The attributes that its kind knows, by name, and the extra ones."""
        errors = self.errors
        known: dict[str, Any] = {
            "completed_at": _time(self.completed_at),
            "completed_count": self.completed_count,
            "created_at": format_time(self.created_at),
            "errors": None if errors is None else [_error_object(error, with_meta) for error in errors],
            "expires_at": _time(self.expires_at),
            "failed_count": self.failed_count,
            "skipped_count": self.skipped_count,
            "started_at": _time(self.started_at),
            "status": self.status,
            "total_count": self.total_count,
        }
        return {name: known[name] for name in KINDS[self.kind].fields} | dict(self.extra_attributes)

    def related(self, relationship: str) -> Sequence[str] | None:
        """The ids that the *relationship* holds; none if it has no data."""
        return self.related_ids if relationship == KINDS[self.kind].relationship else self.segment_ids


@dataclass(frozen=True, slots=True)
class JobPlan:
    """
    How one job unfolds: queued, then processing with growing counts, then complete or cancelled.

    Attributes:
        related_ids: One resource per operation, in the order they are worked through.
        failures: The `detail` of each operation that fails, by its position in *related_ids*. One of a suppression is
            skipped instead.
        list_ids: The lists that a profile job is about.
        queued_for: How long the job waits first.
        runs_for: How long it is processing.
        cancelled_after: How many operations were done when somebody cancelled it; none to run to the end.
    """

    kind: str
    id: str
    created_at: datetime
    related_ids: Sequence[str]
    failures: Mapping[int, str] = field(default_factory=dict)
    queued_for: timedelta = timedelta()
    runs_for: timedelta = timedelta(seconds=20)
    cancelled_after: int | None = None
    list_ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check(self.kind, self.created_at)

    def is_listed(self, now: datetime) -> bool:
        return self.created_at <= now and (not KINDS[self.kind].expires or now < self.created_at + LIFETIME)

    def progress(self, now: datetime) -> Progress:
        running_for = now - self.created_at - self.queued_for
        last = len(self.related_ids) if self.cancelled_after is None else self.cancelled_after
        if running_for < timedelta():
            return Progress("queued", 0)
        if running_for >= self.runs_for:
            return Progress("complete" if self.cancelled_after is None else "cancelled", last)
        return Progress("processing", int(min(1.0, running_for / (self.runs_for * _COUNTED_SHARE_OF_RUN)) * last))

    def at(self, now: datetime) -> Job:
        """The job's state at *now*."""
        status, done_count = self.progress(now)
        failed = [position for position in sorted(self.failures) if position < done_count]
        succeeded = tuple(
            related
            for position, related in enumerate(islice(self.related_ids, done_count))
            if position not in self.failures
        )
        is_finished = status in ("complete", "cancelled")
        kind = KINDS[self.kind]
        related = None if kind.is_of_catalogs and is_finished and failed and not succeeded else succeeded
        return Job(
            kind=self.kind,
            id=self.id,
            created_at=self.created_at,
            status=status,
            total_count=len(self.related_ids),
            completed_count=len(succeeded),
            failed_count=len(failed),
            skipped_count=len(failed),
            started_at=None if status == "queued" else self.created_at + self.queued_for,
            completed_at=self.created_at + self.queued_for + self.runs_for if is_finished else None,
            errors=tuple(self._error(position) for position in failed),
            related_ids=self.list_ids if kind.entity == "profile" else related,
        )

    def _error(self, position: int) -> JobError:
        kind, related = KINDS[self.kind], self.related_ids[position]
        member = f"{kind.entity}s" if kind.entity == "profile" else kind.relationship
        return JobError(
            detail=self.failures[position],
            related_id=related,
            id=stable_uuid(self.id, str(position)),
            pointer=f"/data/attributes/{member}/data/id",
            payload={"email": f"{related}@customers.example", "first_name": "Ada"} if kind.has_own_errors else None,
        )


@dataclass(frozen=True, slots=True)
class RawJob:
    """
    A resource object served as it is given, whatever the revision and the fields asked for. It never expires.

    Attributes:
        id: Under which the detail endpoint and cursors know it; taken from the resource object unless given.
        created_at: Its place in the list; taken from the resource object if none is given, else the very end.
    """

    kind: str
    resource_object: dict[str, Any]
    id: str = ""
    created_at: datetime = _THE_BEGINNING

    def __post_init__(self) -> None:
        _check(self.kind, self.created_at)
        attributes = self._attributes()
        if not self.id:
            object.__setattr__(self, "id", str(self.resource_object.get("id") or attributes.get("job_id") or "raw"))
        if self.created_at == _THE_BEGINNING:
            with suppress(KeyError, TypeError, ValueError):
                object.__setattr__(self, "created_at", parse_time(attributes["created_at"]))

    def is_listed(self, now: datetime) -> bool:
        return True

    def progress(self, now: datetime) -> Progress:
        return Progress(str(self._attributes().get("status", "")), 0)

    def _attributes(self) -> dict[str, Any]:
        """Its attributes; empty where a test has put something else in their place."""
        attributes = self.resource_object.get("attributes")
        return attributes if isinstance(attributes, dict) else {}


Entry = Job | JobPlan | RawJob


@dataclass(frozen=True, slots=True)
class NumberedIds(Sequence[str]):
    """Compound ids numbered from *first* on, made when looked at, so that big worlds cost no memory."""

    prefix: str
    first: int
    length: int

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[str]: ...
    def __getitem__(self, position: int | slice) -> str | Sequence[str]:
        chosen = range(self.first, self.first + self.length)[position]
        return self._id(chosen) if isinstance(chosen, int) else [self._id(number) for number in chosen]

    def __iter__(self) -> Iterator[str]:
        return (self._id(number) for number in range(self.first, self.first + self.length))

    def _id(self, number: int) -> str:
        return related_id(f"{self.prefix}{number}")


def related_id(external_id: str) -> str:
    """The compound id of a catalog resource of the default integration and catalog."""
    return f"$custom:::$default:::{external_id}"


def external_id_of(compound_id: str) -> str:
    """The last part of a compound id."""
    return compound_id.rpartition(":::")[2]


def ulid_at(created_at: datetime, salt: str = "") -> str:
    """A ULID whose time part decodes to *created_at*, to the millisecond; the same for the same arguments."""
    milliseconds = (created_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    value = milliseconds << 80 | int.from_bytes(digest(salt, str(created_at.microsecond), size=10))
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def stable_uuid(*parts: str) -> str:
    """A UUID that is the same for the same parts."""
    return str(UUID(bytes=digest(*parts, size=16), version=4))


def digest(*parts: str, size: int) -> bytes:
    """*size* bytes that look random and depend on *parts* only, on every machine and in every process."""
    return blake2b("\0".join(parts).encode(), digest_size=size).digest()


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)


def _error_object(error: JobError | dict[str, Any], with_meta: bool) -> dict[str, Any]:
    return error.error_object(with_meta=with_meta) if isinstance(error, JobError) else error


def _check(kind: str, created_at: datetime) -> None:
    check_kind(kind)
    if created_at.tzinfo is None:
        raise ValueError(f"created_at needs a time zone: {created_at}")
