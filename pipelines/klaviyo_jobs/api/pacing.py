"""
Pace requests, so that Klaviyo never has to refuse one: one budget for each account and rate class, for all threads.

In:     the limits of `kinds`, then those that answers announce (`RateLimit-Limit`, `RateLimit-Remaining`).
Out:    `Budget.permit`, a context that opens when a request may be sent and closes when it is answered.
How:    Klaviyo counts in fixed windows of a second and of a minute whose beginnings nobody tells.
        The minute: a place in the budget is free again 60 s after its request was *answered*, so that however long
        requests travel no 60 s can see more of them than allowed; this costs one answer's time a minute.
        The second: requests leave evenly, at 95 % of the burst limit or two below it, with at most 2 % of it to
        catch up after a stall; the rest is for requests that travel unevenly. Requests that a stall (a busy machine,
        a slow proxy) lets arrive in a bunch are more than that, so a place is free again only a second after the
        latest moment at which its request can have arrived: when it was answered, less the time that the quickest of
        the last answers took. That costs nothing while answers take the same time. A request without an answer has
        arrived after a few seconds, or never will.
Why:    No limiter library gives a place back by the time of the answer, spaces requests, and takes announced limits.
Source: Klaviyo guide "Rate limits, status codes, and errors"; headers recorded 2026-09-04 describe the one-second
        window: `RateLimit-Limit: 75, 75;w=1, 750;w=60`, `RateLimit-Remaining: 74`, `RateLimit-Reset: 0`.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from typing import Final

from klaviyo_jobs.model.kinds import RateLimit

MINUTE_SECONDS: Final = 60.0
_SECOND: Final = 1.0
_RATE_SHARE: Final = 0.95
_SPARE: Final = 2
_LEAST_RATE_SHARE: Final = 0.6
_CATCH_UP_SHARE: Final = 0.02
# Below this share of a second's requests it was not us who used the second up.
_OWN_SHARE: Final = 0.8
_REMEMBERED_SECONDS: Final = 5.0
# How long the quickest answer tells how long requests travel.
_QUICKEST_SECONDS: Final = 10.0
# What has left longer ago has arrived.
_ARRIVED_SECONDS: Final = 3.0
# How long a waiting thread sleeps at most before it looks again, so that a pause ended early is noticed.
_LONGEST_NAP_SECONDS: Final = 0.5

_WINDOW: Final = re.compile(r"(\d+)\s*;\s*w\s*=\s*(\d+)")


class Budget:
    """
    The requests that one account may send in one rate class.

    Args:
        limit: What is allowed until an answer announces something else.
        minute_seconds: How long the longer of the two windows is.
    """

    def __init__(self, limit: RateLimit, *, minute_seconds: float = MINUTE_SECONDS) -> None:
        self._minute_seconds = minute_seconds
        self._announced: dict[str, RateLimit] = {}
        self._limit = limit
        self._lock = threading.Condition()
        self._next_at = 0.0
        # When each request left that has no answer yet, the first to leave first.
        self._under_way: dict[object, float] = {}
        self._answered: deque[float] = deque()
        # Of the answers of about the last second.
        self._just_answered: deque[float] = deque()
        # Answers of the last seconds, when and how long: each one quicker than all that came after it.
        self._quickest: deque[tuple[float, float]] = deque()
        # When the last requests left, a few seconds' worth.
        self._left: deque[float] = deque()

    @property
    def limit(self) -> RateLimit:
        """What is allowed now."""
        return self._limit

    @contextmanager
    def permit(self, check: Callable[[], None] = lambda: None) -> Iterator[None]:
        """
        Wait until a request may be sent; leave the context when it is answered, or has failed.

        Args:
            check: Called before each part of a wait; what it raises ends the wait.
        """
        with self._lock:
            while (wait := self._wait_seconds(time.monotonic())) > 0:
                check()
                self._lock.wait(min(wait, _LONGEST_NAP_SECONDS))
            request = object()
            self._under_way[request] = time.monotonic()
        is_answered = False
        try:
            yield
            is_answered = True
        finally:
            with self._lock:
                now = time.monotonic()
                seconds = now - self._under_way.pop(request)
                if is_answered:
                    self._time_answer(now, seconds)
                self._answered.append(now)
                self._just_answered.append(now)
                self._lock.notify()

    def _wait_seconds(self, now: float) -> float:
        """Return how long to wait, or take the next place and return 0."""
        while self._answered and self._answered[0] <= now - self._minute_seconds:
            self._answered.popleft()
        if len(self._under_way) + len(self._answered) >= self._limit.steady:
            return self._answered[0] + self._minute_seconds - now if self._answered else _LONGEST_NAP_SECONDS
        if now < self._next_at:
            return self._next_at - now
        # Until the first answer nobody knows how long they take.
        taken_seconds = max(_SECOND - self._quickest[0][1], 0.0) if self._quickest else _SECOND
        while self._just_answered and self._just_answered[0] <= now - taken_seconds:
            self._just_answered.popleft()
        arrived = sum(1 for _ in takewhile(lambda left: left < now - _ARRIVED_SECONDS, self._under_way.values()))
        if len(self._under_way) - arrived + len(self._just_answered) >= _most_in_a_second(self._limit):
            return self._just_answered[0] + taken_seconds - now if self._just_answered else _LONGEST_NAP_SECONDS
        rate = _rate_of(self._limit)
        catch_up = self._limit.burst * _CATCH_UP_SHARE / rate
        self._next_at = max(self._next_at, now - catch_up) + 1 / rate
        self._left.append(now)
        while self._left[0] < now - _REMEMBERED_SECONDS:
            self._left.popleft()
        return 0

    def _time_answer(self, now: float, seconds: float) -> None:
        """Remember that an answer took so long."""
        while self._quickest and self._quickest[-1][1] >= seconds:
            self._quickest.pop()
        self._quickest.append((now, seconds))
        while self._quickest[0][0] < now - _QUICKEST_SECONDS:
            self._quickest.popleft()

    def count_in_minute(self) -> int:
        """Return how many places of the minute are taken."""
        with self._lock:
            return len(self._under_way) + len(self._taken_until(time.monotonic()))

    def wait_seconds(self) -> float:
        """Return how long the next request has to wait for the limit of the minute, or for a pause; 0 if it may go."""
        now = time.monotonic()
        with self._lock:
            taken = self._taken_until(now)
            wait = self._next_at - now
            if len(self._under_way) + len(taken) >= self._limit.steady and taken:
                wait = max(wait, taken[0] - now)
        return max(wait, 0)

    def seconds_for(self, calls: int, rate: float) -> float:
        """
        Return about how long *calls* more requests take.

        Args:
            rate: How many are answered in a second while the limit of the minute lets them.
        """
        now = time.monotonic()
        with self._lock:
            taken, under_way, limit = self._taken_until(now), len(self._under_way), self._limit
        rate = min(rate, _rate_of(limit))
        if calls <= 0 or rate * self._minute_seconds <= limit.steady:
            return max(calls, 0) / rate
        # Each place of the minute is used again when it is free, and then once in each further minute.
        minutes, number = divmod(calls - 1, limit.steady)
        free = limit.steady - under_way - len(taken)
        seconds = (number + 1) / rate
        if number >= free:
            until = [*taken, *[now + self._minute_seconds] * under_way]
            seconds = max(seconds, until[number - free] - now)
        return seconds + minutes * self._minute_seconds

    def _taken_until(self, now: float) -> list[float]:
        """Return when the places are free again whose requests are answered, the first to be free first."""
        return [at + self._minute_seconds for at in self._answered if at > now - self._minute_seconds]

    def wake(self) -> None:
        """Let all that wait for a permit look at once whether they still want it."""
        with self._lock:
            self._lock.notify_all()

    def pause(self, seconds: float) -> None:
        """Send nothing for *seconds*: the API has said so to one of the requests, and means all of them."""
        with self._lock:
            self._next_at = max(self._next_at, time.monotonic() + seconds)

    def learn(self, endpoint: str, headers: Mapping[str, str], sent_at: float) -> None:
        """
        Take over what an answer says of the limits.

        Args:
            endpoint: Whose limits; the strictest of all that share the budget counts.
            headers: Of the answer; those of a 429 say nothing.
            sent_at: When its request was sent (monotonic clock).
        """
        announced = parse_limit(headers.get("RateLimit-Limit", ""))
        with self._lock:
            if announced is not None and self._announced.get(endpoint) != announced:
                self._announced[endpoint] = announced
                limits = self._announced.values()
                self._limit = RateLimit(min(limit.burst for limit in limits), min(limit.steady for limit in limits))
                self._lock.notify_all()
            if headers.get("RateLimit-Remaining") == "0":
                own = sum(sent_at - 1 < moment <= sent_at for moment in self._left)
                if own < self._limit.burst * _OWN_SHARE:
                    # Somebody else reads with the same account: leave the rest of that second to them.
                    self._next_at = max(self._next_at, sent_at + 1)


def _rate_of(limit: RateLimit) -> float:
    """Return how many requests leave in a second: evenly, and so few that uneven travel overruns no window."""
    return max(min(limit.burst * _RATE_SHARE, limit.burst - _SPARE), limit.burst * _LEAST_RATE_SHARE)


def _most_in_a_second(limit: RateLimit) -> int:
    """Return how many requests may be under way or have arrived within a second."""
    return max(limit.burst - _SPARE, math.ceil(_rate_of(limit)))


def parse_limit(header: str) -> RateLimit | None:
    """Read `75, 75;w=1, 750;w=60`; None unless it gives a second's and a minute's quota, both above zero."""
    quotas = {int(window): int(quota) for quota, window in _WINDOW.findall(header)}
    burst, steady = quotas.get(1, 0), quotas.get(int(MINUTE_SECONDS), 0)
    return RateLimit(burst, steady) if burst > 0 and steady > 0 else None


def least_seconds(limit: RateLimit, calls: int) -> float:
    """Return the least time that *limit* leaves for *calls*: a burst fills a minute, whose rest is spent waiting."""
    full_minutes, rest = divmod(max(calls - 1, 0), limit.steady)
    return full_minutes * MINUTE_SECONDS + rest / _rate_of(limit)
