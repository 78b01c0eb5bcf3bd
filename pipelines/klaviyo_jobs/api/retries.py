"""
Decide whether a failed request is sent again, and when.

In:     how often it was sent, and why it failed.
Out:    the seconds to wait, or `GivenUpError` with the reason.
Bounds: attempts of a request, each wait, and the waits of an account in all.
"""

from __future__ import annotations

import random
import threading
from typing import Final

from klaviyo_jobs.api.answers import FailedAttemptError
from klaviyo_jobs.settings import NetworkSettings

# A host that has not answered once is more likely wrong than busy.
FIRST_CONTACT_ATTEMPTS: Final = 5
# An answer that is whole and wrong may have been a slip, once.
LASTING_ATTEMPTS: Final = 2


class GivenUpError(Exception):
    """
    The request is not sent again.

    Attributes:
        reason: Why not, to follow what happened.
        is_closing: Whether the API asked for a wait so long that other requests need not try either.
    """

    def __init__(self, reason: str, *, is_closing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_closing = is_closing


class Retries:
    """The retries of one account; shared by all threads that read it."""

    def __init__(self, network: NetworkSettings) -> None:
        self._network = network
        self._lock = threading.Lock()
        self._waited_seconds = 0.0

    def next_wait(self, attempt: int, failure: FailedAttemptError, *, is_first_contact: bool = False) -> float:
        """
        Return how many seconds to wait before the next attempt, which count as waited from now on.

        Args:
            attempt: Counted from 1: the one that failed.
            is_first_contact: Whether the host has never answered.
        Raises:
            GivenUpError: There is to be no next attempt.
        """
        longest, longest_in_all = self._network.max_wait_seconds, self._network.max_total_wait_seconds
        if failure.retry_after is not None and failure.retry_after > longest:
            raise GivenUpError(
                f"it asks to wait {failure.retry_after:.0f} s, longer than max_wait_seconds ({longest:.0f})",
                is_closing=True,
            )
        most_attempts = self._network.max_attempts
        if failure.is_silence and is_first_contact:
            most_attempts = min(most_attempts, FIRST_CONTACT_ATTEMPTS)
        if failure.is_lasting:
            most_attempts = min(most_attempts, LASTING_ATTEMPTS)
        if attempt >= most_attempts:
            raise GivenUpError(f"gave up after {attempt} attempts")
        wait = self._draw_wait(attempt, failure.retry_after or 0.0)
        with self._lock:
            if self._waited_seconds + wait > longest_in_all:
                raise GivenUpError(f"gave up after waiting {longest_in_all:g} s in all (max_total_wait_seconds)")
            self._waited_seconds += wait
        return wait

    def _draw_wait(self, attempt: int, retry_after: float) -> float:
        """Exponential backoff with full jitter, and never before `Retry-After` has passed."""
        backoff: float = random.uniform(0, self._network.backoff_seconds * 2 ** min(attempt - 1, 64))  # noqa: S311 - no secret
        return min(retry_after + backoff, float(self._network.max_wait_seconds))
