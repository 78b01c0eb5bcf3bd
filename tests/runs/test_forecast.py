"""How long reading takes, told from what has been read, and what it waits for."""

from __future__ import annotations

import time

import pytest

from klaviyo_jobs.api.pacing import Budget
from klaviyo_jobs.errors import StatusError
from klaviyo_jobs.extract.outcomes import ListingOutcome
from klaviyo_jobs.model.kinds import KINDS, RateLimit
from klaviyo_jobs.runs.forecast import Forecast, Totals, rate_of, totals_of, wait_of

REFUSED = StatusError("no.", status=400, data="-", next_step="-")


def outcome(**members: object) -> ListingOutcome:
    """A listing under way."""
    return ListingOutcome(account="shop", kind=KINDS["category-create"], **members)  # type: ignore[arg-type]


def used(limit: RateLimit, count: int, *, minute_seconds: float = 60.0) -> Budget:
    """A budget of which *count* requests were answered just now."""
    budget = Budget(limit, minute_seconds=minute_seconds)
    for _ in range(count):
        with budget.permit():
            pass
    return budget


# What a budget leaves.


@pytest.mark.parametrize(
    ("calls", "rate", "expected"),
    [(0, 5.0, 0), (50, 5.0, 10), (100, 50.0, 2), (101, 50.0, 60.02), (250, 50.0, 121), (600, 1.0, 600)],
    ids=["none", "slow answers", "within a minute", "one more than a minute's", "two minutes more", "never limited"],
)
def test_calls_wait_for_answers_and_for_the_minute(calls: int, rate: float, expected: float) -> None:
    """A budget of 100 a minute: what fits goes at once, the rest a minute later, and so on."""
    assert Budget(RateLimit(1000, 100)).seconds_for(calls, rate) == pytest.approx(expected, abs=0.05)


def test_places_that_are_taken_are_waited_for() -> None:
    """Of ten places of a minute eight are taken: two calls go at once, the third when the first is free again."""
    budget = used(RateLimit(1000, 10), 8)

    assert budget.count_in_minute() == 8
    assert budget.wait_seconds() < 0.1
    assert budget.seconds_for(2, 100.0) == pytest.approx(0.02, abs=0.05)
    assert budget.seconds_for(3, 100.0) == pytest.approx(60, abs=0.2)


def test_a_budget_that_is_used_up_tells_how_long_it_is_closed() -> None:
    """Until the place that was taken first is free."""
    budget = used(RateLimit(1000, 3), 3, minute_seconds=30)

    assert budget.wait_seconds() == pytest.approx(30, abs=0.2)


# Totals.


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], Totals(0, 0)),
        ([outcome(page_count=1, wanted_count=100, listed_share=0.25)], Totals(404, 400)),
        ([outcome(page_count=4, wanted_count=400, listed_share=1.0)], Totals(404, 400)),
        ([outcome(page_count=1, wanted_count=7)], Totals(None, 7)),
        ([outcome(is_complete=True, request_count=12, retry_count=2, detail_count=7)], Totals(10, 7)),
        ([outcome(error=REFUSED, request_count=1)], Totals(1, 0)),
    ],
    ids=["nothing", "a quarter of the list", "the whole list", "no telling", "complete", "refused"],
)
def test_totals_follow_from_the_share_that_is_listed(outcomes: list[ListingOutcome], expected: Totals) -> None:
    """Pages and details are extrapolated; of what has ended, they are what was read."""
    assert totals_of(outcomes) == expected


# The forecast.


def test_the_time_left_is_what_the_limits_leave() -> None:
    """Half of 200 calls are sent in half a minute, and a budget without limits has seen nothing else."""
    budget = Budget(RateLimit(1000, 100_000))
    reading = outcome(budget=budget, page_count=1, wanted_count=199, listed_share=1.0, request_count=1)
    forecast = Forecast()
    first = forecast.look([reading])
    time.sleep(2.2)
    reading.request_count = 101
    second = forecast.look([reading])

    assert first is None
    assert second == pytest.approx(2.2, rel=0.1)


def test_nothing_is_foretold_while_a_list_tells_nothing() -> None:
    """Whose jobs do not expire, or which has not been answered."""
    forecast = Forecast()

    assert forecast.look([]) is None
    assert forecast.look([outcome(budget=Budget(RateLimit(10, 100)))]) is None
    assert forecast.look([outcome(is_complete=True, budget=Budget(RateLimit(10, 100)))]) == 0


# Waits.


def test_a_wait_for_the_limit_is_told() -> None:
    """But not if another account goes on."""
    closed = outcome(budget=used(RateLimit(1000, 2), 2, minute_seconds=34))
    open_one = outcome(budget=Budget(RateLimit(1000, 2)))

    assert wait_of([closed]) == "34 s for Klaviyo's limit"
    assert wait_of([closed, open_one]) is None
    assert wait_of([outcome(budget=Budget(RateLimit(10, 100)))]) is None
    assert rate_of([closed]) == "2 in the last minute, of 2 that Klaviyo allows"


def test_a_wait_for_another_attempt_is_told_with_its_reason() -> None:
    """As long as it lasts, and as long as the listing is under way."""
    reading = outcome(budget=Budget(RateLimit(10, 100)))
    reading.announce_retry(12, "answered 503")
    told = wait_of([reading])
    reading.is_complete = True

    assert told == "12 s before shop/category-create is asked again: it answered 503"
    assert wait_of([reading]) is None
