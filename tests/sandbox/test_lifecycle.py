"""Jobs over time: a plan unfolds with the clock, and every job is forgotten after seven days."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_sandbox import JobPlan, Sandbox, related_id, ulid_at
from support.jobs import job
from support.loads import NOW
from support.sandbox_client import ITEMS, Client

IDS = [related_id(name) for name in "ABCD"]


def plan(**changes: Any) -> JobPlan:
    """Four operations, queued for 10 s and run for 100 s from `NOW` on."""
    return JobPlan(
        "item-create",
        "P1",
        NOW,
        IDS,
        **{"queued_for": timedelta(seconds=10), "runs_for": timedelta(seconds=100), **changes},
    )


def test_a_planned_job_appears_when_it_is_created(sandbox: Sandbox, client: Client) -> None:
    """Before its creation a planned job is in no list."""
    sandbox.clock.set(NOW - timedelta(seconds=1))
    sandbox.world.add(plan())
    before = client.ids(ITEMS)
    sandbox.clock.advance(seconds=1)

    assert (before, client.ids(ITEMS)) == ([], ["P1"])


def test_a_job_is_queued_then_processing_then_complete(sandbox: Sandbox, client: Client) -> None:
    """Status, counts and linkages move on with the clock; counters are full before the status says so."""
    sandbox.world.add(plan(failures={1: "Wrong."}))
    seen = []
    for seconds in (5, 10, 10 + 46, 10 + 95, 110):
        sandbox.clock.set(NOW + timedelta(seconds=seconds))
        job = client.get(f"{ITEMS}/P1").json()["data"]
        attributes = job["attributes"]
        counts = (attributes["completed_count"], attributes["failed_count"])
        linkages = [each["id"] for each in job["relationships"]["items"]["data"]]
        seen.append((attributes["status"], counts, len(attributes["errors"]), linkages, attributes["completed_at"]))

    succeeded = [IDS[0], IDS[2], IDS[3]]
    assert seen == [
        ("queued", (0, 0), 0, [], None),
        ("processing", (0, 0), 0, [], None),
        ("processing", (1, 1), 1, [IDS[0]], None),
        ("processing", (3, 1), 1, succeeded, None),
        ("complete", (3, 1), 1, succeeded, "2026-11-20T12:01:50.000000+00:00"),
    ]


def test_a_job_that_failed_whole_is_complete_and_has_no_relationships(sandbox: Sandbox, client: Client) -> None:
    """As recorded: status `complete`, one error per operation, `relationships` missing altogether."""
    sandbox.world.add(plan(failures=dict.fromkeys(range(4), "Wrong.")))
    sandbox.clock.advance(timedelta(hours=1))

    failed = client.get(f"{ITEMS}/P1").json()["data"]

    assert failed["attributes"]["status"] == "complete"
    assert [error["meta"]["id"] for error in failed["attributes"]["errors"]] == IDS
    assert {error["source"]["pointer"] for error in failed["attributes"]["errors"]} == {
        "/data/attributes/items/data/id"
    }
    assert "relationships" not in failed


def test_a_cancelled_job_keeps_what_was_done(sandbox: Sandbox, client: Client) -> None:
    """A plan that is cancelled ends with that status and the operations done so far."""
    sandbox.world.add(plan(cancelled_after=2))
    sandbox.clock.advance(timedelta(hours=1))

    attributes = client.get(f"{ITEMS}/P1").json()["data"]["attributes"]

    assert (attributes["status"], attributes["completed_count"], attributes["total_count"]) == ("cancelled", 2, 4)
    assert attributes["completed_at"] is not None


@pytest.mark.parametrize("entry", [job("P1", created_at=NOW), plan()])
def test_a_job_is_forgotten_seven_days_after_its_creation(sandbox: Sandbox, client: Client, entry: Any) -> None:
    """At `expires_at` a job leaves the list, and its detail becomes a 404."""
    sandbox.world.add(entry)
    sandbox.clock.set(NOW + timedelta(days=7, microseconds=-1))
    before = (client.ids(ITEMS), client.get(f"{ITEMS}/P1").status_code)
    sandbox.clock.set(NOW + timedelta(days=7))

    assert before == (["P1"], 200)
    assert (client.ids(ITEMS), client.get(f"{ITEMS}/P1").status_code) == ([], 404)


def test_a_changed_job_is_served_changed(sandbox: Sandbox, client: Client) -> None:
    """`change` and adding under the same id both replace what was served before."""
    sandbox.world.add(job("J1", status="processing"))
    statuses = [client.get(f"{ITEMS}/J1").json()["data"]["attributes"]["status"]]
    sandbox.world.change("item-create", "J1", status="cancelled")
    statuses.append(client.get(f"{ITEMS}/J1").json()["data"]["attributes"]["status"])
    sandbox.world.add(job("J1"))
    statuses.append(client.get(f"{ITEMS}/J1").json()["data"]["attributes"]["status"])

    assert statuses == ["processing", "cancelled", "complete"]


def test_extra_attributes_are_added_and_override(sandbox: Sandbox, client: Client) -> None:
    """`extra_attributes` serve what the API does not have, or other values for what it has."""
    sandbox.world.add(job("J1", extra_attributes={"priority": 1, "expires_at": None}))

    attributes = client.get(f"{ITEMS}/J1").json()["data"]["attributes"]

    assert (attributes["priority"], attributes["expires_at"]) == (1, None)


def test_a_job_id_decodes_to_its_creation_time() -> None:
    """The first ten characters of a ULID are the milliseconds since 1970."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

    milliseconds = 0
    for letter in ulid_at(NOW)[:10]:
        milliseconds = milliseconds * 32 + alphabet.index(letter)

    assert milliseconds == NOW.timestamp() * 1000


@settings(deadline=None)
@given(
    total=st.integers(0, 30),
    failed=st.sets(st.integers(0, 29)),
    cancelled_after=st.none() | st.integers(0, 30),
    moments=st.lists(st.floats(0, 200), min_size=2, max_size=5).map(sorted),
)
def test_a_plan_only_moves_forward(
    total: int, failed: set[int], cancelled_after: int | None, moments: list[float]
) -> None:
    """Counts never shrink, agree with errors and linkages, and never exceed the total."""
    unfolding = JobPlan(
        "item-create",
        "P1",
        NOW,
        [related_id(str(number)) for number in range(total)],
        {position: "Wrong." for position in failed if position < total},
        runs_for=timedelta(seconds=100),
        cancelled_after=None if cancelled_after is None else min(cancelled_after, total),
    )
    states = [unfolding.at(NOW + timedelta(seconds=seconds)) for seconds in moments]

    done = [(state.completed_count or 0, state.failed_count or 0) for state in states]
    assert done == sorted(done)
    for state in states:
        assert state.failed_count == len(state.errors or ())
        assert state.completed_count == len(state.related_ids or ())
        assert (state.completed_count or 0) + (state.failed_count or 0) <= state.total_count == total
