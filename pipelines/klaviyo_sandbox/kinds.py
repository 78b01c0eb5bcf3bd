"""
The nine kinds of catalog bulk job, as one table.

Source: Klaviyo API, revisions 2022-10-17 to 2026-10-15, all of which have all nine.
"""

from __future__ import annotations

from dataclasses import dataclass

_RELATIONSHIPS = {"item": "items", "variant": "variants", "category": "categories"}
_OPERATIONS = ("create", "update", "delete")


@dataclass(frozen=True, slots=True)
class JobKind:
    """
    One kind of job and what the API calls its parts.

    Attributes:
        name: `item-create`; how tests and worlds name the kind.
        entity: `item`, `variant` or `category`: what the operations of a job work on.
        job_type: `catalog-item-bulk-create-job`, the JSON:API type and the name inside `fields[...]`.
        collection: `catalog-item-bulk-create-jobs`, the path below `/api/`.
        relationship: `items`, also the only value `include` takes.
        related_type: `catalog-item`.
        can_include: Delete kinds know neither `include` nor `fields[related type]`.
        rate_class: `narrow` or `wide`, see `limits.py`.
    """

    name: str
    entity: str
    operation: str
    job_type: str
    collection: str
    relationship: str
    related_type: str
    can_include: bool
    rate_class: str


def _kind(entity: str, operation: str) -> JobKind:
    job_type = f"catalog-{entity}-bulk-{operation}-job"
    can_include = operation != "delete"
    return JobKind(
        name=f"{entity}-{operation}",
        entity=entity,
        operation=operation,
        job_type=job_type,
        collection=f"{job_type}s",
        relationship=_RELATIONSHIPS[entity],
        related_type=f"catalog-{entity}",
        can_include=can_include,
        rate_class="narrow" if can_include and entity != "category" else "wide",
    )


KINDS = {
    kind.name: kind for kind in (_kind(entity, operation) for entity in _RELATIONSHIPS for operation in _OPERATIONS)
}
KINDS_BY_COLLECTION = {kind.collection: kind for kind in KINDS.values()}


def check_kind(name: str) -> None:
    """
    Raises:
        ValueError: *name* is not one of the nine.
    """
    if name not in KINDS:
        raise ValueError(f"there is no job kind {name!r}; the nine are {', '.join(KINDS)}")
