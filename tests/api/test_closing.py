"""Closing a client ends what waits in it, and nothing else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from klaviyo_jobs.api.client import Client, Meter
from klaviyo_jobs.api.ending import Ending
from klaviyo_jobs.api.pacing import Budget
from klaviyo_jobs.errors import ClosedError, KeyRefusedError, UnavailableError
from klaviyo_jobs.model.kinds import RateLimit
from klaviyo_sandbox import Fault, Sandbox
from support.clients import client_at, client_of, fetch
from support.raw_server import raw_server
from support.waiting import ends_within, wait_until


def close_while_fetching(client: Client, is_under_way: Callable[[], object]) -> None:
    """Close *client* in the middle of a request and expect its end within half a second."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(fetch, client)
        wait_until(is_under_way)
        with ends_within(0.5):
            client.close()
            with pytest.raises(ClosedError, match="the client is closed"):
                answer.result()


def test_a_wait_for_the_next_attempt_is_ended(sandbox: Sandbox) -> None:
    """Half a minute of `Retry-After` is not waited for, and no further attempt is made."""
    sandbox.faults.append(Fault("429", "30"))
    client, meter = client_of(sandbox), Meter()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(fetch, client, meter=meter)
        wait_until(lambda: meter.throttled_seconds)
        with ends_within(0.5):
            client.close()
            with pytest.raises(ClosedError):
                answer.result()

    assert len(sandbox.requests) == 1


def test_a_wait_for_a_place_in_the_budget_is_ended(sandbox: Sandbox) -> None:
    """A request that another one's `Retry-After` holds back ends too, unsent and not counted."""
    sandbox.faults.append(Fault("429", "30"))
    client, first, second = client_of(sandbox), Meter(), Meter()
    with ThreadPoolExecutor(2) as pool:
        throttled = pool.submit(fetch, client, meter=first)
        wait_until(lambda: first.throttled_seconds)
        held_back = pool.submit(fetch, client, meter=second)
        wait_until(held_back.running)
        time.sleep(0.1)  # it waits
        with ends_within(0.4):
            client.close()
            for answer in (throttled, held_back):
                with pytest.raises(ClosedError):
                    answer.result()

    assert (len(sandbox.requests), second.request_count) == (1, 0)


def test_whoever_waits_for_a_place_is_woken_at_once() -> None:
    """What is asked before each part of a wait is asked again as soon as the budget is woken."""
    budget = Budget(RateLimit(1000, 1000))
    budget.pause(30)
    asked: list[float] = []

    def check() -> None:
        asked.append(time.monotonic())
        if len(asked) > 1:
            raise ClosedError("woken")

    def wait() -> None:
        with pytest.raises(ClosedError), budget.permit(check):
            pass

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: asked)
    budget.wake()
    thread.join()

    assert asked[1] - asked[0] < 0.3


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"", id="silence"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Slow: ", id="a head that does not end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", id="a body that does not end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", id="a body of no length"),
    ],
)
def test_an_answer_under_way_is_ended(head: bytes) -> None:
    """Wherever it stands; what came of it is not used."""
    is_begun = threading.Event()

    def deed(connection: socket.socket) -> None:
        connection.sendall(head)
        time.sleep(0.05)
        is_begun.set()
        connection.recv(1)

    with raw_server(deed) as base_url:
        close_while_fetching(client_at(base_url, max_attempts=1), is_begun.is_set)


def test_a_closed_client_sends_nothing(sandbox: Sandbox) -> None:
    """A request that comes too late says so, whether the client was closed once or twice."""
    client, meter = client_of(sandbox), Meter()
    client.close()
    client.close()

    with pytest.raises(ClosedError) as caught:
        fetch(client, meter=meter)

    assert caught.value.exit_code == 1
    assert caught.value.data == "nothing of this answer was used."
    assert (meter.request_count, list(sandbox.requests)) == (0, [])


def test_what_begins_behind_the_end_is_not_begun() -> None:
    """A request that was waiting for its turn when the end came is not sent: nobody would end it any more."""
    ending = Ending()
    ending.end()

    with pytest.raises(ClosedError), ending.calls(lambda: None):
        raise AssertionError("begun")


def test_a_closed_branch_closes_no_connection_of_the_others() -> None:
    """What is kept for a next request is kept for the whole account."""
    begun: list[socket.socket] = []

    def deed(connection: socket.socket) -> None:
        begun.append(connection)
        for _ in range(2):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            connection.recv(65536)

    with raw_server(deed) as base_url, client_at(base_url) as client, ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            branch = client.branch()
            pool.submit(fetch, branch).result()
            branch.close()

    assert len(begun) == 1


def test_leaving_the_block_closes_the_client(sandbox: Sandbox) -> None:
    """A client is a context manager."""
    with client_of(sandbox) as client:
        fetch(client)

    with pytest.raises(ClosedError):
        fetch(client)


def test_a_closed_client_keeps_no_connection() -> None:
    """What was kept for a next request is closed, and the server is told."""
    ended = threading.Event()

    def deed(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        if connection.recv(1) == b"":
            ended.set()

    with raw_server(deed) as base_url:
        client = client_at(base_url)
        fetch(client)
        assert not ended.is_set()
        client.close()

        assert ended.wait(5)


def test_a_closed_branch_leaves_the_others_alone() -> None:
    """One reader of an account stops: what others of the same account wait for still comes."""
    begun: list[socket.socket] = []

    def deed(connection: socket.socket) -> None:
        begun.append(connection)
        time.sleep(0.3)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")

    with raw_server(deed) as base_url, ThreadPoolExecutor(2) as pool:
        client = client_at(base_url)
        leaving, staying = client.branch(), client.branch()
        left, stayed = pool.submit(fetch, leaving), pool.submit(fetch, staying)
        wait_until(lambda: len(begun) == 2)
        leaving.close()
        with pytest.raises(ClosedError):
            left.result()

        assert stayed.result().body == {}
        assert fetch(client).body == {}


def test_closing_a_client_closes_its_branches(sandbox: Sandbox) -> None:
    """Those that there are, those that come, and theirs."""
    client = client_of(sandbox)
    branch = client.branch()
    twig = branch.branch()
    client.close()

    for closed in (branch, twig, client.branch()):
        with pytest.raises(ClosedError):
            fetch(closed)
    assert list(sandbox.requests) == []


def test_branches_share_what_the_account_has_found_out(sandbox: Sandbox) -> None:
    """A key refused to one is not tried by another, and a rate class closed to one is closed to all."""
    refused = client_of(sandbox, key="pk_wrong")
    with pytest.raises(KeyRefusedError):
        fetch(refused.branch())
    with pytest.raises(KeyRefusedError):
        fetch(refused.branch())
    sandbox.faults.append(Fault("429", "huge"))
    closed = client_of(sandbox)
    with pytest.raises(UnavailableError):
        fetch(closed.branch())
    with pytest.raises(UnavailableError):
        fetch(closed)

    assert [request.status for request in sandbox.requests] == [401, 429]
