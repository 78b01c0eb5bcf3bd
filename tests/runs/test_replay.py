"""Rejected records, read again: after an upgrade that learnt to read them nothing of them is lost."""

from __future__ import annotations

import datetime as dt
from typing import Any, cast

import pytest

from klaviyo_sandbox import Job, RawJob, Sandbox, related_id
from support.loads import NOW, Load, Warehouse

HOUR = dt.timedelta(hours=1)


def job_object(kind: str, job_id: str, **attributes: Any) -> dict[str, Any]:
    """A resource object of a finished job without children."""
    return {
        "type": f"catalog-{kind.replace('-', '-bulk-')}-job",
        "id": job_id,
        "attributes": {"status": "complete", "created_at": NOW.isoformat(), "total_count": 1, **attributes},
        "links": {"self": "x"},
    }


def learn_to_read(warehouse: Warehouse, odd: str, plain: str) -> None:
    """Stand in for an upgrade: what could not be read reads as it should have."""
    warehouse.rows("update klaviyo_raw.rejected_records set raw = replace(raw, ?, ?)", odd, plain)


@pytest.fixture
def rejected(sandbox: Sandbox, load: Load) -> Sandbox:
    """A run that rejected one job, J1, and loaded another, J2."""
    sandbox.world.add(
        RawJob("item-create", job_object("item-create", "J1", created_at="yesterday"), id="J1", created_at=NOW),
        Job("item-create", "J2", NOW - HOUR, completed_at=NOW, total_count=1),
    )
    load(kinds=["item-create"])
    return sandbox


def test_a_record_that_can_be_read_now_is_loaded(rejected: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The job stands in its table with the time it was first seen, and is rejected no more; its API entry may be gone."""
    rejected.world.remove("item-create", "J1")
    [(seen_at,)] = warehouse.rows("select first_rejected_at from klaviyo_raw.rejected_records")
    learn_to_read(warehouse, "yesterday", "2026-11-19T12:00:00+00:00")

    summary = load.replay(kinds=["item-create"])

    assert summary.replayed is not None
    assert (summary.replayed.record_count, summary.replayed.job_count, summary.replayed.left_count) == (1, 1, 0)
    assert warehouse.rows(
        "select job_id, status, created_at, first_seen_at from klaviyo_raw.jobs where job_id = 'J1'"
    ) == [("J1", "complete", NOW - dt.timedelta(days=1), seen_at)]
    assert warehouse.count("job_observations") == 2
    assert warehouse.count("rejected_records") == 0


def test_a_record_that_still_cannot_be_read_stays(rejected: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Nothing is dropped: the record keeps its row, and the run that met it again counts itself there."""
    summary = load.replay(kinds=["item-create"])

    assert summary.replayed is not None
    assert (summary.replayed.record_count, summary.replayed.left_count) == (1, 1)
    assert warehouse.rows("select times, first_rejected_at < last_rejected_at from klaviyo_raw.rejected_records") == [
        (2, True)
    ]
    assert rejected.requests


def test_a_job_that_was_read_since_is_left_alone(rejected: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A later read of the same job is newer than the record, which only goes."""
    rejected.world.remove("item-create", "J1")
    rejected.world.add(Job("item-create", "J1", NOW, status="processing", total_count=5))
    load(kinds=["item-create"])
    learn_to_read(warehouse, "yesterday", "2026-11-19T12:00:00+00:00")

    load.replay(kinds=["item-create"])

    assert warehouse.rows("select status, total_count from klaviyo_raw.jobs where job_id = 'J1'") == [("processing", 5)]
    assert warehouse.count("rejected_records") == 0


def test_an_included_category_is_loaded_with_the_job_it_came_with(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """The job's id is told by the path of the detail."""
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
    sandbox.world.describe(related_id("A"), name="Shoes", updated="soon")
    load(kinds=["category-create"])
    learn_to_read(warehouse, "soon", "2026-11-20T11:00:00+00:00")

    summary = load.replay(kinds=["category-create"])

    assert summary.replayed is not None
    assert summary.replayed.resource_count == 1
    assert warehouse.rows("select category_id, name, seen_in_job_id from klaviyo_raw.categories") == [
        ("$custom:::$default:::A", "Shoes", "C1")
    ]
    assert warehouse.count("rejected_records") == 0


def test_a_part_of_a_job_stays_rejected(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """One error of a job cannot be placed without the job: a full refresh reads it again."""
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, completed_at=NOW, total_count=1, errors=cast(Any, ["boom"])))
    load(kinds=["item-create"])

    summary = load.replay(kinds=["item-create"])

    assert summary.replayed is not None
    assert summary.replayed.left_count == 1
    assert warehouse.rows("select json_path, raw from klaviyo_raw.rejected_records") == [
        ("$.data[0].attributes.errors[0]", '"boom"')
    ]


def test_a_huge_record_is_cut(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """What is kept of a record that cannot be read is bounded: one mebibyte."""
    sandbox.world.add(
        RawJob("item-create", job_object("item-create", "J1", created_at="x" * 2_000_000), id="J1", created_at=NOW)
    )

    load(kinds=["item-create"])

    assert warehouse.value("select length(raw) from klaviyo_raw.rejected_records") == 1024 * 1024


def test_rejected_records_are_read_again_only_if_that_is_asked_for(
    rejected: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Another run leaves them as they are."""
    before = warehouse.rows("from klaviyo_raw.rejected_records")
    rejected.world.remove("item-create", "J1")
    learn_to_read(warehouse, "yesterday", "2026-11-19T12:00:00+00:00")

    summary = load(kinds=["item-create"])

    assert summary.replayed is None
    assert len(warehouse.rows("from klaviyo_raw.rejected_records")) == len(before) == 1
    assert warehouse.rows("select job_id from klaviyo_raw.jobs") == [("J2",)]


def test_a_job_that_several_runs_rejected_is_loaded_once(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """As the last record has it, whatever its revision; the earlier one tells when it was first seen and what it was."""
    error = {"id": "e", "code": "invalid", "title": "t", "detail": "No.", "source": {"pointer": "/data"}}
    for status, revision in (
        ("processing", "2026-07-15"),
        ("processing", "2026-07-15"),
        ("complete", "2025-10-15"),
    ):
        job = job_object("item-create", "J1", created_at="yesterday", status=status, errors=[error])
        sandbox.world.add(RawJob("item-create", job, id="J1", created_at=NOW))
        load(kinds=["item-create"], revision=revision)
        sandbox.world.remove("item-create", "J1")
    times = [at for (at,) in warehouse.rows("select first_rejected_at from klaviyo_raw.rejected_records order by 1")]
    learn_to_read(warehouse, "yesterday", "2026-11-19T12:00:00+00:00")

    summary = load.replay(kinds=["item-create"])

    assert warehouse.rows(
        "select job_id, status, first_seen_at, last_changed_at, api_revision from klaviyo_raw.jobs"
    ) == [("J1", "complete", times[0], times[1], "2025-10-15")]
    assert warehouse.rows("select job_id, position, detail from klaviyo_raw.job_errors") == [("J1", 0, "No.")]
    assert warehouse.rows("select status, observed_at from klaviyo_raw.job_observations order by 2") == [
        ("processing", times[0]),
        ("complete", times[1]),
    ]
    assert summary.replayed is not None
    assert (summary.replayed.record_count, summary.replayed.job_count, summary.replayed.left_count) == (2, 1, 0)
