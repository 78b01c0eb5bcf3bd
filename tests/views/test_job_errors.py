from __future__ import annotations

from support.views import Warehouse, at


def test_an_error_comes_with_its_jobs_status_and_creation(warehouse: Warehouse) -> None:
    """The raw columns in their order, then what the job says."""
    warehouse.jobs({"job_id": "J1", "status": "processing", "created_at": at("2026-07-15 10:00")})
    warehouse.insert(
        "job_errors",
        {
            "job_id": "J1",
            "position": 0,
            "error_id": "E1",
            "code": "invalid",
            "title": "Invalid input",
            "detail": "No item 7.",
            "source_pointer": "/data",
            "related_id": "$custom:::$default:::SKU-1",
            "meta": '{"id": 1}',
        },
    )

    assert warehouse.rows("select * from klaviyo.job_errors") == [
        (
            *("default", "item-create", "J1", 0, "E1", "invalid", "Invalid input", "No item 7.", "No item ?.", "/data"),
            *("$custom:::$default:::SKU-1", '{"id": 1}', "R1", "processing", "2026-07-15 10:00:00", "2026-07-15"),
        )
    ]


def test_an_error_without_its_job_is_still_shown(warehouse: Warehouse) -> None:
    """An orphan is a fault that a check reports; hiding it would hide the fault."""
    warehouse.insert("job_errors", {"job_id": "J1"})

    assert warehouse.rows("select job_id, status, created_at_utc from klaviyo.job_errors") == [("J1", None, None)]


def test_errors_belong_to_the_job_of_their_account_and_kind(warehouse: Warehouse) -> None:
    """The same job id in another account or kind is another job."""
    warehouse.jobs(
        {"account": "shop_a", "job_id": "J1", "status": "complete"},
        {"account": "shop_b", "job_id": "J1", "status": "processing"},
        {"account": "shop_a", "job_id": "J1", "status": "queued", "job_kind": "item-delete"},
    )
    warehouse.insert("job_errors", {"account": "shop_a", "job_id": "J1"})

    assert warehouse.rows("select account, job_kind, status from klaviyo.job_errors") == [
        ("shop_a", "item-create", "complete")
    ]
