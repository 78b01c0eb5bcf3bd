"""A list that moves while it is read, and shows a job on two pages in two states: the later read counts."""

from __future__ import annotations

from typing import Any, Final

import pytest

from klaviyo_sandbox import Sandbox
from support.builders import job_object
from support.loads import Load, Warehouse

JOBS: Final = "select job_id, status, completed_count, linkage_count from klaviyo_raw.jobs order by job_id"
OBSERVED: Final = (
    "select job_id, status, completed_count from klaviyo_raw.job_observations order by job_id, observed_at"
)
LINKAGES: Final = "select job_id, related_id from klaviyo_raw.job_linkages order by job_id, position"


def show(sandbox: Sandbox, *pages: list[dict[str, Any]]) -> None:
    """Let the list of item-create be of these *pages*."""
    for number, data in enumerate(pages):
        links = {"next": f"?page%5Bcursor%5D={number + 1}"} if number + 1 < len(pages) else {}
        sandbox.world.replay_list("item-create", {"data": data, "links": links}, cursor=str(number) if number else None)


def job(job_id: str, status: str, completed: int, *names: str) -> dict[str, Any]:
    """Return a job as a list shows it."""
    counts = {"status": status, "total_count": 2, "completed_count": completed, "failed_count": 0}
    linkages = [{"type": "catalog-item", "id": name} for name in names]
    shown: dict[str, Any] = job_object(job_id, attributes=counts, relationships={"items": {"data": linkages}})
    return shown


def test_a_new_job_is_kept_as_it_was_shown_last(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Its row and its children are of the second page; both states are observed."""
    show(sandbox, [job("J1", "processing", 1, "A"), job("J2", "queued", 0)], [job("J1", "complete", 2, "B", "C")])

    load(kinds=["item-create"])

    assert warehouse.rows(JOBS) == [("J1", "complete", 2, 2), ("J2", "queued", 0, 0)]
    assert warehouse.rows(LINKAGES) == [("J1", "B"), ("J1", "C")]
    assert warehouse.rows(OBSERVED) == [("J1", "processing", 1), ("J1", "complete", 2), ("J2", "queued", 0)]


def test_a_known_job_that_moves_on_behind_the_page_that_showed_it_is_written(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """The first page shows it as it is stored, to the byte."""
    before = job("J1", "processing", 1, "A")
    show(sandbox, [before])
    load(kinds=["item-create"])
    show(sandbox, [before], [job("J1", "complete", 2, "A", "B")])

    summary = load(kinds=["item-create"])

    assert warehouse.rows(JOBS) == [("J1", "complete", 2, 2)]
    assert warehouse.rows(OBSERVED) == [("J1", "processing", 1), ("J1", "complete", 2)]
    assert [(outcome.job_count, outcome.changed_count) for outcome in summary.outcomes] == [(1, 1)]


def test_on_one_page_too_the_last_counts(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A page is one answer, and still may hold a job twice."""
    show(sandbox, [job("J1", "processing", 1, "A"), job("J1", "complete", 2, "B", "C")])

    load(kinds=["item-create"])

    assert warehouse.rows(JOBS) == [("J1", "complete", 2, 2)]
    assert warehouse.rows(LINKAGES) == [("J1", "B"), ("J1", "C")]


def test_a_job_that_may_move_is_not_handed_on_before_the_listing_ends(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies between its two pages: what a batch holds cannot be taken back."""
    monkeypatch.setattr("klaviyo_jobs.extract.pending.BATCH_JOBS", 4)
    others = [[job(f"O{page}{nth}", "complete", 2, "X") for nth in range(4)] for page in range(3)]
    show(sandbox, [job("J1", "processing", 1, "A")], *others, [job("J1", "complete", 2, "B", "C")])

    load(kinds=["item-create"])

    assert warehouse.rows(JOBS)[0] == ("J1", "complete", 2, 2)
    assert warehouse.rows(LINKAGES)[:2] == [("J1", "B"), ("J1", "C")]
    assert warehouse.count("jobs") == 13


def test_a_finished_job_that_was_handed_on_is_brought_up_to_date_by_the_next_run(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No job is known to change when it has finished; one that did is written once a run, and not doubled."""
    monkeypatch.setattr("klaviyo_jobs.extract.pending.BATCH_JOBS", 1)
    show(sandbox, [job("J1", "complete", 1, "A")], [job("J1", "complete", 2, "B", "C")])
    load(kinds=["item-create"])
    first = warehouse.rows(LINKAGES)
    show(sandbox, [job("J1", "complete", 2, "B", "C")])

    load(kinds=["item-create"])

    assert first == [("J1", "A")]
    assert warehouse.rows(LINKAGES) == [("J1", "B"), ("J1", "C")]


@pytest.mark.parametrize("second", ["complete", "processing"])
def test_the_detail_of_the_later_state_counts(second: str, sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Details are read while the listing goes on; the one of the first page may come after the second page."""
    show(sandbox, [job("J1", "processing", 1, "A")], [job("J1", second, 2, "B", "C")])
    sandbox.world.replay_detail("item-create", "J1", {"data": job("J1", second, 2, "B", "C")})

    load(kinds=["item-create"], include=["items"])

    assert warehouse.rows(JOBS) == [("J1", second, 2, 2)]
    assert warehouse.rows(LINKAGES) == [("J1", "B"), ("J1", "C")]
    assert warehouse.count("job_observations") == 1
