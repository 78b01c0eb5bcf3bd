"""Single values of a job: what is read and how, and what is a fault by its path."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from support.builders import (
    faults_of,
    job_object,
    parsed_page,
)


@pytest.mark.parametrize("status", ["queued", "processing", "complete", "cancelled", "paused", "COMPLETE", "完了"])
def test_any_status_is_kept_as_it_is(status: str) -> None:
    """A status that no revision names is data, not a fault."""
    [job] = parsed_page(job_object(attributes={"status": status})).jobs

    assert job.status == status


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T10:00:00.123456+00:00", "2026-11-20T10:00:00.123456+00:00"),
        ("2026-11-20T10:00:00.000001Z", "2026-11-20T10:00:00.000001+00:00"),
        ("2026-11-20T10:00:00", "2026-11-20T10:00:00+00:00"),
        ("2026-11-20T10:00:00+0000", "2026-11-20T10:00:00+00:00"),
        ("2026-11-20T10:00:00.5-0330", "2026-11-20T13:30:00.500000+00:00"),
        ("2026-11-20T10:00:00+05:45", "2026-11-20T04:15:00+00:00"),
        ("2026-11-20T10:00Z", "2026-11-20T10:00:00+00:00"),
        ("1944-10-11T09:03:26.339Z", "1944-10-11T09:03:26.339000+00:00"),
    ],
)
def test_a_time_is_read_as_utc_to_the_microsecond(text: str, expected: str) -> None:
    """Any offset is turned into UTC, a time without one is UTC, and no digit of the microseconds is lost."""
    [job] = parsed_page(job_object(attributes={"created_at": text})).jobs

    assert job.created_at.isoformat() == expected
    assert job.created_at.utcoffset() == dt.timedelta(0)


@pytest.mark.parametrize("name", ["created_at", "completed_at", "expires_at"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("<dateTime>", '"<dateTime>"'),
        ("", '""'),
        ("2026-11-20", '"2026-11-20"'),
        ("10:00:00", '"10:00:00"'),
        ("P1D", '"P1D"'),
        ("2026-13-20T10:00:00Z", '"2026-13-20T10:00:00Z"'),
        ("2026-02-30T10:00:00Z", '"2026-02-30T10:00:00Z"'),
        ("0001-01-01T00:00:00+14:00", '"0001-01-01T00:00:00+14:00"'),
        ("9999-12-31T23:59:59-10:00", '"9999-12-31T23:59:59-10:00"'),
        ("2026-11-20T10:00:00Z/2026-11-21T10:00:00Z", '"2026-11-20T10:00:00Z/2026-11-21T10:00:00Z"'),
        # pendulum.parse takes this for the present moment.
        ("now", '"now"'),
        (1795168800, "1795168800"),
        (1795168800.5, "1795168800.5"),
        (True, "true"),
        ([], "[]"),
        ({"seconds": 1}, '{"seconds":1}'),
    ],
)
def test_what_is_no_date_time_is_a_fault(name: str, value: Any, shown: str) -> None:
    """A date alone, a duration, a number, an impossible or an unrepresentable time rejects the job by its path."""
    parsed = parsed_page(job_object(attributes={name: value}))

    assert not parsed.jobs
    assert faults_of(parsed) == [(f"$.data[0].attributes.{name}", f"expected a date-time, found {shown}")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (-92250684, -92250684),
        (2.0, 2),
        (2**63 - 1, 9223372036854775807),
        (-(2**63), -9223372036854775808),
        (None, None),
        ({"value": 3}, 3),
        ({"value": None}, None),
    ],
)
def test_a_count_is_any_integer_of_64_bits_or_nothing(value: Any, expected: int | None) -> None:
    """Negative counts and `2.0` are integers; null is no count."""
    [job] = parsed_page(job_object(attributes={"completed_count": value})).jobs

    assert job.completed_count == expected


@pytest.mark.parametrize("name", ["total_count", "completed_count", "failed_count"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("<integer>", '"<integer>"'),
        ("5", '"5"'),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        (2**63, "9223372036854775808"),
        (-(2**63) - 1, "-9223372036854775809"),
        (2**70, "1180591620717411303424"),
        ([], "[]"),
        ({}, "{}"),
        ({"value": {"value": 1}}, '{"value":1}'),
        ("x" * 80, '"' + "x" * 56 + "..."),
    ],
)
def test_what_is_no_count_is_a_fault(name: str, value: Any, shown: str) -> None:
    """A word, a flag, a fraction or more than 64 bits rejects the job by its path; long values are shown in part."""
    parsed = parsed_page(job_object(attributes={name: value}))

    assert not parsed.jobs
    assert faults_of(parsed) == [(f"$.data[0].attributes.{name}", f"expected an integer, found {shown}")]


@pytest.mark.parametrize(
    ("count", "expected"), [(10_000, []), (10_001, ["expected an array of at most 10,000, found 10,001"])]
)
def test_an_array_has_a_bound(count: int, expected: list[str]) -> None:
    """A hundred times what Klaviyo documents is read; one more rejects the job."""
    parsed = parsed_page(job_object(attributes={"errors": [{}] * count}))

    assert [reason for _, reason in faults_of(parsed)] == expected
    assert len(parsed.jobs) == 1 - len(expected)
