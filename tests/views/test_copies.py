"""The three base views that rename and cast, and no more: `listings`, `job_observations`, `rejected_records`."""

from __future__ import annotations

from typing import Any

import pytest

from support.views import Warehouse, at

COPIES: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    (
        "listings",
        {
            "started_at": at("2026-07-15 10:00"),
            "finished_at": at("2026-07-15 10:01"),
            "page_count": 1,
            "job_count": 2,
            "changed_count": 3,
            "detail_count": 4,
            "rejected_count": 5,
            "request_count": 6,
            "retry_count": 7,
            "throttled_seconds": 8.5,
            "api_revision": "2026-07-15",
            "error": "none",
        },
        (
            *("default", "item-create", "R1", "2026-07-15 10:00:00", "2026-07-15 10:01:00", True),
            *(1, 2, 3, 4, 5, 6, 7, 8.5, "2026-07-15", "none"),
        ),
    ),
    (
        "job_observations",
        {
            "job_id": "J1",
            "observed_at": at("2026-07-15 10:00"),
            "status": "processing",
            "total_count": 1,
            "completed_count": 2,
            "failed_count": 3,
            "skipped_count": 6,
            "error_count": 4,
            "linkage_count": 5,
        },
        ("default", "item-create", "J1", "2026-07-15 10:00:00", "processing", 1, 2, 3, 4, 5, "R1", 6),
    ),
    (
        "rejected_records",
        {
            "record_hash": "H1",
            "endpoint": "/api/x",
            "json_path": "$.id",
            "reason": "absent",
            "raw": "{}",
            "first_rejected_at": at("2026-07-15 10:00"),
            "last_rejected_at": at("2026-07-15 11:00"),
            "times": 4,
        },
        (
            *("default", "item-create", "H1", "/api/x", "$.id", "absent", "{}"),
            *("2026-07-15 10:00:00", "2026-07-15 11:00:00", 4, "R1"),
        ),
    ),
]


@pytest.mark.parametrize(("table", "row", "expected"), COPIES, ids=[table for table, _, _ in COPIES])
def test_times_are_in_utc_and_the_rest_is_as_it_was(
    warehouse: Warehouse, table: str, row: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    """Whatever the zone of the session, a time reads as it was written in UTC."""
    warehouse.connection.execute("set timezone = 'Asia/Tokyo'")
    warehouse.insert(table, row)

    assert warehouse.rows(f"select * from klaviyo.{table}") == [expected]
