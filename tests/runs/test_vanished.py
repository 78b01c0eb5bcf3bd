"""Jobs that are no longer listed: which of them have vanished, and what is kept of the others."""

from __future__ import annotations

import datetime as dt

import pytest

from klaviyo_sandbox import Fault, Job, RawJob, Sandbox, related_id
from support.loads import DAY, HOUR, NOW, Load, Warehouse


def test_a_job_that_vanishes_is_marked_and_unmarked_when_it_returns(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a complete listing says that an unfinished job is gone; when it is listed again it is not."""
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BACKOFF_SECONDS", "0")
    job = Job("item-create", "J1", NOW - HOUR, status="processing", total_count=1)
    query = "select vanished_at is not null from klaviyo_raw.jobs"
    sandbox.world.add(job)
    load(kinds=["item-create"])
    sandbox.world.remove("item-create", "J1")
    sandbox.faults.append(Fault("status", "500"))
    load(kinds=["item-create"])
    after_incomplete = warehouse.value(query)
    sandbox.faults.clear()
    load(kinds=["item-create"])
    after_complete = warehouse.value(query)
    sandbox.world.add(job)
    load(kinds=["item-create"])
    after_return = warehouse.value(query)

    assert (after_incomplete, after_complete, after_return) == (False, True, False)
    assert warehouse.count("job_observations") == 1


@pytest.mark.parametrize("status", ["complete", "cancelled"])
def test_a_finished_job_that_expires_is_no_event(
    status: str, sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Seven days after its creation the API forgets a job; the warehouse keeps it as it was."""
    sandbox.world.add(
        Job("item-create", "J1", NOW - HOUR, status=status, completed_at=NOW, total_count=1, completed_count=1)
    )
    load(kinds=["item-create"])
    before = warehouse.contents()
    sandbox.clock.advance(dt.timedelta(days=8))

    summary = load(kinds=["item-create"])

    assert summary.job_count == 0
    assert warehouse.contents() == before


def test_a_job_that_is_gone_when_its_detail_is_read_keeps_its_row(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """A 404 on a detail is a job that left in between: no error, and the listing's row stays."""
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
    sandbox.faults.append(Fault("expired-job"))

    summary = load(kinds=["category-create"])

    assert summary.error is None
    assert warehouse.rows("select job_id, status, detail_read_at from klaviyo_raw.jobs") == [("C1", "complete", None)]


def test_a_job_that_is_listed_after_its_expiry_is_held_like_any_other(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Whenever it was to expire: it is not written again, and was first seen when it was."""
    attributes = {"status": "complete", "created_at": (NOW - 9 * DAY).isoformat(), "total_count": 1}
    attributes["expires_at"] = (NOW - 2 * DAY).isoformat()
    late = {"type": "catalog-item-bulk-create-job", "id": "LATE", "attributes": attributes}
    sandbox.world.add(RawJob("item-create", late, id="LATE", created_at=NOW - 9 * DAY))
    sandbox.world.add(Job("item-create", "NEW", NOW, completed_at=NOW, total_count=1))
    first = load(kinds=["item-create"])

    second = load(kinds=["item-create"])

    assert (first.changed_count, second.job_count, second.changed_count) == (2, 2, 0)


@pytest.mark.parametrize("age", [0, 3], ids=["first page", "last page"])
def test_an_unreadable_record_on_any_page_may_be_the_missing_job(
    age: int, sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Nothing is concluded from absence where one record of the listing, on whichever page, cannot be read."""
    sandbox.world.add(Job("item-create", "OPEN", NOW - 2 * HOUR, status="processing", total_count=1))
    load(kinds=["item-create"])
    sandbox.world.remove("item-create", "OPEN")
    sandbox.world.add(
        *(Job("item-create", f"J{n:03}", NOW - HOUR, completed_at=NOW, total_count=1) for n in range(150)),
        RawJob("item-create", {"id": "ODD", "attributes": {}}, id="ODD", created_at=NOW - age * HOUR),
    )

    summary = load(kinds=["item-create"])

    assert (summary.outcomes[0].page_count, summary.job_count, summary.rejected_count) == (2, 150, 1)
    assert warehouse.rows("select job_id from klaviyo_raw.jobs where vanished_at is not null") == []


def test_a_job_vanishes_once(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Later listings that do not show it either leave its row as it is."""
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, status="processing", total_count=1))
    load(kinds=["item-create"])
    sandbox.world.remove("item-create", "J1")
    load(kinds=["item-create"])
    before = warehouse.contents()

    load(kinds=["item-create"])

    assert warehouse.contents() == before
    assert warehouse.value("select count(*) from klaviyo_raw.jobs where vanished_at is not null") == 1


def test_a_job_that_is_listed_unchanged_has_not_vanished(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """It has not finished, is passed over, and was shown all the same."""
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, status="processing", total_count=1))
    first = load(kinds=["item-create"])

    second = load(kinds=["item-create"])

    assert (second.job_count, second.changed_count) == (1, 0)
    assert warehouse.rows("select run_id, vanished_at from klaviyo_raw.jobs") == [(first.run_id, None)]
