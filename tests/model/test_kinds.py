"""The table of job kinds against what the API's documents say."""

from __future__ import annotations

import pytest

from klaviyo_jobs.model.kinds import KINDS, RateLimit

STRICT, WIDE = RateLimit(burst=75, steady=750), RateLimit(burst=350, steady=3500)


@pytest.mark.parametrize(
    ("name", "resource", "listing", "path", "job_type", "relationship", "related_type", "id_column"),
    [
        (
            f"{entity}-{operation}",
            f"{entity}_{operation}_jobs",
            f"{entity}_{operation}_listing",
            f"/api/catalog-{entity}-bulk-{operation}-jobs",
            f"catalog-{entity}-bulk-{operation}-job",
            plural,
            f"catalog-{entity}",
            f"{entity}_id",
        )
        for entity, plural in (("item", "items"), ("variant", "variants"), ("category", "categories"))
        for operation in ("create", "update", "delete")
    ],
)
def test_every_name_of_a_kind_follows_from_entity_and_operation(
    name: str,
    resource: str,
    listing: str,
    path: str,
    job_type: str,
    relationship: str,
    related_type: str,
    id_column: str,
) -> None:
    """Names, paths and types are those of the documents of every revision, without a trailing slash."""
    kind = KINDS[name]

    assert (kind.name, kind.resource_name, kind.listing_name) == (name, resource, listing)
    assert (kind.list_path, kind.job_type) == (path, job_type)
    assert (kind.entity.plural, kind.entity.resource_type, kind.entity.id_column) == (
        relationship,
        related_type,
        id_column,
    )


def test_there_are_nine_kinds_in_a_fixed_order() -> None:
    """Item, variant, category; create, update, delete: the order of every list that we print."""
    assert list(KINDS) == [
        *("item-create", "item-update", "item-delete"),
        *("variant-create", "variant-update", "variant-delete"),
        *("category-create", "category-update", "category-delete"),
    ]


def test_only_the_details_of_create_and_update_jobs_take_include() -> None:
    """The documents have no `include` for deletes."""
    assert [name for name, kind in KINDS.items() if not kind.can_include] == [
        *("item-delete", "variant-delete", "category-delete"),
    ]


def test_the_rate_limits_are_those_published_since_june_2026() -> None:
    """Create and update jobs of items and variants have the strict limit, all others the wide one."""
    assert {name: kind.rate_limit for name, kind in KINDS.items()} == {
        "item-create": STRICT,
        "item-update": STRICT,
        "item-delete": WIDE,
        "variant-create": STRICT,
        "variant-update": STRICT,
        "variant-delete": WIDE,
        "category-create": WIDE,
        "category-update": WIDE,
        "category-delete": WIDE,
    }
