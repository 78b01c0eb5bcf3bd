"""What makes a job another: every value that is stored of it, and no byte that means nothing."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_jobs.model.content import record_hash
from klaviyo_jobs.model.records import Fault
from support.builders import job_object, parsed_page

ERROR: dict[str, Any] = {
    "id": "E",
    "code": "invalid",
    "title": "Invalid input",
    "detail": "No.",
    "source": {"pointer": "/data"},
    "meta": {"id": "A", "times": 1.5},
}
ATTRIBUTES: dict[str, Any] = {
    "completed_at": "2026-11-20T10:01:00+00:00",
    "expires_at": "2026-11-27T10:00:00+00:00",
    "completed_count": 1,
    "failed_count": 1,
    "errors": [ERROR, {**ERROR, "id": "F"}],
    "priority": {"level": 1, "by": "hand"},
}
LINKAGES = [{"type": "catalog-item", "id": "A"}, {"type": "catalog-item", "id": "B"}]


def job(linkages: Any = LINKAGES, **attributes: Any) -> Any:
    """Return a job with every sort of value; *attributes* take the place of its own."""
    return job_object(attributes={**ATTRIBUTES, **attributes}, relationships={"items": {"data": linkages}})


def hash_of_job(record: Any) -> str:
    [parsed] = parsed_page(record).jobs
    return parsed.content_hash


@pytest.mark.parametrize(
    "record",
    [
        job(status="cancelled"),
        job(created_at="2026-11-20T10:00:00.123457+00:00"),
        job(completed_at=None),
        job(expires_at="2026-11-27T10:00:01+00:00"),
        job(total_count=3),
        job(completed_count=None),
        job(failed_count=2),
        job(priority={"level": 2, "by": "hand"}),
        job(priority=None),
        job(errors=[ERROR]),
        job(errors=[{**ERROR, "id": "F"}, ERROR]),
        job(errors=[ERROR, "F"]),
        *(job(errors=[{**ERROR, name: "other"}, {**ERROR, "id": "F"}]) for name in ("code", "title", "detail")),
        job(errors=[{**ERROR, "source": {"pointer": "/other"}}, {**ERROR, "id": "F"}]),
        job(errors=[{**ERROR, "meta": {"id": "A", "times": 1.50}}, {**ERROR, "id": "G"}]),
        job(errors=[{**ERROR, "meta": {"id": "A", "times": 1}}, {**ERROR, "id": "F"}]),
        job(LINKAGES[:1]),
        job(LINKAGES[::-1]),
        job([LINKAGES[0], {"type": "catalog-item", "id": "C"}]),
        job([LINKAGES[0], {"type": "catalog-variant", "id": "B"}]),
        job([LINKAGES[0], "B"]),
        job([LINKAGES[0], "B", LINKAGES[1]]),
    ],
)
def test_another_value_is_another_content(record: Any) -> None:
    """Whatever the counts say."""
    assert hash_of_job(record) != hash_of_job(job())


def shuffled(value: Any, chance: random.Random) -> Any:
    """Return *value* with the members of every object in it in another order."""
    if isinstance(value, dict):
        names = list(value)
        chance.shuffle(names)
        return {name: shuffled(value[name], chance) for name in names}
    return [shuffled(each, chance) for each in value] if isinstance(value, list) else value


@settings(deadline=None, database=None, max_examples=30)
@given(st.randoms(use_true_random=False))
def test_the_order_of_members_is_no_content(chance: random.Random) -> None:
    """Objects have none: not the job's own, nor those that no column models."""
    assert hash_of_job(shuffled(job(), chance)) == hash_of_job(job())


def test_blanks_and_escapes_are_no_content() -> None:
    """The same text in other bytes."""
    text = json.dumps(job(), indent=1).replace('"No."', '"\\u004eo."').encode()

    assert hash_of_job(text) == hash_of_job(job())


def test_a_rejected_record_is_known_by_its_bytes_wherever_it_stands() -> None:
    """On another page, for another reason."""
    first, second = Fault("$.data[1]", "odd", b"7"), Fault("$.data[8]", "very odd", b"7")

    assert record_hash(first) == record_hash(second)
    assert record_hash(first) != record_hash(Fault("$.data[1]", "odd", b"8"))


def test_the_same_part_of_two_jobs_is_two_rejected_records() -> None:
    """An error that is null says nothing of which job it is in."""
    parsed = parsed_page(
        job_object("J1", attributes={"errors": [None]}), job_object("J2", attributes={"errors": [None]})
    )

    assert len({record_hash(fault) for fault in parsed.faults}) == 2
