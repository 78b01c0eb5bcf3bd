from __future__ import annotations

from datetime import timedelta

import pytest

from support.views import Warehouse, at

ALL = """
    select account, job_kind, hour_utc, jobs_created, jobs_finished, operations_completed, operations_failed
    from klaviyo.job_throughput_hourly order by account, job_kind, hour_utc
"""


def test_work_counts_in_the_hour_it_ended(warehouse: Warehouse) -> None:
    """A job counts as created in one hour and as finished, with its operations, in another."""
    warehouse.jobs(
        {
            "job_id": "J1",
            "created_at": at("2026-07-15 09:59:59"),
            "completed_at": at("2026-07-15 10:00"),
            "completed_count": 7,
            "failed_count": 3,
        }
    )

    assert warehouse.rows(ALL) == [
        ("default", "item-create", "2026-07-15 09:00:00", 1, 0, 0, 0),
        ("default", "item-create", "2026-07-15 10:00:00", 0, 1, 7, 3),
    ]


def test_hours_without_jobs_are_zero_rows_across_midnight(warehouse: Warehouse) -> None:
    """Between the first job and the last listing none is missing, and none is added before or after."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-07-15 22:10"), "status": "processing"},
        {"job_id": "J2", "created_at": at("2026-07-16 01:10"), "status": "processing"},
    )
    warehouse.listed("2026-07-16 02:30")

    assert warehouse.rows(ALL) == [
        ("default", "item-create", "2026-07-15 22:00:00", 1, 0, 0, 0),
        ("default", "item-create", "2026-07-15 23:00:00", 0, 0, 0, 0),
        ("default", "item-create", "2026-07-16 00:00:00", 0, 0, 0, 0),
        ("default", "item-create", "2026-07-16 01:00:00", 1, 0, 0, 0),
        ("default", "item-create", "2026-07-16 02:00:00", 0, 0, 0, 0),
    ]


def test_accounts_and_kinds_have_hours_of_their_own(warehouse: Warehouse) -> None:
    """One account's quiet hours are not filled for another, nor one kind's for another."""
    warehouse.jobs(
        {"account": "shop_a", "job_id": "J1", "created_at": at("2026-07-15 08:00"), "status": "queued"},
        {"account": "shop_b", "job_id": "J1", "created_at": at("2026-07-15 11:00"), "status": "queued"},
        {"account": "shop_b", "job_id": "J1", "created_at": at("2026-07-15 14:00"), "job_kind": "item-delete"},
    )

    assert warehouse.rows(ALL) == [
        ("shop_a", "item-create", "2026-07-15 08:00:00", 1, 0, 0, 0),
        ("shop_b", "item-create", "2026-07-15 11:00:00", 1, 0, 0, 0),
        ("shop_b", "item-delete", "2026-07-15 14:00:00", 1, 0, 0, 0),
    ]


def test_only_finished_jobs_bring_operations(warehouse: Warehouse) -> None:
    """Counters of a job in progress still move: they count once, when it has ended; a cancelled job's count too."""
    warehouse.jobs(
        {"job_id": "J1", "status": "processing", "completed_count": 5},
        {"job_id": "J2", "status": "processing", "completed_count": 5, "completed_at": at("2026-07-15 10:30")},
        {"job_id": "J3", "status": "cancelled", "completed_count": 2, "completed_at": at("2026-07-15 10:30")},
        {"job_id": "J4", "status": "complete", "completed_count": None, "completed_at": at("2026-07-15 10:30")},
    )

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15 10:00:00", 4, 2, 2, 0)]


def test_a_finished_job_without_its_end_counts_as_created_only(warehouse: Warehouse) -> None:
    """If no run has said when it saw it ended either, there is no hour in which its operations could stand."""
    warehouse.jobs({"job_id": "J1", "status": "cancelled", "completed_count": 2})

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15 10:00:00", 1, 0, 0, 0)]


def test_hours_are_those_of_the_reporting_zone(warehouse: Warehouse) -> None:
    """Where clocks are off by half an hour, so are the hours; the session's zone moves none."""
    warehouse.connection.execute("set timezone = 'Australia/Adelaide'")
    warehouse.jobs({"job_id": "J1", "created_at": at("2026-07-15 18:20"), "status": "queued"})
    warehouse.listed("2026-07-15 18:40")
    warehouse.apply(reporting_timezone="Asia/Kolkata")

    assert warehouse.rows("select hour_utc, day, hour, jobs_created from klaviyo.job_throughput_hourly order by 1") == [
        ("2026-07-15 17:30:00", "2026-07-15", 23, 1),
        ("2026-07-15 18:30:00", "2026-07-16", 0, 0),
    ]


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Australia/Lord_Howe", "Europe/Berlin", "America/St_Johns"])
def test_the_hours_of_a_day_add_up_to_the_day(warehouse: Warehouse, zone: str) -> None:
    """In every zone, across both changes of its clocks: each job stands in an hour of its day."""
    jobs = [at("2026-03-20 00:10") + timedelta(minutes=97 * number) for number in range(4000)]
    warehouse.jobs(
        *({"job_id": f"J{number}", "created_at": time, "completed_at": time} for number, time in enumerate(jobs))
    )
    warehouse.apply(reporting_timezone=zone)

    assert warehouse.rows(
        "select day, sum(jobs_created), sum(jobs_finished) from klaviyo.job_throughput_hourly group by day order by day"
    ) == warehouse.rows("select day, jobs_created, jobs_finished from klaviyo.job_throughput_daily order by day")


def test_totals_are_plain_sums(warehouse: Warehouse) -> None:
    """The query in the view's header adds up kinds and accounts."""
    warehouse.jobs(
        {"account": "shop_a", "job_id": "J1", "completed_at": at("2026-07-15 10:30"), "completed_count": 2},
        {"account": "shop_b", "job_id": "J1", "completed_at": at("2026-07-15 10:40"), "completed_count": 3},
        {"job_kind": "item-delete", "job_id": "J2", "completed_at": at("2026-07-15 11:10"), "completed_count": 4},
    )

    assert warehouse.rows(
        "select hour_utc, sum(operations_completed) from klaviyo.job_throughput_hourly group by hour_utc order by 1"
    ) == [("2026-07-15 10:00:00", 5), ("2026-07-15 11:00:00", 4)]


def test_one_wrong_date_does_not_fill_the_view_with_decades_of_zeros(warehouse: Warehouse) -> None:
    """No listing knows of the hours between: a fake of 1944 makes two rows, not half a million."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("1944-02-19 07:21"), "completed_at": at("1995-03-09 16:38")},
        {"job_id": "J2", "created_at": at("2026-07-15 10:00"), "status": "queued"},
    )

    assert warehouse.rows("select hour_utc from klaviyo.job_throughput_hourly order by 1") == [
        ("1944-02-19 07:00:00",),
        ("1995-03-09 16:00:00",),
        ("2026-07-15 10:00:00",),
    ]


def test_a_quiet_year_is_filled(warehouse: Warehouse) -> None:
    """A pause in which runs go on, however long, has its zero rows: 366 days of 24 hours, and the last."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2024-01-01 00:00"), "status": "queued"},
        {"job_id": "J2", "created_at": at("2025-01-01 00:00"), "status": "queued"},
    )
    warehouse.listed(*(str(at("2024-01-01 00:30") + timedelta(days=6 * number))[:16] for number in range(62)))

    assert warehouse.value("select count(*) from klaviyo.job_throughput_hourly") == 366 * 24 + 1
