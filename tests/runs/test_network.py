"""The network edge as a whole: the tables are exact whatever one call in five does, and no limit is overrun."""

from __future__ import annotations

import datetime as dt
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from klaviyo_jobs.api.pacing import Budget, least_seconds, parse_limit
from klaviyo_jobs.model.kinds import RateLimit
from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import Settings
from klaviyo_sandbox import Fault, Job, RateLimits, Sandbox, related_id
from support.expected import assert_loaded
from support.loads import NOW, Load, Warehouse
from support.processes import sandbox_process
from support.waiting import wait_until


def add_jobs(sandbox: Sandbox, kind: str, count: int) -> None:
    """Add finished jobs of two resources each."""
    sandbox.world.add(
        *(
            Job(
                kind,
                f"{kind}-{number:04}",
                NOW - dt.timedelta(seconds=number),
                completed_at=NOW,
                total_count=2,
                completed_count=2,
                related_ids=[related_id(f"{kind}-{number}-a"), related_id(f"{kind}-{number}-b")],
            )
            for number in range(count)
        )
    )


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_call_in_five_fails_and_the_tables_are_exact(warehouse: Warehouse, seed: int) -> None:
    """Server errors, web pages, resets and cut bodies, with limits on: everything is loaded and no 429 is provoked."""
    faults = [
        Fault(name, argument, one_in=25, seed=seed + number)
        for number, (name, argument) in enumerate(
            [("status", "500"), ("status", "503"), ("html", "502"), ("reset", ""), ("cut", "")]
        )
    ]
    with Sandbox(clock=NOW, limits=RateLimits(narrow=(350, 3500), wide=(350, 3500), is_enforced=True)) as sandbox:
        add_jobs(sandbox, "item-create", 700)
        add_jobs(sandbox, "category-create", 150)
        sandbox.faults.extend(faults)
        summary = Load(sandbox, warehouse)(kinds=["item-create", "category-create"])
        failed = sum(bool(request.faults) for request in sandbox.requests)

    assert summary.error is None
    assert failed >= 0.1 * len(sandbox.requests)
    assert sandbox.throttled_count == 0
    for kind in ("item-create", "category-create"):
        assert_loaded(sandbox, warehouse, kind)
    assert warehouse.count("categories") == 300


def test_a_burst_is_filled_and_not_overrun() -> None:
    """700 requests of 300 ms at 350/s: no 429, and not much more than the two seconds they must take."""
    budget = Budget(RateLimit(350, 3500))
    arguments = ("--clock", NOW.isoformat(), "--limits", "350/3500", "--latency-ms", "300", "--until-stdin-closes")
    with (
        sandbox_process(*arguments) as (_, ready),
        requests.Session() as session,
        ThreadPoolExecutor(128) as pool,
    ):
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=128))
        url = f"{ready['base_url']}/api/catalog-category-bulk-create-jobs"
        headers = {"Authorization": "Klaviyo-API-Key pk_sandbox_default", "revision": "2026-07-15"}

        def read(_: int) -> int:
            with budget.permit():
                return session.get(url, headers=headers).status_code

        started_at = time.monotonic()
        statuses = set(pool.map(read, range(700)))
        seconds = time.monotonic() - started_at

    assert statuses == {200}
    assert 2.0 <= seconds < 4.0


@pytest.mark.slow
def test_a_minute_is_filled_and_not_overrun(warehouse: Warehouse) -> None:
    """1,500 details of 100 ms at 750 a minute: no 429, and at most a twentieth longer than the limit itself takes."""
    with Sandbox(clock=NOW, limits=RateLimits(narrow=(75, 750), wide=(75, 750), is_enforced=True)) as sandbox:
        add_jobs(sandbox, "category-create", 1500)
        sandbox.latency_seconds = 0.1
        load = Load(sandbox, warehouse)
        summary = load(kinds=["category-create"])
        details = [request for request in sandbox.requests if request.endpoint == "detail"]

    first, last = min(r.started_at for r in details), max(r.started_at + r.seconds for r in details)
    # 1,500 details and 15 pages: two full minutes' budgets, then 15 requests at 75/s.
    allowed = 2 * 60 + 15 / 75 + 0.1
    assert summary.error is None
    assert sandbox.throttled_count == 0
    assert warehouse.count("categories") == 3000
    assert last - first <= 1.05 * allowed


def test_two_accounts_keep_two_budgets(warehouse: Warehouse) -> None:
    """What one account uses up is not taken from the other: both are read at their full rate, side by side."""
    with Sandbox(clock=NOW, limits=RateLimits(narrow=(20, 600), wide=(20, 600), is_enforced=True)) as limited:
        other = limited.add_account("second")
        for account in (limited.accounts["default"], other):
            account.world.add(
                *(Job("category-create", f"C{n}", NOW - dt.timedelta(seconds=n), completed_at=NOW) for n in range(60))
            )
        started_at = time.monotonic()
        run(
            Settings(
                base_url=limited.base_url,
                accounts={"one": limited.key, "two": other.key},
                kinds=["category-create"],
            ),
            warehouse.path,
        )
        starts = [request.started_at for request in limited.requests if request.endpoint == "detail"]

    assert limited.throttled_count == 0
    assert len(starts) == 120
    # 61 requests at 20/s take three seconds; of one budget for both they would take six.
    assert max(starts) - min(starts) < 4.5
    assert time.monotonic() - started_at < 10


@pytest.mark.parametrize(
    ("header", "limit"),
    [
        ("75, 75;w=1, 750;w=60", RateLimit(75, 750)),
        ("350, 350;w=1, 3500;w=60", RateLimit(350, 3500)),
        ("350, 3500;w=60, 350;w=1", RateLimit(350, 3500)),
        ("75", None),
        ("", None),
        ("75, 75;w=1", None),
        ("0, 0;w=1, 0;w=60", None),
        ("many, some;w=1", None),
    ],
)
def test_announced_limits_are_read(header: str, limit: RateLimit | None) -> None:
    """Both windows are told in one header; anything else says nothing."""
    assert parse_limit(header) == limit


def test_the_strictest_announced_limit_of_a_class_counts() -> None:
    """Endpoints that share a budget may announce different limits; a later, wider one of the same endpoint holds."""
    budget = Budget(RateLimit(350, 3500))
    limits = []
    for endpoint, announced in (
        ("category-create", "350, 350;w=1, 3500;w=60"),
        ("item-delete", "75, 75;w=1, 750;w=60"),
        ("item-delete", "100, 100;w=1, 3600;w=60"),
    ):
        budget.learn(endpoint, {"RateLimit-Limit": announced}, 0.0)
        limits.append(budget.limit)

    assert limits == [RateLimit(350, 3500), RateLimit(75, 750), RateLimit(100, 3500)]


def test_requests_leave_evenly() -> None:
    """A budget of 50/s lets no more than its share leave in any second, and wastes little of it."""
    budget = Budget(RateLimit(50, 10_000))
    times = []
    for _ in range(75):
        with budget.permit():
            times.append(time.monotonic())

    most = max(sum(start <= moment < start + 1 for moment in times) for start in times)
    assert most <= 50
    assert times[-1] - times[0] < 75 / 50 * 1.3


def test_a_stall_on_the_way_overruns_no_second() -> None:
    """Requests that a stall of 0.3 s holds up arrive in a bunch; those that follow leave room for them."""
    budget = Budget(RateLimit(75, 10_000))
    started_at = time.monotonic()

    def send(_: int) -> float:
        with budget.permit():
            stalled = 0.7 <= time.monotonic() - started_at < 1.0
            time.sleep(max(started_at + 1.0 - time.monotonic(), 0) if stalled else 0.01)
            return time.monotonic()

    with ThreadPoolExecutor(64) as pool:
        arrivals = list(pool.map(send, range(180)))

    assert max(sum(start <= moment < start + 1 for moment in arrivals) for start in arrivals) <= 75


def test_slow_answers_are_asked_for_at_the_full_rate() -> None:
    """24 answers of 1.2 s at 10/s, eight under way at a time: three rounds."""
    budget = Budget(RateLimit(10, 10_000))

    def send(_: int) -> None:
        with budget.permit():
            time.sleep(1.2)

    started_at = time.monotonic()
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(send, range(24)))

    assert time.monotonic() - started_at < 5.5


def test_requests_without_an_answer_do_not_stop_the_others() -> None:
    """Eight that hang are all that may leave in a second at 10/s; some seconds later they have arrived long ago."""
    budget = Budget(RateLimit(10, 10_000))
    is_answered = threading.Event()

    def hang(_: int) -> None:
        with budget.permit():
            is_answered.wait(30)

    with ThreadPoolExecutor(8) as pool:
        hanging = [pool.submit(hang, number) for number in range(8)]
        wait_until(lambda: budget.count_in_minute() == 8)
        started_at = time.monotonic()
        with budget.permit():
            seconds = time.monotonic() - started_at
        is_answered.set()

    assert all(each.done() for each in hanging)
    assert seconds < 5


def test_a_place_in_the_minute_is_free_a_minute_after_its_answer() -> None:
    """The fourth request waits for the first one's answer and the window, here of half a second."""
    budget = Budget(RateLimit(1000, 3), minute_seconds=0.5)
    answered_at = 0.0
    for number in range(3):
        with budget.permit():
            time.sleep(0.1 if number == 0 else 0)
        answered_at = answered_at or time.monotonic()

    with budget.permit():
        sent_at = time.monotonic()

    assert 0.5 <= sent_at - answered_at < 0.7


def test_a_pause_holds_back_the_next_request() -> None:
    """What one request was told is obeyed by the next."""
    budget = Budget(RateLimit(1000, 1000))
    budget.pause(0.3)
    started_at = time.monotonic()

    with budget.permit():
        pass

    assert 0.3 <= time.monotonic() - started_at < 0.5


def test_a_second_that_somebody_else_used_up_is_left_to_them() -> None:
    """`RateLimit-Remaining: 0` holds the next request back until a second after the one that was told."""
    budget = Budget(RateLimit(1000, 1000))
    sent_at = time.monotonic()
    budget.learn("item-create", {"RateLimit-Remaining": "0"}, sent_at)

    with budget.permit():
        assert time.monotonic() - sent_at >= 1


@pytest.mark.parametrize(("calls", "seconds"), [(0, 0.0), (1, 0.0), (72, 1.0), (750, 10.5), (751, 60.0), (1500, 70.5)])
def test_the_least_time_of_a_plan(calls: int, seconds: float) -> None:
    """75/s fills a minute's 750 in ten and a half seconds; the rest of that minute is spent waiting."""
    assert round(least_seconds(RateLimit(75, 750), calls), 1) == seconds
