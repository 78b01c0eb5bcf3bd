"""
Parse resource objects into records, once, with every fault named by its JSON path.

In:     the JSON of one job, error, linkage or included resource, as any revision from 2022-10-17 on sends it.
Out:    `Job`, `Resource`, and a `Fault` for each part that cannot be read. A fault in a child leaves its parent whole.
Shapes: `job_id` in the attributes or `id` on top; relationship absent, with `data: []`, or with links only; members
        null, absent, or wrapped as `{"value": ...}` (in published examples of 2022-10-17); unknown statuses are kept,
        unknown members go to `extra`.
Source: Klaviyo's OpenAPI documents of 2022-10-17, 2023-12-15, 2024-10-15 and 2026-07-15; live answers recorded
        2026-09-04 (`errors[].meta`, absent relationships, `included: []`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import pendulum
from pendulum.parsing.exceptions import ParserError

from klaviyo_jobs.kinds import Entity, JobKind

Members = dict[str, msgspec.Raw]

# A hundred times what Klaviyo documents for a page, a job's resources, or a detail's included ones.
MOST_ELEMENTS: Final = 10_000
_INT64: Final = range(-(2**63), 2**63)
# What decoding bad JSON raises: bad syntax or types, bytes that are no text, nesting without end.
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
# The digits that a decimal(38, 9) holds before the point.
_NUMBER_BOUND: Final = Decimal(10) ** 29
_NUMBER_STEP: Final = Decimal("0.000000001")
_NUMBER_CONTEXT: Final = Context(prec=38)


@dataclass(frozen=True, slots=True)
class Fault:
    """
    Something that could not be read.

    Attributes:
        json_path: Where, from the top of the answer, e.g. `$.data[3].attributes.created_at`.
        reason: What was expected and what was found.
        raw: The JSON of the smallest record around it.
    """

    json_path: str
    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class JobError:
    """One member of a job's `errors`; every part is optional. `meta` is JSON, undocumented, and names the entity."""

    position: int
    error_id: str | None
    code: str | None
    title: str | None
    detail: str | None
    source_pointer: str | None
    related_id: str | None
    meta: str | None


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


class State(NamedTuple):
    """
    All that tells whether a job changed since it was stored.

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
        linkages: What its relationship holds, in the order served.
        linkage_positions: The place of each linkage in the answer; not 0, 1, 2 ... only where one could not be read.
        unread_error_count: Errors that could not be read; likewise *unread_linkage_count*.
        extra: A JSON object of the members that no column models.
    """

    job_id: str
    status: str
    created_at: dt.datetime
    completed_at: dt.datetime | None
    expires_at: dt.datetime | None
    total_count: int | None
    completed_count: int | None
    failed_count: int | None
    errors: list[JobError] = field(default_factory=list)
    linkages: list[Linkage] = field(default_factory=list)
    linkage_positions: Sequence[int] = ()
    unread_error_count: int = 0
    unread_linkage_count: int = 0
    extra: str | None = None

    @property
    def error_count(self) -> int:
        """Errors that the API holds of the job, those that could not be read included."""
        return len(self.errors) + self.unread_error_count

    @property
    def linkage_count(self) -> int:
        """Linkages that the API holds of the job, those that could not be read included."""
        return len(self.linkages) + self.unread_linkage_count

    @property
    def state(self) -> State:
        """The job's state, to be compared with a stored one."""
        counts = (self.total_count, self.completed_count, self.failed_count, self.error_count, self.linkage_count)
        times = (_microseconds(self.created_at), _microseconds(self.completed_at), _microseconds(self.expires_at))
        return State(Observation(self.status, *counts), times)


@dataclass(frozen=True, slots=True)
class Resource:
    """An included item, variant or category: its id, its attributes by column name, and what no column models."""

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


class DetailBody(msgspec.Struct):
    """One answer of a detail endpoint: `{"data": {...}, "included": [{...}, ...]}`."""

    data: msgspec.Raw
    included: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MOST_ELEMENTS)] | None = None


class _UnreadableError(Exception):
    """A value that is not of the form its place asks for; carries the path below the record."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


decode_detail: Final = msgspec.json.Decoder(DetailBody).decode
_decode_members: Final = msgspec.json.Decoder(Members).decode
_decode_list: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_linkages: Final = msgspec.json.Decoder(list[Linkage]).decode
_decode_any: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class _GlimpsedAttributes(msgspec.Struct):
    status: str
    created_at: dt.datetime
    job_id: str | None = None
    total_count: int | None = None
    completed_count: int | None = None
    failed_count: int | None = None
    completed_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    errors: list[msgspec.Raw] | None = None


class _GlimpsedRelationship(msgspec.Struct):
    data: list[msgspec.Raw] | None = None


class _Glimpse(msgspec.Struct):
    attributes: _GlimpsedAttributes
    id: str | None = None
    relationships: dict[str, _GlimpsedRelationship] | None = None


_decode_glimpse: Final = msgspec.json.Decoder(_Glimpse).decode


def glimpse_state(kind: JobKind, raw: msgspec.Raw) -> tuple[str, State] | None:
    """
    Return id and state of a plain job without parsing it: enough to tell that it is unchanged, at a tenth of the cost.

    None means that it has to be parsed to know.
    """
    try:
        glimpse = _decode_glimpse(raw)
    except _UNDECODABLE:
        return None
    attributes = glimpse.attributes
    job_id = glimpse.id or attributes.job_id
    times = (attributes.created_at, attributes.completed_at, attributes.expires_at)
    if not job_id or any(time is not None and time.tzinfo is None for time in times):
        return None
    relationship = (glimpse.relationships or {}).get(kind.entity.plural)
    observation = Observation(
        attributes.status,
        attributes.total_count,
        attributes.completed_count,
        attributes.failed_count,
        len(attributes.errors or ()),
        len(relationship.data or ()) if relationship else 0,
    )
    return job_id, State(observation, (_microseconds(times[0]), _microseconds(times[1]), _microseconds(times[2])))


def parse_page(kind: JobKind, data: Iterable[tuple[int, msgspec.Raw]]) -> Parsed:
    """Parse resource objects of one page of the listing of *kind*, each given with its place on the page."""
    parsed = Parsed()
    for index, raw in data:
        _parse_job_into(parsed, kind, raw, f"$.data[{index}]")
    return parsed


def parse_detail(kind: JobKind, body: DetailBody) -> Parsed:
    """Parse one detail: the job, if it can be read, and every included resource."""
    parsed = Parsed()
    _parse_job_into(parsed, kind, body.data, "$.data")
    for index, raw in enumerate(body.included or ()):
        path = f"$.included[{index}]"
        try:
            parsed.resources.append(_parse_resource(kind.entity, raw, parsed))
        except _UnreadableError as unreadable:
            parsed.faults.append(Fault(path + unreadable.path, unreadable.reason, bytes(raw)))
    return parsed


def _microseconds(time: dt.datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // _MICROSECOND


def external_id_of(related_id: str | None) -> str | None:
    """Return the shop's own id of a compound id, None if *related_id* is not compound."""
    parts = related_id.split(":::", 2) if related_id else []
    return parts[2] if len(parts) == 3 else None


def _parse_job_into(parsed: Parsed, kind: JobKind, raw: msgspec.Raw, path: str) -> None:
    try:
        parsed.jobs.append(_parse_job(kind, raw, path, parsed))
    except _UnreadableError as unreadable:
        parsed.faults.append(Fault(path + unreadable.path, unreadable.reason, bytes(raw)))


def _parse_job(kind: JobKind, raw: msgspec.Raw, path: str, parsed: Parsed) -> Job:
    top = _members(raw, "")
    extra: dict[str, msgspec.Raw] = {}
    job_type = _text(top, "type", "")
    if job_type is not None and job_type != kind.job_type:
        raise _UnreadableError(".type", f"expected {kind.job_type!r}, found {job_type!r}")
    attributes = _members(_required(top, "attributes", ""), ".attributes")
    job_id = _text(top, "id", "") or _text(attributes, "job_id", ".attributes")
    if not job_id:
        raise _UnreadableError("", "expected `id`, or `job_id` in the attributes; found neither")
    if job_id in (".", ".."):
        raise _UnreadableError(".id", f"expected an id, found {job_id!r}, which means something else in a path")
    status = _text(attributes, "status", ".attributes")
    created_at = _time(attributes, "created_at", ".attributes")
    if not status or created_at is None:
        missing = "status" if not status else "created_at"
        raise _UnreadableError(f".attributes.{missing}", "expected a value, found none")
    job = Job(
        job_id=job_id,
        status=status,
        created_at=created_at,
        completed_at=_time(attributes, "completed_at", ".attributes"),
        expires_at=_time(attributes, "expires_at", ".attributes"),
        total_count=_count(attributes, "total_count", ".attributes"),
        completed_count=_count(attributes, "completed_count", ".attributes"),
        failed_count=_count(attributes, "failed_count", ".attributes"),
    )
    child_faults: list[Fault] = []
    errors_path = ".attributes.errors"
    error_elements = _elements(attributes.get("errors"), errors_path)
    job.errors = [
        error
        for position, element in enumerate(error_elements)
        if (error := _parse_error(position, element, f"{path}{errors_path}[{position}]", extra, child_faults))
    ]
    job.unread_error_count = len(error_elements) - len(job.errors)
    relationships = _optional_members(top.get("relationships"), ".relationships")
    name = kind.entity.plural
    relationship = _optional_members(relationships.get(name), f".relationships.{name}")
    _parse_linkages_into(job, name, relationship.get("data"), path, extra, child_faults)
    extra |= {key: value for key, value in attributes.items() if key not in _JOB_ATTRIBUTES}
    extra |= {f"/{key}": value for key, value in top.items() if key not in _JOB_MEMBERS}
    extra |= {f"/relationships/{key}": value for key, value in relationships.items() if key != name}
    extra |= {f"/relationships/{name}/{key}": value for key, value in relationship.items() if key not in _LINKED}
    job.extra = _json(extra)
    # Only now: a job that cannot be read leaves one fault, its own.
    parsed.faults += child_faults
    parsed.unmodelled.update(extra)
    return job


_JOB_MEMBERS: Final = frozenset({"type", "id", "attributes", "relationships", "links"})
_JOB_ATTRIBUTES: Final = frozenset(
    {
        "job_id",
        "status",
        "created_at",
        "completed_at",
        "expires_at",
        "total_count",
        "completed_count",
        "failed_count",
        "errors",
    }
)
_LINKED: Final = frozenset({"data", "links"})
_LINKAGE_MEMBERS: Final = frozenset({"type", "id"})
_ERROR_MEMBERS: Final = frozenset({"id", "code", "title", "detail", "source", "meta"})


def _parse_error(
    position: int, raw: msgspec.Raw, path: str, extra: dict[str, msgspec.Raw], faults: list[Fault]
) -> JobError | None:
    try:
        members = _members(raw, "")
        source = _value(members, "source", "") or None  # an empty object may come as an empty list
        pointer = _text_of(source.pop("pointer", None) if isinstance(source, dict) else source, ".source.pointer")
        meta = _value(members, "meta", "")
        related_id = _text_of(meta.get("id"), ".meta.id") if isinstance(meta, dict) else None
        error = JobError(
            position=position,
            error_id=_text(members, "id", ""),
            code=_text(members, "code", ""),
            title=_text(members, "title", ""),
            detail=_text(members, "detail", ""),
            source_pointer=pointer,
            related_id=related_id,
            meta=_raw_json(members, "meta", ""),
        )
    except _UnreadableError as unreadable:
        faults.append(Fault(path + unreadable.path, unreadable.reason, bytes(raw)))
        return None
    place = f"/attributes/errors/{position}"
    if isinstance(source, dict) and source:
        extra[f"{place}/source"] = msgspec.Raw(_encode(source))
    extra |= {f"{place}/{key}": value for key, value in members.items() if key not in _ERROR_MEMBERS}
    return error


def _parse_linkages_into(
    job: Job, name: str, raw: msgspec.Raw | None, path: str, extra: dict[str, msgspec.Raw], faults: list[Fault]
) -> None:
    """Parse the `data` of the relationship called *name*; *path* is that of the job."""
    if raw is None or bytes(raw) == b"null":
        return
    try:
        # Linkages are nearly all of an answer's bytes, and all but never anything but plain.
        job.linkages = _decode_linkages(raw)
        job.linkage_positions = range(len(job.linkages))
        return
    except _UNDECODABLE:
        positions: list[int] = []
    linkages_path = f".relationships.{name}.data"
    for position, element in enumerate(_elements(raw, linkages_path)):
        try:
            members = _members(element, "")
            job.linkages.append(Linkage(_text(members, "type", ""), _text(members, "id", "")))
        except _UnreadableError as unreadable:
            fault_path = f"{path}{linkages_path}[{position}]{unreadable.path}"
            faults.append(Fault(fault_path, unreadable.reason, bytes(element)))
            job.unread_linkage_count += 1
            continue
        positions.append(position)
        extra |= {
            f"/relationships/{name}/data/{position}/{key}": value
            for key, value in members.items()
            if key not in _LINKAGE_MEMBERS
        }
    job.linkage_positions = positions


def _parse_resource(entity: Entity, raw: msgspec.Raw, parsed: Parsed) -> Resource:
    top = _members(raw, "")
    resource_type = _text(top, "type", "")
    if resource_type != entity.resource_type:
        raise _UnreadableError(".type", f"expected {entity.resource_type!r}, found {resource_type!r}")
    resource_id = _text(top, "id", "")
    if not resource_id:
        raise _UnreadableError(".id", "expected an id, found none")
    attributes = _optional_members(top.get("attributes"), ".attributes")
    columns: dict[str, Any] = {}
    known = ATTRIBUTES[entity.name]
    for name, (column, read) in known.items():
        columns[column] = read(attributes, name, ".attributes")
    extra = {key: value for key, value in attributes.items() if key not in known}
    extra |= {f"/{key}": value for key, value in top.items() if key not in _JOB_MEMBERS}
    parsed.unmodelled.update(f"{entity.plural}: {key}" for key in extra)
    return Resource(entity, resource_id, columns, _json(extra))


def _members(raw: msgspec.Raw, path: str) -> Members:
    """Read a JSON object as its members, none of them decoded yet."""
    try:
        return _decode_members(raw)
    except _UNDECODABLE as error:
        raise _UnreadableError(path, f"expected an object, found {_shown(raw)}") from error


def _optional_members(raw: msgspec.Raw | None, path: str) -> Members:
    return {} if raw is None or bytes(raw) == b"null" else _members(raw, path)


def _elements(raw: msgspec.Raw | None, path: str) -> list[msgspec.Raw]:
    if raw is None or bytes(raw) == b"null":
        return []
    try:
        elements = _decode_list(raw)
    except _UNDECODABLE as error:
        raise _UnreadableError(path, f"expected an array, found {_shown(raw)}") from error
    if len(elements) > MOST_ELEMENTS:
        raise _UnreadableError(path, f"expected an array of at most {MOST_ELEMENTS:,}, found {len(elements):,}")
    return elements


def _required(members: Mapping[str, msgspec.Raw], name: str, path: str) -> msgspec.Raw:
    if name not in members:
        raise _UnreadableError(f"{path}.{name}", "expected an object, found nothing")
    return members[name]


def _value(members: Mapping[str, msgspec.Raw], name: str, path: str) -> Any:
    """Return the decoded member *name*, unwrapped, or None."""
    raw = members.get(name)
    if raw is None:
        return None
    try:
        value = _decode_any(raw)
    except _UNDECODABLE as error:
        raise _UnreadableError(f"{path}.{name}", str(error)) from error
    return _unwrapped(value)


def _unwrapped(value: Any) -> Any:
    """Return the inner value of `{"value": ...}`, a form of examples published for revision 2022-10-17."""
    return value["value"] if isinstance(value, dict) and value.keys() == {"value"} else value


def _text(members: Mapping[str, msgspec.Raw], name: str, path: str) -> str | None:
    return _text_of(_value(members, name, path), f"{path}.{name}")


def _text_of(value: Any, path: str) -> str | None:
    value = _unwrapped(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise _UnreadableError(path, f"expected a string, found {_shown(_encode(value))}")


def _count(members: Mapping[str, msgspec.Raw], name: str, path: str) -> int | None:
    value = _value(members, name, path)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value not in _INT64:
        raise _UnreadableError(f"{path}.{name}", f"expected an integer, found {_shown(_encode(value))}")
    return value


def _time(members: Mapping[str, msgspec.Raw], name: str, path: str) -> dt.datetime | None:
    """Read a time as UTC; one without a zone, as old revisions may have sent, is UTC already."""
    value = _value(members, name, path)
    if value is None:
        return None
    try:
        if not isinstance(value, str):
            raise TypeError
        try:
            time: dt.datetime = msgspec.convert(value, dt.datetime)
        except msgspec.ValidationError:
            time = _parse_time(value)
        return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
    except (ParserError, ValueError, TypeError, OverflowError) as error:
        raise _UnreadableError(f"{path}.{name}", f"expected a date-time, found {_shown(_encode(value))}") from error


def _parse_time(value: str) -> dt.datetime:
    """Read the ISO 8601 forms beyond RFC 3339, such as `+0000`; a date alone or a duration is no date-time."""
    # pendulum would take the word "now" for a time.
    time = pendulum.parse(value, strict=True, exact=True) if value[:1].isdigit() else None
    if isinstance(time, pendulum.DateTime):
        return time
    raise TypeError(value)


def _number(members: Mapping[str, msgspec.Raw], name: str, path: str) -> Decimal | None:
    """Read a JSON number digit by digit, as money wants it, rounded to nine places."""
    raw = members.get(name)
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        number = msgspec.json.decode(raw, type=Decimal, strict=True)
        if number.is_finite() and number.copy_abs() < _NUMBER_BOUND:
            return _NUMBER_CONTEXT.quantize(number, _NUMBER_STEP)
    except (*_UNDECODABLE, ArithmeticError):
        pass
    raise _UnreadableError(f"{path}.{name}", f"expected a number, found {_shown(raw)}")


def _flag(members: Mapping[str, msgspec.Raw], name: str, path: str) -> bool | None:
    value = _value(members, name, path)
    if value is None or isinstance(value, bool):
        return value
    raise _UnreadableError(f"{path}.{name}", f"expected true or false, found {_shown(_encode(value))}")


def _raw_json(members: Mapping[str, msgspec.Raw], name: str, path: str) -> str | None:
    """Return the JSON of member *name* as it came, None for null; decoded once, so that what is kept is JSON."""
    raw = members.get(name)
    return None if raw is None or _value(members, name, path) is None else bytes(raw).decode()


def _json(members: Mapping[str, msgspec.Raw]) -> str | None:
    try:
        return _encode(members).decode() if members else None
    except UnicodeDecodeError as error:
        raise _UnreadableError("", f"expected text, found {error}") from error


def _shown(raw: msgspec.Raw | bytes) -> str:
    text = bytes(raw).decode(errors="replace").strip()
    return text if len(text) <= 60 else f"{text[:57]}..."


_Reader = Callable[[Mapping[str, msgspec.Raw], str, str], Any]
_COMMON: Final[dict[str, tuple[str, _Reader]]] = {
    "external_id": ("external_id", _text),
    "title": ("title", _text),
    "description": ("description", _text),
    "price": ("price", _number),
    "url": ("url", _text),
    "image_full_url": ("image_full_url", _text),
    "image_thumbnail_url": ("image_thumbnail_url", _text),
    "images": ("images", _raw_json),
    "custom_metadata": ("custom_metadata", _raw_json),
    "published": ("published", _flag),
    "created": ("created_at", _time),
    "updated": ("updated_at", _time),
}
# The documented attributes of each entity: the API's name, our column, how it is read.
ATTRIBUTES: Final[dict[str, dict[str, tuple[str, _Reader]]]] = {
    "item": _COMMON,
    "variant": {
        **_COMMON,
        "sku": ("sku", _text),
        "inventory_policy": ("inventory_policy", _count),
        "inventory_quantity": ("inventory_quantity", _number),
    },
    "category": {
        "external_id": ("external_id", _text),
        "name": ("name", _text),
        "updated": ("updated_at", _time),
    },
}
