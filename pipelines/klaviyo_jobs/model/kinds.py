"""
The nine bulk-job kinds, as one table of facts.

Everything that differs from kind to kind stands here and nowhere else: names, paths, relationships, rate limits.

Source: Klaviyo API, revisions 2022-10-17 to 2026-07-15, the OpenAPI documents' paths and `x-klaviyo-ratelimit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Operation = Literal["create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many GETs one account may send: *burst* in any one second, *steady* in any one minute."""

    burst: int
    steady: int


@dataclass(frozen=True, slots=True)
class Entity:
    """
    What a job creates, updates or deletes.

    Attributes:
        name: `item`, `variant` or `category`.
        plural: The relationship's name, the value of `include` and the name of the table of included resources.
        resource_type: The JSON:API type of a related resource, e.g. `catalog-item`.
    """

    name: str
    plural: str
    resource_type: str

    @property
    def id_column(self) -> str:
        """The natural key's column in the table of included resources, e.g. `item_id`."""
        return f"{self.name}_id"


@dataclass(frozen=True, slots=True)
class JobKind:
    """One of the nine kinds of bulk job, e.g. `item-create`."""

    entity: Entity
    operation: Operation
    rate_limit: RateLimit

    @property
    def name(self) -> str:
        """The value of every `job_kind` column, e.g. `item-create`."""
        return f"{self.entity.name}-{self.operation}"

    @property
    def resource_name(self) -> str:
        """The dlt resource, e.g. `item_create_jobs`."""
        return f"{self.entity.name}_{self.operation}_jobs"

    @property
    def listing_name(self) -> str:
        """The dlt resource that a transformer of details depends on, e.g. `category_create_listing`."""
        return f"{self.entity.name}_{self.operation}_listing"

    @property
    def job_type(self) -> str:
        """The JSON:API type of the job, e.g. `catalog-item-bulk-create-job`."""
        return f"{self.entity.resource_type}-bulk-{self.operation}-job"

    @property
    def list_path(self) -> str:
        """The path of the listing; the same without a trailing slash at every live revision."""
        return f"/api/{self.job_type}s"

    @property
    def can_include(self) -> bool:
        """Whether the detail takes `include`: those of create and update do, those of delete do not."""
        return self.operation != "delete"


ENTITIES: Final = (
    Entity("item", "items", "catalog-item"),
    Entity("variant", "variants", "catalog-variant"),
    Entity("category", "categories", "catalog-category"),
)
OPERATIONS: Final[tuple[Operation, ...]] = ("create", "update", "delete")

# Lowered for items and variants on 2026-06-30 inside a published revision, so these are first guesses:
# the API's own `RateLimit-Limit` header has the last word.
_STRICT: Final = RateLimit(burst=75, steady=750)
_WIDE: Final = RateLimit(burst=350, steady=3500)


def _rate_limit(entity: Entity, operation: Operation) -> RateLimit:
    return _WIDE if entity.name == "category" or operation == "delete" else _STRICT


KINDS: Final[dict[str, JobKind]] = {
    kind.name: kind
    for kind in (
        JobKind(entity, operation, _rate_limit(entity, operation)) for entity in ENTITIES for operation in OPERATIONS
    )
}
