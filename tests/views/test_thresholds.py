"""What `klaviyo-jobs check` finds, on rows written out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from klaviyo_jobs.monitor.check import breach_of, render_findings, run_checks
from klaviyo_jobs.monitor.measures import Finding
from klaviyo_jobs.settings import CheckSettings
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from support.views import Warehouse

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


def found(warehouse: Warehouse, check: str, **thresholds: Any) -> list[tuple[Any, ...]]:
    """Return account, kind, value and breach of each finding of *check*."""
    settings = CheckSettings()
    for name, value in thresholds.items():
        setattr(settings, name, value)
    findings = run_checks(DuckDBConnection(warehouse.connection), settings, kinds=["item-create", "item-update"])
    return [(each.account, each.job_kind, each.value, each.is_breached) for each in findings if each.check == check]


def test_the_failed_share_is_weighted_and_of_the_window(warehouse: Warehouse) -> None:
    """Failed operations over all operations of the last day, a kind a line; older and cancelled jobs do not count."""
    lately = {"created_at": NOW - 2 * HOUR, "completed_at": NOW - HOUR}
    warehouse.jobs(
        {"job_id": "J1", **lately, "total_count": 90, "completed_count": 90, "failed_count": 0},
        {"job_id": "J2", **lately, "total_count": 10, "completed_count": 0, "failed_count": 10},
        {"job_id": "J3", **lately, "total_count": 10, "failed_count": 10, "status": "cancelled"},
        {
            "job_id": "J4",
            "created_at": NOW - 60 * HOUR,
            "completed_at": NOW - 50 * HOUR,
            "total_count": 10,
            "failed_count": 10,
        },
        {"job_id": "J5", "job_kind": "item-update", **lately, "total_count": 20, "failed_count": 10},
        {"job_id": "J6", "job_kind": "item-update", **lately, "total_count": 0, "failed_count": 0},
    )

    assert found(warehouse, "failed_share", max_failed_share=0.1) == [
        ("default", "item-create", 0.1, False),
        ("default", "item-update", 0.5, True),
    ]


def test_a_share_where_nothing_ended_is_no_breach(warehouse: Warehouse) -> None:
    """An account at rest is well."""
    assert found(warehouse, "failed_share", max_failed_share=0.0) == [(None, None, 0, False)]


def test_stuck_jobs_are_counted_by_the_threshold_of_the_views(warehouse: Warehouse) -> None:
    """A job counts as stuck from `stuck_after_seconds` on, which the views are told."""
    warehouse.jobs(
        {"job_id": "J1", "status": "processing", "created_at": NOW - 3 * HOUR},
        {"job_id": "J2", "status": "queued", "created_at": NOW - HOUR},
    )
    before = found(warehouse, "stuck_jobs")
    warehouse.apply(stuck_after_seconds=7200)

    assert before == [(None, None, 0, False)]
    assert found(warehouse, "stuck_jobs") == [("default", "item-create", 1, True)]
    assert found(warehouse, "stuck_jobs", max_stuck_jobs=1) == [("default", "item-create", 1, False)]


def test_an_old_listing_breaches_and_so_does_one_that_never_was(warehouse: Warehouse) -> None:
    """The age is that of the last listing read to its end; what fails since makes it no younger."""
    warehouse.insert(
        "listings",
        {"run_id": "R1", "started_at": NOW - 30 * HOUR, "finished_at": NOW - 30 * HOUR},
        {"run_id": "R2", "started_at": NOW - HOUR, "finished_at": NOW - HOUR, "is_complete": False, "error": "E"},
    )

    [(_, kind, age, is_breached), never] = found(warehouse, "listing_age_seconds")

    assert (kind, age // 3600, is_breached) == ("item-create", 30, True)
    assert never == ("default", "item-update", None, True)


def test_a_fresh_listing_is_well(warehouse: Warehouse) -> None:
    """Just below the threshold is no breach."""
    for kind in ("item-create", "item-update"):
        warehouse.insert("listings", {"job_kind": kind, "started_at": NOW - 25 * HOUR, "finished_at": NOW - 25 * HOUR})

    assert [is_breached for *_, is_breached in found(warehouse, "listing_age_seconds")] == [False, False]


def test_an_account_that_was_never_listed_is_missed(warehouse: Warehouse) -> None:
    """An account in the settings counts, whether the warehouse knows it or not."""
    findings = run_checks(
        DuckDBConnection(warehouse.connection), CheckSettings(), kinds=["item-create"], accounts=["eu", "us"]
    )

    assert [
        (each.account, each.value, each.is_breached) for each in findings if each.check == "listing_age_seconds"
    ] == [("eu", None, True), ("us", None, True)]


def test_rejected_records_of_the_window_are_counted(warehouse: Warehouse) -> None:
    """Records that runs met in the last day, a kind a line."""
    for hours in (1, 2, 30):
        record = {"record_hash": f"H{hours}", "last_rejected_at": NOW - hours * HOUR, "reason": "odd"}
        warehouse.insert("rejected_records", {**record, "first_rejected_at": NOW - 40 * HOUR})

    assert found(warehouse, "rejected_records") == [("default", "item-create", 2, True)]
    assert found(warehouse, "rejected_records", max_rejected_records=2) == [("default", "item-create", 2, False)]


def test_a_contradiction_in_the_tables_is_a_breach(warehouse: Warehouse) -> None:
    """What a query of `sql/checks/` finds has no threshold to be below."""
    warehouse.insert("job_errors", {"job_id": "J9"})
    warehouse.loaded("R1", NOW - HOUR)

    assert found(warehouse, "orphan_children") == [(None, None, 1, True)]


def test_contradictions_are_looked_for_in_the_window_unless_all_is_asked_for(warehouse: Warehouse) -> None:
    """What a run two days ago left is found by `--all`, which looks at everything."""
    warehouse.insert("job_errors", {"job_id": "J9"})
    warehouse.loaded("R1", NOW - 48 * HOUR)
    every = run_checks(DuckDBConnection(warehouse.connection), CheckSettings(), kinds=["item-create"], is_thorough=True)

    assert found(warehouse, "orphan_children") == [(None, None, 0, False)]
    assert [each.value for each in every if each.check == "orphan_children"] == [1]


FINDINGS = [
    Finding("failed_share", "eu", "item-create", 0.25, 0.1, True, "25 of 100 operations"),
    Finding("failed_share", "eu", "item-update", 0.0, 0.1, False, "0 of 10 operations"),
    Finding("listing_age_seconds", "eu", "item-create", 7200.0, 93600.0, False, "last complete at 2026-11-20 10:00:00"),
    Finding("listing_age_seconds", "eu", "item-update", 3600.0, 93600.0, False, "last complete at 2026-11-20 11:00:00"),
    Finding("orphan_children", None, None, 3, 0, True, "klaviyo_raw.job_errors: 3 rows of a job that is not there"),
]


def test_the_checklist_has_a_line_for_each_breach_and_one_for_what_is_well() -> None:
    """The worst value stands for a check that is within its threshold."""
    assert render_findings(FINDINGS).splitlines() == [
        "FAIL  failed_share          eu/item-create: 25.0%, at most 10.0% (25 of 100 operations)",
        "ok    listing_age_seconds   2 h 0 min, at most 1 d 2 h (last complete at 2026-11-20 10:00:00)",
        "FAIL  orphan_children       3, at most 0 (klaviyo_raw.job_errors: 3 rows of a job that is not there)",
    ]


def test_the_error_names_the_first_breach_and_where_to_look() -> None:
    """One line for a log, and a query for each kind of breach."""
    breach = breach_of(FINDINGS, datetime(2026, 11, 19, 12, tzinfo=UTC))

    assert breach is not None
    assert breach.exit_code == 8
    assert breach.message == (
        "2 of 5 checks are breached. First: failed_share of eu/item-create is 25.0%, at most 10.0% "
        "(25 of 100 operations)."
    )
    assert breach.next_step == (
        "look at: select job_id, total_count, operations_failed from klaviyo.jobs where account = 'eu' and job_kind = "
        "'item-create' and total_count > 0 and outcome in ('succeeded', 'partly_failed', 'failed', 'incomplete') and "
        "coalesce(last_changed_at_utc, first_seen_at_utc, completed_at_utc, created_at_utc) >= "
        "timestamp '2026-11-19 12:00:00' order by operations_failed desc; "
        "the query of sql/checks/orphan_children.sql. What is known and cannot be mended: "
        "`klaviyo-jobs check --acknowledge`."
    )


def test_without_a_breach_there_is_no_error() -> None:
    """All within their thresholds."""
    assert breach_of(FINDINGS[1:4], NOW) is None
