from __future__ import annotations

import pytest

from support.views import Warehouse, at


def test_a_linkage_comes_with_its_jobs_status_and_creation(warehouse: Warehouse) -> None:
    """The raw columns in their order, then what the job says."""
    warehouse.jobs({"job_id": "J1", "created_at": at("2026-07-15 10:00")})
    warehouse.insert("job_linkages", {"job_id": "J1", "related_id": "$custom:::$default:::SKU-1"})

    assert warehouse.rows("select * from klaviyo.job_linkages") == [
        (
            *("default", "item-create", "J1", 0, "items", "catalog-item", "$custom:::$default:::SKU-1", "SKU-1"),
            *("R1", "complete", "2026-07-15 10:00:00"),
        )
    ]


@pytest.mark.parametrize(
    ("related_id", "external_id"),
    [
        ("$custom:::$default:::SKU-1", "SKU-1"),
        ("$shopify:::$default:::a:::b", "a:::b"),
        ("$custom:::$default:::", ""),
        ("SKU-1", None),
        ("a:::b", None),
        (":::a:::b", "b"),
        ("", None),
        (None, None),
    ],
)
def test_the_external_id_is_what_follows_integration_and_catalog(
    warehouse: Warehouse, related_id: str | None, external_id: str | None
) -> None:
    """A compound id has three parts; the shop's own may hold the separator."""
    warehouse.insert("job_linkages", {"job_id": "J1", "related_id": related_id})

    assert warehouse.rows("select external_id from klaviyo.job_linkages") == [(external_id,)]


@pytest.mark.parametrize(
    ("job_kind", "relationship"),
    [("item-create", "items"), ("variant-update", "variants"), ("category-delete", "categories")],
)
def test_the_relationship_is_that_of_the_kind(warehouse: Warehouse, job_kind: str, relationship: str) -> None:
    """A job of categories lists categories, whatever it does to them."""
    warehouse.insert("job_linkages", {"job_id": "J1", "job_kind": job_kind})

    assert warehouse.rows("select relationship from klaviyo.job_linkages") == [(relationship,)]


def test_a_linkage_without_its_job_is_still_shown(warehouse: Warehouse) -> None:
    """An orphan is a fault that a check reports; hiding it would hide the fault."""
    warehouse.insert("job_linkages", {"job_id": "J1"})

    assert warehouse.rows("select job_id, status, created_at_utc from klaviyo.job_linkages") == [("J1", None, None)]
