from __future__ import annotations

import pytest

from support.views import Warehouse, at

ALL = """
    select account, job_kind, day, jobs_finished, p50_seconds, p95_seconds, p99_seconds, max_seconds
    from klaviyo.job_latency_daily order by account, job_kind, day
"""


def test_quantiles_are_interpolated_over_the_jobs_of_a_day(warehouse: Warehouse) -> None:
    """Of 10, 20, 30 and 40 seconds the middle is 25, and 95 % lies 0.85 of the way from 30 to 40."""
    warehouse.jobs(
        {"job_id": "J1", "completed_at": at("2026-07-15 10:00:10")},
        {"job_id": "J2", "completed_at": at("2026-07-15 10:00:20")},
        {"job_id": "J3", "completed_at": at("2026-07-15 10:00:30")},
        {"job_id": "J4", "completed_at": at("2026-07-15 10:00:40"), "status": "cancelled"},
    )

    [(*head, p50, p95, p99, slowest)] = warehouse.rows(ALL)
    assert head == ["default", "item-create", "2026-07-15", 4]
    assert (p50, p95, p99, slowest) == pytest.approx((25.0, 38.5, 39.7, 40.0))


def test_a_job_counts_on_the_day_it_ended_and_quiet_days_have_no_quantiles(warehouse: Warehouse) -> None:
    """A job across midnight is on its second day; a day on which nothing ended stands with 0 jobs and nulls."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-07-14 23:59"), "completed_at": at("2026-07-15 00:01")},
        {"job_id": "J2", "created_at": at("2026-07-17 10:00"), "completed_at": at("2026-07-17 10:00:07")},
    )
    warehouse.listed("2026-07-15 12:00", "2026-07-17 12:00")

    assert warehouse.rows(ALL) == [
        ("default", "item-create", "2026-07-14", 0, None, None, None, None),
        ("default", "item-create", "2026-07-15", 1, 120.0, 120.0, 120.0, 120.0),
        ("default", "item-create", "2026-07-16", 0, None, None, None, None),
        ("default", "item-create", "2026-07-17", 1, 7.0, 7.0, 7.0, 7.0),
    ]


def test_jobs_that_have_not_ended_have_no_latency(warehouse: Warehouse) -> None:
    """Neither those in progress, nor those whose end is not known."""
    warehouse.jobs(
        {"job_id": "J1", "status": "processing", "completed_at": at("2026-07-15 11:00")},
        {"job_id": "J2", "status": "cancelled"},
    )

    assert warehouse.rows(ALL) == []


def test_a_job_that_a_run_saw_ended_has_no_latency_but_is_counted(warehouse: Warehouse) -> None:
    """When it ended in truth, nobody says: the time of the run would be that of the crontab."""
    warehouse.jobs({"job_id": "J1", "status": "cancelled", "last_changed_at": at("2026-07-15 12:00")})

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15", 1, None, None, None, None)]


def test_no_job_takes_less_than_no_time(warehouse: Warehouse) -> None:
    """One that ended before it was created, says Klaviyo, has ended; how long it took is not known."""
    warehouse.jobs(
        {"job_id": "J1", "completed_at": at("2026-07-15 09:00")},
        {"job_id": "J2", "completed_at": at("2026-07-15 10:00:03")},
    )

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15", 2, 3.0, 3.0, 3.0, 3.0)]


def test_a_change_of_clocks_makes_no_job_longer(warehouse: Warehouse) -> None:
    """Ten minutes across the hour that Berlin skips are ten minutes, on the Berlin day of the end."""
    warehouse.apply(reporting_timezone="Europe/Berlin")
    warehouse.jobs({"job_id": "J1", "created_at": at("2026-03-29 00:55"), "completed_at": at("2026-03-29 01:05")})

    assert warehouse.rows("select day, max_seconds from klaviyo.job_latency_daily") == [("2026-03-29", 600.0)]


def test_accounts_with_the_same_job_id_are_kept_apart(warehouse: Warehouse) -> None:
    """Each account has the quantiles of its own job."""
    warehouse.jobs(
        {"account": "shop_a", "job_id": "J1", "completed_at": at("2026-07-15 10:00:01")},
        {"account": "shop_b", "job_id": "J1", "completed_at": at("2026-07-15 10:00:09")},
    )

    assert warehouse.rows("select account, jobs_finished, p50_seconds from klaviyo.job_latency_daily order by 1") == [
        ("shop_a", 1, 1.0),
        ("shop_b", 1, 9.0),
    ]
