"""What a run records and tells of each listing: counts, unknown attributes, records that cannot be read."""

from __future__ import annotations

import datetime as dt

from klaviyo_jobs.settings import Settings
from klaviyo_sandbox import Fault, Job, JobError, RawJob, Sandbox, related_id
from support.loads import HOUR, NOW, Load, Warehouse


def test_unknown_attributes_are_kept_and_told_once(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """What the API adds later is in `extra`, an unknown status is kept, and the run names the drift."""
    sandbox.world.add(
        Job("item-create", "J1", NOW - HOUR, status="paused", total_count=1, extra_attributes={"priority": 7})
    )

    first = load(kinds=["item-create"])
    second = load(kinds=["item-create"])

    assert warehouse.rows("select status, extra from klaviyo_raw.jobs") == [("paused", '{"priority":7}')]
    assert (first.unmodelled, second.unmodelled) == ({"item-create": ["priority"]}, {})


def test_settings_of_the_run_reach_the_ledger(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Each listing records the revision that was asked for."""
    load(kinds=["item-create"], revision="2025-01-15")

    assert warehouse.rows("select account, job_kind, api_revision, page_count from klaviyo_raw.listings") == [
        ("default", "item-create", "2025-01-15", 1)
    ]
    assert sandbox.requests[0].revision == "2025-01-15"
    assert Settings().revision == "2026-07-15"


def test_a_listing_that_shows_nothing_counts_nothing(load: Load, warehouse: Warehouse) -> None:
    """Refused at its first page: not complete, and zero of everything that was not read."""
    load(kinds=["item-create"], api_key="pk_wrong")

    assert warehouse.rows(
        """
        select is_complete, page_count, job_count, changed_count, detail_count, rejected_count, split_part(error, ':', 1)
        from klaviyo_raw.listings
        """
    ) == [(False, 0, 0, 0, 0, 0, "KeyRefusedError")]


def test_a_listing_counts_what_it_read(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Over all its pages: jobs, those that were new, details, and records that could not be read."""
    sandbox.world.add(
        *(Job("category-create", f"C{n:03}", NOW - HOUR, completed_at=NOW) for n in range(150)),
        RawJob("category-create", {"id": "ODD", "attributes": {}}, id="ODD", created_at=NOW),
    )

    load(kinds=["category-create"])

    assert warehouse.rows(
        """
        select is_complete, page_count, job_count, changed_count, detail_count, rejected_count, request_count
        from klaviyo_raw.listings
        """
    ) == [(True, 2, 150, 150, 150, 1, 152)]


def test_why_a_listing_is_incomplete_comes_before_what_else_went_wrong(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """A detail that is refused is told only where the listing itself came to its end."""
    sandbox.world.add(*(Job("category-create", f"C{n:03}", NOW - HOUR, completed_at=NOW) for n in range(150)))
    sandbox.faults.append(Fault("status", "400", endpoint="detail", times=1))
    sandbox.faults.append(Fault("status", "410", endpoint="list", after=1))

    load(kinds=["category-create"])

    [(is_complete, error)] = warehouse.rows("select is_complete, error from klaviyo_raw.listings")
    assert not is_complete
    assert "410" in error


def test_unknown_attributes_of_every_page_are_told(sandbox: Sandbox, load: Load) -> None:
    """What the first page shows is named although the last shows none of it."""
    sandbox.world.add(
        Job("item-create", "NEW", NOW, status="queued", total_count=1, extra_attributes={"priority": 7}),
        *(Job("item-create", f"J{n:03}", NOW - HOUR, completed_at=NOW, total_count=1) for n in range(150)),
    )

    summary = load(kinds=["item-create"])

    assert (summary.outcomes[0].page_count, summary.unmodelled) == (2, {"item-create": ["priority"]})


def test_unknown_attributes_of_all_accounts_are_told(sandbox: Sandbox, load: Load) -> None:
    """By kind, and in the order of the alphabet."""
    second = sandbox.add_account("second")
    for world, name in ((sandbox.world, "priority"), (second.world, "origin")):
        world.add(Job("item-create", "J1", NOW, status="queued", total_count=1, extra_attributes={name: 7}))

    summary = load(api_key=None, accounts={"one": sandbox.key, "two": second.key}, kinds=["item-create"])

    assert summary.unmodelled == {"item-create": ["origin", "priority"]}


def test_records_that_cannot_be_read_are_kept_from_every_page(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """One on the first page and one on the last: both are rejected, each under its page."""
    sandbox.world.add(
        RawJob("item-create", {"id": "ODD1", "attributes": {}}, id="ODD1", created_at=NOW),
        *(Job("item-create", f"J{n:03}", NOW - HOUR, completed_at=NOW, total_count=1) for n in range(150)),
        RawJob("item-create", {"id": "ODD2", "attributes": {}}, id="ODD2", created_at=NOW - 3 * HOUR),
    )

    load(kinds=["item-create"])

    assert warehouse.rows("select endpoint, raw->>'id' from klaviyo_raw.rejected_records order by 2") == [
        ("GET /api/catalog-item-bulk-create-jobs (page 1)", "ODD1"),
        ("GET /api/catalog-item-bulk-create-jobs (page 2)", "ODD2"),
    ]


def test_a_record_that_cannot_be_read_is_kept_once(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Four runs meet it, on one page or another: one row says since when, until when, and how often."""
    sandbox.world.add(RawJob("item-create", {"id": "ODD", "attributes": {}}, id="ODD", created_at=NOW - 3 * HOUR))
    for number in range(4):
        if number == 3:
            sandbox.world.add(*(Job("item-create", f"J{n:03}", NOW - HOUR, total_count=1) for n in range(150)))
        load(kinds=["item-create"])

    assert warehouse.rows(
        """
        select endpoint, times, first_rejected_at < last_rejected_at, run_id = (select max(run_id) from klaviyo_raw.listings)
        from klaviyo_raw.rejected_records
        """
    ) == [("GET /api/catalog-item-bulk-create-jobs (page 2)", 4, True, True)]


def test_the_ledger_tells_when_a_listing_was_read_and_what_it_waited_for(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """One call is throttled for a second and repeated: it is told between the times of start and end."""
    sandbox.faults.append(Fault("429", "1", times=1))
    before = dt.datetime.now(dt.UTC)

    load(kinds=["item-create"])

    [(started_at, finished_at, request_count, retry_count, throttled_seconds)] = warehouse.rows(
        "select started_at, finished_at, request_count, retry_count, throttled_seconds from klaviyo_raw.listings"
    )
    second = dt.timedelta(seconds=1)
    assert before < started_at < started_at + second <= finished_at < dt.datetime.now(dt.UTC)
    assert (request_count, retry_count) == (2, 1)
    assert 1 <= throttled_seconds < 1.5


def test_a_run_counts_the_rows_it_left(sandbox: Sandbox, load: Load) -> None:
    """In each table, whether they are new or replace others; what only deletes is no row."""
    sandbox.world.add(
        Job("item-create", "J1", NOW - HOUR, completed_at=NOW, total_count=1, errors=[JobError("No.")]),
        Job("item-create", "J2", NOW - HOUR, completed_at=NOW, total_count=1, related_ids=[related_id("A")]),
    )

    first = load(kinds=["item-create"])
    second = load(kinds=["item-create"])

    kept = {table: rows for table, rows in first.rows.items() if rows}
    assert kept == {"jobs": 2, "job_errors": 1, "job_linkages": 1, "job_observations": 2, "listings": 1}
    assert {table: rows for table, rows in second.rows.items() if rows} == {"listings": 1}
