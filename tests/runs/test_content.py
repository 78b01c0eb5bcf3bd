"""Content decides: whatever the API says differently of a job is seen, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.request import Request, urlopen

import pytest

from klaviyo_sandbox import JobError, Sandbox, related_id
from support.builders import job_object
from support.jobs import finished
from support.loads import Load, Warehouse

FAILED = finished(
    *("item-create", "J1", "A", "B"),
    total_count=3,
    failed_count=1,
    errors=[JobError("No such item.", related_id("C"))],
)
JOB = "select run_id, first_seen_at, last_changed_at from klaviyo_raw.jobs"


@pytest.mark.parametrize(
    ("changes", "query", "expected"),
    [
        (
            {"errors": [JobError("No item of this name.", related_id("C"))]},
            "select detail, fingerprint from klaviyo_raw.job_errors",
            [("No item of this name.", "No item of this name.")],
        ),
        (
            {"related_ids": [related_id("A"), related_id("D")]},
            "select external_id from klaviyo.job_linkages order by position",
            [("A",), ("D",)],
        ),
        ({"extra_attributes": {"priority": 7}}, "select extra from klaviyo_raw.jobs", [('{"priority":7}',)]),
    ],
    ids=["an error's text", "a linkage's id", "a new member"],
)
def test_a_change_that_leaves_every_count_equal_is_seen(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, changes: dict[str, Any], query: str, expected: list[Any]
) -> None:
    """The job is written anew with its children; as its status and counts are as they were, it is not observed again."""
    sandbox.world.add(FAILED)
    load(kinds=["item-create"])
    [(_, first_seen_at, _)] = warehouse.rows(JOB)
    sandbox.world.add(replace(FAILED, **changes))

    summary = load(kinds=["item-create"])

    [(run_id, *times)] = warehouse.rows(JOB)
    assert summary.changed_count == 1
    assert warehouse.rows(query) == expected
    assert (run_id, times[0], times[1] > first_seen_at) == (summary.run_id, first_seen_at, True)
    assert warehouse.count("job_observations") == 1


def test_other_bytes_of_the_same_content_write_nothing(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The members come in another order and with blanks between them."""
    records = [job_object(job_id, attributes={"errors": [{"id": "E", "meta": {"id": 1}}]}) for job_id in ("J1", "J2")]
    sandbox.world.replay_list("item-create", {"data": records})
    load(kinds=["item-create"])
    before = warehouse.contents()
    reversed_records = [dict(reversed(record.items())) for record in records]
    sandbox.world.replay_list("item-create", json.dumps({"data": reversed_records}, indent=4).encode())
    sandbox.reset_requests()

    summary = load(kinds=["item-create"])

    assert (summary.job_count, summary.changed_count) == (2, 0)
    assert [call.endpoint for call in sandbox.requests] == ["list"]
    assert warehouse.contents() == before


def test_what_a_detail_showed_is_known_when_the_list_shows_it(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """A job moved between list and detail: what is kept is the detail's, so nothing is read or written again."""
    early = finished("category-create", "C1", "A", status="processing", completed_at=None, completed_count=0)
    sandbox.world.add(early)
    sandbox.world.replay_list("category-create", listed_by(sandbox))
    sandbox.world.add(finished("category-create", "C1", "A"))
    load(kinds=["category-create"])
    sandbox.world.replay_list("category-create", None)
    before = warehouse.contents()
    sandbox.reset_requests()

    summary = load(kinds=["category-create"])

    assert (summary.job_count, summary.changed_count) == (1, 0)
    assert [call.endpoint for call in sandbox.requests] == ["list"]
    assert warehouse.contents() == before
    assert warehouse.rows("select status, listed_hash from klaviyo_raw.jobs") == [("complete", None)]


def test_a_change_back_to_what_the_list_showed_before_a_detail_is_seen(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """The bytes of the list are kept only where they are those of what is kept."""
    sandbox.world.add(finished("category-create", "C1", "A"))
    listed = listed_by(sandbox)
    sandbox.world.replay_list("category-create", listed)
    sandbox.world.add(finished("category-create", "C1", "B"))
    load(kinds=["category-create"])
    sandbox.world.add(finished("category-create", "C1", "A"))

    load(kinds=["category-create"])

    assert warehouse.rows("select external_id from klaviyo.job_linkages") == [("A",)]


def test_an_unreadable_part_of_a_job_that_has_not_changed_is_not_met_again(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Its job is not read again, whatever the bytes it comes in: the run is a good one, and the record stays as it was."""
    record = job_object("J1", attributes={"errors": ["odd"]})
    sandbox.world.replay_list("item-create", {"data": [record]})
    first = load(kinds=["item-create"])
    sandbox.world.replay_list("item-create", json.dumps({"data": [record]}, indent=4).encode())

    second = load(kinds=["item-create"])

    assert (first.rejected_count, second.rejected_count, second.error) == (1, 0, None)
    assert warehouse.rows("select times, run_id from klaviyo_raw.rejected_records") == [(1, first.run_id)]
    assert warehouse.rows("select error_count, unread_error_count from klaviyo_raw.jobs") == [(1, 1)]


def listed_by(sandbox: Sandbox) -> bytes:
    """Return the list of category-create jobs as the sandbox answers it now."""
    url = f"{sandbox.base_url}/api/catalog-category-bulk-create-jobs"
    with urlopen(Request(url, headers=sandbox.headers())) as answer:  # noqa: S310 - the sandbox's own address
        return bytes(answer.read())
