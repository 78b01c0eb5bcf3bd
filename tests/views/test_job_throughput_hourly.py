from __future__ import annotations

from support.views import Warehouse, at

ALL = "select * from klaviyo.job_throughput_hourly order by account, job_kind, hour_utc"


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
    """Between the first hour and the last none is missing, and none is added before or after."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-07-15 22:10"), "status": "processing"},
        {"job_id": "J2", "created_at": at("2026-07-16 01:10"), "status": "processing"},
    )

    assert warehouse.rows(ALL) == [
        ("default", "item-create", "2026-07-15 22:00:00", 1, 0, 0, 0),
        ("default", "item-create", "2026-07-15 23:00:00", 0, 0, 0, 0),
        ("default", "item-create", "2026-07-16 00:00:00", 0, 0, 0, 0),
        ("default", "item-create", "2026-07-16 01:00:00", 1, 0, 0, 0),
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
    """Without completed_at there is no hour in which its operations could stand."""
    warehouse.jobs({"job_id": "J1", "status": "cancelled", "completed_count": 2})

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15 10:00:00", 1, 0, 0, 0)]


def test_hours_are_of_utc_whatever_the_zones(warehouse: Warehouse) -> None:
    """Neither the session's zone nor a zone off by half an hour moves an hour."""
    warehouse.apply(reporting_timezone="Asia/Kolkata")
    warehouse.connection.execute("set timezone = 'Australia/Adelaide'")
    warehouse.jobs({"job_id": "J1", "created_at": at("2026-07-15 10:20"), "status": "queued"})

    assert warehouse.rows(ALL) == [("default", "item-create", "2026-07-15 10:00:00", 1, 0, 0, 0)]


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
    """A gap of more than ten years is left open: a fake of 1944 makes two rows, not half a million."""
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
    """A real pause, however long, has its zero rows: 366 days of 24 hours, and the last."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2024-01-01 00:00"), "status": "queued"},
        {"job_id": "J2", "created_at": at("2025-01-01 00:00"), "status": "queued"},
    )

    assert warehouse.value("select count(*) from klaviyo.job_throughput_hourly") == 366 * 24 + 1
