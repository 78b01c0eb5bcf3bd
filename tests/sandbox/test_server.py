"""The server: in a test's process and as a program, its records, its clock and its control over HTTP."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from klaviyo_sandbox import Clock, Fault, Sandbox
from support.jobs import job
from support.loads import NOW
from support.processes import sandbox_process
from support.sandbox_client import ITEMS, Client
from support.waiting import wait_until


def get_items(ready: dict[str, Any]) -> requests.Response:
    """The first page of a listing, from the program whose ready line is *ready*."""
    headers = {"Authorization": f"Klaviyo-API-Key {ready['accounts']['default']}", "revision": "2026-10-15"}
    return requests.get(ready["base_url"] + ITEMS, headers=headers, timeout=10)


def run_to_its_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the sandbox's program with arguments after which it does not stay."""
    return subprocess.run(
        [sys.executable, "-m", "klaviyo_sandbox", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )


def test_it_starts_and_stops_at_once() -> None:
    """Starting and stopping take well under 100 ms; the best of three, as the machine may be busy."""
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        with Sandbox(clock=NOW):
            pass
        seconds.append(time.monotonic() - started)

    assert min(seconds) < 0.1


def test_stopping_does_not_wait_for_slow_answers(sandbox: Sandbox, client: Client) -> None:
    """A request under way is cut when the sandbox stops; the record says so."""
    slow = Fault("slow", "30")
    sandbox.faults.append(slow)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(client.get, ITEMS)
        wait_until(lambda: slow.applied)
        sandbox.stop()

        assert isinstance(answer.exception(timeout=5), requests.ConnectionError)
    assert [record.status for record in sandbox.requests] == [0]


def test_a_client_that_leaves_is_on_record_at_once(sandbox: Sandbox, client: Client) -> None:
    """A request whose client gave up has status 0, without waiting for its answer."""
    sandbox.faults.append(Fault("slow", "30"))
    with pytest.raises(requests.Timeout):
        requests.get(sandbox.base_url + ITEMS, headers=sandbox.headers(), timeout=0.2)
    wait_until(lambda: sandbox.requests, seconds=5)

    assert [record.status for record in sandbox.requests] == [0]


def test_it_can_go_away_and_come_back(sandbox: Sandbox, client: Client) -> None:
    """After a stop nothing answers; after a start the same address does, with the same jobs."""
    sandbox.world.add(job("J1"))
    sandbox.stop()
    with pytest.raises(requests.ConnectionError):
        client.get(ITEMS)
    sandbox.start()

    assert client.ids(ITEMS) == ["J1"]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])  # noqa: S104
def test_it_listens_on_loopback_only(host: str) -> None:
    """Any other address is refused before anything is opened."""
    with pytest.raises(ValueError, match="loopback"):
        Sandbox(host=host)


def test_a_taken_port_is_an_error() -> None:
    """Two servers on one port: the second one says so."""
    with Sandbox() as first, pytest.raises(OSError, match="address"):
        Sandbox(port=urlsplit(first.base_url).port or 0).start()


def test_connections_are_kept_alive(sandbox: Sandbox) -> None:
    """Many requests go over one connection."""
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc)
    local_addresses = set()
    for _ in range(3):
        connection.request("GET", ITEMS, headers=sandbox.headers())
        connection.getresponse().read()
        local_addresses.add(connection.sock.getsockname())
    connection.close()

    assert len(local_addresses) == 1


def test_slow_requests_run_side_by_side(sandbox: Sandbox) -> None:
    """200 connections with 200 ms latency are answered in far less than 40 s."""
    sandbox.latency_seconds = 0.2
    request = f"GET {ITEMS} HTTP/1.1\r\nHost: x\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in sandbox.headers().items()
    )
    address = urlsplit(sandbox.base_url)
    started = time.monotonic()
    connections = [socket.create_connection((address.hostname, address.port)) for _ in range(200)]
    for connection in connections:
        connection.sendall(f"{request}\r\n".encode())
    answers = [connection.recv(15) for connection in connections]
    for connection in connections:
        connection.close()

    assert set(answers) == {b"HTTP/1.1 200 OK"}
    assert time.monotonic() - started < 4


def test_requests_are_recorded_without_the_key(sandbox: Sandbox, client: Client) -> None:
    """A record tells what was asked, by whom and what was answered; the key is nowhere in it."""
    sandbox.world.add(job("J1"))
    client.get(f"{ITEMS}/J1", params={"include": "items"}, revision="2026-07-15", headers={"X-Test": "1"})

    (record,) = sandbox.requests
    assert (record.method, record.path, record.raw_query) == ("GET", f"{ITEMS}/J1", "include=items")
    assert (record.kind, record.endpoint, record.job_id) == ("item-create", "detail", "J1")
    assert (record.query, record.revision, record.status) == ({"include": "items"}, "2026-07-15", 200)
    assert (record.account, record.authorization, record.headers["x-test"]) == ("default", "right", "1")
    assert sandbox.key not in repr(record)


def test_wrong_and_missing_keys_are_told_apart(sandbox: Sandbox, client: Client) -> None:
    """A record says whether a key was there, not which."""
    client.get(ITEMS, headers={"Authorization": "Klaviyo-API-Key secret"})
    requests.get(sandbox.base_url + ITEMS, timeout=10)

    assert [(record.authorization, record.account, record.status) for record in sandbox.requests] == [
        ("wrong", None, 401),
        ("missing", None, 401),
    ]
    assert "secret" not in repr(sandbox.requests)


def test_records_can_be_forgotten(sandbox: Sandbox, client: Client) -> None:
    """After `reset_requests` only later requests are known."""
    client.get(ITEMS)
    sandbox.reset_requests()

    assert sandbox.requests == []


def test_a_clock_stands_still_or_follows_real_time() -> None:
    """A fixed clock moves only when told; a following one goes on from where it was set."""
    fixed, following = Clock(NOW), Clock()
    for clock in (fixed, following):
        clock.set(NOW)
        clock.advance(timedelta(hours=1), seconds=30)
    time.sleep(0.01)

    expected = NOW + timedelta(hours=1, seconds=30)
    assert fixed.now() == expected
    assert timedelta() < following.now() - expected < timedelta(seconds=5)


def test_control_shows_and_moves_the_state(sandbox: Sandbox, client: Client) -> None:
    """State, requests and clock are within reach of other processes, without a key."""
    client.get(ITEMS)
    control = f"{sandbox.base_url}/_sandbox"
    requests.post(f"{control}/clock", json={"advance_seconds": 60}, timeout=10).raise_for_status()
    requests.post(f"{control}/clock", json={"set": "2026-12-01T00:00:00Z"}, timeout=10).raise_for_status()

    state = requests.get(f"{control}/state", timeout=10).json()
    assert (state["now"], state["request_count"]) == ("2026-12-01T00:00:00.000000+00:00", 1)
    assert [each["path"] for each in requests.get(f"{control}/requests", timeout=10).json()] == [ITEMS]
    assert len(sandbox.requests) == 1


def test_control_sets_faults(sandbox: Sandbox, client: Client) -> None:
    """Faults come and go over HTTP."""
    control = f"{sandbox.base_url}/_sandbox/faults"
    added = requests.post(control, json={"spec": "status:503@times=1"}, timeout=10).json()
    statuses = [client.get(ITEMS).status_code for _ in range(2)]
    listed = requests.get(control, timeout=10).json()
    requests.delete(control, timeout=10)

    assert (added[0]["name"], statuses, listed[0]["applied"], sandbox.faults) == ("status", [503, 200], 1, [])


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("clock", "{}", 400), ("clock", "no", 400), ("faults", '{"spec": "nope"}', 400), ("nothing", "{}", 404)],
)
def test_control_says_what_is_wrong(sandbox: Sandbox, path: str, body: str, status: int) -> None:
    """A mistake is a 400 or 404 with a sentence."""
    response = requests.post(f"{sandbox.base_url}/_sandbox/{path}", data=body, timeout=10)

    assert (response.status_code, bool(response.json()["error"])) == (status, True)


@pytest.mark.parametrize("option", ["--serve-retired", "--until-stdin-closes"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_says_when_it_is_ready_and_ends_on_a_signal(
    tmp_path: Path, number: signal.Signals, option: str
) -> None:
    """One JSON line on stdout, then nothing; SIGTERM and SIGINT end it with 0 and silence."""
    world = ("--world", "demo", "--seed", "5", "--clock", "2026-11-22T12:00:00Z", "--account", "second=empty")
    with sandbox_process(*world, "--port-file", str(tmp_path / "port"), option) as (process, ready):
        answer = get_items(ready)
        process.send_signal(number)
        process.wait(timeout=5)
        out, err = process.communicate()

    assert len(answer.json()["data"]) == 100
    assert (ready["world"], ready["seed"]) == ("demo", 5)
    assert ready["accounts"] == {"default": "pk_sandbox_default", "second": "pk_sandbox_second"}
    assert (tmp_path / "port").read_text().strip() == ready["base_url"].rpartition(":")[2]
    assert (process.returncode, out, err) == (0, b"", b"")


def test_the_program_ends_with_its_parent() -> None:
    """With `--until-stdin-closes` the end of stdin ends it, also in the middle of a slow answer."""
    with sandbox_process("--until-stdin-closes", "--latency-ms", "30000") as (process, ready):
        address = urlsplit(ready["base_url"])
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(f"GET {ITEMS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert process.stdin is not None
            process.stdin.close()

            assert process.wait(timeout=5) == 0


def test_the_program_takes_faults_and_limits() -> None:
    """`--fault` and `--limits` shape what it answers."""
    with sandbox_process("--fault", "status:503@times=1", "--limits", "2/100") as (_, ready):
        statuses = [get_items(ready).status_code for _ in range(3)]

    assert statuses == [503, 200, 429]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--world", "nowhere"),
        ("--fault", "nope"),
        ("--clock", "noon"),
        ("--limits", "many"),
        ("--account", "x"),
        ("--host", "192.0.2.1"),
        ("--port", "70000"),
    ],
)
def test_the_program_refuses_mistakes(arguments: tuple[str, ...]) -> None:
    """A wrong argument exits with 2 and a sentence on stderr."""
    done = run_to_its_end(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert "error:" in done.stderr


def test_the_help_names_worlds_and_faults() -> None:
    """`--help` is the reference for both."""
    done = run_to_its_end("--help")

    assert done.returncode == 0
    assert all(name in done.stdout for name in ("bulk:JOBSxLINKAGES", "endless-cursor", "one_in=N", "/_sandbox/clock"))
