"""Coupon codes, imports and suppressions of profiles, from the API to the tables: what they do that others do not."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from klaviyo_jobs.errors import KeyRefusedError, PartialError
from klaviyo_jobs.extract.source import build_listings
from klaviyo_jobs.runs.plan import plan_run
from klaviyo_jobs.warehouse.engines.duckdb_engine import DuckDBFile
from klaviyo_sandbox import SCOPES, Fault, Job, JobError, RawJob, Sandbox
from support.jobs import job
from support.loads import DAY, HOUR, NOW, Load, Warehouse

IMPORT, SUPPRESS = "profile-import", "profile-suppress"


def import_of(count: int, job_id: str = "I1", **members: Any) -> Job:
    """A finished import of ten profiles, *count* of which failed."""
    errors = [JobError(f"Row {number} is odd.", id=f"E{number}", pointer=f"/data/{number}") for number in range(count)]
    own = {"total_count": 10, "completed_count": 10 - count, "failed_count": count, "errors": errors}
    return job(job_id, **{"kind": IMPORT, "completed_at": NOW, "related_ids": ["L1"], **own, **members})


def suppressions(count: int, *, first: int = 0) -> list[Job]:
    """Finished suppressions, the first of them the newest, a minute apart."""
    return [
        Job(
            SUPPRESS,
            f"S{number:05}",
            NOW - HOUR - number * dt.timedelta(minutes=1),
            completed_at=NOW,
            total_count=3,
            completed_count=3,
            related_ids=["L1"],
        )
        for number in range(first, first + count)
    ]


def calls(sandbox: Sandbox) -> list[tuple[str | None, str | None]]:
    """The endpoints asked since the last look, and of which job."""
    asked = [(record.endpoint, record.job_id) for record in sandbox.requests]
    sandbox.reset_requests()
    return asked


def errors_of(warehouse: Warehouse, job_id: str = "I1") -> list[tuple[Any, ...]]:
    """The stored errors of an import."""
    return warehouse.rows(
        "select position, error_id, code, title, detail, source_pointer from klaviyo_raw.job_errors where job_id = ? "
        "order by position",
        job_id,
    )


def rows_for(*numbers: int) -> list[tuple[Any, ...]]:
    """The errors of these rows, in this order, as they are stored."""
    return [
        (position, f"E{number}", "invalid", "Invalid input", f"Row {number} is odd.", f"/data/{number}")
        for position, number in enumerate(numbers)
    ]


def test_import_errors_are_read_page_by_page(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """All of them, in order, a hundred a page, although the listing shows none."""
    sandbox.world.add(import_of(250, total_count=300))

    load(kinds=[IMPORT])

    assert errors_of(warehouse) == rows_for(*range(250))
    assert calls(sandbox) == [("list", None), *[("errors", "I1")] * 3]
    assert warehouse.rows("select error_count, unread_error_count, errors_read_at is null from klaviyo_raw.jobs") == [
        (250, 0, False)
    ]


def test_without_failures_no_errors_are_asked_for(sandbox: Sandbox, load: Load) -> None:
    """A count of none tells that there are none; no count tells nothing."""
    sandbox.world.add(import_of(0, "NONE"), import_of(0, "UNKNOWN", failed_count=None))

    load(kinds=[IMPORT])

    assert calls(sandbox) == [("list", None), ("errors", "UNKNOWN")]


def test_a_quiet_run_asks_for_no_errors(sandbox: Sandbox, load: Load) -> None:
    """Those of an import that has not changed are held."""
    sandbox.world.add(import_of(3))
    load(kinds=[IMPORT])
    calls(sandbox)

    assert load(kinds=[IMPORT]).changed_count == 0

    assert calls(sandbox) == [("list", None)]


def test_of_a_changed_import_the_errors_are_read_anew(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Those of before are gone."""
    sandbox.world.add(import_of(3, status="processing", completed_at=None))
    load(kinds=[IMPORT])

    sandbox.world.add(import_of(2, errors=[JobError("Row 7 is odd.", id="E7", pointer="/data/7")]))
    load(kinds=[IMPORT])

    assert errors_of(warehouse) == rows_for(7)


def test_an_import_whose_failures_are_gone_has_no_errors(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Not even those that were stored."""
    sandbox.world.add(import_of(3))
    load(kinds=[IMPORT])

    sandbox.world.add(import_of(0))
    load(kinds=[IMPORT])

    assert errors_of(warehouse) == []


def test_errors_that_cannot_be_had_are_read_by_the_next_run(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The import is stored meanwhile, and what is stored is as it says."""
    sandbox.world.add(import_of(3))
    sandbox.faults.append(Fault("status", "400", endpoint="errors"))

    summary = load(kinds=[IMPORT])

    assert "answered 400" in str(summary.outcomes[0].error)
    assert warehouse.rows("select status, failed_count, error_count, errors_read_at from klaviyo_raw.jobs") == [
        ("complete", 3, 0, None)
    ]
    sandbox.faults.clear()
    load(kinds=[IMPORT])
    assert errors_of(warehouse) == rows_for(0, 1, 2)


def test_errors_that_cannot_be_read_again_stay(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A full refresh whose requests fail takes nothing away, and the counts go with the rows."""
    sandbox.world.add(import_of(3))
    load(kinds=[IMPORT])
    sandbox.faults.append(Fault("status", "400", endpoint="errors"))

    load.refresh(kinds=[IMPORT])

    assert errors_of(warehouse) == rows_for(0, 1, 2)
    assert warehouse.value("select error_count from klaviyo_raw.jobs") == 3
    assert warehouse.count("job_observations") == 1


def test_errors_whose_pages_go_round_cost_their_job_only(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The link of a page leads to itself: that job keeps what was stored, and those behind it are read."""
    sandbox.world.add(import_of(150, "ROUND", total_count=200), import_of(2, "I1", created_at=NOW - 2 * HOUR))
    sandbox.faults.append(Fault("repeat-link", endpoint="errors", path="ROUND"))

    summary = load(kinds=[IMPORT])

    assert "would not end" in str(summary.outcomes[0].error)
    assert (errors_of(warehouse, "ROUND"), errors_of(warehouse)) == ([], rows_for(0, 1))


def test_an_error_that_cannot_be_read_is_rejected_alone(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Its place stays free, and the job counts it."""
    odd = {"type": "import-error", "id": "ODD", "attributes": {"code": ["no", "text"]}}
    sandbox.world.add(import_of(0, failed_count=2, errors=[odd, JobError("Row 1 is odd.", id="E1", pointer="/data/1")]))

    summary = load(kinds=[IMPORT])

    assert isinstance(summary.error, PartialError)
    assert errors_of(warehouse) == [(1, *rows_for(1)[0][1:])]
    assert warehouse.rows("select error_count, unread_error_count from klaviyo_raw.jobs") == [(2, 1)]
    assert warehouse.rows("select endpoint, json_path, raw from klaviyo_raw.rejected_records") == [
        (
            "GET /api/profile-bulk-import-jobs/I1/import-errors (page 1)",
            "$.data[0].attributes.code",
            '{"type":"import-error","id":"ODD","attributes":{"code":["no","text"]}}',
        )
    ]


def test_lists_are_included_on_demand(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """With their names, from the detail; a later wish reads the details of what is known."""
    sandbox.world.add(import_of(1))
    sandbox.world.describe(
        "L1",
        name="Newsletter",
        created="2026-09-04T13:39:28+00:00",
        updated="2026-09-04T13:39:31+00:00",
        opt_in_process="single_opt_in",
    )
    load(kinds=[IMPORT])
    calls(sandbox)

    load(kinds=[IMPORT], include=["lists"])

    assert calls(sandbox) == [("list", None), ("detail", "I1"), ("errors", "I1")]
    assert warehouse.rows(
        "select list_id, name, opt_in_process, created_at at time zone 'UTC', updated_at at time zone 'UTC', "
        "seen_in_job_id, extra from klaviyo_raw.lists"
    ) == [
        (
            "L1",
            "Newsletter",
            "single_opt_in",
            dt.datetime(2026, 9, 4, 13, 39, 28),  # noqa: DTZ001 - as the query gives it
            dt.datetime(2026, 9, 4, 13, 39, 31),  # noqa: DTZ001
            "I1",
            None,
        )
    ]


def test_linkages_tell_lists_from_segments_and_codes(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """By their type, and by the relationship that held them."""
    sandbox.world.add(
        job("S1", kind=SUPPRESS, related_ids=["L1", "L2"], segment_ids=["G1"]),
        job("C1", kind="coupon-code-create", related_ids=["10OFF-A"]),
        import_of(0),
    )

    load(kinds=["all"])

    assert warehouse.rows(
        "select job_id, position, relationship, related_type, related_id from klaviyo.job_linkages order by 1, 2"
    ) == [
        ("C1", 0, "coupon-codes", "coupon-code", "10OFF-A"),
        ("I1", 0, "lists", "list", "L1"),
        ("S1", 0, "lists", "list", "L1"),
        ("S1", 1, "lists", "list", "L2"),
        ("S1", 2, "segments", "segment", "G1"),
    ]
    assert warehouse.rows("select related_type, related_id from klaviyo.entity_history") == [("coupon-code", "10OFF-A")]


def test_what_was_skipped_is_neither_completed_nor_failed(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A count of its own, in the job, its history and the views; the job has succeeded."""
    sandbox.world.add(
        job("S1", kind=SUPPRESS, total_count=10, completed_count=7, skipped_count=3, completed_at=NOW, related_ids=None)
    )

    load(kinds=[SUPPRESS])

    assert warehouse.rows(
        "select outcome, skipped_count, operations_completed, operations_failed, operations_skipped, failed_share "
        "from klaviyo.jobs"
    ) == [("succeeded", 3, 7, 0, 3, 0.0)]
    assert warehouse.rows("select skipped_count from klaviyo.job_observations") == [(3,)]
    assert warehouse.rows(
        "select operations_completed, operations_failed, operations_skipped from klaviyo.job_throughput_daily "
        "where jobs_finished > 0"
    ) == [(7, 0, 3)]
    assert warehouse.rows(
        "select operations_total, operations_failed, operations_skipped, failed_share "
        "from klaviyo.job_failure_rates_daily where jobs_complete > 0"
    ) == [(10, 0, 3, 0.0)]


def test_a_suppression_does_not_expire(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """One that is under way for a month is in progress, and has not vanished."""
    sandbox.world.add(job("S1", kind=SUPPRESS, status="processing", total_count=3, created_at=NOW - 30 * DAY))

    load(kinds=[SUPPRESS])

    assert warehouse.rows("select outcome, expires_at_utc, ended_at_utc from klaviyo.jobs") == [
        ("in_progress", None, None)
    ]


def test_a_list_in_order_is_left_where_all_is_known(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A run without news reads one page of seven, and concludes nothing from what it did not read."""
    sandbox.world.add(*suppressions(650))
    load(kinds=[SUPPRESS])
    assert len(calls(sandbox)) == 7

    summary = load(kinds=[SUPPRESS])

    assert len(calls(sandbox)) == 1
    assert (summary.outcomes[0].is_complete, summary.changed_count) == (True, 0)
    assert warehouse.value("select count(*) from klaviyo_raw.jobs where vanished_at is not null") == 0


def test_a_new_job_costs_one_page_more(sandbox: Sandbox, load: Load) -> None:
    """The page that shows it, and one without news."""
    sandbox.world.add(*suppressions(650))
    load(kinds=[SUPPRESS])
    calls(sandbox)
    sandbox.world.add(Job(SUPPRESS, "NEW", NOW - HOUR / 2))

    assert load(kinds=[SUPPRESS]).changed_count == 1

    assert len(calls(sandbox)) == 2


def test_a_job_that_ends_late_is_followed_to_its_end(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The list is read as far as the oldest that was under way; when it has ended, no further than ever."""
    late = replace(suppressions(1, first=430)[0], status="processing", completed_at=None)
    sandbox.world.add(*suppressions(650), late)
    load(kinds=[SUPPRESS])
    calls(sandbox)

    sandbox.world.add(replace(late, status="complete", completed_at=NOW))
    pages = []
    for _ in range(2):
        load(kinds=[SUPPRESS])
        pages.append(len(calls(sandbox)))

    assert warehouse.value("select status from klaviyo_raw.jobs where job_id = 'S00430'") == "complete"
    assert pages == [6, 1]


def test_a_job_that_was_under_way_and_is_gone_has_vanished(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The list is read past the place where it stood; jobs that had ended are not looked for."""
    sandbox.world.add(*suppressions(350))
    sandbox.world.change(SUPPRESS, "S00120", status="processing")
    load(kinds=[SUPPRESS])
    calls(sandbox)
    sandbox.world.remove(SUPPRESS, "S00120")
    sandbox.world.remove(SUPPRESS, "S00340")

    load(kinds=[SUPPRESS])

    assert len(calls(sandbox)) == 2
    assert warehouse.rows("select job_id from klaviyo_raw.jobs where vanished_at is not null") == [("S00120",)]


def test_after_a_listing_that_failed_the_whole_list_is_read(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """What lay behind the failure is not known, whatever came before it."""
    sandbox.world.add(*suppressions(450))
    sandbox.faults.append(Fault("status", "400", kind=SUPPRESS, after=2))
    load(kinds=[SUPPRESS])
    assert warehouse.count("jobs") == 200
    sandbox.faults.clear()
    calls(sandbox)

    load(kinds=[SUPPRESS])

    assert (warehouse.count("jobs"), len(calls(sandbox))) == (450, 5)


def test_beside_a_record_that_cannot_be_read_a_list_is_not_left(sandbox: Sandbox, load: Load) -> None:
    """It may be any job; and until it can be read, runs come back to it."""
    sandbox.world.add(*suppressions(350))
    load(kinds=[SUPPRESS])
    sandbox.world.change(SUPPRESS, "S00050", extra_attributes={"status": None})
    calls(sandbox)

    load(kinds=[SUPPRESS])
    load(kinds=[SUPPRESS])

    assert len(calls(sandbox)) == 4


def test_a_list_that_is_out_of_order_is_read_to_its_end(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Should Klaviyo come to sort it the other way round, what is new stands on the last page."""
    for number in range(150):
        created_at = (NOW - 150 * HOUR + number * HOUR).isoformat()
        record: dict[str, Any] = {
            "type": "profile-suppression-bulk-create-job",
            "id": f"S{number:03}",
            "attributes": {"status": "complete", "created_at": created_at, "total_count": 1},
        }
        sandbox.world.add(RawJob(SUPPRESS, record, created_at=NOW - number * HOUR))
    load(kinds=[SUPPRESS])
    record = {**record, "id": "NEW", "attributes": {**record["attributes"], "created_at": NOW.isoformat()}}
    sandbox.world.add(RawJob(SUPPRESS, record, created_at=NOW - 200 * HOUR))

    load(kinds=[SUPPRESS])

    assert warehouse.value("select count(*) from klaviyo_raw.jobs where job_id = 'NEW'") == 1


def test_a_full_refresh_reads_every_page(sandbox: Sandbox, load: Load) -> None:
    """Known or not."""
    sandbox.world.add(*suppressions(350))
    load(kinds=[SUPPRESS])
    calls(sandbox)

    load.refresh(kinds=[SUPPRESS])

    assert len(calls(sandbox)) == 4


def test_imports_are_left_early_as_well(sandbox: Sandbox, load: Load) -> None:
    """Their list is sorted too, a hundred a page."""
    sandbox.world.add(*(import_of(0, f"I{number:03}", created_at=NOW - number * HOUR / 10) for number in range(350)))
    load(kinds=[IMPORT])
    first = calls(sandbox)

    load(kinds=[IMPORT])

    assert (len(first), len(calls(sandbox))) == (4, 1)


def test_a_key_that_lacks_a_scope_costs_the_kinds_that_need_it(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """The others are read; the message names the kinds and the scopes, and the run ends with 5."""
    sandbox.world.add(job("J1"), job("C1", kind="coupon-code-create"), job("S1", kind=SUPPRESS), import_of(1))
    sandbox.accounts["default"].scopes = SCOPES - {"profiles:read"}

    summary = load(kinds=["all"])

    assert isinstance(summary.error, PartialError)
    assert summary.error.exit_code == 5
    assert summary.error.message.startswith("1 of 13 listings failed (default: profile-import). First: KeyRefusedError")
    assert "profiles:read and lists:read" in summary.error.message
    assert "profiles:read, lists:read" in (summary.error.next_step or "")
    assert warehouse.rows("select job_kind from klaviyo_raw.jobs order by 1") == [
        ("coupon-code-create",),
        ("item-create",),
        (SUPPRESS,),
    ]


def test_kinds_of_one_scope_are_refused_once(sandbox: Sandbox, load: Load) -> None:
    """The second is not even asked for, once the first is refused."""
    sandbox.accounts["default"].scopes = frozenset({"catalogs:read"})

    summary = load(kinds=["profile-*"])

    assert isinstance(summary.error, KeyRefusedError)
    assert {str(outcome.error and outcome.error.message.rpartition(") for ")[2]) for outcome in summary.outcomes} == {
        "profile-import: it needs the scopes profiles:read and lists:read.",
        "profile-suppress, profile-unsuppress: it needs the scope subscriptions:read.",
    }


def test_a_dry_run_counts_the_pages_of_errors(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """By the number of failures, a hundred a page; a number that is not told makes one."""
    sandbox.world.add(
        import_of(150, "I1"), import_of(0, "I2"), import_of(0, "I3", failed_count=None), import_of(1, "I4")
    )

    [outcome] = plan_run(build_listings(load.settings(kinds=[IMPORT])), DuckDBFile(warehouse.path))

    assert (outcome.page_count, outcome.detail_count) == (1, 2 + 1 + 1)
    load(kinds=[IMPORT])
    assert warehouse.value("select detail_count from klaviyo_raw.listings") == 4


def test_a_rejected_import_is_replayed_and_its_errors_are_read_after(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """A record has none; the next run finds that they were never read."""
    sandbox.world.add(import_of(2))
    load(kinds=[IMPORT])
    raw = '{"type": "profile-bulk-import-job", "id": "I1", "attributes": {"status": "complete", "failed_count": 2, '
    raw += '"created_at": "2026-11-20T11:00:00+00:00", "total_count": 10}}'
    warehouse.rows("delete from klaviyo_raw.jobs; delete from klaviyo_raw.job_errors; select 1")
    warehouse.rows(
        "insert into klaviyo_raw.rejected_records by name select 'default' as account, 'profile-import' as job_kind, "
        "'h' as record_hash, 'GET /' as endpoint, ? as raw, now() as first_rejected_at, now() as last_rejected_at, "
        "1 as times, run_id from klaviyo_raw.listings returning 1",
        raw,
    )

    load.replay(kinds=[IMPORT])

    assert warehouse.count("rejected_records") == 0
    load(kinds=[IMPORT])
    assert errors_of(warehouse) == rows_for(0, 1)
