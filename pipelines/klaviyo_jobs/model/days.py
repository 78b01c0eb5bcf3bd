"""
Tell on which day a moment falls, by one set of rules of time zones: that of the package `tzdata`.

In:     a moment and a time zone of the tz database.
Out:    the day there, and how far its clocks are ahead of UTC in which years. The rules of the machine, or of each
        DuckDB that reads a copy, may be years older, and give another day.
"""

from __future__ import annotations

import bisect
import datetime as dt
from functools import lru_cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

import tzdata

from klaviyo_jobs.errors import SettingError

# What `sql/settings/reporting_settings.sql` says too.
DEFAULT_ZONE: Final = "UTC"
# The release of the tz database, e.g. 2026f.
RULES: Final[str] = tzdata.IANA_VERSION


# Klaviyo was founded in 2012. In this century no zone has changed its clocks twice in a week.
_FIRST_YEAR: Final = 2012
_LAST_YEAR: Final = 2061
_LOOK_AGAIN_AFTER: Final = dt.timedelta(days=7)


def day_of(moment: dt.datetime | None, zone: ZoneInfo) -> dt.date | None:
    """Return the day of *moment* in *zone*, None for none."""
    if moment is None:
        return None
    try:
        return moment.astimezone(zone).date()
    except OverflowError:  # at either end of what Python knows of time
        return moment.date()


def offsets_of(zone: ZoneInfo) -> list[tuple[dt.datetime, dt.datetime, int]]:
    """
    Return the periods of one offset of *zone*, without gaps: first moment, first moment after it, seconds ahead of UTC.

    The first period begins before, the last ends after all that a database is asked about.
    """
    begin, end = (dt.datetime(year, 1, 1, tzinfo=dt.UTC) for year in (1, 9999))
    moment, last = (dt.datetime(year, 1, 1, tzinfo=dt.UTC) for year in (_FIRST_YEAR, _LAST_YEAR))
    offset = _offset_at(moment, zone)
    periods = []
    while moment < last:
        after = moment + _LOOK_AGAIN_AFTER
        if _offset_at(after, zone) != offset:
            # The first second at which it is another.
            seconds = bisect.bisect_left(
                range(int(_LOOK_AGAIN_AFTER.total_seconds())),
                True,
                key=lambda second: _offset_at(moment + dt.timedelta(seconds=second), zone) != offset,
            )
            change = moment + dt.timedelta(seconds=seconds)
            periods.append((begin, change, offset))
            begin, offset = change, _offset_at(after, zone)
        moment = after
    return [*periods, (begin, end, offset)]


def _offset_at(moment: dt.datetime, zone: ZoneInfo) -> int:
    offset = moment.astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0


@lru_cache(maxsize=8)
def zone_of(name: str) -> ZoneInfo:
    """
    Return the time zone called *name*, e.g. `Europe/Berlin`.

    Raises:
        SettingError: There is no such zone.
    """
    try:
        with files(tzdata).joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
            return ZoneInfo.from_file(rules, key=name)
    except (OSError, ValueError) as error:
        raise SettingError(
            f"reporting_timezone {name!r} is not a time zone.",
            data="the warehouse is as it was.",
            next_step="use a name of the tz database, for example Europe/Berlin or UTC.",
        ) from error
