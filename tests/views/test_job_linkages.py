from __future__ import annotations

from support.views import Warehouse, at


def test_a_linkage_comes_with_its_jobs_status_and_creation(warehouse: Warehouse) -> None:
    """The raw columns in their order, then what the job says."""
    warehouse.jobs({"job_id": "J1", "created_at": at("2026-07-15 10:00")})
    warehouse.insert(
        "job_linkages", {"job_id": "J1", "related_id": "$custom:::$default:::SKU-1", "external_id": "SKU-1"}
    )

    assert warehouse.rows("select * from klaviyo.job_linkages") == [
        (
            *("default", "item-create", "J1", 0, "items", "catalog-item", "$custom:::$default:::SKU-1", "SKU-1"),
            *("R1", "complete", "2026-07-15 10:00:00"),
        )
    ]


def test_a_linkage_without_its_job_is_still_shown(warehouse: Warehouse) -> None:
    """An orphan is a fault that a check reports; hiding it would hide the fault."""
    warehouse.insert("job_linkages", {"job_id": "J1"})

    assert warehouse.rows("select job_id, status, created_at_utc from klaviyo.job_linkages") == [("J1", None, None)]
