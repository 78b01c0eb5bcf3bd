"""
Parse the resource objects of an answer into records, once, with every fault named by its JSON path.

In:     the JSON of one page or detail, as any revision from 2022-10-17 on sends it.
Out:    `Parsed`: `Job`, `Resource`, and a `Fault` for each part that cannot be read. A fault in a child leaves its
        parent whole.
Shapes: `job_id` in the attributes or `id` on top; relationship absent, with `data: []`, or with links only; members
        null, absent, or wrapped as `{"value": ...}` (in published examples of 2022-10-17); unknown statuses are kept,
        unknown members go to `extra`.
Source: Klaviyo's OpenAPI documents of 2022-10-17, 2023-12-15, 2024-10-15 and 2026-07-15; live answers recorded
        2026-09-04 (`errors[].meta`, absent relationships, `included: []`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final

import msgspec

from klaviyo_jobs.model.kinds import Entity, JobKind
from klaviyo_jobs.model.records import (
    Fault,
    Job,
    JobError,
    Linkage,
    Observation,
    Parsed,
    Resource,
    State,
    _microseconds,
)
from klaviyo_jobs.model.values import (
    _UNDECODABLE,
    MOST_ELEMENTS,
    _count,
    _elements,
    _encode,
    _flag,
    _json,
    _members,
    _number,
    _optional_members,
    _raw_json,
    _required,
    _text,
    _text_of,
    _time,
    _UnreadableError,
    _value,
)


class DetailBody(msgspec.Struct):
    """One answer of a detail endpoint: `{"data": {...}, "included": [{...}, ...]}`."""

    data: msgspec.Raw
    included: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MOST_ELEMENTS)] | None = None


decode_detail: Final = msgspec.json.Decoder(DetailBody).decode
_decode_linkages: Final = msgspec.json.Decoder(list[Linkage]).decode


class _PeekedAttributes(msgspec.Struct):
    status: str
    created_at: dt.datetime
    job_id: str | None = None
    total_count: int | None = None
    completed_count: int | None = None
    failed_count: int | None = None
    completed_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    errors: list[msgspec.Raw] | None = None


class _PeekedRelationship(msgspec.Struct):
    data: list[msgspec.Raw] | None = None


class _Peek(msgspec.Struct):
    attributes: _PeekedAttributes
    id: str | None = None
    relationships: dict[str, _PeekedRelationship] | None = None


_decode_peek: Final = msgspec.json.Decoder(_Peek).decode


def peek_state(kind: JobKind, raw: msgspec.Raw) -> tuple[str, State] | None:
    """
    Return id and state of a plain job without parsing it: enough to tell that it is unchanged, at a tenth of the cost.

    None means that it has to be parsed to know.
    """
    try:
        peeked = _decode_peek(raw)
    except _UNDECODABLE:
        return None
    attributes = peeked.attributes
    job_id = peeked.id or attributes.job_id
    times = (attributes.created_at, attributes.completed_at, attributes.expires_at)
    if not job_id or any(time is not None and time.tzinfo is None for time in times):
        return None
    relationship = (peeked.relationships or {}).get(kind.entity.plural)
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
