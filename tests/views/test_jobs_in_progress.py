from __future__ import annotations

from support.views import Warehouse, at

ALL = """
    select account, job_kind, jobs_in_progress, limit_count, used_share
    from klaviyo.jobs_in_progress order by account, job_kind
"""


def test_jobs_in_progress_stand_beside_the_limit(warehouse: Warehouse) -> None:
    """Finished, vanished and expired jobs count in none of it; a kind that is listed and has none stands with 0."""
    warehouse.jobs(
        {"job_id": "J1", "status": "processing"},
        {"job_id": "J2", "status": "queued"},
        {"job_id": "J3", "status": "complete"},
        {"job_id": "J4", "status": "processing", "vanished_at": at("2026-07-16 10:00")},
        {"job_id": "J5", "status": "cancelled", "job_kind": "item-delete"},
        {"job_id": "J1", "status": "processing", "account": "shop_b"},
        {"job_id": "J6", "status": "processing", "expires_at": at("2026-07-22 10:00")},
    )
    warehouse.listed("2026-07-16 10:00", job_kind="item-delete")

    assert warehouse.rows(ALL) == [
        ("default", "item-create", 2, 500, 0.004),
        ("default", "item-delete", 0, 500, 0.0),
        ("shop_b", "item-create", 1, 500, 0.002),
    ]


def test_the_limit_can_be_set(warehouse: Warehouse) -> None:
    """Klaviyo may raise it; a limit of nothing has no share."""
    warehouse.jobs({"job_id": "J1", "status": "processing"})

    warehouse.apply(jobs_in_progress_limit=2)
    assert warehouse.rows(ALL) == [("default", "item-create", 1, 2, 0.5)]

    warehouse.apply(jobs_in_progress_limit=0)
    assert warehouse.rows(ALL) == [("default", "item-create", 1, 0, None)]


def test_kinds_of_an_account_are_added_up(warehouse: Warehouse) -> None:
    """Klaviyo does not say whether the limit is one for all of them."""
    warehouse.jobs(
        {"job_id": "J1", "status": "processing"},
        {"job_id": "J2", "status": "queued", "job_kind": "item-delete"},
        {"job_id": "J3", "status": "queued", "account": "shop_b"},
    )

    assert warehouse.rows(
        "select account, job_kind, account_jobs_in_progress, account_used_share from klaviyo.jobs_in_progress order by 1, 2"
    ) == [
        ("default", "item-create", 2, 0.004),
        ("default", "item-delete", 2, 0.004),
        ("shop_b", "item-create", 1, 0.002),
    ]
