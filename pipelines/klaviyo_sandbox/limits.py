"""
Rate limits: two fixed windows at once, one second and one minute, per account and rate class.

Source: OpenAPI `x-klaviyo-ratelimit` as of 2026-06-30 and recorded headers. Whether a list and its details, or the
kinds of one class, share a quota is not known; here they do, the stricter reading. Refused requests do not count.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import NamedTuple

Quota = tuple[int, int]


@dataclass(frozen=True, slots=True)
class RateLimits:
    """
    Requests allowed per second and per minute.

    Attributes:
        slow: Imports of profiles.
        narrow: Items and variants, create and update; coupon codes and suppressions.
        wide: Everything else.
        is_enforced: Refuse what is over; otherwise the limits are announced and nothing is refused.
    """

    narrow: Quota = (75, 750)
    wide: Quota = (350, 3500)
    slow: Quota = (10, 150)
    is_enforced: bool = True

    def quota(self, rate_class: str) -> Quota:
        """The (per second, per minute) quota of one class."""
        quota: Quota = getattr(self, rate_class)
        return quota


@dataclass(slots=True)
class _Window:
    seconds: int
    limit: int
    started_at: float = -math.inf
    used: int = 0

    def wait(self, now: float) -> float:
        """Seconds until a request is allowed: 0 while there is room."""
        if now - self.started_at >= self.seconds:
            self.started_at, self.used = now, 0
        return 0.0 if self.used < self.limit else self.started_at + self.seconds - now


class _Windows(NamedTuple):
    """The two windows of one rate class."""

    second: _Window
    minute: _Window


@dataclass(slots=True)
class Meter:
    """Counts the requests of one account against *limits*, and how many were over them."""

    limits: RateLimits
    throttled_count: int = 0
    _windows: dict[str, _Windows] = field(default_factory=dict)

    def take(self, rate_class: str) -> int | None:
        """
        Count one request.

        Returns:
            None if it is allowed, else the whole seconds to wait (at least 1).
        """
        if not self.limits.is_enforced:
            return None
        now = time.monotonic()
        windows = self._windows_of(rate_class)
        wait = max(window.wait(now) for window in windows)
        if wait > 0:
            self.throttled_count += 1
            return math.ceil(wait)
        for window in windows:
            window.used += 1
        return None

    def headers(self, rate_class: str) -> dict[str, str]:
        """The three headers of an allowed request; remaining and reset describe the one-second window."""
        burst, steady = self.limits.quota(rate_class)
        window = self._windows_of(rate_class).second
        used = window.used if self.limits.is_enforced else 1
        left = max(0.0, window.started_at + 1 - time.monotonic())
        return {
            "RateLimit-Limit": f"{burst}, {burst};w=1, {steady};w=60",
            "RateLimit-Remaining": str(burst - used),
            "RateLimit-Reset": str(int(left)),
        }

    def _windows_of(self, rate_class: str) -> _Windows:
        if rate_class not in self._windows:
            burst, steady = self.limits.quota(rate_class)
            self._windows[rate_class] = _Windows(_Window(1, burst), _Window(60, steady))
        return self._windows[rate_class]
