"""How long is waited before a request is sent again, and when it is not."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from klaviyo_jobs.api.answers import FailedAttemptError
from klaviyo_jobs.api.client import Meter
from klaviyo_jobs.api.retries import GivenUpError, Retries
from klaviyo_jobs.errors import UnavailableError
from klaviyo_jobs.settings import NetworkSettings
from klaviyo_sandbox import Fault, Sandbox
from support.clients import client_of, fetch
from support.waiting import ends_within, wait_until


@pytest.mark.parametrize(("retry_after", "seconds"), [("0.3", 0.3), ("0.6", 0.6)])
def test_no_attempt_is_made_before_retry_after_has_passed(sandbox: Sandbox, retry_after: str, seconds: float) -> None:
    """`Retry-After` in seconds is a lower bound of the wait, and the wait counts as throttled."""
    sandbox.faults.append(Fault("429", retry_after, times=1))
    meter = Meter()

    fetch(client_of(sandbox), meter=meter)

    first, second = sandbox.requests
    assert second.started_at - first.started_at >= seconds
    assert seconds <= meter.throttled_seconds < seconds + 0.1


def test_retry_after_may_be_a_date(sandbox: Sandbox) -> None:
    """A date is waited for, to its whole second."""
    sandbox.faults.append(Fault("429", "date", times=1))
    meter = Meter()
    started_at = time.time()

    fetch(client_of(sandbox), meter=meter)

    # The date is a second from now, cut to whole seconds.
    assert time.time() >= int(started_at + 1)
    assert len(sandbox.requests) == 2
    assert meter.throttled_seconds <= 1.1


def test_a_wait_longer_than_allowed_is_not_begun(sandbox: Sandbox) -> None:
    """A `Retry-After` of a day ends the reading at once, and the message says why."""
    sandbox.faults.append(Fault("429", "huge"))

    with pytest.raises(UnavailableError) as caught:
        fetch(client_of(sandbox))

    assert len(sandbox.requests) == 1
    assert caught.value.message == (
        f"item-create, page 1: {sandbox.base_url} answered 429: Request was throttled. Expected available in 1 "
        "second.; it asks to wait 86400 s, longer than max_wait_seconds (60)."
    )


def test_the_bound_of_each_wait_is_twice_the_one_before() -> None:
    """Without `Retry-After` a wait is anything up to its bound, and the bounds double up to the longest wait."""
    network = NetworkSettings(backoff_seconds=0.5, max_wait_seconds=3, max_total_wait_seconds=1e9)
    retries = Retries(network)
    failure = FailedAttemptError("answered 503")

    drawn = {attempt: [retries.next_wait(attempt, failure) for _ in range(2000)] for attempt in (1, 2, 3, 4)}

    for attempt, bound in {1: 0.5, 2: 1.0, 3: 2.0, 4: 3.0}.items():
        assert 0.95 * bound < max(drawn[attempt]) <= bound
        assert min(drawn[attempt]) < 0.05 * bound


def test_the_wait_that_is_told_is_waited(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """No attempt is made before the wait that the log names has passed."""
    sandbox.faults.append(Fault("status", "503", times=3))
    with caplog.at_level(logging.INFO, "klaviyo_jobs"):
        fetch(client_of(sandbox, backoff_seconds=0.05))

    told = [record.args[-1] for record in caplog.records if isinstance(record.args, tuple)]
    starts = [request.started_at for request in sandbox.requests]
    assert len(told) == 3
    for wait, (earlier, later) in zip(told, pairwise(starts), strict=True):
        assert isinstance(wait, float)
        assert wait <= later - earlier < wait + 1


def test_an_attempt_beyond_counting_still_has_a_wait() -> None:
    """A bound that doubles for ever ends at the longest wait, not in an overflow."""
    retries = Retries(NetworkSettings(max_attempts=10_000, max_wait_seconds=7))

    assert 0 <= retries.next_wait(5000, FailedAttemptError("answered 503")) <= 7


def test_waiting_for_a_server_error_does_not_count_as_throttled(sandbox: Sandbox) -> None:
    """Only a 429 throttles."""
    sandbox.faults.append(Fault("status", "503", times=1))
    meter = Meter()

    fetch(client_of(sandbox), meter=meter)

    assert meter.throttled_seconds == 0


def test_waiting_in_all_is_bounded(sandbox: Sandbox) -> None:
    """However many attempts are allowed, the waits of an account add up to no more than is set."""
    sandbox.faults.append(Fault("status", "503"))
    client = client_of(sandbox, max_attempts=1000, max_total_wait_seconds=0.4, backoff_seconds=0.05)

    with (
        ends_within(3),
        pytest.raises(UnavailableError, match=r"gave up after waiting 0\.4 s in all \(max_total_wait_seconds\)"),
    ):
        fetch(client)


def test_a_throttled_request_stops_all_of_its_account(sandbox: Sandbox) -> None:
    """`Retry-After` is meant for the account: another thread's request waits as well."""
    sandbox.faults.append(Fault("429", "0.5", times=1))
    client, meter = client_of(sandbox), Meter()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, client, meter=meter)
        # Not when the server has answered, but when the client has heard it.
        wait_until(lambda: meter.throttled_seconds)
        second = pool.submit(fetch, client)
        first.result()
        second.result()

    starts = [request.started_at for request in sandbox.requests]
    assert [request.status for request in sandbox.requests] == [429, 200, 200]
    assert min(starts[1:]) - starts[0] >= 0.5


def test_a_wait_as_long_as_allowed_is_begun() -> None:
    """The bound itself is within bounds."""
    retries = Retries(NetworkSettings(max_wait_seconds=3))

    assert retries.next_wait(1, FailedAttemptError("answered 429", retry_after=3.0)) == 3


def test_short_waits_add_up() -> None:
    """Each is within the bound, and the third brings the account over its own."""
    retries = Retries(NetworkSettings(backoff_seconds=0, max_total_wait_seconds=1))
    failure = FailedAttemptError("answered 429", retry_after=0.4)
    waits = [retries.next_wait(1, failure) for _ in range(2)]

    assert waits == [0.4, 0.4]
    with pytest.raises(GivenUpError, match="waiting 1 s in all"):
        retries.next_wait(1, failure)


def test_only_silence_at_first_contact_is_given_up_early() -> None:
    """A host that never answered is left after five attempts; one that answers badly, or has answered, after eight."""
    retries = Retries(NetworkSettings())
    silence = FailedAttemptError("gave no answer", is_silence=True)

    assert retries.next_wait(5, FailedAttemptError("answered 503"), is_first_contact=True) >= 0
    assert retries.next_wait(5, silence) >= 0
    with pytest.raises(GivenUpError, match="gave up after 5 attempts"):
        retries.next_wait(5, silence, is_first_contact=True)
