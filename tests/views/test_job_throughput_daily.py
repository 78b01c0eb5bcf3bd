from __future__ import annotations

from support.views import Warehouse, at

ALL = """
    select account, job_kind, day, jobs_created, jobs_finished, operations_completed, operations_failed
    from klaviyo.job_throughput_daily order by account, job_kind, day
"""


def test_a_job_across_midnight_counts_on_two_days(warehouse: Warehouse) -> None:
    """Created on one day, finished with its operations on the next."""
    warehouse.jobs(
        {
            "job_id": "J1",
            "created_at": at("2026-07-15 23:59:59.999999"),
            "completed_at": at("2026-07-16 00:00"),
            "completed_count": 7,
            "failed_count": 3,
        }
    )

    assert warehouse.rows(ALL) == [
        ("default", "item-create", "2026-07-15", 1, 0, 0, 0),
        ("default", "item-create", "2026-07-16", 0, 1, 7, 3),
    ]


def test_a_job_under_way_has_finished_on_no_day(warehouse: Warehouse) -> None:
    """Whatever its `completed_at` says, only its status tells that a job has ended."""
    warehouse.jobs(
        {
            "job_id": "J1",
            "status": "processing",
            "created_at": at("2026-07-15 10:00"),
            "completed_at": at("2026-07-15 11:00"),
            "completed_count": 7,
        }
    )

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15", 1, 0, 0, 0)]


def test_days_without_jobs_are_zero_rows(warehouse: Warehouse) -> None:
    """Between the first job and the last listing none is missing, across the end of a month too."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-06-29 12:00"), "status": "queued"},
        {"job_id": "J2", "created_at": at("2026-07-02 12:00"), "status": "queued"},
    )
    warehouse.listed("2026-07-03 12:00")

    assert warehouse.rows(ALL) == [
        ("default", "item-create", "2026-06-29", 1, 0, 0, 0),
        ("default", "item-create", "2026-06-30", 0, 0, 0, 0),
        ("default", "item-create", "2026-07-01", 0, 0, 0, 0),
        ("default", "item-create", "2026-07-02", 1, 0, 0, 0),
        ("default", "item-create", "2026-07-03", 0, 0, 0, 0),
    ]


def test_accounts_with_the_same_job_id_are_kept_apart(warehouse: Warehouse) -> None:
    """Each account counts its own job."""
    warehouse.jobs(
        {"account": "shop_a", "job_id": "J1", "completed_at": at("2026-07-15 11:00"), "completed_count": 1},
        {"account": "shop_b", "job_id": "J1", "completed_at": at("2026-07-15 11:00"), "completed_count": 2},
    )

    assert warehouse.rows(ALL) == [
        ("shop_a", "item-create", "2026-07-15", 1, 1, 1, 0),
        ("shop_b", "item-create", "2026-07-15", 1, 1, 2, 0),
    ]


def test_days_follow_the_reporting_zone_across_a_change_of_clocks(warehouse: Warehouse) -> None:
    """Berlin's Sunday of 2026-03-29 has 23 hours: it runs from 23:00 UTC on Saturday to 22:00 UTC on Sunday."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-03-28 22:59"), "status": "queued"},
        {"job_id": "J2", "created_at": at("2026-03-28 23:00"), "status": "queued"},
        {"job_id": "J3", "created_at": at("2026-03-29 21:59"), "status": "queued"},
        {"job_id": "J4", "created_at": at("2026-03-29 22:00"), "status": "queued"},
    )
    warehouse.apply(reporting_timezone="Europe/Berlin")

    assert warehouse.rows("select day, jobs_created from klaviyo.job_throughput_daily order by day") == [
        ("2026-03-28", 1),
        ("2026-03-29", 2),
        ("2026-03-30", 1),
    ]


def test_a_day_of_25_hours_is_one_day(warehouse: Warehouse) -> None:
    """New York's Sunday of 2026-11-01 runs from 04:00 UTC to 05:00 UTC of Monday."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-10-31 03:59"), "status": "queued"},
        {"job_id": "J2", "created_at": at("2026-11-01 04:00"), "status": "queued"},
        {"job_id": "J3", "created_at": at("2026-11-02 04:59"), "status": "queued"},
        {"job_id": "J4", "created_at": at("2026-11-03 05:00"), "status": "queued"},
    )
    warehouse.listed("2026-11-03 06:00")
    warehouse.apply(reporting_timezone="America/New_York")

    assert warehouse.rows("select day, jobs_created from klaviyo.job_throughput_daily order by day") == [
        ("2026-10-30", 1),
        ("2026-10-31", 0),
        ("2026-11-01", 2),
        ("2026-11-02", 0),
        ("2026-11-03", 1),
    ]


def test_one_wrong_date_does_not_fill_the_view_with_decades_of_zeros(warehouse: Warehouse) -> None:
    """No listing knows of the days between, as in the hourly view."""
    warehouse.jobs({"job_id": "J1", "created_at": at("1944-02-19 07:21"), "completed_at": at("1995-03-09 16:38")})
    warehouse.listed("1995-03-10 00:00")

    assert warehouse.rows("select day from klaviyo.job_throughput_daily order by day") == [
        ("1944-02-19",),
        *((f"1995-03-{number:02}",) for number in range(3, 11)),
    ]
