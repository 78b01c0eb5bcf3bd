"""What `klaviyo-jobs check` takes for a breach, and what it does not: cases from operating shops."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from klaviyo_jobs.monitor.check import render_findings, run_checks
from klaviyo_jobs.monitor.measures import Finding
from klaviyo_jobs.monitor.rows_behind import look_at
from klaviyo_jobs.settings import CheckSettings
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from support.views import Warehouse

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


def ago(**span: float) -> datetime:
    """Return the moment that lies *span* before now."""
    return NOW - timedelta(**span)


def check(warehouse: Warehouse, *, kinds: list[str] | None = None, **settings: Any) -> list[Finding]:
    """Return every finding, of the accounts and kinds given."""
    accounts, is_narrowed = settings.pop("accounts", ()), settings.pop("is_narrowed", False)
    thresholds = CheckSettings()
    for name, value in settings.items():
        setattr(thresholds, name, value)
    return run_checks(
        DuckDBConnection(warehouse.connection),
        thresholds,
        kinds=kinds or ["item-create"],
        accounts=accounts,
        is_narrowed=is_narrowed,
    )


def breaches(warehouse: Warehouse, **settings: Any) -> list[tuple[str, str | None, float | None]]:
    """Return check, kind and value of each breach, the age of listings left out."""
    return [
        (each.check, each.job_kind, each.value)
        for each in check(warehouse, **settings)
        if each.is_breached and each.check != "listing_age_seconds"
    ]


def told(warehouse: Warehouse, name: str, **settings: Any) -> list[Finding]:
    """Return the findings of one check."""
    return [each for each in check(warehouse, **settings) if each.check == name]


def list_at(warehouse: Warehouse, *times: datetime, **columns: Any) -> None:
    """Say that the listing was read to its end at each of *times*."""
    warehouse.insert(
        "listings", *({"run_id": f"R{time}", "started_at": time, "finished_at": time, **columns} for time in times)
    )


CONTRADICTIONS = [
    {"job_id": "J1", "completed_at": True, "total_count": 2, "completed_count": 1, "failed_count": 1, "error_count": 2},
    {"job_id": "J2", "completed_at": True, "total_count": 2, "completed_count": 0, "failed_count": 2, "error_count": 0},
    {"job_id": "J3", "completed_at": True, "total_count": 100, "completed_count": 99, "failed_count": 0},
    {"job_id": "J4", "total_count": 1, "completed_count": 1, "failed_count": 0},
]


def add_contradictions(warehouse: Warehouse, when: datetime) -> None:
    """Store four jobs by which Klaviyo contradicts itself, as a run saw them *when*."""
    for job in CONTRADICTIONS:
        times = {"created_at": when, "first_seen_at": when, "last_changed_at": when}
        warehouse.jobs({**job, **times, "completed_at": when if job.get("completed_at") else None})
        errors = [
            {"job_id": job["job_id"], "position": number} for number in range(int(str(job.get("error_count", 0))))
        ]
        if errors:
            warehouse.insert("job_errors", *errors)
    warehouse.loaded("R1", when)


def test_what_klaviyo_once_said_breaches_nothing(warehouse: Warehouse) -> None:
    """A year old: no line tells of it. Of today: it is information. Neither is anything that somebody could mend."""
    add_contradictions(warehouse, ago(days=365))
    before = [(each.check, each.value) for each in check(warehouse) if each.is_information]
    add_contradictions(warehouse, ago(hours=1))
    after = [(each.check, each.value) for each in check(warehouse, max_failed_share=1) if each.is_information]

    assert before == [("contradictory_counts", 0), ("contradictory_times", 0), ("impossible_times", 0)]
    assert after == [("contradictory_counts", 3), ("contradictory_times", 1), ("impossible_times", 0)]
    assert [each.is_breached for each in check(warehouse) if each.is_information] == [False] * 3


def test_what_this_program_must_hold_breaches_always(warehouse: Warehouse) -> None:
    """A row stored twice, an orphan and a row too few, whatever the thresholds."""
    warehouse.jobs({"job_id": "J1", "error_count": 3, "completed_at": ago(days=300)})
    warehouse.insert("job_errors", {"job_id": "J1"}, {"job_id": "J1"}, {"job_id": "J9"})
    warehouse.loaded("R1", ago(hours=1))

    assert breaches(warehouse) == [
        ("grain_of_tables", None, 1),
        ("orphan_children", None, 1),
        ("stored_counts", None, 1),
    ]


def test_a_record_that_could_not_be_read_is_one_record_in_its_window(warehouse: Warehouse) -> None:
    """Of two errors one could not be read, a month ago: the rows are as many as could be, and the month has passed."""
    when = ago(days=30)
    warehouse.jobs(
        {
            "job_id": "J1",
            "created_at": when,
            "completed_at": when,
            "last_changed_at": when,
            "total_count": 2,
            "failed_count": 2,
            "error_count": 2,
            "unread_error_count": 1,
        }
    )
    warehouse.insert("job_errors", {"job_id": "J1"})
    warehouse.insert("rejected_records", {"record_hash": "H1", "last_rejected_at": when})
    warehouse.loaded("R1", ago(hours=1))
    assert breaches(warehouse) == []

    warehouse.insert("rejected_records", {"record_hash": "H2", "last_rejected_at": ago(hours=1), "times": 96})
    assert breaches(warehouse) == [("rejected_records", "item-create", 1)]


def test_a_share_of_few_operations_is_not_judged(warehouse: Warehouse) -> None:
    """One of two is half, and says nothing; the answer tells how many kinds were too small."""
    warehouse.jobs(
        {"job_id": "J1", "completed_at": ago(hours=1), "total_count": 2, "completed_count": 1, "failed_count": 1}
    )
    for number in range(2):
        warehouse.jobs(
            {
                "job_id": f"J{number}",
                "job_kind": "item-update",
                "completed_at": ago(hours=1),
                "total_count": 10,
                "completed_count": 10,
                "failed_count": 0,
            }
        )
    kinds = ["item-create", "item-update"]

    [few, enough] = told(warehouse, "failed_share", kinds=kinds)
    assert (few.value, few.is_breached, few.is_judged) == (0.5, False, False)
    assert few.seen == "1 of 2 operations, too few to judge"
    assert (enough.value, enough.is_breached, enough.is_judged) == (0.0, False, True)
    assert render_findings([few, enough]) == (
        "ok    failed_share          0.0%, at most 10.0% (0 of 20 operations); 1 with too few operations to judge"
    )
    assert breaches(warehouse, kinds=kinds, min_operations=2) == [("failed_share", "item-create", 0.5)]


def test_the_window_is_about_when_we_came_to_know(warehouse: Warehouse) -> None:
    """All failed, ended 30 hours ago, first seen a minute ago after an outage: that is news. A day later it is not."""
    failed = {"total_count": 100, "completed_count": 0, "failed_count": 100, "error_count": 0}
    warehouse.jobs(
        {
            "job_id": "J1",
            "created_at": ago(hours=31),
            "completed_at": ago(hours=30),
            "first_seen_at": ago(minutes=1),
            "last_changed_at": ago(minutes=1),
            **failed,
        }
    )

    assert breaches(warehouse, max_new_errors=999) == [("failed_share", "item-create", 1.0)]
    assert breaches(warehouse, check_window_seconds=30) == []


def test_what_is_configured_no_more_is_not_asked_for(warehouse: Warehouse) -> None:
    """Unfinished jobs of a kind and an account that no run reads any more: not stuck, not in progress, not vanished."""
    old = {"status": "processing", "created_at": ago(days=90), "expires_at": ago(days=83)}
    recent = {
        "status": "processing",
        "created_at": ago(days=2),
        "expires_at": ago(days=-5),
        "last_changed_at": ago(hours=1),
    }
    warehouse.jobs(
        {"job_id": "J1", **old},
        {"job_id": "J2", **old, "job_kind": "item-delete"},
        {"job_id": "J3", **recent, "job_kind": "item-delete"},
        {"job_id": "J4", **recent, "account": "closed"},
    )

    assert breaches(warehouse, accounts=["default"]) == []
    assert warehouse.rows("select job_id from klaviyo.jobs where outcome = 'in_progress' order by 1") == [
        ("J3",),
        ("J4",),
    ]


def test_accounts_and_kinds_can_be_chosen(warehouse: Warehouse) -> None:
    """Two of each are stuck, and an orphan is of a third; only the one asked for is told."""
    for account in ("eu", "us"):
        for kind in ("item-create", "item-update"):
            warehouse.jobs(
                {"job_id": "J1", "account": account, "job_kind": kind, "status": "queued", "created_at": ago(hours=9)}
            )
    warehouse.insert("job_errors", {"account": "us", "job_id": "J9"})
    warehouse.loaded("R1", ago(hours=1))

    assert breaches(warehouse, accounts=["eu"], kinds=["item-update"], is_narrowed=True) == [
        ("stuck_jobs", "item-update", 1)
    ]
    assert ("orphan_children", None, 1) in breaches(warehouse, accounts=["us"], is_narrowed=True)


def a_job_a_day(warehouse: Warehouse, *, first: int, last: int, **columns: Any) -> None:
    """Add a job for each day from *first* to *last* days ago."""
    for number in range(last, first + 1):
        warehouse.jobs(
            {"job_id": f"D{number}", "created_at": ago(days=number), "completed_at": ago(days=number), **columns}
        )


def test_silence_is_measured_in_usual_pauses(warehouse: Warehouse) -> None:
    """A job a day for a month, none for four days, listings fresh: four times the usual pause."""
    a_job_a_day(warehouse, first=34, last=4)
    list_at(warehouse, NOW)

    [(check_name, kind, value)] = breaches(warehouse)
    assert (check_name, kind) == ("silence", "item-create")
    assert value is not None
    assert 4 <= value < 4.1
    assert breaches(warehouse, max_silence=5) == []


@pytest.mark.parametrize(
    "hours",
    [
        # A burst of every day, at three in the morning, and the last one was on time.
        [day * 24 + minute / 60 for day in range(28) for minute in range(0, 180, 5)],
        # On weekdays only, looked at on a Sunday.
        [day * 24 + 48 for day in range(26) if day % 7 < 5],
        # Too few to know what is usual.
        [400, 500, 600],
        [],
    ],
)
def test_a_usual_pause_is_no_silence(warehouse: Warehouse, hours: list[float]) -> None:
    """What is used in bursts, or not at the weekend, is not silent between."""
    for number, hour in enumerate(hours):
        warehouse.jobs({"job_id": f"J{number}", "created_at": ago(hours=hour), "completed_at": ago(hours=hour)})
    list_at(warehouse, NOW)

    assert breaches(warehouse) == []


def test_silence_ends_with_the_last_listing(warehouse: Warehouse) -> None:
    """What no listing has shown since may have jobs: that listings are old is told by another check."""
    a_job_a_day(warehouse, first=34, last=4)
    list_at(warehouse, ago(days=4))

    assert breaches(warehouse) == []


def test_the_limit_is_watched_for_kinds_and_accounts(warehouse: Warehouse) -> None:
    """451 of 500 in one kind are too many; so are 470 of the account, wherever they are."""
    now = {"status": "processing", "created_at": ago(hours=1)}
    warehouse.jobs(*({"job_id": f"J{number}", **now} for number in range(451)))
    warehouse.jobs(*({"job_id": f"J{number}", **now, "job_kind": "item-update"} for number in range(19)))

    assert breaches(warehouse, kinds=["item-create", "item-update"]) == [
        ("limit_share", None, 0.94),
        ("limit_share", "item-create", 0.902),
    ]
    assert breaches(warehouse, max_limit_share=1) == []


def test_vanished_jobs_are_counted_when_they_vanish(warehouse: Warehouse) -> None:
    """Seen to be gone within the hour, or expired within the day; what vanished last week was told last week."""
    gone = {"status": "processing", "created_at": ago(days=6)}
    warehouse.jobs(
        *({"job_id": f"J{number}", **gone, "vanished_at": ago(minutes=30)} for number in range(20)),
        {"job_id": "J20", "status": "queued", "created_at": ago(days=7.5), "expires_at": ago(hours=12)},
        {"job_id": "J21", **gone, "vanished_at": ago(days=3)},
    )

    assert breaches(warehouse) == [("vanished_jobs", "item-create", 21)]
    assert breaches(warehouse, max_vanished_jobs=21) == []


def test_new_errors_are_those_never_seen_before(warehouse: Warehouse) -> None:
    """Fifty of a new sort are told, fifty of a known one are not; nor is any where nothing was known before."""
    list_at(warehouse, ago(days=30), ago(hours=1))
    list_at(warehouse, ago(hours=1), job_kind="item-update")
    for kind, job_id, age, texts in (
        ("item-create", "J1", 20, ["Known."]),
        ("item-create", "J2", 0.1, ["Known."] * 50 + ["Never seen."] * 50),
        ("item-update", "J3", 0.1, ["All is new here."] * 50),
    ):
        place = {"job_id": job_id, "job_kind": kind}
        warehouse.jobs({**place, "created_at": ago(days=age), "last_changed_at": ago(days=age)})
        warehouse.insert(
            "job_errors", *({**place, "position": number, "detail": text} for number, text in enumerate(texts))
        )
    kinds = ["item-create", "item-update"]

    found = [each for each in check(warehouse, kinds=kinds) if each.check == "new_errors"]
    assert [(each.job_kind, each.value, each.is_breached) for each in found] == [("item-create", 50, True)]
    assert found[0].seen == "the most frequent, 50 times: Never seen."
    assert [each.is_breached for each in told(warehouse, "new_errors", kinds=kinds, max_new_errors=50)] == [False]


def test_where_it_says_to_look_the_rows_are_those_it_counted(warehouse: Warehouse) -> None:
    """Each query of a breach, pasted as it is, gives as many as the finding says; others of the warehouse are not in it."""
    since, before = ago(hours=24), ago(days=3)
    list_at(warehouse, before - DAY, ago(minutes=5), account="o'neill")
    list_at(warehouse, before - DAY, ago(minutes=5), account="other")
    jobs: list[tuple[str, datetime, dict[str, Any]]] = [
        ("o'neill", ago(hours=2), {"completed_at": ago(hours=1), "total_count": 30, "failed_count": 30}),
        ("o'neill", before, {"completed_at": before, "total_count": 30, "failed_count": 30}),
        ("other", ago(hours=2), {"completed_at": ago(hours=1), "total_count": 30, "failed_count": 0}),
        ("o'neill", ago(hours=30), {"status": "processing", "completed_at": None}),
        ("o'neill", ago(hours=20), {"status": "processing", "completed_at": None, "vanished_at": ago(hours=3)}),
        ("o'neill", ago(days=2), {"status": "processing", "completed_at": None, "vanished_at": ago(hours=40)}),
    ]
    for account, when, job in jobs:
        times = {"created_at": when, "first_seen_at": when, "last_changed_at": job.get("vanished_at") or when}
        warehouse.jobs({"job_id": f"{account}{when}", "account": account, **times, "completed_count": 0, **job})
    for when, count in ((ago(hours=2), 3), (before, 2)):
        warehouse.insert(
            "job_errors",
            *(
                {"account": "o'neill", "job_id": f"o'neill{when}", "position": place, "fingerprint": f"Of {when:%d}."}
                for place in range(count)
            ),
        )
    for key, when in (("new", ago(hours=1)), ("old", before)):
        warehouse.insert(
            "rejected_records",
            {"account": "o'neill", "record_hash": key, "first_rejected_at": when, "last_rejected_at": when, "times": 1},
        )
    found = {
        each.check: (each.value, warehouse.rows(look_at(each, since)))
        for each in check(warehouse, accounts=["o'neill", "other"], max_new_errors=0, max_limit_share=0.0001)
        if each.is_breached and each.account == "o'neill"
    }

    assert found["failed_share"][0] == 1
    assert [row[1:] for row in found["failed_share"][1]] == [(30, 30)]
    for name in ("stuck_jobs", "vanished_jobs", "rejected_records"):
        assert (found[name][0], len(found[name][1])) == (1, 1), name
    assert (found["new_errors"][0], sum(count for _, count in found["new_errors"][1])) == (3, 3)
    assert len(found["limit_share"][1]) == 1
