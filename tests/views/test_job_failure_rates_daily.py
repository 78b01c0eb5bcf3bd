from __future__ import annotations

import pytest

from support.views import Warehouse, at

ALL = """
    select account, job_kind, day, jobs_complete, jobs_cancelled, jobs_failed, jobs_partly_failed,
        operations_total, operations_failed, failed_share
    from klaviyo.job_failure_rates_daily order by account, job_kind, day
"""
END = at("2026-07-15 11:00")


def test_the_rate_is_weighted_by_operations(warehouse: Warehouse) -> None:
    """One job of 1 that failed and one of 99 that did not make 1 %, not the 50 % of an average of shares."""
    warehouse.jobs(
        {"job_id": "J1", "completed_at": END, "total_count": 1, "completed_count": 0, "failed_count": 1},
        {"job_id": "J2", "completed_at": END, "total_count": 99, "completed_count": 99, "failed_count": 0},
    )

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15", 2, 0, 1, 0, 100, 1, 0.01)]


def test_a_job_whose_operations_all_failed_has_a_rate_of_one(warehouse: Warehouse) -> None:
    """As recorded live: status complete, 2 of 2 failed."""
    warehouse.jobs({"job_id": "J1", "completed_at": END, "total_count": 2, "completed_count": 0, "failed_count": 2})

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15", 1, 0, 1, 0, 2, 2, 1.0)]


def test_cancelled_jobs_are_counted_beside(warehouse: Warehouse) -> None:
    """A cancelled job's operations are in no rate; a day of cancelled jobs only has none."""
    warehouse.jobs(
        {"job_id": "J1", "completed_at": END, "total_count": 10, "completed_count": 5, "failed_count": 5},
        {"job_id": "J2", "completed_at": END, "total_count": 90, "failed_count": 90, "status": "cancelled"},
        {"job_id": "J3", "completed_at": at("2026-07-16 11:00"), "total_count": 9, "status": "cancelled"},
    )

    assert warehouse.rows(ALL) == [
        ("default", "item-create", "2026-07-15", 1, 1, 0, 1, 10, 5, 0.5),
        ("default", "item-create", "2026-07-16", 0, 1, 0, 0, 0, 0, None),
    ]


def test_absent_counts_are_zero(warehouse: Warehouse) -> None:
    """A job without failed_count had no failures; its total still weighs."""
    warehouse.jobs(
        {"job_id": "J1", "completed_at": END, "total_count": 10, "completed_count": 5, "failed_count": 5},
        {"job_id": "J2", "completed_at": END, "total_count": 10},
    )

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15", 2, 0, 0, 1, 20, 5, 0.25)]


@pytest.mark.parametrize("total", [None, 0, -10])
def test_a_job_without_a_total_counts_as_a_job_but_in_no_rate(warehouse: Warehouse, total: int | None) -> None:
    """Its failures are a share of nothing: with them the rate of the day could pass 1."""
    warehouse.jobs(
        {"job_id": "J1", "completed_at": END, "total_count": total, "completed_count": 1, "failed_count": 9},
        {"job_id": "J2", "completed_at": END, "total_count": 10, "completed_count": 5, "failed_count": 5},
    )

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15", 2, 0, 0, 2, 10, 5, 0.5)]


def test_a_day_with_nothing_but_empty_jobs_has_no_rate(warehouse: Warehouse) -> None:
    """Zero of zero is unknown, not zero."""
    warehouse.jobs({"job_id": "J1", "completed_at": END, "total_count": 0, "failed_count": 0})

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15", 1, 0, 0, 0, 0, 0, None)]


def test_a_job_counts_on_the_day_it_ended_and_quiet_days_are_zero_rows(warehouse: Warehouse) -> None:
    """A job across midnight is on the second day only; days between stand without a rate."""
    warehouse.jobs(
        {
            "job_id": "J1",
            "created_at": at("2026-07-14 23:50"),
            "completed_at": at("2026-07-15 00:10"),
            "total_count": 1,
        },
        {
            "job_id": "J2",
            "created_at": at("2026-07-16 23:50"),
            "completed_at": at("2026-07-17 00:10"),
            "total_count": 1,
        },
    )
    warehouse.listed("2026-07-15 00:20", "2026-07-17 00:20")

    assert warehouse.rows(ALL) == [
        ("default", "item-create", "2026-07-14", 0, 0, 0, 0, 0, 0, None),
        ("default", "item-create", "2026-07-15", 1, 0, 0, 0, 1, 0, 0.0),
        ("default", "item-create", "2026-07-16", 0, 0, 0, 0, 0, 0, None),
        ("default", "item-create", "2026-07-17", 1, 0, 0, 0, 1, 0, 0.0),
    ]


def test_unfinished_jobs_are_in_no_rate(warehouse: Warehouse) -> None:
    """Neither in progress nor vanished: their counters say nothing yet, or no more; what vanished is counted beside."""
    warehouse.jobs(
        {"job_id": "J1", "status": "processing", "total_count": 2, "failed_count": 2},
        {"job_id": "J2", "status": "processing", "total_count": 2, "vanished_at": END},
    )

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15", 0, 0, 0, 0, 0, 0, None)]
    assert warehouse.rows("select jobs_vanished, jobs_incomplete from klaviyo.job_failure_rates_daily") == [(1, 0)]


def test_operations_that_were_never_done_make_a_job_incomplete(warehouse: Warehouse) -> None:
    """One of a hundred failed and none is done: not all failed, and the others did not succeed."""
    warehouse.jobs({"job_id": "J1", "completed_at": END, "total_count": 100, "completed_count": 0, "failed_count": 1})

    assert warehouse.rows(
        "select jobs_complete, jobs_failed, jobs_partly_failed, jobs_incomplete, operations_failed, failed_share "
        "from klaviyo.job_failure_rates_daily"
    ) == [(1, 0, 0, 1, 1, 0.01)]


def test_errors_count_where_counts_are_absent(warehouse: Warehouse) -> None:
    """Two operations, no counts, two errors: both failed."""
    warehouse.jobs({"job_id": "J1", "completed_at": END, "total_count": 2, "error_count": 2})

    assert warehouse.rows(
        "select jobs_failed, operations_failed, failed_share from klaviyo.job_failure_rates_daily"
    ) == [(1, 2, 1.0)]


def test_days_follow_the_reporting_zone(warehouse: Warehouse) -> None:
    """In winter a Berlin day begins at 23:00 UTC, in summer at 22:00."""
    warehouse.jobs(
        {"job_id": "J1", "completed_at": at("2026-10-24 22:00"), "total_count": 1},
        {"job_id": "J2", "completed_at": at("2026-10-25 22:59"), "total_count": 1},
        {"job_id": "J3", "completed_at": at("2026-10-25 23:00"), "total_count": 1},
    )
    warehouse.apply(reporting_timezone="Europe/Berlin")

    assert warehouse.rows("select day, jobs_complete from klaviyo.job_failure_rates_daily order by day") == [
        ("2026-10-25", 2),
        ("2026-10-26", 1),
    ]


def test_accounts_have_rates_of_their_own(warehouse: Warehouse) -> None:
    """The same job id in two accounts is two jobs."""
    warehouse.jobs(
        {"account": "shop_a", "job_id": "J1", "completed_at": END, "total_count": 2, "failed_count": 2},
        {"account": "shop_b", "job_id": "J1", "completed_at": END, "total_count": 2, "failed_count": 0},
    )

    assert warehouse.rows("select account, failed_share from klaviyo.job_failure_rates_daily order by account") == [
        ("shop_a", 1.0),
        ("shop_b", 0.0),
    ]
