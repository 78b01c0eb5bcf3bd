"""
How long reading is going to take, and what it waits for just now.

In:     the outcomes of listings while they are read, looked at several times a second.
Out:    seconds left, totals as far as they are known, and words for a wait.
How:    lists come newest first and hold what the last seven days have brought, so the age of the job read last tells
        how much of a list is left, and with it how many details. Calls that are left wait for Klaviyo's limits, or for
        answers: both are known from what has been read so far.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from klaviyo_jobs.api.pacing import Budget
from klaviyo_jobs.extract.outcomes import ListingOutcome

# Shorter waits are the even spacing of requests.
_LEAST_WAIT_SECONDS: Final = 1.0
# Before that, one slow answer would be taken for the speed of all.
_LEAST_SECONDS: Final = 2.0
_LEAST_CALLS: Final = 5


@dataclass(frozen=True, slots=True)
class Totals:
    """
    What is read of what there is to read.

    Attributes:
        calls: Requests that will have been sent, as far as can be told; None as long as nothing tells.
        details: Details and pages of errors among them.
    """

    calls: float | None
    details: float


@dataclass(slots=True)
class _Speed:
    """How fast a budget is used while the limit of the minute lets it be used."""

    seen_at: float
    first_calls: int
    active_seconds: float = 0.0

    def rate(self, calls: int) -> float | None:
        sent = calls - self.first_calls
        if self.active_seconds < _LEAST_SECONDS or sent < _LEAST_CALLS:
            return None
        return sent / self.active_seconds


class Forecast:
    """Looks at outcomes again and again, and tells what is left of reading them."""

    def __init__(self) -> None:
        self._speeds: dict[int, _Speed] = {}

    def look(self, outcomes: Sequence[ListingOutcome]) -> float | None:
        """Take note of how far *outcomes* are; return the seconds that are left, or None as long as nothing tells."""
        now = time.monotonic()
        by_budget: dict[int, list[ListingOutcome]] = defaultdict(list)
        for outcome in outcomes:
            if outcome.budget is not None:
                by_budget[id(outcome.budget)].append(outcome)
        left = 0.0
        is_known = bool(by_budget)
        for key, sharing in by_budget.items():
            budget = sharing[0].budget
            assert budget is not None  # noqa: S101 - it is the key
            seconds = self._seconds_of(key, budget, sharing, now)
            if seconds is None:
                is_known = False
            else:
                left = max(left, seconds)
        return left if is_known else None

    def _seconds_of(self, key: int, budget: Budget, sharing: list[ListingOutcome], now: float) -> float | None:
        calls = sum(outcome.request_count for outcome in sharing)
        if calls == 0 and any(outcome.is_under_way for outcome in sharing):
            return None
        speed = self._speeds.setdefault(key, _Speed(now, calls))
        if budget.wait_seconds() < _LEAST_WAIT_SECONDS:
            speed.active_seconds += now - speed.seen_at
        speed.seen_at = now
        under_way = [outcome for outcome in sharing if outcome.is_under_way]
        if not under_way:
            return 0.0
        totals = totals_of(under_way)
        rate = speed.rate(calls)
        if totals.calls is None or rate is None:
            return None
        left = max(totals.calls - sum(outcome.sent_count for outcome in under_way), 0)
        return budget.seconds_for(round(left), rate)


def totals_of(outcomes: Sequence[ListingOutcome]) -> Totals:
    """Return how many calls *outcomes* will have taken, their details among them."""
    calls, details = 0.0, 0.0
    is_known = True
    for outcome in outcomes:
        if not outcome.is_under_way:
            calls += outcome.sent_count
            details += outcome.detail_count
        elif outcome.listed_share is None:
            is_known = False
            details += outcome.wanted_count
        else:
            wanted = outcome.wanted_count / outcome.listed_share
            calls += outcome.page_count / outcome.listed_share + wanted
            details += wanted
    return Totals(calls if is_known else None, details)


def wait_of(outcomes: Sequence[ListingOutcome]) -> str | None:
    """Return in words what reading waits for just now; None if it does not wait."""
    under_way = [outcome for outcome in outcomes if outcome.is_under_way]
    for outcome in under_way:
        seconds, problem = outcome.retry
        if seconds > 0:
            return f"{_rounded(seconds)} s before {outcome.name} is asked again: it {problem}"
    waits = {id(each.budget): each.budget.wait_seconds() for each in under_way if each.budget is not None}
    # As long as one of them goes on, reading goes on.
    if waits and (shortest := min(waits.values())) >= _LEAST_WAIT_SECONDS:
        return f"{_rounded(shortest)} s for Klaviyo's limit"
    return None


def rate_of(outcomes: Sequence[ListingOutcome]) -> str:
    """Return how many requests the last minute has seen, of how many Klaviyo allows, of the budget used most."""
    budgets = {id(each.budget): each.budget for each in outcomes if each.budget is not None}
    used = [(budget.count_in_minute() / budget.limit.steady, budget) for budget in budgets.values()]
    if not used:
        return ""
    _, budget = max(used, key=lambda pair: pair[0])
    return f"{budget.count_in_minute():,} in the last minute, of {budget.limit.steady:,} that Klaviyo allows"


def _rounded(seconds: float) -> int:
    return max(1, round(seconds))
