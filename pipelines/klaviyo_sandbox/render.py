"""
Rendering: jobs and catalog resources as the bytes of one revision's shape.

A page is joined from the cached bytes of its jobs; a job is rendered again only when its state, the shape, the fields
or the address of the server differ. So a page of 100 known jobs costs well under a millisecond.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

from klaviyo_sandbox.clock import format_time
from klaviyo_sandbox.jobs import Entry, Job, JobPlan, Progress, RawJob, digest, external_id_of
from klaviyo_sandbox.kinds import KINDS, JobKind, Relationship
from klaviyo_sandbox.query import Fields
from klaviyo_sandbox.revisions import Shape
from klaviyo_sandbox.world import World

_PLURALS = {
    "catalog-item": "catalog-items",
    "catalog-variant": "catalog-variants",
    "catalog-category": "catalog-categories",
    "coupon-code": "coupon-codes",
    "list": "lists",
}
_RELATED_RELATIONSHIPS = {
    "catalog-item": ("variants",),
    "catalog-variant": ("item",),
    "catalog-category": ("items",),
    "coupon-code": ("coupon", "profile"),
    "list": ("profiles", "tags", "flow-triggers"),
}
_NAMES = ("Amber", "Birch", "Coral", "Dune", "Ember", "Fern", "Granite", "Harbor", "Indigo", "Juniper")
_THINGS = ("Blanket", "Candle", "Jacket", "Kettle", "Lamp", "Mug", "Notebook", "Pillow", "Sneaker", "Teapot")
_FIRST_CREATED = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Cached:
    """What one entry was rendered as in one state; the entry is kept so that its identity is not reused."""

    entry: Entry
    progress: Progress
    rendered: dict[Hashable, bytes] = field(default_factory=dict)


class Renderer:
    """Renders entries, and caches what it has rendered."""

    def __init__(self) -> None:
        self._cache: dict[int, _Cached] = {}

    def job(self, entry: Entry, now: datetime, shape: Shape, base_url: str, fields: Fields) -> bytes:
        """The resource object of one job at *now*; a raw one as it was given."""
        if isinstance(entry, RawJob):
            return encode_json(entry.resource_object)
        key = (shape.since, base_url, fields)
        return self._once(entry, now, key, partial(_resource_object, entry, now, shape, base_url, fields))

    def included(self, entry: Entry, now: datetime, shape: Shape, base_url: str, fields: Fields, world: World) -> bytes:
        """The array of the catalog resources that *entry* lists, described by *world*."""

        def resources() -> list[dict[str, Any]]:
            kind = KINDS[entry.kind]
            related_ids = () if isinstance(entry, RawJob) else entry.at(now).related_ids or ()
            return [_included_resource(kind, each, shape, base_url, fields, world) for each in related_ids]

        key = ("included", shape.since, base_url, fields, world.attributes_version)
        return self._once(entry, now, key, resources)

    def _once(self, entry: Entry, now: datetime, key: Hashable, data: Callable[[], Any]) -> bytes:
        """The JSON of *data*, built at the first request for *key* since *entry* changed its state."""
        progress = entry.progress(now)
        cached = self._cache.get(id(entry))
        if cached is None or cached.progress != progress:
            cached = self._cache[id(entry)] = _Cached(entry, progress)
        if key not in cached.rendered:
            cached.rendered[key] = encode_json(data())
        return cached.rendered[key]


def import_error(resource: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """One error of an import job with the attributes that `fields[import-error]` names; all without it."""
    return resource | {"attributes": _asked_for(resource["attributes"], fields)}


def encode_json(data: Any) -> bytes:
    """Compact JSON in ASCII, so that odd text, lone surrogates included, can be served."""
    return json.dumps(data, separators=(",", ":")).encode()


def _resource_object(
    entry: Job | JobPlan, now: datetime, shape: Shape, base_url: str, fields: Fields
) -> dict[str, Any]:
    job, kind = entry.at(now), KINDS[entry.kind]
    attributes = job.attributes(with_meta=shape.has_error_meta)
    if shape.id_in_attributes:
        attributes["job_id"] = job.id
    attributes = _asked_for(attributes, fields)
    if not shape.serves_nulls:
        attributes = {name: value for name, value in attributes.items() if value is not None}
    self_link = f"{base_url}/api/{kind.collection}/{quote(job.id, safe='')}/"
    resource_object: dict[str, Any] = {"type": kind.job_type}
    if not shape.id_in_attributes:
        resource_object["id"] = job.id
    resource_object["attributes"] = attributes
    if job.related_ids is not None or not kind.is_of_catalogs:
        resource_object["relationships"] = {
            each.name: _relationship(kind, each, job.related(each.name), shape, self_link)
            for each in kind.relationships
        } | {name: {"links": _relationship_links(self_link, name, links)} for name, links in kind.links_only}
    resource_object["links"] = {"self": self_link}
    return resource_object


def _asked_for(attributes: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """The attributes that `fields[...]` names, in its order; all of them without that parameter."""
    return attributes if fields is None else {name: attributes[name] for name in fields if name in attributes}


def _relationship(
    kind: JobKind, relationship: Relationship, related_ids: Sequence[str] | None, shape: Shape, self_link: str
) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if related_ids is not None and (kind.operation != "delete" or shape.deletes_have_linkages):
        members["data"] = [{"type": relationship.related_type, "id": each} for each in related_ids]
    if shape.has_relationship_links or not kind.is_of_catalogs:
        members["links"] = _relationship_links(self_link, relationship.name)
    return members


def _relationship_links(self_link: str, name: str, links: Sequence[str] = ("self", "related")) -> dict[str, str]:
    targets = {"self": f"{self_link}relationships/{name}/", "related": f"{self_link}{name}/"}
    return {link: targets[link] for link in links}


def _included_resource(
    kind: JobKind, related_id: str, shape: Shape, base_url: str, fields: Fields, world: World
) -> dict[str, Any]:
    attributes = _asked_for(_made_up_attributes(kind, related_id) | world.described_attributes(related_id), fields)
    self_link = f"{base_url}/api/{_PLURALS[kind.related_type]}/{quote(related_id, safe='$:')}/"
    resource_object: dict[str, Any] = {"type": kind.related_type, "id": related_id, "attributes": attributes}
    if shape.has_related_links:
        resource_object["relationships"] = {
            name: {"links": _relationship_links(self_link, name)} for name in _RELATED_RELATIONSHIPS[kind.related_type]
        }
    return resource_object | {"links": {"self": self_link}}


def _to_the_second(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _made_up_attributes(kind: JobKind, related_id: str) -> dict[str, Any]:
    """The documented attributes of one catalog resource; they depend on its id only."""
    external_id = external_id_of(related_id)
    one, two, three, four, *_ = digest(kind.entity, related_id, size=8)
    name = f"{_NAMES[one % len(_NAMES)]} {_THINGS[two % len(_THINGS)]}"
    created = _FIRST_CREATED + timedelta(hours=one * 16 + two, minutes=three)
    updated = format_time(created + timedelta(hours=three * 16, seconds=four))
    if kind.related_type == "coupon-code":
        expires_at = format_time(created + timedelta(days=365))
        return {"unique_code": related_id.rpartition("-")[2], "expires_at": expires_at, "status": "UNASSIGNED"}
    if kind.related_type == "list":
        times = {"created": _to_the_second(created), "updated": _to_the_second(created + timedelta(hours=three))}
        return {"name": f"{name} lovers", **times, "opt_in_process": ("single_opt_in", "double_opt_in")[four % 2]}
    if kind.entity == "category":
        return {"external_id": external_id, "name": f"{name}s", "updated": updated}
    of_variants: dict[str, Any] = {}
    if kind.entity == "variant":
        of_variants = {"sku": external_id, "inventory_policy": four % 3, "inventory_quantity": three}
    return {
        "external_id": external_id,
        "title": name,
        "description": f"{name} for every day",
        **of_variants,
        "price": round(4.95 + one + two / 100, 2),
        "url": f"https://shop.example/products/{quote(external_id, safe='')}",
        "image_full_url": "",
        "image_thumbnail_url": "",
        "images": [],
        "custom_metadata": {"material": _NAMES[three % len(_NAMES)].lower(), "weight_kg": four / 100},
        "published": four % 8 != 0,
        "created": format_time(created),
        "updated": updated,
    }
