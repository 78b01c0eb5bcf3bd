"""The time of a whole answer, and what becomes of its socket."""

from __future__ import annotations

import gc
import socket
import threading
import time
import warnings
from contextlib import suppress

import pytest

from klaviyo_jobs.api.deadline import Deadline
from klaviyo_jobs.errors import UnavailableError
from support.clients import client_at, fetch
from support.raw_server import raw_server, says
from support.waiting import ends_within, wait_until


@pytest.mark.parametrize("head", [b"Connection: close\r\n", b"Content-Length: 99\r\n"], ids=["no length", "length"])
def test_a_body_that_drips_is_left_though_each_byte_is_in_time(head: bytes) -> None:
    """Also where the connection is not kept, and has handed its socket over to the answer."""

    # Once a bug: a connection that is not kept forgets its socket, and the time of its answer has no end.
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        for _ in range(60):
            connection.sendall(b" ")
            time.sleep(0.05)

    with raw_server(drip) as base_url:
        client = client_at(base_url, max_attempts=1, body_timeout_seconds=0.3)
        with ends_within(1), pytest.raises(UnavailableError, match="did not end its answer in"):
            fetch(client)


def test_a_good_answer_of_no_length_that_is_cut_by_its_deadline_is_not_used() -> None:
    """What has come is JSON, but nobody knows what was still to come."""

    def stall(connection: socket.socket) -> None:
        connection.sendall(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"data": []}')
        connection.recv(1)

    with (
        raw_server(stall) as base_url,
        pytest.raises(UnavailableError, match="did not end its answer in"),
    ):
        fetch(client_at(base_url, max_attempts=1, body_timeout_seconds=0.2))


def test_a_deadline_is_on_time_behind_a_longer_one() -> None:
    """The thread that ends them sleeps until the first, and is woken for one that comes before."""
    long, short = Deadline(), Deadline()
    with long.running(60), short.running(0.1):
        with ends_within(1):
            wait_until(lambda: short.is_over)

        assert not long.is_over


def test_deadlines_share_one_thread() -> None:
    """Which ends when there has been none for a while, and begins again with the next."""

    def watchers() -> int:
        return sum(thread.name == "deadlines" for thread in threading.enumerate())

    with Deadline().running(60), Deadline().running(60):
        assert watchers() == 1
    wait_until(lambda: watchers() == 0)
    with Deadline().running(60):
        assert watchers() == 1


def test_a_deadline_that_was_over_before_there_was_a_socket_shuts_it() -> None:
    """A connection that took all the time to come about is not read from."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    with ours, theirs:
        limit = Deadline()
        limit.end()
        limit.watch(ours)

        assert theirs.recv(1) == b""


@pytest.mark.parametrize(
    "head",
    [
        # Once a bug: urllib3 refuses two lengths when the answer has taken over the socket, and drops both.
        pytest.param(b"Connection: close\r\nContent-Length: 0, 5\r\n", id="two lengths"),
        pytest.param(b"Content-Length: 0, 5\r\n", id="two lengths of a connection that is kept"),
        pytest.param(b"Connection: close\r\nContent-Length: 50\r\n", id="a body that is cut"),
        pytest.param(b"Connection: close\r\nTransfer-Encoding: chunked\r\n", id="chunks that are none"),
        pytest.param(b"Connection: close\r\n" + b"a: b\r\n" * 300, id="too many headers"),
    ],
)
def test_no_socket_is_left_open_by_a_bad_answer(head: bytes) -> None:
    """Given up is closed, and not left to the collector."""
    with (
        raw_server(says(b"HTTP/1.1 200 OK\r\n" + head + b"\r\nzz")) as base_url,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        # The error would keep what it came from, and with it the socket.
        with client_at(base_url, max_attempts=1) as client, suppress(UnavailableError):
            fetch(client)
        gc.collect()

    assert [str(each.message) for each in caught if issubclass(each.category, ResourceWarning)] == []
