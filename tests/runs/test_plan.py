"""What a dry run counts: the calls that a run would make, with nothing read but the listings and nothing written."""

from __future__ import annotations

import pytest

from klaviyo_jobs.errors import KeyRefusedError
from klaviyo_jobs.extract.outcomes import ListingOutcome
from klaviyo_jobs.extract.source import build_listings
from klaviyo_jobs.runs.plan import plan_run
from klaviyo_jobs.warehouse.engines.duckdb_engine import DuckDBFile
from klaviyo_sandbox import Job, RawJob, Sandbox
from support.loads import NOW, Load, Warehouse


@pytest.fixture
def jobs(sandbox: Sandbox) -> Sandbox:
    """An account of 150 jobs of a kind that is read with details, and of 150 of one that is not."""
    for kind in ("category-create", "item-create"):
        sandbox.world.add(*(Job(kind, f"J{n:03}", NOW, completed_at=NOW, total_count=1) for n in range(150)))
    return sandbox


def counts(outcome: ListingOutcome) -> tuple[str, bool, int, int, int, int]:
    return (
        outcome.kind.name,
        outcome.is_complete,
        outcome.page_count,
        outcome.job_count,
        outcome.changed_count,
        outcome.detail_count,
    )


@pytest.mark.usefixtures("no_file")
def test_calls_are_counted_over_all_pages(jobs: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """One detail for each job of a kind that is read with details, none for the others; no file is made."""
    outcomes = plan_run(
        build_listings(load.settings(kinds=["item-create", "category-create"])), DuckDBFile(warehouse.path)
    )

    assert [counts(outcome) for outcome in outcomes] == [
        ("item-create", True, 2, 150, 150, 0),
        ("category-create", True, 2, 150, 150, 150),
    ]
    assert [request.endpoint for request in jobs.requests] == ["list"] * 4
    assert not warehouse.path.exists()


def test_what_the_warehouse_holds_is_not_counted(jobs: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """After a run, only what has changed since would be read."""
    load(kinds=["category-create"])
    jobs.world.change("category-create", "J149", completed_count=1)

    [outcome] = plan_run(build_listings(load.settings(kinds=["category-create"])), DuckDBFile(warehouse.path))

    assert counts(outcome) == ("category-create", True, 2, 150, 1, 1)


def test_a_listing_that_cannot_be_read_is_told(load: Load, warehouse: Warehouse) -> None:
    """It is not complete, and has the error that a run would end with."""
    [outcome] = plan_run(
        build_listings(load.settings(kinds=["item-create"], api_key="pk_wrong")), DuckDBFile(warehouse.path)
    )

    assert counts(outcome) == ("item-create", False, 0, 0, 0, 0)
    assert isinstance(outcome.error, KeyRefusedError)


def test_a_record_that_cannot_be_read_is_counted(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The plan goes on past it, as a run does, and keeps nothing of it."""
    sandbox.world.add(Job("item-create", "J1", NOW, completed_at=NOW, total_count=1))
    sandbox.world.add(RawJob("item-create", {"id": "ODD", "attributes": {}}))

    [outcome] = plan_run(build_listings(load.settings(kinds=["item-create"])), DuckDBFile(warehouse.path))

    assert (outcome.rejected_count, outcome.job_count, outcome.is_complete) == (1, 1, True)
