"""The history: what a run reads and writes when the warehouse already holds something."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from klaviyo_jobs.model.kinds import KINDS
from klaviyo_sandbox import Fault, Job, JobError, RawJob, Sandbox, related_id
from support.loads import HOUR, NOW, Load, Warehouse


def test_quiet_runs_list_and_read_no_detail(warehouse: Warehouse, tmp_path: Path) -> None:
    """All nine kinds finished: a second run, and a third without dlt's folders, make 14 list calls and add ledger rows only."""
    with Sandbox("full", clock=NOW) as sandbox:
        load = Load(sandbox, warehouse)
        load()
        first = warehouse.contents()
        calls = []
        for _ in range(2):
            shutil.rmtree(tmp_path / "dlt", ignore_errors=True)
            sandbox.reset_requests()
            load()
            calls.append([request.endpoint for request in sandbox.requests])

    assert calls == [["list"] * 14] * 2
    assert warehouse.contents() == first
    assert warehouse.count("listings") == 27
    assert warehouse.count("jobs") == 350 + 230 + 7 * 40


def test_only_a_changed_job_is_read_again(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Of three known jobs one moved: one detail call, and the others keep the run that wrote them."""
    sandbox.world.add(
        Job(
            "category-create",
            "C1",
            NOW - HOUR,
            completed_at=NOW,
            total_count=1,
            completed_count=1,
            related_ids=[related_id("A")],
        ),
        Job("category-create", "C2", NOW - HOUR, status="processing", total_count=1, related_ids=[]),
        Job(
            "category-create",
            "C3",
            NOW - HOUR,
            completed_at=NOW,
            total_count=1,
            completed_count=1,
            related_ids=[related_id("B")],
        ),
    )
    first = load(kinds=["category-create"])
    sandbox.world.change(
        "category-create", "C2", status="complete", completed_at=NOW, completed_count=1, related_ids=[related_id("C")]
    )
    sandbox.reset_requests()

    second = load(kinds=["category-create"])

    assert [(request.endpoint, request.job_id) for request in sandbox.requests] == [("list", None), ("detail", "C2")]
    assert warehouse.rows("select job_id, run_id from klaviyo_raw.jobs order by 1") == [
        ("C1", first.run_id),
        ("C2", second.run_id),
        ("C3", first.run_id),
    ]


def test_a_job_is_followed_from_state_to_state(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Queued, processing twice with growing counts, complete: four observations, and categories when they appear."""
    sandbox.world.add(Job("category-create", "C1", NOW, status="queued", total_count=2, related_ids=[]))
    states: list[dict[str, Any]] = [
        {},
        {"status": "processing", "completed_count": 0},
        {"completed_count": 1, "related_ids": [related_id("A")]},
        {
            "status": "complete",
            "completed_at": NOW + HOUR,
            "completed_count": 2,
            "related_ids": [related_id("A"), related_id("B")],
        },
    ]
    categories = []
    for state in states:
        sandbox.world.change("category-create", "C1", **state)
        for _ in range(2):  # the second run of each pair sees nothing new
            load(kinds=["category-create"])
        categories.append(warehouse.count("categories"))

    assert warehouse.rows(
        "select status, completed_count, linkage_count from klaviyo_raw.job_observations order by observed_at"
    ) == [("queued", 0, 0), ("processing", 0, 0), ("processing", 1, 1), ("complete", 2, 2)]
    assert categories == [0, 0, 1, 2]
    assert warehouse.count("jobs") == 1


def test_children_mirror_the_last_read_of_their_job(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Three errors and linkages, then one, then none: no row of an earlier read is left, and other jobs keep theirs."""
    errors = [JobError(f"Error {number}.", related_id(f"E{number}")) for number in range(3)]
    ids = [related_id(f"A{number}") for number in range(3)]
    sandbox.world.add(
        Job("item-create", "J1", NOW - HOUR, status="processing", total_count=9, errors=errors, related_ids=ids),
        Job(
            "item-create", "J2", NOW - HOUR, status="processing", total_count=9, errors=errors[:1], related_ids=ids[:1]
        ),
    )
    counts = []
    for number in (3, 1, 0):
        sandbox.world.change("item-create", "J1", errors=errors[:number], related_ids=ids[:number])
        load(kinds=["item-create"])
        counts.append(
            warehouse.rows(
                """
                select
                    (select count(*) from klaviyo_raw.job_errors where job_id = 'J1'),
                    (select count(*) from klaviyo_raw.job_linkages where job_id = 'J1'),
                    (select count(*) from klaviyo_raw.job_errors where job_id = 'J2'),
                    (select count(*) from klaviyo_raw.job_linkages where job_id = 'J2')
                """
            )
        )

    assert counts == [[(3, 3, 1, 1)], [(1, 1, 1, 1)], [(0, 0, 1, 1)]]


def test_a_job_of_a_load_that_was_cut_off_is_read_again(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A job whose load did not complete is not held: its children come again, and its observation is not doubled."""
    sandbox.world.add(
        Job(
            "item-create",
            "J1",
            NOW - HOUR,
            completed_at=NOW,
            total_count=1,
            failed_count=1,
            errors=[JobError("No.", related_id("A"))],
        )
    )
    load(kinds=["item-create"])
    warehouse.rows("delete from klaviyo_raw._dlt_loads")
    warehouse.rows("delete from klaviyo_raw.job_errors")

    summary = load(kinds=["item-create"])

    assert summary.changed_count == 1
    assert warehouse.rows("select detail from klaviyo_raw.job_errors") == [("No.",)]
    assert warehouse.count("job_observations") == 1


def test_an_unreadable_detail_leaves_the_job_to_the_next_run(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detail that fails keeps the job's listed row, shows in the ledger, and is read by the next run."""
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BACKOFF_SECONDS", "0")
    sandbox.world.add(
        Job(
            "category-create",
            "C1",
            NOW - HOUR,
            completed_at=NOW,
            total_count=1,
            completed_count=1,
            related_ids=[related_id("A")],
        )
    )
    sandbox.faults.append(Fault("status", "503", endpoint="detail"))
    failed = load(kinds=["category-create"])
    rows_after_failure = (warehouse.count("jobs"), warehouse.count("job_linkages"), warehouse.count("categories"))
    sandbox.faults.clear()
    mended = load(kinds=["category-create"])

    assert (failed.error is not None, mended.error) == (True, None)
    assert rows_after_failure == (1, 1, 0)
    assert warehouse.count("categories") == 1
    assert warehouse.rows("select is_complete, error is null from klaviyo_raw.listings order by started_at") == [
        (True, False),
        (True, True),
    ]


def test_accounts_succeed_and_fail_each_for_itself(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One key is wrong, one account throttled for good: the third is complete, the run is partial, the ledger tells."""
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BACKOFF_SECONDS", "0")
    sandbox.add_account("good", world="full")
    throttled = sandbox.add_account("throttled", world="demo")
    sandbox.faults.append(Fault("429", "huge", account="throttled"))
    accounts = {"wrong": "pk_wrong", "good": "pk_sandbox_good", "throttled": throttled.key}

    summary = load(api_key=None, accounts=accounts)

    assert summary.error is not None
    assert summary.error.exit_code == 5
    assert warehouse.rows("select account, count(*) from klaviyo_raw.jobs group by 1") == [("good", 860)]
    assert warehouse.rows(
        "select account, is_complete, split_part(error, ':', 1), count(*) from klaviyo_raw.listings group by all order by 1"
    ) == [
        ("good", True, None, 9),
        ("throttled", False, "UnavailableError", 9),
        ("wrong", False, "KeyRefusedError", 9),
    ]


def test_two_accounts_may_hold_the_same_job_id(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The account is part of every key."""
    second = sandbox.add_account("second")
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, completed_at=NOW, total_count=1))
    second.world.add(Job("item-create", "J1", NOW - HOUR, status="processing", total_count=2))
    accounts = {"one": sandbox.key, "two": second.key}
    for _ in range(2):
        load(api_key=None, accounts=accounts, kinds=["item-create"])

    assert warehouse.rows("select account, job_id, status, total_count from klaviyo_raw.jobs order by 1") == [
        ("one", "J1", "complete", 1),
        ("two", "J1", "processing", 2),
    ]


def test_a_full_refresh_reads_all_again_and_keeps_history(warehouse: Warehouse) -> None:
    """Every listed job is read and written again; nothing else changes: no new observation, no new time of change."""
    with Sandbox("demo", clock=NOW) as sandbox:
        load = Load(sandbox, warehouse)
        load(kinds=["category-create"])
        query = "select job_id, first_seen_at, last_changed_at from klaviyo_raw.jobs order by 1"
        before = (warehouse.rows(query), warehouse.count("job_observations"))
        sandbox.reset_requests()
        summary = load.refresh(kinds=["category-create"])
        endpoints = [request.endpoint for request in sandbox.requests]

    assert (endpoints.count("list"), endpoints.count("detail")) == (1, 30)
    assert (warehouse.rows(query), warehouse.count("job_observations")) == before
    assert warehouse.rows("select distinct run_id from klaviyo_raw.jobs") == [(summary.run_id,)]


def test_a_full_refresh_leaves_linkages_where_they_are(warehouse: Warehouse) -> None:
    """They are most of the file, and would stand in it twice: no row moves, and that of a job that changed is new."""
    with Sandbox("demo", clock=NOW) as sandbox:
        load = Load(sandbox, warehouse)
        load(kinds=["category-create"])
        query = "select job_id, position, related_id, rowid from klaviyo_raw.job_linkages order by 1, 2"
        before = warehouse.rows(query)
        [(changed,)] = warehouse.rows("select min(job_id) from klaviyo_raw.job_linkages")
        sandbox.world.change("category-create", changed, related_ids=[related_id("NEW")])
        load.refresh(kinds=["category-create"])
        after = warehouse.rows(query)

    assert [row for row in after if row[0] != changed] == [row for row in before if row[0] != changed]
    assert [row[:3] for row in after if row[0] == changed] == [(changed, 0, related_id("NEW"))]


@pytest.mark.parametrize(
    "damage",
    [
        "delete from klaviyo_raw.job_linkages where position = 1",
        "delete from klaviyo_raw.job_linkages",
        "update klaviyo_raw.job_linkages set related_id = 'other' where position = 0",
        "update klaviyo_raw.job_linkages set position = 1 - position where position < 2",
        "insert into klaviyo_raw.job_linkages select * from klaviyo_raw.job_linkages where position = 0",
        "insert into klaviyo_raw.job_linkages by name select * replace (99 as position) from klaviyo_raw.job_linkages",
    ],
)
def test_a_full_refresh_puts_linkages_right(warehouse: Warehouse, damage: str) -> None:
    """Whatever was done to the stored rows, they are what the API lists again, each once."""
    with Sandbox("demo", clock=NOW) as sandbox:
        load = Load(sandbox, warehouse)
        load(kinds=["category-create"])
        query = "from klaviyo_raw.job_linkages order by all"
        before = warehouse.rows(query)
        warehouse.rows(damage)
        damaged = warehouse.rows(query)
        load.refresh(kinds=["category-create"])

    assert damaged != before
    assert warehouse.rows(query) == before


def test_a_job_on_two_pages_is_one(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The list moves while it is read and shows a job again: one row, one set of children."""
    sandbox.world.add(
        *(
            Job(
                "item-create",
                f"J{n:03}",
                NOW - HOUR,
                completed_at=NOW,
                total_count=1,
                errors=[JobError("No.", related_id("A"))],
            )
            for n in range(150)
        )
    )
    sandbox.faults.append(Fault("list-moves"))

    load(kinds=["item-create"])

    assert (warehouse.count("jobs"), warehouse.count("job_errors"), warehouse.count("job_observations")) == (
        150,
        150,
        150,
    )


@pytest.mark.usefixtures("no_file")
def test_dlt_keeps_no_state_that_grows(warehouse: Warehouse, sandbox: Sandbox, load: Load) -> None:
    """Ten runs leave ten rows in dlt's list of loads and none in its state; its schema versions do not pile up."""
    for _ in range(4):
        load(kinds=list(KINDS)[:2])

    tables = [
        name for (name,) in warehouse.rows("select table_name from duckdb_tables() where schema_name = 'klaviyo_raw'")
    ]
    assert "_dlt_pipeline_state" not in tables
    assert warehouse.count("_dlt_loads") == 4
    assert warehouse.count("_dlt_version") == 1


def test_a_job_of_a_zoneless_time_is_held_like_any_other(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A second run finds it unchanged, though it has to look closer to know."""
    attributes = {"status": "queued", "created_at": "2026-11-20T11:00:00", "total_count": 1}
    record = {"type": "catalog-item-bulk-create-job", "id": "J1", "attributes": attributes}
    sandbox.world.add(RawJob("item-create", record, id="J1", created_at=NOW - HOUR))
    first = load(kinds=["item-create"])

    second = load(kinds=["item-create"])

    assert (first.changed_count, second.job_count, second.changed_count) == (1, 1, 0)
    assert warehouse.rows("select run_id, created_at, vanished_at from klaviyo_raw.jobs") == [
        (first.run_id, NOW - HOUR, None)
    ]


def test_a_detail_of_an_earlier_state_is_no_detail_of_this_one(sandbox: Sandbox, load: Load) -> None:
    """A job that changed while a run read no details has its detail read by the next that does."""
    sandbox.world.add(Job("category-create", "C1", NOW - HOUR, status="processing", total_count=2, related_ids=[]))
    load(kinds=["category-create"])
    sandbox.world.change("category-create", "C1", status="complete", completed_at=NOW, completed_count=2)
    load(kinds=["category-create"], include=[])
    sandbox.reset_requests()

    load(kinds=["category-create"])

    assert [request.endpoint for request in sandbox.requests] == ["list", "detail"]


@pytest.mark.parametrize("what", ["delete from klaviyo_raw._dlt_loads", "update klaviyo_raw._dlt_loads set status = 1"])
def test_a_job_of_a_load_that_was_cut_off_keeps_its_times(
    what: str, sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """It is written anew by the next run, but was seen and changed when it was."""
    times = "select first_seen_at, last_changed_at from klaviyo_raw.jobs"
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, completed_at=NOW, total_count=1))
    load(kinds=["item-create"])
    before = warehouse.rows(times)
    warehouse.rows(what)

    summary = load(kinds=["item-create"])

    assert summary.changed_count == 1
    assert warehouse.rows(times) == before


def test_a_job_keeps_when_it_was_first_seen_and_last_changed(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """A change moves the one time, two full refreshes after it move none but that of the detail."""
    sandbox.world.add(Job("category-create", "C1", NOW - HOUR, status="processing", total_count=1, related_ids=[]))
    rows = []
    for run in (load, load, load.refresh, load.refresh):
        run(kinds=["category-create"])
        rows += warehouse.rows("select first_seen_at, last_changed_at, detail_read_at from klaviyo_raw.jobs")
        sandbox.world.change("category-create", "C1", status="complete", completed_at=NOW, completed_count=1)

    first_seen, last_changed, detail_read = zip(*rows, strict=True)
    assert len(set(first_seen)) == 1
    assert first_seen[0] == last_changed[0] < last_changed[1] == last_changed[2] == last_changed[3]
    assert detail_read[0] < detail_read[1] < detail_read[2] < detail_read[3]


@pytest.mark.parametrize("column", ["first_seen_at", "last_changed_at"])
def test_a_row_without_its_times_is_written_anew(
    column: str, sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """A job that no run of ours can have written is not held, and stops no run."""
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, completed_at=NOW, total_count=1))
    load(kinds=["item-create"])
    warehouse.rows(f"update klaviyo_raw.jobs set {column} = null")

    summary = load(kinds=["item-create"])

    assert summary.changed_count == 1
    assert warehouse.value(f"select count({column}) from klaviyo_raw.jobs") == 1


def test_a_refresh_without_details_keeps_when_they_were_read(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """The time stands as it stood, in a row that is written anew."""
    sandbox.world.add(Job("category-create", "C1", NOW - HOUR, completed_at=NOW, related_ids=[related_id("A")]))
    load(kinds=["category-create"])
    before = warehouse.value("select detail_read_at from klaviyo_raw.jobs")

    summary = load.refresh(kinds=["category-create"], include=[])

    assert warehouse.rows("select run_id, detail_read_at from klaviyo_raw.jobs") == [(summary.run_id, before)]


def test_a_state_that_a_cut_off_load_did_not_observe_is_observed_by_the_next(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """The job may have been merged and its observation not: the row alone does not tell that it was observed."""
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, completed_at=NOW, total_count=1))
    load(kinds=["item-create"])
    warehouse.rows("delete from klaviyo_raw._dlt_loads")
    warehouse.rows("delete from klaviyo_raw.job_observations")

    summary = load(kinds=["item-create"])

    assert warehouse.rows("select job_id, status, run_id from klaviyo_raw.job_observations") == [
        ("J1", "complete", summary.run_id)
    ]


def test_after_an_outage_no_more_details_are_asked_for(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API is left alone once a detail was given up, and every job is loaded as it was listed."""
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BACKOFF_SECONDS", "0")
    jobs = [Job("category-create", f"C{n:03}", NOW - HOUR, completed_at=NOW) for n in range(300)]
    sandbox.world.add(*jobs)
    sandbox.faults.append(Fault("status", "503", endpoint="detail"))

    summary = load(kinds=["category-create"])

    asked = {request.job_id for request in sandbox.requests if request.endpoint == "detail"}
    # Those that were under way when the first was given up have been asked for, 128 at the most at once.
    assert 1 <= len(asked) < 250
    assert summary.error is not None
    assert warehouse.value("select count(*) from klaviyo_raw.jobs where detail_read_at is null") == 300


@pytest.mark.usefixtures("no_file")
def test_no_second_copy_of_the_rows_is_kept(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """What dlt merges goes from its files into the tables: no other schema has ever held it."""
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, completed_at=NOW, total_count=1))

    load(kinds=["item-create"])

    assert warehouse.rows("select distinct schema_name from duckdb_tables() order by 1") == [("klaviyo_raw",)]


def test_a_folder_for_temporary_files_may_have_any_name(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merge names the files in it: neither a quote nor a semicolon ends the name."""
    folder = tmp_path / "it's; drop table jobs;"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, completed_at=NOW, related_ids=[related_id("A")]))

    load(kinds=["item-create"])

    assert warehouse.rows("select job_id, external_id from klaviyo.job_linkages") == [("J1", "A")]


def test_ids_of_any_text_are_merged(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The merge names the first and the last id of what it replaces only if both are plain words."""
    ids = ["'; drop table jobs; --", "M", "é;\0"]
    sandbox.world.add(
        *(Job("item-create", job_id, NOW, related_ids=[related_id("A"), related_id("B")]) for job_id in ids)
    )
    load(kinds=["item-create"])
    for job_id in (ids[0], ids[2]):
        sandbox.world.change("item-create", job_id, related_ids=[related_id("C")])

    load(kinds=["item-create"])

    assert warehouse.rows("select job_id, external_id from klaviyo.job_linkages order by all") == [
        (ids[0], "C"),
        ("M", "A"),
        ("M", "B"),
        (ids[2], "C"),
    ]


def test_nothing_of_dlts_outlives_a_run(load: Load, tmp_path: Path) -> None:
    """No package of a load is left that could block the next: the warehouse is all there is."""
    load(kinds=["item-create"])

    assert list((tmp_path / "dlt").rglob("klaviyo_jobs")) == []


def test_runs_of_different_kinds_leave_one_schema_of_dlts(load: Load, warehouse: Warehouse) -> None:
    """Its copies of earlier schemas are deleted."""
    for kinds in (["item-create"], ["category-create"], ["item-create", "item-delete"]):
        load(kinds=kinds)

    assert warehouse.count("_dlt_version") == 1
