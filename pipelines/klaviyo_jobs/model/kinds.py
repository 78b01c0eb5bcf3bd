"""
The thirteen kinds of bulk job, as one table of facts: nine of catalogs, and those of coupon codes and profiles.

Everything that differs from kind to kind stands here and nowhere else: names, paths, scopes, relationships, counts,
how a list is read, where errors are, rate limits. No room above asks for a kind by its name.

Source: Klaviyo API, revisions 2022-10-17 to 2026-07-15, the OpenAPI documents' paths, `x-klaviyo-scopes` and
`x-klaviyo-ratelimit`; answers of the newest revision, recorded 2026-09-04.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many GETs one account may send: *burst* in any one second, *steady* in any one minute."""

    burst: int
    steady: int


@dataclass(frozen=True, slots=True)
class Entity:
    """
    A type of resource that jobs work on or name.

    Attributes:
        name: `item`, `variant`, `category`, `coupon-code`, `profile`, `list` or `segment`.
        plural: The name of the relationship that holds such, and the value of `include`.
        resource_type: The JSON:API type, e.g. `catalog-item`.
        kept_relationships: Those of its own whose `data` is kept when it is included.
    """

    name: str
    plural: str
    resource_type: str
    kept_relationships: tuple[str, ...] = ()

    @property
    def table_name(self) -> str:
        """The table of included resources, e.g. `coupon_codes`."""
        return self.plural.replace("-", "_")

    @property
    def id_column(self) -> str:
        """The natural key's column in that table, e.g. `item_id`."""
        return f"{self.name.replace('-', '_')}_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """
    One kind of bulk job, e.g. `item-create`.

    Attributes:
        entity: What its jobs work on.
        operation: What they do to it.
        job_type: The JSON:API type of the job, e.g. `catalog-item-bulk-create-job`.
        scopes: What a key needs to read it.
        rate_limit: Of each of its endpoints.
        relationships: Those whose `data` is kept as linkages of the job.
        link_relationships: Those that are links, and nothing else where recorded.
        included: What the detail includes when asked; None if it takes no `include`.
        counts: The attributes that are counts of operations.
        times: The attributes that are times, beside `created_at`.
        sort: What the list is asked to be sorted by, newest first; None where the API offers no sort.
        page_size: What is asked for with `page[size]`; None where the list takes none.
        expires: Whether Klaviyo forgets its jobs, seven days after their creation.
        errors_are_listed: Whether errors are an attribute of the job.
        errors_path: What follows the path of a job whose errors are a list of their own.
        error_fields: What is asked for of such an error.
        payload_field: What of it is asked for on request only, since it is personal data.
    """

    entity: Entity
    operation: str
    job_type: str
    scopes: tuple[str, ...]
    rate_limit: RateLimit
    relationships: tuple[Entity, ...]
    link_relationships: tuple[str, ...] = ()
    included: Entity | None = None
    counts: tuple[str, ...] = ("total_count", "completed_count", "failed_count")
    times: tuple[str, ...] = ("completed_at", "expires_at")
    sort: str | None = None
    page_size: int | None = None
    expires: bool = True
    errors_are_listed: bool = True
    errors_path: str | None = None
    error_fields: tuple[str, ...] = ()
    payload_field: str | None = None

    @property
    def name(self) -> str:
        """The value of every `job_kind` column, e.g. `item-create`."""
        return f"{self.entity.name}-{self.operation}"

    @property
    def resource_name(self) -> str:
        """The dlt resource, e.g. `item_create_jobs`."""
        return f"{self.name.replace('-', '_')}_jobs"

    @property
    def listing_name(self) -> str:
        """The dlt resource that a transformer of details depends on, e.g. `category_create_listing`."""
        return f"{self.name.replace('-', '_')}_listing"

    @property
    def list_path(self) -> str:
        """The path of the listing; the same without a trailing slash at every live revision."""
        return f"/api/{self.job_type}s"

    @property
    def list_params(self) -> dict[str, str]:
        """What the first page of the listing is asked for with."""
        sort = {} if self.sort is None else {"sort": f"-{self.sort}"}
        return sort if self.page_size is None else {**sort, "page[size]": str(self.page_size)}


_LIST: Final = Entity("list", "lists", "list")
_SEGMENT: Final = Entity("segment", "segments", "segment")
_PROFILE: Final = Entity("profile", "profiles", "profile")
_COUPON_CODE: Final = Entity("coupon-code", "coupon-codes", "coupon-code", kept_relationships=("coupon", "profile"))
_OF_CATALOGS: Final = (
    Entity("item", "items", "catalog-item"),
    Entity("variant", "variants", "catalog-variant"),
    Entity("category", "categories", "catalog-category"),
)

# Lowered for items and variants on 2026-06-30 inside a published revision, so these are first guesses:
# the API's own `RateLimit-Limit` header has the last word.
_SLOW: Final = RateLimit(burst=10, steady=150)
_STRICT: Final = RateLimit(burst=75, steady=750)
_WIDE: Final = RateLimit(burst=350, steady=3500)


def _catalog_kind(entity: Entity, operation: str) -> JobKind:
    return JobKind(
        entity=entity,
        operation=operation,
        job_type=f"{entity.resource_type}-bulk-{operation}-job",
        scopes=("catalogs:read",),
        rate_limit=_WIDE if entity.name == "category" or operation == "delete" else _STRICT,
        relationships=(entity,),
        # The details of jobs that create or update take `include`, those of jobs that delete do not.
        included=None if operation == "delete" else entity,
    )


def _suppression_kind(operation: str, job_type: str) -> JobKind:
    return JobKind(
        entity=_PROFILE,
        operation=operation,
        job_type=job_type,
        scopes=("subscriptions:read",),
        rate_limit=_STRICT,
        relationships=(_LIST, _SEGMENT),
        counts=("total_count", "completed_count", "skipped_count"),
        times=("completed_at",),
        sort="created",
        expires=False,
        errors_are_listed=False,
    )


# In the order of every list that we print.
KINDS: Final[dict[str, JobKind]] = {
    kind.name: kind
    for kind in (
        *(_catalog_kind(entity, operation) for entity in _OF_CATALOGS for operation in ("create", "update", "delete")),
        JobKind(
            entity=_COUPON_CODE,
            operation="create",
            job_type="coupon-code-bulk-create-job",
            scopes=("coupon-codes:read",),
            rate_limit=_STRICT,
            relationships=(_COUPON_CODE,),
            included=_COUPON_CODE,
        ),
        JobKind(
            entity=_PROFILE,
            operation="import",
            job_type="profile-bulk-import-job",
            scopes=("profiles:read", "lists:read"),
            rate_limit=_SLOW,
            relationships=(_LIST,),
            link_relationships=("profiles", "import-errors"),
            included=_LIST,
            times=("completed_at", "expires_at", "started_at"),
            sort="created_at",
            page_size=100,
            errors_are_listed=False,
            errors_path="import-errors",
            error_fields=("code", "title", "detail", "source"),
            payload_field="original_payload",
        ),
        _suppression_kind("suppress", "profile-suppression-bulk-create-job"),
        _suppression_kind("unsuppress", "profile-suppression-bulk-delete-job"),
    )
}
# What is read unless `kinds` says otherwise: the scope catalogs:read is enough for them.
DEFAULT_KINDS: Final = tuple(kind.name for kind in KINDS.values() if kind.scopes == ("catalogs:read",))
# What details can include, by the name that the setting `include` has for it.
INCLUDED: Final = {kind.included.plural: kind.included for kind in KINDS.values() if kind.included is not None}


def kinds_of_scopes(scopes: tuple[str, ...]) -> list[JobKind]:
    """Return the kinds that need exactly *scopes*, which a key has for all of them or for none."""
    return [kind for kind in KINDS.values() if kind.scopes == scopes]
