from __future__ import annotations

from support.views import Warehouse, at

ALL = """
    select job_kind, hour_utc, jobs_in_progress, most_in_progress, account_most_in_progress
    from klaviyo.job_backlog_hourly order by account, job_kind, hour_utc
"""


def _day(text: str) -> str:
    return f"2026-07-15 {text}:00"


def test_jobs_are_counted_at_the_start_of_each_hour_and_at_their_most(warehouse: Warehouse) -> None:
    """Three at once, two of them over the hour, one into the next; an hour without any is 0."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-07-15 10:10"), "completed_at": at("2026-07-15 10:30")},
        {"job_id": "J2", "created_at": at("2026-07-15 10:20"), "completed_at": at("2026-07-15 11:10")},
        {"job_id": "J3", "created_at": at("2026-07-15 10:25"), "completed_at": at("2026-07-15 12:40")},
    )
    warehouse.listed("2026-07-15 13:30")

    assert warehouse.rows(ALL) == [
        ("item-create", _day("10:00"), 0, 3, 3),
        ("item-create", _day("11:00"), 2, 2, 2),
        ("item-create", _day("12:00"), 1, 1, 1),
        ("item-create", _day("13:00"), 0, 0, 0),
    ]


def test_peaks_of_kinds_do_not_add_up(warehouse: Warehouse) -> None:
    """Each kind had two at once, but one after the other: the account never had four."""
    warehouse.jobs(
        *(
            {
                "job_id": f"J{number}",
                "job_kind": kind,
                "created_at": at(f"2026-07-15 10:{begin}"),
                "completed_at": at(f"2026-07-15 10:{end}"),
            }
            for kind, begin, end in (("item-create", 10, 20), ("item-delete", 20, 30))
            for number in range(2)
        )
    )

    assert warehouse.rows(ALL) == [
        ("item-create", _day("10:00"), 0, 2, 2),
        ("item-delete", _day("10:00"), 0, 2, 2),
    ]


def test_a_job_that_runs_for_days_is_in_progress_at_every_hour(warehouse: Warehouse) -> None:
    """Over two midnights, until it ends."""
    warehouse.jobs({"job_id": "J1", "created_at": at("2026-07-15 22:30"), "completed_at": at("2026-07-17 01:30")})
    warehouse.listed("2026-07-15 23:00", "2026-07-17 02:30")

    rows = warehouse.rows(ALL)
    assert [row[1] for row in rows] == [
        _day("22:00"),
        _day("23:00"),
        *(f"2026-07-16 {hour:02}:00:00" for hour in range(24)),
        *(f"2026-07-17 {hour:02}:00:00" for hour in range(3)),
    ]
    assert [row[2:] for row in rows] == [(0, 1, 1), *[(1, 1, 1)] * 27, (0, 0, 0)][:29]


def test_a_job_in_progress_counts_until_the_last_listing(warehouse: Warehouse) -> None:
    """What has become of it since nobody knows; one that vanished is in progress no more."""
    warehouse.jobs(
        {"job_id": "J1", "status": "queued", "created_at": at("2026-07-15 10:30")},
        {
            "job_id": "J2",
            "status": "queued",
            "created_at": at("2026-07-15 10:40"),
            "vanished_at": at("2026-07-15 11:30"),
        },
    )
    warehouse.listed("2026-07-15 12:30")

    assert warehouse.rows(ALL) == [
        ("item-create", _day("10:00"), 0, 2, 2),
        ("item-create", _day("11:00"), 2, 2, 2),
        ("item-create", _day("12:00"), 1, 1, 1),
    ]


def test_of_two_moments_that_are_one_the_end_comes_first(warehouse: Warehouse) -> None:
    """A job that was created when another ended was never in progress with it; one of no time never was."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-07-15 10:10"), "completed_at": at("2026-07-15 10:20")},
        {"job_id": "J2", "created_at": at("2026-07-15 10:20"), "completed_at": at("2026-07-15 10:30")},
        {"job_id": "J3", "created_at": at("2026-07-15 10:25"), "completed_at": at("2026-07-15 10:25")},
        {"job_id": "J4", "created_at": at("2026-07-15 10:26"), "completed_at": at("2026-07-15 10:15")},
    )

    assert warehouse.rows(ALL) == [("item-create", _day("10:00"), 0, 1, 1)]


def test_the_limit_stands_beside(warehouse: Warehouse) -> None:
    """As reporting_settings says."""
    warehouse.jobs({"job_id": "J1", "completed_at": at("2026-07-15 10:20")})
    warehouse.apply(jobs_in_progress_limit=7)

    assert warehouse.rows("select limit_count, entity, operation from klaviyo.job_backlog_hourly") == [
        (7, "item", "create")
    ]
