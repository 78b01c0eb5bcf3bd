"""The table of job kinds against what the API's documents say."""

from __future__ import annotations

import pytest

from klaviyo_jobs.model.kinds import DEFAULT_KINDS, KINDS, RateLimit

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


OTHERS = ("coupon-code-create", "profile-import", "profile-suppress", "profile-unsuppress")


def test_there_are_thirteen_kinds_in_a_fixed_order() -> None:
    """Item, variant, category; create, update, delete; then the others: the order of every list that we print."""
    assert list(KINDS) == [
        *("item-create", "item-update", "item-delete"),
        *("variant-create", "variant-update", "variant-delete"),
        *("category-create", "category-update", "category-delete"),
        *OTHERS,
    ]


def test_the_nine_of_catalogs_are_the_default() -> None:
    """One scope is enough for them."""
    assert list(KINDS) == [*DEFAULT_KINDS, *OTHERS]
    assert {KINDS[name].scopes for name in DEFAULT_KINDS} == {("catalogs:read",)}


@pytest.mark.parametrize(
    ("name", "resource", "path", "scopes", "params"),
    [
        ("coupon-code-create", "coupon_code_create_jobs", "coupon-code-bulk-create-job", ["coupon-codes:read"], {}),
        (
            "profile-import",
            "profile_import_jobs",
            "profile-bulk-import-job",
            ["profiles:read", "lists:read"],
            {"sort": "-created_at", "page[size]": "100"},
        ),
        (
            "profile-suppress",
            "profile_suppress_jobs",
            "profile-suppression-bulk-create-job",
            ["subscriptions:read"],
            {"sort": "-created"},
        ),
        (
            "profile-unsuppress",
            "profile_unsuppress_jobs",
            "profile-suppression-bulk-delete-job",
            ["subscriptions:read"],
            {"sort": "-created"},
        ),
    ],
)
def test_the_other_kinds_are_named_as_documented(
    name: str, resource: str, path: str, scopes: list[str], params: dict[str, str]
) -> None:
    """Paths, types, scopes and query parameters of the documents of the newest revision."""
    kind = KINDS[name]

    assert (kind.name, kind.resource_name) == (name, resource)
    assert (kind.list_path, kind.job_type, list(kind.scopes), kind.list_params) == (
        f"/api/{path}s",
        path,
        scopes,
        params,
    )


def test_details_include_what_the_documents_say() -> None:
    """Nothing for deletes and suppressions; an import's is its lists."""
    assert {name: kind.included and kind.included.plural for name, kind in KINDS.items()} == {
        **dict.fromkeys(("item-create", "item-update"), "items"),
        **dict.fromkeys(("variant-create", "variant-update"), "variants"),
        **dict.fromkeys(("category-create", "category-update"), "categories"),
        **dict.fromkeys(("item-delete", "variant-delete", "category-delete", "profile-suppress", "profile-unsuppress")),
        "coupon-code-create": "coupon-codes",
        "profile-import": "lists",
    }


def test_the_rate_limits_are_those_published_since_june_2026() -> None:
    """Imports have the slowest, create and update jobs of items and variants the strict one, deletes the wide one."""
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
        "coupon-code-create": STRICT,
        "profile-import": RateLimit(burst=10, steady=150),
        "profile-suppress": STRICT,
        "profile-unsuppress": STRICT,
    }
