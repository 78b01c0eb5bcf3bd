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

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final

import msgspec

from klaviyo_jobs.model.content import content_hash, hash_of
from klaviyo_jobs.model.kinds import Entity, JobKind
from klaviyo_jobs.model.plain import read_plain, read_plain_resource
from klaviyo_jobs.model.records import (
    Fault,
    Job,
    JobError,
    Linkage,
    Parsed,
    ParsedErrors,
    Resource,
)
from klaviyo_jobs.model.values import (
    MOST_ELEMENTS,
    UNDECODABLE,
    JsonObject,
    Members,
    UnreadableError,
    encode,
    json_of,
    text_of,
    without_member,
)


class DetailBody(msgspec.Struct):
    """One answer of a detail endpoint: `{"data": {...}, "included": [{...}, ...]}`."""

    data: msgspec.Raw
    included: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MOST_ELEMENTS)] | None = None


decode_detail: Final = msgspec.json.Decoder(DetailBody).decode
_decode_linkages: Final = msgspec.json.Decoder(list[Linkage]).decode


def parse_page(kind: JobKind, data: Iterable[tuple[int, msgspec.Raw]]) -> Parsed:
    """Parse resource objects of one page of the listing of *kind*, each given with its place on the page."""
    parsed = Parsed()
    for index, raw in data:
        if job := _parse_job_into(parsed, kind, raw, f"$.data[{index}]"):
            job.listed_hash = hash_of(raw)
    return parsed


def parse_detail(kind: JobKind, body: DetailBody, listed: Job | None = None) -> Parsed:
    """
    Parse one detail: the job, if it can be read, and every included resource.

    Args:
        listed: The job as the listing shows it, which tells its creation where the detail leaves that out.
    """
    parsed = Parsed()
    _parse_job_into(parsed, kind, body.data, "$.data", listed)
    for index, raw in enumerate(body.included or ()):
        parse_resource_into(parsed, kind, raw, f"$.included[{index}]")
    return parsed


def parse_resource_into(parsed: Parsed, kind: JobKind, raw: msgspec.Raw, path: str) -> None:
    """Parse one resource that the detail of a job of *kind* includes."""
    if (entity := kind.included) is not None:
        try:
            plain = read_plain_resource(entity, raw, _COLUMNS[entity.name])
            parsed.resources.append(plain or _parse_resource(entity, raw, path, parsed))
        except UnreadableError as unreadable:
            parsed.faults.append(_fault_of(unreadable, raw))


def parse_import_errors(
    kind: JobKind, job_id: str, data: Iterable[tuple[int, msgspec.Raw]], *, keeps_payload: bool
) -> ParsedErrors:
    """
    Parse the errors that a job of *kind* has in a list of their own, each given with its place in that list.

    Of their attributes only those are kept that were asked for, and what cannot be read is kept without the payload:
    it is personal data, which an answer may hold whatever was asked for.

    Args:
        keeps_payload: Whether the payload was asked for.
    """
    parsed = ParsedErrors()
    payload = kind.payload_field
    for position, original in data:
        raw = original if payload is None or keeps_payload else without_member(original, payload)
        try:
            parsed.errors.append(_parse_import_error(kind, position, raw, keeps_payload=keeps_payload))
        except UnreadableError as unreadable:
            parsed.faults.append(_fault_of(unreadable, raw, job_id))
    return parsed


def _parse_import_error(kind: JobKind, position: int, raw: msgspec.Raw, *, keeps_payload: bool) -> JobError:
    top = JsonObject(raw, f"$.data[{position}]")
    attributes = top.object("attributes")
    source = attributes.value("source") or None  # an empty object may come as an empty list
    pointer = source.get("pointer") if isinstance(source, dict) else source
    payload = kind.payload_field if keeps_payload else None
    return JobError(
        position=position,
        error_id=top.text("id"),
        code=attributes.text("code"),
        title=attributes.text("title"),
        detail=attributes.text("detail"),
        source_pointer=text_of(pointer, f"{attributes.path}.source.pointer"),
        related_id=None,
        meta=None,
        original_payload=attributes.json(payload) if payload else None,
    )


def _fault_of(unreadable: UnreadableError, raw: msgspec.Raw, job_id: str | None = None) -> Fault:
    return Fault(unreadable.path, unreadable.reason, bytes(raw), job_id)


def _parse_job_into(
    parsed: Parsed, kind: JobKind, raw: msgspec.Raw, path: str, listed: Job | None = None
) -> Job | None:
    try:
        job = read_plain(kind, raw) or _parse_job(kind, raw, path, parsed, listed)
    except UnreadableError as unreadable:
        parsed.faults.append(_fault_of(unreadable, raw))
        return None
    job.content_hash = content_hash(job)
    parsed.jobs.append(job)
    return job


def _parse_job(kind: JobKind, raw: msgspec.Raw, path: str, parsed: Parsed, listed: Job | None = None) -> Job:
    top = JsonObject(raw, path)
    job_type = top.text("type")
    if job_type is not None and job_type != kind.job_type:
        raise UnreadableError(f"{path}.type", f"expected {kind.job_type!r}, found {job_type!r}")
    attributes = top.object("attributes")
    job_id = top.text("id") or attributes.text("job_id")
    if not job_id:
        raise UnreadableError(path, "expected `id`, or `job_id` in the attributes; found neither")
    if job_id in (".", ".."):
        reason = f"expected an id, found {job_id!r}, which means something else in a path"
        raise UnreadableError(f"{path}.id", reason)
    status = attributes.text("status")
    created_at = attributes.time("created_at")
    if "created_at" not in attributes.members and listed is not None and listed.job_id == job_id:
        created_at = listed.created_at
    if not status or created_at is None:
        missing = "status" if not status else "created_at"
        raise UnreadableError(f"{attributes.path}.{missing}", "expected a value, found none")
    members: dict[str, Any] = {name: attributes.time(name) for name in kind.times}
    members |= {name: attributes.count(name) for name in kind.counts}
    job = Job(job_id, status, created_at, errors_are_known=kind.errors_path is None, **members)
    extra: Members = {}
    child_faults: list[Fault] = []
    if kind.errors_are_listed:
        _parse_errors_into(job, attributes, extra, child_faults)
    relationships = top.optional_object("relationships")
    named = [each.plural for each in kind.relationships]
    for name in named.copy():
        relationship = relationships.optional_object(name)
        _parse_linkages_into(job, name, relationship, extra, child_faults)
        extra |= relationship.others(_RELATIONSHIP_MEMBERS, f"/relationships/{name}/")
    for name in kind.link_relationships:
        if (links := relationships.present(name)) is None or bytes(links).startswith(b"{"):
            named.append(name)
            extra |= relationships.optional_object(name).others(["links"], f"/relationships/{name}/")
    known = _JOB_ATTRIBUTES.union(kind.times, kind.counts, ["errors"] if kind.errors_are_listed else ())
    extra |= attributes.others(known)
    extra |= top.others(_JOB_MEMBERS, "/")
    extra |= relationships.others(named, "/relationships/")
    job.extra = json_of(extra, path)
    # Only now: a job that cannot be read leaves one fault, its own.
    parsed.faults += child_faults
    parsed.unmodelled.update(extra)
    return job


_JOB_MEMBERS: Final = frozenset({"type", "id", "attributes", "relationships", "links"})
_JOB_ATTRIBUTES: Final = frozenset({"job_id", "status", "created_at"})
_RELATIONSHIP_MEMBERS: Final = frozenset({"data", "links"})
_LINKAGE_MEMBERS: Final = frozenset({"type", "id"})
_ERROR_MEMBERS: Final = frozenset({"id", "code", "title", "detail", "source", "meta"})


def _parse_errors_into(job: Job, attributes: JsonObject, extra: Members, faults: list[Fault]) -> None:
    for position, raw in enumerate(attributes.elements("errors")):
        try:
            job.errors.append(_parse_error(position, raw, f"{attributes.path}.errors[{position}]", extra))
        except UnreadableError as unreadable:
            faults.append(_fault_of(unreadable, raw, job.job_id))
            job.unread_error_count += 1


def _parse_error(position: int, raw: msgspec.Raw, path: str, extra: Members) -> JobError:
    top = JsonObject(raw, path)
    source = top.value("source") or None  # an empty object may come as an empty list
    pointer = source.pop("pointer", None) if isinstance(source, dict) else source
    meta = top.value("meta")
    error = JobError(
        position=position,
        source_pointer=text_of(pointer, f"{path}.source.pointer"),
        related_id=text_of(meta.get("id"), f"{path}.meta.id") if isinstance(meta, dict) else None,
        error_id=top.text("id"),
        code=top.text("code"),
        title=top.text("title"),
        detail=top.text("detail"),
        meta=top.json("meta"),
    )
    prefix = f"/attributes/errors/{position}/"
    if isinstance(source, dict) and source:
        extra[f"{prefix}source"] = msgspec.Raw(encode(source))
    extra |= top.others(_ERROR_MEMBERS, prefix)
    return error


def _parse_linkages_into(job: Job, name: str, relationship: JsonObject, extra: Members, faults: list[Fault]) -> None:
    """Parse the `data` of the *relationship* called *name*."""
    raw = relationship.present("data")
    if raw is None:
        return
    # Behind those of the relationship before.
    start = len(job.linkages) + job.unread_linkage_count
    try:
        # Linkages are nearly all of an answer's bytes, and all but never anything but plain.
        linkages = _decode_linkages(raw)
        positions: Sequence[int] = range(start, start + len(linkages))
        job.linkages = job.linkages + linkages if start else linkages
        job.linkage_positions = [*job.linkage_positions, *positions] if start else positions
        return
    except UNDECODABLE:
        read: list[int] = [*job.linkage_positions]
    for position, element in enumerate(relationship.elements("data")):
        try:
            linkage = JsonObject(element, f"{relationship.path}.data[{position}]")
            job.linkages.append(Linkage(linkage.text("type"), linkage.text("id")))
        except UnreadableError as unreadable:
            faults.append(_fault_of(unreadable, element, job.job_id))
            job.unread_linkage_count += 1
            continue
        read.append(start + position)
        extra |= linkage.others(_LINKAGE_MEMBERS, f"/relationships/{name}/data/{position}/")
    job.linkage_positions = read


def _parse_resource(entity: Entity, raw: msgspec.Raw, path: str, parsed: Parsed) -> Resource:
    top = JsonObject(raw, path)
    resource_type = top.text("type")
    if resource_type != entity.resource_type:
        raise UnreadableError(f"{path}.type", f"expected {entity.resource_type!r}, found {resource_type!r}")
    resource_id = top.text("id")
    if not resource_id:
        raise UnreadableError(f"{path}.id", "expected an id, found none")
    attributes = top.optional_object("attributes")
    known = ATTRIBUTES[entity.name]
    columns = {column: read(attributes, name) for name, (column, read) in known.items()}
    extra = attributes.others(known) | top.others(_JOB_MEMBERS, "/")
    if entity.kept_relationships:
        relationships = top.optional_object("relationships")
        for name in entity.kept_relationships:
            kept = relationships.optional_object(name).present("data")
            extra |= {} if kept is None else {f"/relationships/{name}/data": kept}
    parsed.unmodelled.update(f"{entity.plural}: {key}" for key in extra)
    return Resource(entity, resource_id, columns, json_of(extra, path))


_Reader = Callable[[JsonObject, str], Any]
_COMMON: Final[dict[str, tuple[str, _Reader]]] = {
    "external_id": ("external_id", JsonObject.text),
    "title": ("title", JsonObject.text),
    "description": ("description", JsonObject.text),
    "price": ("price", JsonObject.number),
    "url": ("url", JsonObject.text),
    "image_full_url": ("image_full_url", JsonObject.text),
    "image_thumbnail_url": ("image_thumbnail_url", JsonObject.text),
    "images": ("images", JsonObject.json),
    "custom_metadata": ("custom_metadata", JsonObject.json),
    "published": ("published", JsonObject.flag),
    "created": ("created_at", JsonObject.time),
    "updated": ("updated_at", JsonObject.time),
}
# The documented attributes of each entity: the API's name, our column, how it is read.
ATTRIBUTES: Final[dict[str, dict[str, tuple[str, _Reader]]]] = {
    "item": _COMMON,
    "variant": {
        **_COMMON,
        "sku": ("sku", JsonObject.text),
        "inventory_policy": ("inventory_policy", JsonObject.count),
        "inventory_quantity": ("inventory_quantity", JsonObject.number),
    },
    "category": {
        "external_id": ("external_id", JsonObject.text),
        "name": ("name", JsonObject.text),
        "updated": ("updated_at", JsonObject.time),
    },
    "coupon-code": {
        "unique_code": ("unique_code", JsonObject.text),
        "status": ("status", JsonObject.text),
        "expires_at": ("expires_at", JsonObject.time),
    },
    "list": {
        "name": ("name", JsonObject.text),
        "opt_in_process": ("opt_in_process", JsonObject.text),
        "created": ("created_at", JsonObject.time),
        "updated": ("updated_at", JsonObject.time),
    },
}
_COLUMNS: Final = {name: {each: column for each, (column, _) in known.items()} for name, known in ATTRIBUTES.items()}
