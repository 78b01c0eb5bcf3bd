"""
Remember which breaches were told, and which somebody has said are known.

In:     the breaches of a check, each by what it is about and what it stands on.
Out:    rows of the table `klaviyo_raw.alarms`, one for each breach that lasts; none for one that has ended.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final, NamedTuple

from klaviyo_jobs.model.records import time_of
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA, Connection

_TABLE: Final = "alarms"
_COLUMNS: Final = """
    check_name varchar, account varchar, job_kind varchar, value double, subject varchar,
    since timestamptz, told_at timestamptz, acknowledged_at timestamptz
"""


class Place(NamedTuple):
    """What a breach is about."""

    check: str
    account: str | None
    job_kind: str | None


class Alarm(NamedTuple):
    """
    A breach that lasts.

    Attributes:
        place: What it is about.
        value: How bad it was when it was noted last, or acknowledged.
        subject: What it stood on then, if that tells better than the value whether it has changed.
        since: When a check first found it.
        told_at: When it was told last; None if it never was.
        acknowledged_at: When somebody said that it is known; None if nobody has.
    """

    place: Place
    value: float | None
    subject: str | None
    since: dt.datetime
    told_at: dt.datetime | None = None
    acknowledged_at: dt.datetime | None = None

    def is_known_as(self, value: float | None, subject: str | None) -> bool:
        """Tell whether this was acknowledged, and neither stands on something else nor is worse than then."""
        if self.acknowledged_at is None or self.subject != subject:
            return False
        return subject is not None or (value is not None and self.value is not None and value <= self.value)


def read_alarms(connection: Connection) -> dict[Place, Alarm]:
    """Return the alarms that are noted."""
    if not connection.has_table(_TABLE):
        return {}
    # As numbers: a driver reads zoned times with a package of its own.
    rows = connection.execute(
        f"""
        select check_name, account, job_kind, value, subject, epoch_us(since), epoch_us(told_at),
            epoch_us(acknowledged_at)
        from {RAW_SCHEMA}.{_TABLE}
        """
    ).fetchall()
    return {
        Place(*row[:3]): Alarm(Place(*row[:3]), *row[3:5], *(time and time_of(time) for time in row[5:]))
        for row in rows
    }


def write_alarms(connection: Connection, alarms: Iterable[Alarm]) -> None:
    """Note *alarms*, and no others; *connection* is open for writing and not inside a transaction."""
    with connection.transaction():
        connection.execute(f"create table if not exists {RAW_SCHEMA}.{_TABLE} ({_COLUMNS})")
        connection.execute(f"delete from {RAW_SCHEMA}.{_TABLE}")
        for place, *values in alarms:
            connection.execute(f"insert into {RAW_SCHEMA}.{_TABLE} values (?, ?, ?, ?, ?, ?, ?, ?)", [*place, *values])
