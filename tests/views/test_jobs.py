from __future__ import annotations

from typing import Any

import pytest

from support.views import Warehouse, at


def test_a_job_comes_with_its_raw_columns_renamed_and_in_utc(warehouse: Warehouse) -> None:
    """Every column of the contract stands in its order, times naive and in UTC."""
    warehouse.jobs(
        {
            "job_id": "J1",
            "job_kind": "category-update",
            "status": "complete",
            "created_at": at("2026-07-15 10:00"),
            "completed_at": at("2026-07-15 10:01:30.250001"),
            "expires_at": at("2026-07-22 10:00"),
            "total_count": 4,
            "completed_count": 3,
            "failed_count": 1,
            "error_count": 1,
            "linkage_count": 3,
            "first_seen_at": at("2026-07-15 10:00:30"),
            "last_changed_at": at("2026-07-15 11:00"),
            "unread_error_count": 0,
            "unread_linkage_count": 2,
        }
    )

    assert warehouse.rows("select * from klaviyo.jobs") == [
        (
            *("default", "category-update", "J1", "category", "update", "complete", "partly_failed", True),
            *("2026-07-15 10:00:00", "2026-07-15 10:01:30.250001", "2026-07-22 10:00:00"),
            *(4, 3, 1, 0.25, 90.250001, 1, 3),
            *("2026-07-15 10:00:30", "2026-07-15 11:00:00", None),
            *("2026-07-15", "2026-07-15", 0, 2),
            *("2026-07-15 10:01:30.250001", "2026-07-15", 3, 1),
            *(None, 0, None),
        )
    ]


@pytest.mark.parametrize(
    ("job", "outcome", "is_finished"),
    [
        ({"total_count": 2, "completed_count": 2, "failed_count": 0}, "succeeded", True),
        ({"total_count": 2, "completed_count": 1, "failed_count": 1}, "partly_failed", True),
        ({"total_count": 2, "completed_count": 0, "failed_count": 2}, "failed", True),
        ({"total_count": 2, "completed_count": None, "failed_count": 2}, "failed", True),
        ({"total_count": None, "completed_count": 0, "failed_count": 2}, "failed", True),
        ({"total_count": None, "completed_count": None, "failed_count": 2}, "partly_failed", True),
        ({"total_count": None, "completed_count": None, "failed_count": None}, "succeeded", True),
        ({"total_count": 0, "completed_count": 0, "failed_count": 0}, "succeeded", True),
        ({"total_count": -3, "completed_count": -1, "failed_count": -3}, "succeeded", True),
        ({"status": "cancelled", "total_count": 2, "failed_count": 2}, "cancelled", True),
        ({"total_count": 2, "error_count": 2}, "failed", True),
        ({"total_count": 2, "error_count": 1}, "partly_failed", True),
        ({"total_count": 2, "completed_count": 1, "error_count": 1}, "partly_failed", True),
        ({"total_count": 2, "completed_count": 0, "failed_count": 0}, "incomplete", True),
        ({"total_count": 2, "completed_count": 1}, "incomplete", True),
        ({"total_count": 100, "completed_count": 0, "failed_count": 1}, "incomplete", True),
        ({"total_count": 100, "completed_count": 98, "failed_count": 1}, "incomplete", True),
        ({"total_count": 100, "completed_count": 99, "failed_count": 1}, "partly_failed", True),
        ({"status": "queued"}, "in_progress", False),
        ({"status": "queued", "expires_at": at("2026-07-22 10:00")}, "vanished", False),
        ({"status": "processing", "expires_at": None}, "vanished", False),
        ({"status": "paused", "expires_at": at("2026-07-22 10:00")}, "vanished", False),
        ({"status": "complete", "expires_at": at("2026-07-22 10:00")}, "succeeded", True),
        ({"status": "processing", "total_count": 2, "completed_count": 2}, "in_progress", False),
        ({"status": "processing", "completed_at": at("2026-07-15 11:00")}, "in_progress", False),
        ({"status": "processing", "vanished_at": at("2026-07-16 10:00")}, "vanished", False),
        ({"status": "complete", "vanished_at": at("2026-07-16 10:00")}, "succeeded", True),
    ],
)
def test_the_outcome_of_a_job(warehouse: Warehouse, job: dict[str, Any], outcome: str, is_finished: bool) -> None:
    """A complete job is judged by its counts; a cancelled one is not; an unfinished one is in progress or vanished."""
    warehouse.jobs({"job_id": "J1", **job})

    assert warehouse.rows("select outcome, is_finished from klaviyo.jobs") == [(outcome, is_finished)]


@pytest.mark.parametrize("status", ["paused", None])
def test_a_status_nobody_knows_is_judged_by_its_end(warehouse: Warehouse, status: str | None) -> None:
    """Without completed_at such a job is in progress; with it, it is judged like a complete one."""
    warehouse.jobs(
        {"job_id": "J1", "status": status},
        {"job_id": "J2", "status": status, "completed_at": at("2026-07-15 11:00"), "failed_count": 1, "total_count": 2},
    )

    assert warehouse.rows("select job_id, outcome, is_finished, duration_seconds from klaviyo.jobs order by 1") == [
        ("J1", "in_progress", False, None),
        ("J2", "partly_failed", True, 3600.0),
    ]


@pytest.mark.parametrize(
    ("total", "failed", "share"),
    [(4, 1, 0.25), (4, 0, 0.0), (4, None, 0.0), (0, 0, None), (None, 1, None), (-4, -1, None)],
)
def test_the_failed_share_of_a_job(
    warehouse: Warehouse, total: int | None, failed: int | None, share: float | None
) -> None:
    """An absent count is zero by the vendor's default; a share of no operations is null."""
    warehouse.jobs({"job_id": "J1", "total_count": total, "failed_count": failed})

    assert warehouse.value("select failed_share from klaviyo.jobs") == share


def test_an_unfinished_job_has_no_duration(warehouse: Warehouse) -> None:
    """Counters and even completed_at may run ahead of the status; a duration waits for the end."""
    warehouse.jobs(
        {"job_id": "J1", "status": "processing", "completed_at": at("2026-07-15 11:00")},
        {"job_id": "J2", "status": "cancelled", "completed_at": at("2026-07-15 10:00:00.000001")},
    )

    assert warehouse.rows("select job_id, duration_seconds from klaviyo.jobs order by job_id") == [
        ("J1", None),
        ("J2", 0.000001),
    ]


def test_times_do_not_depend_on_the_zone_of_the_session(warehouse: Warehouse) -> None:
    """A reader in another zone sees the same UTC times and the same days."""
    warehouse.jobs({"job_id": "J1", "created_at": at("2026-07-15 23:30"), "completed_at": at("2026-07-16 00:30")})
    expected = [("2026-07-15 23:30:00", "2026-07-16 00:30:00", "2026-07-15", "2026-07-16")]
    sql = "select created_at_utc, completed_at_utc, created_on, completed_on from klaviyo.jobs"

    for zone in ("UTC", "Asia/Tokyo", "America/Los_Angeles"):
        warehouse.connection.execute(f"set timezone = '{zone}'")
        assert warehouse.rows(sql) == expected


def test_two_accounts_may_hold_the_same_job_id(warehouse: Warehouse) -> None:
    """Job ids are unique within an account and a kind only."""
    warehouse.jobs(
        {"account": "shop_a", "job_id": "J1", "total_count": 1},
        {"account": "shop_b", "job_id": "J1", "total_count": 2},
        {"account": "shop_b", "job_id": "J1", "job_kind": "item-delete", "total_count": 3},
    )

    assert warehouse.rows("select account, job_kind, total_count from klaviyo.jobs order by total_count") == [
        ("shop_a", "item-create", 1),
        ("shop_b", "item-create", 2),
        ("shop_b", "item-delete", 3),
    ]


def test_dates_of_a_documented_fake_answer_break_nothing(warehouse: Warehouse) -> None:
    """A job from 1944 to 1995 with negative counts is shown as it is."""
    warehouse.jobs(
        {
            "job_id": "J1",
            "created_at": at("1944-02-19 07:21:17"),
            "completed_at": at("1995-03-09 16:38:43"),
            "total_count": -64_000_000,
            "failed_count": -5,
        }
    )

    assert warehouse.rows(
        "select created_at_utc, completed_at_utc, total_count, failed_share, outcome from klaviyo.jobs"
    ) == [("1944-02-19 07:21:17", "1995-03-09 16:38:43", -64_000_000, None, "succeeded")]


@pytest.mark.parametrize(
    ("job", "observed", "ended"),
    [
        ({"completed_at": at("2026-07-15 11:00")}, ["complete 12:00"], "11:00"),
        ({}, ["processing 10:10", "complete 12:00", "complete 13:00"], "12:00"),
        ({"status": "cancelled", "last_changed_at": at("2026-07-15 14:00")}, ["cancelled 12:00"], "12:00"),
        ({"status": "cancelled", "last_changed_at": at("2026-07-15 14:00")}, ["queued 10:10"], "14:00"),
        ({"first_seen_at": at("2026-07-15 15:00")}, [], "15:00"),
        ({}, [], None),
        ({"status": "queued"}, ["queued 10:10"], None),
        ({"status": "queued", "vanished_at": at("2026-07-15 16:00")}, [], "16:00"),
        ({"status": "queued", "expires_at": at("2026-07-15 17:00")}, [], "17:00"),
        (
            {
                "status": "queued",
                "expires_at": at("2026-07-15 17:00"),
                "vanished_at": at("2026-07-15 18:00"),
                "completed_at": at("2026-07-15 11:00"),
            },
            [],
            "17:00",
        ),
    ],
)
def test_when_a_job_ended(warehouse: Warehouse, job: dict[str, Any], observed: list[str], ended: str | None) -> None:
    """Klaviyo's word, else the first run that saw it ended; a job that vanished ended then, or at its expiry."""
    warehouse.jobs({"job_id": "J1", **job})
    for status, time in map(str.split, observed):
        warehouse.insert(
            "job_observations", {"job_id": "J1", "status": status, "observed_at": at(f"2026-07-15 {time}")}
        )

    assert warehouse.rows("select ended_at_utc, ended_on from klaviyo.jobs") == [
        (ended and f"2026-07-15 {ended}:00", ended and "2026-07-15")
    ]


def test_the_day_of_an_end_that_a_run_saw_is_of_the_reporting_zone(warehouse: Warehouse) -> None:
    """Like the days that are stored: 22:30 in UTC is the next day in Berlin."""
    warehouse.jobs(
        {"job_id": "J1", "status": "cancelled", "last_changed_at": at("2026-07-15 22:30")},
        {"job_id": "J2", "completed_at": at("2026-07-15 22:30")},
    )
    warehouse.apply(reporting_timezone="Europe/Berlin")

    assert warehouse.rows("select job_id, ended_on from klaviyo.jobs order by 1") == [
        ("J1", "2026-07-16"),
        ("J2", "2026-07-16"),
    ]
