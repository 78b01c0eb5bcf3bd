"""
Rendering: jobs and catalog resources as the bytes of one revision's shape.

A page is joined from the cached bytes of its jobs; a job is rendered again only when its state, the shape, the fields
or the address of the server differ. So a page of 100 known jobs costs well under a millisecond.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from klaviyo_sandbox.clock import format_time
from klaviyo_sandbox.jobs import Entry, Job, Progress, RawJob, digest, external_id_of
from klaviyo_sandbox.kinds import KINDS, JobKind
from klaviyo_sandbox.query import Fields
from klaviyo_sandbox.revisions import Shape
from klaviyo_sandbox.world import World

_PLURALS = {
    "catalog-item": "catalog-items",
    "catalog-variant": "catalog-variants",
    "catalog-category": "catalog-categories",
}
_RELATED_RELATIONSHIPS = {"catalog-item": "variants", "catalog-variant": "item", "catalog-category": "items"}
_NAMES = ("Amber", "Birch", "Coral", "Dune", "Ember", "Fern", "Granite", "Harbor", "Indigo", "Juniper")
_THINGS = ("Blanket", "Candle", "Jacket", "Kettle", "Lamp", "Mug", "Notebook", "Pillow", "Sneaker", "Teapot")
_FIRST_CREATED = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Held:
    """The rendered forms of one entry in one state; the entry is kept so that its identity is not reused."""

    entry: Entry
    progress: Progress
    forms: dict[Hashable, bytes] = field(default_factory=dict)


class Renderer:
    """Renders entries, and remembers what it has rendered."""

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}

    def job(self, entry: Entry, now: datetime, shape: Shape, base_url: str, fields: Fields) -> bytes:
        """The resource object of one job at *now*; a raw one as it was given."""
        if isinstance(entry, RawJob):
            return encode_json(entry.resource)
        forms = self._forms(entry, now)
        key = (shape.since, base_url, fields)
        if key not in forms:
            forms[key] = encode_json(_resource_object(entry.at(now), shape, base_url, fields))
        return forms[key]

    def included(self, entry: Entry, now: datetime, shape: Shape, base_url: str, fields: Fields, world: World) -> bytes:
        """The array of the catalog resources that *entry* lists, described by *world*."""
        forms = self._forms(entry, now)
        key = ("included", shape.since, base_url, fields, world.attributes_version)
        if key not in forms:
            kind = KINDS[entry.kind]
            related = () if isinstance(entry, RawJob) else entry.at(now).related_ids or ()
            forms[key] = encode_json(
                [_included_resource(kind, each, shape, base_url, fields, world) for each in related]
            )
        return forms[key]

    def _forms(self, entry: Entry, now: datetime) -> dict[Hashable, bytes]:
        progress = entry.progress(now)
        held = self._held.get(id(entry))
        if held is None or held.progress != progress:
            held = self._held[id(entry)] = _Held(entry, progress)
        return held.forms


def encode_json(data: Any) -> bytes:
    """Compact JSON in ASCII, so that odd text, lone surrogates included, can be served."""
    return json.dumps(data, separators=(",", ":")).encode()


def _resource_object(job: Job, shape: Shape, base_url: str, fields: Fields) -> dict[str, Any]:
    kind = KINDS[job.kind]
    attributes = job.attributes(with_meta=shape.has_error_meta)
    if shape.id_in_attributes:
        attributes["job_id"] = job.id
    if fields is not None:
        attributes = {name: value for name, value in attributes.items() if name in fields}
    if not shape.serves_nulls:
        attributes = {name: value for name, value in attributes.items() if value is not None}
    self_link = f"{base_url}/api/{kind.collection}/{quote(job.id, safe='')}/"
    rendered: dict[str, Any] = {"type": kind.job_type}
    if not shape.id_in_attributes:
        rendered["id"] = job.id
    rendered["attributes"] = attributes
    if job.related_ids is not None:
        rendered["relationships"] = {kind.relationship: _relationship(kind, job.related_ids, shape, self_link)}
    rendered["links"] = {"self": self_link}
    return rendered


def _relationship(kind: JobKind, related_ids: Sequence[str], shape: Shape, self_link: str) -> dict[str, Any]:
    relationship: dict[str, Any] = {}
    if kind.operation != "delete" or shape.deletes_have_linkages:
        relationship["data"] = [{"type": kind.related_type, "id": each} for each in related_ids]
    if shape.has_relationship_links:
        relationship["links"] = _relationship_links(self_link, kind.relationship)
    return relationship


def _relationship_links(self_link: str, name: str) -> dict[str, str]:
    return {"self": f"{self_link}relationships/{name}/", "related": f"{self_link}{name}/"}


def _included_resource(
    kind: JobKind, related_id: str, shape: Shape, base_url: str, fields: Fields, world: World
) -> dict[str, Any]:
    attributes = _made_up_attributes(kind, related_id) | world.known_attributes(related_id)
    if fields is not None:
        attributes = {name: value for name, value in attributes.items() if name in fields}
    self_link = f"{base_url}/api/{_PLURALS[kind.related_type]}/{quote(related_id, safe='$:')}/"
    rendered: dict[str, Any] = {"type": kind.related_type, "id": related_id, "attributes": attributes}
    if shape.has_related_links:
        name = _RELATED_RELATIONSHIPS[kind.related_type]
        rendered["relationships"] = {name: {"links": _relationship_links(self_link, name)}}
    return rendered | {"links": {"self": self_link}}


def _made_up_attributes(kind: JobKind, related_id: str) -> dict[str, Any]:
    """The documented attributes of one catalog resource; they depend on its id only."""
    external_id = external_id_of(related_id)
    one, two, three, four, *_ = digest(kind.resource, related_id, size=8)
    name = f"{_NAMES[one % len(_NAMES)]} {_THINGS[two % len(_THINGS)]}"
    created = _FIRST_CREATED + timedelta(hours=one * 16 + two, minutes=three)
    updated = format_time(created + timedelta(hours=three * 16, seconds=four))
    if kind.resource == "category":
        return {"external_id": external_id, "name": f"{name}s", "updated": updated}
    own: dict[str, Any] = {}
    if kind.resource == "variant":
        own = {"sku": external_id, "inventory_policy": four % 3, "inventory_quantity": three}
    return {
        "external_id": external_id,
        "title": name,
        "description": f"{name} for every day",
        **own,
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
