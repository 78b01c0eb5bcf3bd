from __future__ import annotations

from support.views import Warehouse, at

ALL = """
    select account, job_kind, job_id, observed_at_utc, status, since_utc, seconds, operations_completed,
        operations_failed, operations_per_second
    from klaviyo.job_progress order by account, job_kind, job_id, observed_at_utc
"""


def test_each_look_counts_what_was_done_since_the_one_before(warehouse: Warehouse) -> None:
    """The first look counts from the creation of the job; all looks together give its counts."""
    warehouse.jobs({"job_id": "J1", "created_at": at("2026-07-15 10:00")})
    warehouse.insert(
        "job_observations",
        {"job_id": "J1", "observed_at": at("2026-07-15 10:01"), "status": "processing", "completed_count": 30},
        {
            "job_id": "J1",
            "observed_at": at("2026-07-15 10:03"),
            "status": "complete",
            "completed_count": 80,
            "failed_count": 10,
        },
    )

    job = ("default", "item-create", "J1")
    assert warehouse.rows(ALL) == [
        (*job, "2026-07-15 10:01:00", "processing", "2026-07-15 10:00:00", 60.0, 30, 0, 0.5),
        (*job, "2026-07-15 10:03:00", "complete", "2026-07-15 10:01:00", 120.0, 50, 10, 0.5),
    ]


def test_a_look_at_a_job_that_is_not_there_has_no_beginning(warehouse: Warehouse) -> None:
    """Its operations count, its speed is not known."""
    warehouse.insert("job_observations", {"job_id": "J1", "observed_at": at("2026-07-15 10:01"), "completed_count": 3})

    assert warehouse.rows(
        "select since_utc, seconds, operations_completed, operations_per_second from klaviyo.job_progress"
    ) == [(None, None, 3, None)]


def test_jobs_of_two_accounts_have_histories_of_their_own(warehouse: Warehouse) -> None:
    """The same job id in another account is no earlier look at this one."""
    warehouse.insert(
        "job_observations",
        {"account": "shop_a", "job_id": "J1", "observed_at": at("2026-07-15 10:01"), "completed_count": 5},
        {"account": "shop_b", "job_id": "J1", "observed_at": at("2026-07-15 10:02"), "completed_count": 7},
    )

    assert warehouse.rows("select account, operations_completed from klaviyo.job_progress order by account") == [
        ("shop_a", 5),
        ("shop_b", 7),
    ]


def test_a_job_that_had_ended_took_its_own_time(warehouse: Warehouse) -> None:
    """It ran for ten seconds; that the run came an hour later made it no slower."""
    warehouse.jobs({"job_id": "J1", "completed_at": at("2026-07-15 10:00:10")})
    warehouse.insert(
        "job_observations",
        {"job_id": "J1", "observed_at": at("2026-07-15 11:00"), "status": "complete", "completed_count": 40},
    )

    assert warehouse.rows("select seconds, operations_per_second from klaviyo.job_progress") == [(10.0, 4.0)]


def test_no_speed_is_negative(warehouse: Warehouse) -> None:
    """Where a count went back, or a clock, there is none."""
    warehouse.jobs({"job_id": "J1", "status": "processing"}, {"job_id": "J2", "status": "processing"})
    warehouse.insert(
        "job_observations",
        {"job_id": "J1", "observed_at": at("2026-07-15 10:01"), "completed_count": 60},
        {"job_id": "J1", "observed_at": at("2026-07-15 10:02"), "completed_count": 50},
        {"job_id": "J2", "observed_at": at("2026-07-15 09:59"), "completed_count": 50},
    )

    assert warehouse.rows(
        "select job_id, seconds, operations_completed, operations_per_second "
        "from klaviyo.job_progress order by job_id, observed_at_utc"
    ) == [("J1", 60.0, 60, 1.0), ("J1", 60.0, -10, None), ("J2", None, 50, None)]
