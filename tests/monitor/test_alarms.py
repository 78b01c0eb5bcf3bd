"""Which breaches are told, and when again: by what earlier checks have noted."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from klaviyo_jobs.monitor.alarms import Followed, follow
from klaviyo_jobs.monitor.measures import Finding
from klaviyo_jobs.warehouse.alarms import Alarm, Place, read_alarms, write_alarms
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
STUCK = Finding("stuck_jobs", "eu", "item-create", 2, 0, True, "the oldest is J1", subject="J1 J2")
SHARE = Finding("failed_share", "eu", "item-create", 0.3, 0.1, True, "30 of 100")
FINE = replace(SHARE, value=0.0, is_breached=False)


def after(
    *rounds: list[Finding], minutes: float = 15, acknowledges: int = -1, repeat_after: float = 3600
) -> list[Followed]:
    """Check once for each of *rounds*, so many *minutes* apart; in that of the index *acknowledges* all is known."""
    noted: dict[Place, Alarm] = {}
    followed = []
    for index, findings in enumerate(rounds):
        followed.append(
            follow(
                findings,
                noted,
                NOW + index * minutes * MINUTE,
                repeat_after=repeat_after,
                acknowledges=index == acknowledges,
            )
        )
        noted = {alarm.place: alarm for alarm in followed[-1].alarms}
    return followed


def due(followed: list[Followed]) -> list[bool]:
    """Return of each check whether it has something to tell."""
    return [each.is_due for each in followed]


def test_a_breach_is_told_once_and_again_after_a_while() -> None:
    """Every fifteen minutes the same, told every hour."""
    assert due(after(*[[STUCK]] * 9)) == [True, False, False, False, True, False, False, False, True]


def test_another_breach_is_told_at_once() -> None:
    """A change: one more, and one less."""
    assert due(after([STUCK], [STUCK], [STUCK, SHARE], [STUCK, SHARE], [SHARE])) == [True, False, True, False, True]


def test_a_value_that_moves_is_no_change() -> None:
    """A share goes up and down, and an age grows with every look."""
    assert due(after([SHARE], [replace(SHARE, value=0.4)], [replace(SHARE, value=0.2)])) == [True, False, False]


def test_an_end_is_told_once() -> None:
    """When all is well again."""
    followed = after([STUCK], [STUCK], [FINE], [FINE])

    assert [each.has_recovered for each in followed] == [False, False, True, False]
    assert [each.alarms for each in followed[2:]] == [[], []]


def test_nothing_wrong_is_nothing_to_tell() -> None:
    """Nor to note."""
    [followed] = after([FINE])

    assert (followed.is_due, followed.has_recovered, followed.alarms) == (False, False, [])


def test_what_is_acknowledged_is_no_breach() -> None:
    """From then on, and the finding says so; another one still is."""
    followed = after([STUCK], [STUCK], [STUCK], [STUCK, SHARE], acknowledges=1)

    assert [[(each.is_breached, each.is_acknowledged) for each in one.findings] for one in followed] == [
        [(True, False)],
        [(False, True)],
        [(False, True)],
        [(False, True), (True, False)],
    ]
    assert due(followed)[2:] == [False, True]
    assert [each.has_recovered for each in followed] == [False] * 4


@pytest.mark.parametrize(
    ("finding", "later", "is_breached"),
    [
        (SHARE, replace(SHARE, value=0.3), False),
        (SHARE, replace(SHARE, value=0.2), False),
        (SHARE, replace(SHARE, value=0.31), True),
        (STUCK, replace(STUCK, seen="in other words"), False),
        (STUCK, replace(STUCK, subject="J1 J3"), True),
        (STUCK, replace(STUCK, subject="J1", value=1), True),
        (replace(STUCK, value=None), replace(STUCK, value=None), False),
        (replace(SHARE, value=None), replace(SHARE, value=None), True),
    ],
)
def test_what_is_acknowledged_holds_until_it_changes(finding: Finding, later: Finding, is_breached: bool) -> None:
    """Worse than it was, or about something else."""
    followed = after([finding], [later], acknowledges=0)

    assert [each.is_breached for each in followed[1].findings] == [is_breached]


def test_what_has_ended_is_known_no_more() -> None:
    """If it comes back, it is an alarm again."""
    followed = after([SHARE], [FINE], [SHARE], acknowledges=0)

    assert [each.is_breached for one in followed for each in one.findings] == [False, False, True]
    assert due(followed) == [False, False, True]


def test_alarms_come_back_from_the_warehouse_as_they_were(tmp_path: Path) -> None:
    """Times to the microsecond, what is null, and only those that were noted last."""
    alarms = [
        Alarm(Place("stuck_jobs", "eu", "item-create"), 2.0, "J1 J2", NOW, NOW + MINUTE, None),
        Alarm(Place("orphan_children", None, None), 3.0, None, NOW, None, NOW + dt.timedelta(microseconds=1)),
    ]
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute("create schema klaviyo_raw")
        assert read_alarms(DuckDBConnection(connection)) == {}
        write_alarms(DuckDBConnection(connection), [*alarms, Alarm(Place("silence", "eu", "x"), 1.0, None, NOW)])
        write_alarms(DuckDBConnection(connection), alarms)

        assert read_alarms(DuckDBConnection(connection)) == {alarm.place: alarm for alarm in alarms}
