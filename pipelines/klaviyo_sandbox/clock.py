"""
The time of the sandbox: standing still until told otherwise, or following real time at an offset.

Job states, expiry and retired revisions follow this clock; rate limits and latency follow real time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """
    A clock that tests can set and advance.

    `Clock(datetime(...))` stands still; `Clock()` follows real time. Setting a following clock shifts it: it
    goes on ticking from the new time.
    """

    def __init__(self, at: datetime | None = None) -> None:
        """
        Args:
            at: Where the clock stands still; none to follow real time. A naive time is taken as UTC.
        """
        self._fixed = None if at is None else _as_utc(at)
        self._offset = timedelta()

    @property
    def is_fixed(self) -> bool:
        """Whether the clock stands still between calls."""
        return self._fixed is not None

    def now(self) -> datetime:
        """The sandbox's time, in UTC."""
        return datetime.now(UTC) + self._offset if self._fixed is None else self._fixed

    def set(self, at: datetime) -> None:
        """Jump to *at*, forwards or backwards."""
        self.advance(_as_utc(at) - self.now())

    def advance(self, by: timedelta = timedelta(), *, seconds: float = 0) -> None:
        """Move on by *by* and *seconds* together; negative values go back."""
        step = by + timedelta(seconds=seconds)
        if self._fixed is None:
            self._offset += step
        else:
            self._fixed += step


def parse_time(text: str) -> datetime:
    """
    Read an ISO 8601 time; one without a zone is UTC.

    Raises:
        ValueError: *text* is not such a time.
    """
    return _as_utc(datetime.fromisoformat(text))


def format_time(at: datetime) -> str:
    """Write a time as the API does: microseconds and `+00:00`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _as_utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
