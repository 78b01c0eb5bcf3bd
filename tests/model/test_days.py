"""The day of a moment in a zone of the tz database, by the rules that come with the package."""

from __future__ import annotations

import datetime as dt
import random
from importlib.resources import files

import pytest

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.model.days import day_of, offsets_of, zone_of
from support.builders import utc


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("UTC", "2026-11-20T23:59:59.999999Z", "2026-11-20"),
        ("Europe/Berlin", "2026-03-28T22:59Z", "2026-03-28"),
        ("Europe/Berlin", "2026-03-28T23:00Z", "2026-03-29"),
        ("Europe/Berlin", "2026-03-29T22:00Z", "2026-03-30"),
        ("Asia/Kolkata", "2026-11-20T18:30Z", "2026-11-21"),
        # British Columbia stays in summer time from 2026 on: rules of 2025 give the day before.
        ("America/Vancouver", "2026-11-20T07:30Z", "2026-11-20"),
        # DuckDB 1.1 does not know the zone at all.
        ("America/Coyhaique", "2026-11-20T01:30Z", "2026-11-19"),
    ],
)
def test_a_moment_has_a_day_in_each_zone(zone: str, moment: str, day: str) -> None:
    """The same on every machine, whatever rules it has itself."""
    assert day_of(utc(moment), zone_of(zone)) == dt.date.fromisoformat(day)


def test_no_moment_has_no_day() -> None:
    """A job that has not ended."""
    assert day_of(None, zone_of("UTC")) is None


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_at_the_ends_of_time_the_day_is_that_of_utc(moment: str, zone: str) -> None:
    """Where the day in the zone is one that Python does not know."""
    day = day_of(utc(moment), zone_of(zone))

    assert day is not None
    assert abs(day.toordinal() - utc(moment).toordinal()) <= 1


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "europe", "../zoneinfo", "/etc/passwd", "zone.tab", "a\0b"])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    """With an example of one."""
    with pytest.raises(SettingError, match=r"reporting_timezone .* is not a time zone"):
        zone_of(zone)


_ZONES = (files("tzdata") / "zones").read_text(encoding="utf-8").split()
_ODD = ["Australia/Lord_Howe", "Africa/Casablanca", "Asia/Gaza", "Asia/Pyongyang", "Pacific/Apia", "America/Caracas"]


def _assert_offsets(names: list[str]) -> None:
    """The periods of a zone follow each other without a gap, and say of any moment what the zone says."""
    chance = random.Random(1)
    first, last = (int(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp()) for year in (2012, 2060))
    moments = [dt.datetime.fromtimestamp(chance.randint(first, last), dt.UTC) for _ in range(200)]
    for name in names:
        zone = zone_of(name)
        periods = offsets_of(zone)
        assert [end for _, end, _ in periods[:-1]] == [begin for begin, _, _ in periods[1:]]
        edges = [begin for begin, _, _ in periods[1:]]
        for moment in [*moments, *edges, *(edge - dt.timedelta(seconds=1) for edge in edges)]:
            [offset] = [seconds for begin, end, seconds in periods if begin <= moment < end]
            assert moment.astimezone(zone).utcoffset() == dt.timedelta(seconds=offset), (name, moment)


def test_the_offsets_of_odd_zones() -> None:
    """Half an hour of summer time, no summer time in Ramadan, a country that changed its mind."""
    _assert_offsets(["UTC", "Europe/Berlin", "America/Vancouver", *_ODD])


@pytest.mark.slow
def test_the_offsets_of_every_zone() -> None:
    """Six hundred zones of the tz database."""
    assert len(_ZONES) > 500
    _assert_offsets(_ZONES)
