"""
The thirteen kinds of bulk job, as one table: nine of catalogs, and those of coupon codes and profiles.

Source: Klaviyo API, revisions 2022-10-17 to 2026-10-15, all of which have the nine; the other four as of 2026-07-15,
its OpenAPI document and recorded answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Relationship(NamedTuple):
    """One relationship of a job: its name, and the JSON:API type of what it holds; `include` takes the name."""

    name: str
    related_type: str


@dataclass(frozen=True, slots=True)
class JobKind:
    """
    One kind of job and what the API calls its parts.

    Attributes:
        name: `item-create`; how tests and worlds name the kind.
        entity: `item`, `variant`, `category`, `coupon-code` or `profile`: what the operations of a job work on.
        job_type: `catalog-item-bulk-create-job`, the JSON:API type and the name inside `fields[...]`.
        collection: `catalog-item-bulk-create-jobs`, the path below `/api/`.
        relationships: What a job names: those it has succeeded with, or the lists and segments it is about.
        can_include: The detail takes `include` with the name of the first relationship, and `fields[its type]`.
        rate_class: `slow`, `narrow` or `wide`, see `limits.py`.
        scopes: What a key needs to read the list.
        fields: The attributes of a job.
        sort: What the list may be sorted by; nothing if it takes no `sort`.
        page_size: Jobs a page unless `page[size]` says otherwise.
        most_a_page: What `page[size]` may say at most; 0 if the list takes none.
        filters: What `equals` may be asked of, beside the status.
        has_any_filter: `any` may be asked of the status.
        links_only: Relationships that are links and nothing else, and which links.
        has_own_errors: The errors are a paged list below the job, not one of its attributes.
        self_has_fields: The link of a detail to itself repeats the `fields[...]` that were asked for.
    """

    name: str
    entity: str
    operation: str
    job_type: str
    relationships: tuple[Relationship, ...]
    can_include: bool
    rate_class: str
    scopes: frozenset[str]
    fields: tuple[str, ...]
    sort: str = ""
    page_size: int = 100
    most_a_page: int = 0
    filters: tuple[str, ...] = ()
    has_any_filter: bool = False
    links_only: tuple[tuple[str, tuple[str, ...]], ...] = ()
    has_own_errors: bool = False
    self_has_fields: bool = True

    @property
    def collection(self) -> str:
        return f"{self.job_type}s"

    @property
    def relationship(self) -> str:
        """The first relationship, also the only value `include` takes."""
        return self.relationships[0].name

    @property
    def related_type(self) -> str:
        """The type of what the first relationship holds, e.g. `catalog-item`."""
        return self.relationships[0].related_type

    @property
    def is_of_catalogs(self) -> bool:
        """Whether it is one of the nine kinds, whose jobs leave `relationships` out when nothing has succeeded."""
        return self.scopes == {"catalogs:read"}

    @property
    def expires(self) -> bool:
        """Whether its jobs leave the list, seven days after their creation."""
        return "expires_at" in self.fields


_CATALOG_FIELDS = (
    "completed_at",
    "completed_count",
    "created_at",
    "errors",
    "expires_at",
    "failed_count",
    "status",
    "total_count",
)
_IMPORT_FIELDS = (*(name for name in _CATALOG_FIELDS if name != "errors"), "started_at")
_SUPPRESSION_FIELDS = ("completed_at", "completed_count", "created_at", "skipped_count", "status", "total_count")
_LISTS, _SEGMENTS = Relationship("lists", "list"), Relationship("segments", "segment")


def _of_catalogs(entity: str, plural: str, operation: str) -> JobKind:
    can_include = operation != "delete"
    return JobKind(
        name=f"{entity}-{operation}",
        entity=entity,
        operation=operation,
        job_type=f"catalog-{entity}-bulk-{operation}-job",
        relationships=(Relationship(plural, f"catalog-{entity}"),),
        can_include=can_include,
        rate_class="narrow" if can_include and entity != "category" else "wide",
        scopes=frozenset({"catalogs:read"}),
        fields=_CATALOG_FIELDS,
    )


def _of_suppressions(operation: str, vendor_operation: str) -> JobKind:
    return JobKind(
        name=f"profile-{operation}",
        entity="profile",
        operation=operation,
        job_type=f"profile-suppression-bulk-{vendor_operation}-job",
        relationships=(_LISTS, _SEGMENTS),
        can_include=False,
        rate_class="narrow",
        scopes=frozenset({"subscriptions:read"}),
        fields=_SUPPRESSION_FIELDS,
        sort="created",
        filters=("list_id", "segment_id"),
    )


_NINE = [
    _of_catalogs(entity, plural, operation)
    for entity, plural in (("item", "items"), ("variant", "variants"), ("category", "categories"))
    for operation in ("create", "update", "delete")
]
_OTHERS = [
    JobKind(
        name="coupon-code-create",
        entity="coupon-code",
        operation="create",
        job_type="coupon-code-bulk-create-job",
        relationships=(Relationship("coupon-codes", "coupon-code"),),
        can_include=True,
        rate_class="narrow",
        scopes=frozenset({"coupon-codes:read"}),
        fields=_CATALOG_FIELDS,
        self_has_fields=False,
    ),
    JobKind(
        name="profile-import",
        entity="profile",
        operation="import",
        job_type="profile-bulk-import-job",
        relationships=(_LISTS,),
        can_include=True,
        rate_class="slow",
        scopes=frozenset({"profiles:read", "lists:read"}),
        fields=_IMPORT_FIELDS,
        sort="created_at",
        page_size=20,
        most_a_page=100,
        has_any_filter=True,
        links_only=(("profiles", ("self", "related")), ("import-errors", ("related",))),
        has_own_errors=True,
    ),
    _of_suppressions("suppress", "create"),
    _of_suppressions("unsuppress", "delete"),
]

CATALOG_KINDS = {kind.name: kind for kind in _NINE}
KINDS = CATALOG_KINDS | {kind.name: kind for kind in _OTHERS}
KINDS_BY_COLLECTION = {kind.collection: kind for kind in KINDS.values()}
SCOPES = frozenset[str]().union(*(kind.scopes for kind in KINDS.values()))


def check_kind(name: str) -> None:
    """
    Raises:
        ValueError: *name* is not one of the thirteen.
    """
    if name not in KINDS:
        raise ValueError(f"there is no job kind {name!r}; the kinds are {', '.join(KINDS)}")
