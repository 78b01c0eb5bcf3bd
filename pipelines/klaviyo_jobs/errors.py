"""
Everything that can go wrong, as one tree; each class knows the exit code of the command.

    KlaviyoJobsError             1  unexpected; the base of all below, each with an exit code of its own
    ├── SettingError             2  a setting is missing or cannot be used
    │   └── RevisionError        2  Klaviyo does not serve the revision asked for
    ├── KeyRefusedError          3  Klaviyo refused the API key or its scope
    ├── ApiError                 4  the API could not be read
    │   ├── UnavailableError     4  no usable answer after all attempts
    │   ├── StatusError          4  an answer that a retry would not change
    │   └── PagingError          4  a listing whose pages do not lead to an end
    ├── ClosedError              1  reading was ended from this side; no fault of the API
    ├── PartialError             5  some accounts, kinds or records failed, the others are loaded
    ├── LockedError              6  another run holds the lock of the warehouse
    ├── WarehouseError           7  the warehouse cannot be opened or written
    ├── ThresholdError           8  a check's threshold is breached
    └── StoppedError             130 or 143  SIGINT or SIGTERM

A message has three parts: what happened and where; what state the data is in; what to do next. Line one stands alone
in a log. No message ever holds a key.
"""

from __future__ import annotations

import signal


class KlaviyoJobsError(Exception):
    """
    The base of every error this package raises on purpose.

    Args:
        message: What happened and where, in one line.
        data: What state the data is in.
        next_step: What to do next.
    """

    exit_code: int = 1

    def __init__(self, message: str, *, data: str | None = None, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data
        self.next_step = next_step

    @property
    def headline(self) -> str:
        """Line one: the class and what happened."""
        return f"{type(self).__name__}: {self.message}"

    def __str__(self) -> str:
        lines = [self.message]
        if self.data:
            lines.append(f"  Data: {self.data}")
        if self.next_step:
            lines.append(f"  Next: {self.next_step}")
        return "\n".join(lines)

    def render(self) -> str:
        """Return the whole message as the command prints it."""
        return f"{type(self).__name__}: {self}"


class SettingError(KlaviyoJobsError):
    """A setting is missing or has a value that cannot be used."""

    exit_code = 2


class RevisionError(SettingError):
    """Klaviyo does not serve the revision asked for: it is retired, unknown to the endpoint, or in the future."""


class KeyRefusedError(KlaviyoJobsError):
    """Klaviyo answered 401 or 403: the key is wrong, or lacks a scope."""

    exit_code = 3

    def __init__(self, message: str, *, status: int, data: str | None = None, next_step: str | None = None) -> None:
        super().__init__(message, data=data, next_step=next_step)
        self.status = status

    @property
    def is_of_scope(self) -> bool:
        """Whether the key is right, and may read other things."""
        return self.status == 403


class ApiError(KlaviyoJobsError):
    """The API could not be read."""

    exit_code = 4


class UnavailableError(ApiError):
    """
    No usable answer came after all attempts: unreachable, throttled, failing, or not Klaviyo at all.

    Attributes:
        is_of_the_answer: Whether whole answers came, and none could be used: another request may fare better.
    """

    def __init__(
        self, message: str, *, data: str | None = None, next_step: str | None = None, is_of_the_answer: bool = False
    ) -> None:
        super().__init__(message, data=data, next_step=next_step)
        self.is_of_the_answer = is_of_the_answer


class StatusError(ApiError):
    """The API answered with a status that a retry would not change."""

    def __init__(
        self, message: str, *, status: int, detail: str = "", data: str | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(message, data=data, next_step=next_step)
        self.status = status
        self.detail = detail


class PagingError(ApiError):
    """A listing whose pages do not lead to an end, or lead away from the configured host."""


class ClosedError(KlaviyoJobsError):
    """The client is closed: a request was ended from this side, or came too late. No fault of the API."""


class PartialError(KlaviyoJobsError):
    """Some accounts, job kinds or records failed; everything else is loaded."""

    exit_code = 5


class LockedError(KlaviyoJobsError):
    """Another run holds the lock of the warehouse."""

    exit_code = 6


class WarehouseError(KlaviyoJobsError):
    """
    The warehouse cannot be opened, read or written.

    Attributes:
        is_damaged: Whether the file is there and is not whole: only a copy of it can help.
    """

    exit_code = 7

    def __init__(
        self, message: str, *, data: str | None = None, next_step: str | None = None, is_damaged: bool = False
    ) -> None:
        super().__init__(message, data=data, next_step=next_step)
        self.is_damaged = is_damaged


class ThresholdError(KlaviyoJobsError):
    """A value is past the threshold that the user has set; nothing failed."""

    exit_code = 8


class StoppedError(KlaviyoJobsError):
    """The run was told to stop by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"stopped by {signal.Signals(number).name}.",
            data="what was loaded before stays; a load that was cut off is done again by the next run.",
            next_step="run again.",
        )
        self.exit_code = 128 + number


def find_cause(error: BaseException) -> KlaviyoJobsError | None:
    """Return our own error behind *error*, which dlt wraps in errors of its pipeline steps, or None."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KlaviyoJobsError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
