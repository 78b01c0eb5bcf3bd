"""Loads that were cut off, written out: what a kill leaves, and what the next run makes of it."""

from __future__ import annotations

import os
from typing import Any, Final

import pytest

from klaviyo_jobs.errors import WarehouseError
from klaviyo_sandbox import Job, JobError, Sandbox, related_id
from support.histories.tables import COUNTS
from support.loads import HOUR, NOW, WEEK, Load, Warehouse
from support.processes import started

OBSERVATIONS: Final = f"select status, {COUNTS} from klaviyo_raw.job_observations order by observed_at"
ERRORS: Final = "select position, detail from klaviyo_raw.job_errors order by position"


@pytest.mark.parametrize("runs_a_state", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_followed_job_leaves_one_observation_a_state(
    runs_a_state: int, sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Queued, processing twice with growing counts, complete: four observations, and its categories when they appear."""
    categories = [related_id("A"), related_id("B")]
    sandbox.world.add(Job("category-create", "C1", NOW, status="queued", total_count=3))
    states: list[dict[str, Any]] = [
        {},
        {"status": "processing", "completed_count": 1, "related_ids": categories[:1]},
        {"completed_count": 2, "related_ids": categories},
        {"status": "complete", "failed_count": 1, "errors": [JobError("No.")], "completed_at": NOW + HOUR},
    ]
    category_counts = []
    for state in states:
        sandbox.world.change("category-create", "C1", **state)
        for _ in range(runs_a_state):
            load(kinds=["category-create"])
        category_counts.append(warehouse.count("categories"))

    assert warehouse.rows(OBSERVATIONS) == [
        ("queued", 3, 0, 0, 0, 0),
        ("processing", 3, 1, 0, 0, 1),
        ("processing", 3, 2, 0, 0, 2),
        ("complete", 3, 2, 1, 1, 2),
    ]
    assert category_counts == [0, 1, 2, 2]


def test_a_job_of_a_half_done_load_is_read_again(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A job whose load did not complete is read anew: its children are complete, and its state is observed once."""
    load(kinds=["category-create"])
    counts: dict[str, Any] = {"total_count": 2, "completed_count": 1, "failed_count": 1}
    stored: dict[str, Any] = {"account": "default", "job_kind": "category-create", "job_id": "C1", "status": "complete"}
    stored |= {**counts, "error_count": 1, "linkage_count": 1, "run_id": "half done"}
    times = {"created_at": NOW, "completed_at": NOW, "expires_at": NOW + WEEK}
    times |= {"first_seen_at": NOW, "last_changed_at": NOW, "detail_read_at": NOW}
    for table, row in {"jobs": stored | times, "job_observations": stored | {"observed_at": NOW}}.items():
        marks = ", ".join(["?"] * len(row))
        warehouse.rows(f"insert into klaviyo_raw.{table} ({', '.join(row)}) values ({marks})", *row.values())
    errors, related_ids = [JobError("No.")], [related_id("A")]
    sandbox.world.add(
        Job("category-create", "C1", NOW, completed_at=NOW, errors=errors, related_ids=related_ids, **counts)
    )
    sandbox.reset_requests()

    summary = load(kinds=["category-create"])

    assert [call.endpoint for call in sandbox.requests] == ["list", "detail"]
    assert warehouse.rows("select job_id, status, run_id from klaviyo_raw.jobs") == [("C1", "complete", summary.run_id)]
    assert warehouse.rows(ERRORS) == [(0, "No.")]
    assert warehouse.rows("select position, external_id from klaviyo.job_linkages") == [(0, "A")]
    assert warehouse.rows("select external_id from klaviyo_raw.categories") == [("A",)]
    assert warehouse.rows(OBSERVATIONS) == [("complete", 2, 1, 1, 1, 1)]


@pytest.mark.parametrize("table", ["jobs", "job_errors", "job_linkages", "job_observations", "categories", "listings"])
def test_a_load_that_fails_in_one_table_leaves_all_as_they_were(
    table: str, sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Otherwise a job that leaves the API before the next run would keep some of its rows, and never get the others."""
    job = Job("category-create", "C1", NOW, status="processing", total_count=2, related_ids=[related_id("A")])
    sandbox.world.add(job)
    load(kinds=["category-create"])
    before = {**warehouse.contents(), "listings": warehouse.rows("from klaviyo_raw.listings")}
    for change in (
        "add column is_full boolean default false",
        "alter is_full set not null",
        "alter is_full drop default",
    ):
        warehouse.rows(f"alter table klaviyo_raw.{table} {change}")
    related = [related_id("A"), related_id("B")]
    sandbox.world.change("category-create", "C1", failed_count=1, errors=[JobError("No.")], related_ids=related)

    with pytest.raises(WarehouseError):
        load(kinds=["category-create"])

    warehouse.rows(f"alter table klaviyo_raw.{table} drop column is_full")
    assert {**warehouse.contents(), "listings": warehouse.rows("from klaviyo_raw.listings")} == before


def test_details_that_were_read_are_not_read_again(sandbox: Sandbox, load: Load) -> None:
    """A full refresh without details does not forget that they were read: nothing changed, so none is asked for."""
    # A refresh that set `detail_read_at` to null would make the next run read every detail again.
    sandbox.world.add(Job("category-create", "C1", NOW, completed_at=NOW, related_ids=[related_id("A")]))
    load(kinds=["category-create"])
    load.refresh(kinds=["category-create"], include=[])
    sandbox.reset_requests()

    load(kinds=["category-create"])

    assert [call.endpoint for call in sandbox.requests] == ["list"]


def test_an_observation_that_outlived_a_kill_is_not_repeated(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """A kill may leave the observation of a state without the job in that state; the next run does not observe it again."""
    # The job's own row, though a completed load wrote it, does not tell what was observed last.
    sandbox.world.add(Job("item-create", "J1", NOW, status="queued", total_count=1))
    load(kinds=["item-create"])
    warehouse.rows(
        """
        insert into klaviyo_raw.job_observations
        select * replace ('processing' as status, observed_at + interval 1 second as observed_at, 'killed' as run_id)
        from klaviyo_raw.job_observations
        """
    )
    sandbox.world.change("item-create", "J1", status="processing")

    load(kinds=["item-create"])

    assert warehouse.rows(OBSERVATIONS) == [("queued", 1, 0, 0, 0, 0), ("processing", 1, 0, 0, 0, 0)]


def test_observations_that_outlived_a_kill_are_known_job_by_job(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Each of two jobs is compared with the last observation of its own."""
    states = {"J1": "processing", "J2": "paused"}
    for job_id in states:
        sandbox.world.add(Job("item-create", job_id, NOW, status="queued", total_count=1))
    load(kinds=["item-create"])
    warehouse.rows(
        """
        insert into klaviyo_raw.job_observations
        select * replace (
            if(job_id = 'J1', 'processing', 'paused') as status,
            observed_at + interval 1 second as observed_at,
            'killed' as run_id
        )
        from klaviyo_raw.job_observations
        """
    )
    for job_id, status in states.items():
        sandbox.world.change("item-create", job_id, status=status)

    load(kinds=["item-create"])

    assert warehouse.rows("select job_id, status from klaviyo_raw.job_observations order by job_id, observed_at") == [
        ("J1", "queued"),
        ("J1", "processing"),
        ("J2", "queued"),
        ("J2", "paused"),
    ]


def test_errors_that_outlived_a_kill_go_with_the_next_read(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A kill may leave errors of a job whose row has none; when the job is read next, without errors, they go."""
    # The job's own row, though a completed load wrote it, does not tell which errors are stored.
    sandbox.world.add(Job("item-create", "J1", NOW, status="queued", total_count=1))
    load(kinds=["item-create"])
    warehouse.rows(
        """
        insert into klaviyo_raw.job_errors by name
        select account, job_kind, job_id, 0 as position, 'No.' as detail, 'killed' as run_id from klaviyo_raw.jobs
        """
    )
    sandbox.world.change("item-create", "J1", status="complete", completed_count=1, completed_at=NOW)

    load(kinds=["item-create"])

    assert warehouse.rows(ERRORS) == []


# Runs like the command, slow to merge `jobs`, and is gone once the errors it replaces are deleted.
KILLED_RUN: Final = """
import os, sys, time
from pathlib import Path
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import Settings

execute_query = DuckDbSqlClient.execute_query

def execute_until_errors_are_deleted(self, query, *arguments, **options):
    if query.startswith('DELETE FROM "klaviyo_raw"."jobs"'):
        time.sleep(30)
    if query.startswith('DELETE FROM "klaviyo_raw"."job_errors"'):
        with execute_query(self, query.split(";")[0]):
            os._exit(9)
    return execute_query(self, query, *arguments, **options)

DuckDbSqlClient.execute_query = execute_until_errors_are_deleted
run(Settings(base_url=sys.argv[1], api_key=sys.argv[2], kinds=["item-create"]), Path(sys.argv[3]), full_refresh=True)
"""


def test_a_kill_between_delete_and_insert_loses_nothing(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A full refresh that is killed while it replaces the errors of a held job leaves them, or the next run reads them."""
    # dlt deletes and inserts in DuckDB without a transaction unless it is told that DuckDB has them.
    sandbox.world.add(Job("item-create", "J1", NOW, completed_at=NOW, failed_count=1, errors=[JobError("No.")]))
    load(kinds=["item-create"])

    arguments = (sandbox.base_url, sandbox.key, str(warehouse.path))
    with started(warehouse.path.parent, *arguments, program=KILLED_RUN, environment=os.environ) as killed:
        killed.wait()
    load(kinds=["item-create"])

    assert killed.returncode == 9
    assert warehouse.rows(ERRORS) == [(0, "No.")]
