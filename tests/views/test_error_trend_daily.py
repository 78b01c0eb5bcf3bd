from __future__ import annotations

from support.views import Warehouse, at

ALL = """
    select account, job_kind, fingerprint, day, occurrences, jobs, is_new
    from klaviyo.error_trend_daily order by account, job_kind, day, fingerprint
"""


def test_errors_are_counted_by_the_day_of_their_jobs(warehouse: Warehouse) -> None:
    """Two errors in two jobs of one day, and one of the same sort the day after: new on the first day only."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-07-15 10:00")},
        {"job_id": "J2", "created_at": at("2026-07-15 23:59")},
        {"job_id": "J3", "created_at": at("2026-07-16 00:00")},
    )
    warehouse.insert(
        "job_errors",
        {"job_id": "J1", "position": 0, "detail": "No item 1."},
        {"job_id": "J1", "position": 1, "detail": "No item 2."},
        {"job_id": "J2", "detail": "No item 3."},
        {"job_id": "J3", "position": 0, "detail": "No item 4."},
        {"job_id": "J3", "position": 1, "detail": "Too dear."},
    )

    assert warehouse.rows(ALL) == [
        ("default", "item-create", "No item ?.", "2026-07-15", 3, 2, True),
        ("default", "item-create", "No item ?.", "2026-07-16", 1, 1, False),
        ("default", "item-create", "Too dear.", "2026-07-16", 1, 1, True),
    ]


def test_an_error_is_new_to_its_account_and_kind(warehouse: Warehouse) -> None:
    """What another shop has seen before says nothing of this one."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-07-15 10:00")},
        {"job_id": "J2", "created_at": at("2026-07-16 10:00"), "account": "shop_b"},
        {"job_id": "J3", "created_at": at("2026-07-16 10:00"), "job_kind": "item-delete"},
    )
    warehouse.insert(
        "job_errors",
        {"job_id": "J1", "detail": "Bad."},
        {"job_id": "J2", "detail": "Bad.", "account": "shop_b"},
        {"job_id": "J3", "detail": "Bad.", "job_kind": "item-delete"},
    )

    assert [row[-1] for row in warehouse.rows(ALL)] == [True, True, True]


def test_a_filter_on_days_changes_no_answer(warehouse: Warehouse) -> None:
    """What is new is told by all that is kept."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-07-15 10:00")}, {"job_id": "J2", "created_at": at("2026-07-16 10:00")}
    )
    warehouse.insert("job_errors", {"job_id": "J1", "detail": "Bad."}, {"job_id": "J2", "detail": "Bad."})

    assert warehouse.rows("select is_new from klaviyo.error_trend_daily where day = date '2026-07-16'") == [(False,)]
