"""Rate limits: what is announced, what is refused, and for whom."""

from __future__ import annotations

import time

from klaviyo_sandbox import RateLimits, Sandbox
from support.loads import NOW
from support.sandbox_client import CATEGORIES, ITEMS, Client, error_of


def test_limits_are_announced_per_rate_class(client: Client) -> None:
    """Items and variants to create or update have the narrow limits, everything else the wide ones."""
    announced = [client.get(path).headers["RateLimit-Limit"] for path in (ITEMS, CATEGORIES)]

    assert announced == ["75, 75;w=1, 750;w=60", "350, 350;w=1, 3500;w=60"]


def test_errors_announce_limits_too(client: Client) -> None:
    """A 404 carries the three headers and a date."""
    headers = client.get(f"{ITEMS}/nope").headers

    assert (headers["RateLimit-Remaining"], headers["RateLimit-Reset"]) == ("74", "0")
    assert headers["Date"]


def test_nothing_is_refused_while_limits_are_off(sandbox: Sandbox, client: Client) -> None:
    """By default more requests than the limit are answered."""
    assert {client.get(ITEMS).status_code for _ in range(90)} == {200}
    assert sandbox.throttled_count == 0


def test_a_request_over_the_limit_is_a_429_as_recorded() -> None:
    """429 has Retry-After in whole seconds and the recorded body, and no rate-limit headers."""
    with Sandbox(clock=NOW, limits=RateLimits(narrow=(2, 100))) as sandbox:
        client = Client(sandbox)
        remaining = [client.get(ITEMS).headers["RateLimit-Remaining"] for _ in range(2)]
        refused = client.get(ITEMS)

        assert remaining == ["1", "0"]
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert "RateLimit-Limit" not in refused.headers
        error = error_of(refused)
        assert (error["code"], error["title"]) == ("throttled", "Request was throttled.")
        assert error["detail"] == "Request was throttled. Expected available in 1 second."
        assert error["source"] == {"pointer": "/data"}
        assert sandbox.throttled_count == 1


def test_after_the_wait_requests_are_answered_again() -> None:
    """The one-second window starts anew when Retry-After has passed."""
    with Sandbox(clock=NOW, limits=RateLimits(narrow=(1, 100))) as sandbox:
        client = Client(sandbox)
        statuses = [client.get(ITEMS).status_code for _ in range(2)]
        time.sleep(1.01)

        assert [*statuses, client.get(ITEMS).status_code] == [200, 429, 200]


def test_the_minute_window_names_a_long_wait() -> None:
    """When the minute is used up, Retry-After reaches to its end."""
    with Sandbox(clock=NOW, limits=RateLimits(narrow=(10, 2))) as sandbox:
        client = Client(sandbox)
        waits = [client.get(ITEMS).headers.get("Retry-After") for _ in range(3)]

        assert waits[:2] == [None, None]
        assert 58 <= int(waits[2] or 0) <= 60


def test_lists_and_details_share_a_quota_but_classes_and_accounts_do_not() -> None:
    """One bucket per account and rate class."""
    with Sandbox(clock=NOW, limits=RateLimits(narrow=(1, 100), wide=(1, 100))) as sandbox:
        sandbox.add_account("second")
        client = Client(sandbox)
        statuses = [
            client.get(ITEMS).status_code,
            client.get(f"{ITEMS}/J1").status_code,
            client.get(CATEGORIES).status_code,
            client.get(ITEMS, account="second").status_code,
        ]

        assert statuses == [200, 429, 200, 200]


def test_the_real_limits_are_enforced_on_demand() -> None:
    """`limits=True` refuses the 76th request of a second."""
    with Sandbox(clock=NOW, limits=True) as sandbox:
        client = Client(sandbox)
        started = time.monotonic()
        statuses = [client.get(ITEMS).status_code for _ in range(76)]

        if time.monotonic() - started < 1:
            assert statuses == [200] * 75 + [429]
