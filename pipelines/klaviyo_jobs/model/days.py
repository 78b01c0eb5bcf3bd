"""
Tell on which day a moment falls, by one set of rules of time zones: that of the package `tzdata`.

In:     a moment and a time zone of the tz database.
Out:    the day there. The rules of the machine, or of each DuckDB that reads a copy, may be years older, and give
        another day.
"""

from __future__ import annotations

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


def day_of(moment: dt.datetime | None, zone: ZoneInfo) -> dt.date | None:
    """Return the day of *moment* in *zone*, None for none."""
    if moment is None:
        return None
    try:
        return moment.astimezone(zone).date()
    except OverflowError:  # at either end of what Python knows of time
        return moment.date()


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
