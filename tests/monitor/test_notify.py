"""Pings and webhooks: real HTTP to a monitor on loopback, and a monitor that is not there."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from klaviyo_jobs.errors import LockedError, StoppedError
from klaviyo_jobs.monitor.notify import announced
from klaviyo_sandbox import Fault, Sandbox
from support import processes
from support.loads import Warehouse

SECRET = "d3f1c0de-0000-4000-8000-123456789abc"


class Monitor(ThreadingHTTPServer):
    """Takes what it is sent; answers with `status`, after `delay` seconds."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[tuple[str, str]] = []
        self.queries: list[dict[str, list[str]]] = []
        self.status = 200
        self.delay = 0.0
        self.url = f"http://127.0.0.1:{self.server_port}/{SECRET}"


class _Handler(BaseHTTPRequestHandler):
    server: Monitor

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        self.server.calls.append((parts.path.removeprefix(f"/{SECRET}"), body))
        self.server.queries.append(parse_qs(parts.query))
        time.sleep(self.server.delay)
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    """A monitor on loopback."""
    with Monitor() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def command(sandbox: Sandbox, warehouse: Warehouse, *arguments: str, **others: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own."""
    given = {"kinds": '["item-create"]', "warehouse": str(warehouse.path), **others}
    return processes.command(warehouse.path.parent, *arguments, **processes.settings(sandbox, **given))


def test_a_good_run_pings_start_and_zero(sandbox: Sandbox, warehouse: Warehouse, monitor: Monitor) -> None:
    """Both pings carry the same run id, and the last one the summary line; the webhook is left in peace."""
    ended = command(sandbox, warehouse, "run", PING_URL=monitor.url, WEBHOOK_URL=f"{monitor.url}/hook")

    assert ended.returncode == 0
    assert [path for path, _ in monitor.calls] == ["/start", "/0"]
    assert "0 of 1 listings failed" in monitor.calls[1][1]
    assert monitor.queries[0] == monitor.queries[1]
    assert list(monitor.queries[0]) == ["rid"]


def test_a_failed_run_pings_its_exit_code_and_calls_the_webhook(
    sandbox: Sandbox, warehouse: Warehouse, monitor: Monitor
) -> None:
    """The ping says what happened and what to do; the webhook says it in JSON."""
    sandbox.faults.append(Fault("status", "401"))

    ended = command(sandbox, warehouse, "run", PING_URL=monitor.url, WEBHOOK_URL=f"{monitor.url}/hook")

    assert ended.returncode == 3
    assert [path for path, _ in monitor.calls] == ["/start", "/3", "/hook"]
    body = json.loads(monitor.calls[2][1])
    assert (body["command"], body["exit_code"], body["listing_count"]) == ("run", 3, 1)
    assert body["text"].startswith("klaviyo-jobs run ended with 3. KeyRefusedError:")


def test_a_breach_pings_eight(sandbox: Sandbox, warehouse: Warehouse, monitor: Monitor) -> None:
    """`check` has a ping address of its own, so that a good check does not cover up a failed run."""
    command(sandbox, warehouse, "run")

    ended = command(
        *(sandbox, warehouse, "check", "--max-listing-age", "0", "--json"),
        PING_URL=f"{monitor.url}/run",
        CHECK_PING_URL=monitor.url,
        WEBHOOK_URL=f"{monitor.url}/hook",
    )

    assert ended.returncode == 8
    assert [path for path, _ in monitor.calls] == ["/start", "/8", "/hook"]
    breaches = json.loads(monitor.calls[2][1])["breaches"]
    assert [(each["check"], each["job_kind"]) for each in breaches] == [("listing_age_seconds", "item-create")]
    assert json.loads(ended.stdout)["exit_code"] == 8


def test_a_check_without_breach_ends_with_zero(sandbox: Sandbox, warehouse: Warehouse, monitor: Monitor) -> None:
    """And says so to the monitor."""
    command(sandbox, warehouse, "run")

    ended = command(sandbox, warehouse, "check", CHECK_PING_URL=monitor.url)

    assert ended.returncode == 0
    assert monitor.calls == [("/start", ""), ("/0", "all 15 checks are within their thresholds")]
    assert f"\n{ended.stdout}".count("\nok ") == 14


OLD = ("check", "--max-listing-age", "0")


def test_a_breach_that_lasts_is_told_once_and_its_end_too(
    sandbox: Sandbox, warehouse: Warehouse, monitor: Monitor
) -> None:
    """Not every fifteen minutes; the exit code is what it is, and the warehouse remembers what was told."""
    told = {"CHECK_PING_URL": monitor.url, "WEBHOOK_URL": f"{monitor.url}/hook"}
    command(sandbox, warehouse, "run")
    codes = [command(sandbox, warehouse, *OLD, **told).returncode for _ in range(3)]
    paths = [path for path, _ in monitor.calls]
    monitor.calls.clear()
    again = command(sandbox, warehouse, *OLD, **told, REPEAT_AFTER="0").returncode
    repeated = [path for path, _ in monitor.calls]
    monitor.calls.clear()
    codes += [command(sandbox, warehouse, "check", **told).returncode for _ in range(2)]

    assert (codes, again) == ([8, 8, 8, 0, 0], 8)
    assert paths == ["/start", "/8", "/hook", "/start", "/start"]
    assert repeated == ["/start", "/8", "/hook"]
    assert [path for path, _ in monitor.calls] == ["/start", "/0", "/hook", "/start", "/0"]
    body = json.loads(monitor.calls[2][1])
    assert (body["exit_code"], body["error"], body["breaches"]) == (0, None, [])
    assert body["text"] == "klaviyo-jobs check ended with 0. all 15 checks are within their thresholds"
    assert warehouse.count("alarms") == 0


def test_what_is_acknowledged_is_no_alarm_until_it_changes(
    sandbox: Sandbox, warehouse: Warehouse, monitor: Monitor
) -> None:
    """A run that reads a newer listing changes what an old one stood on."""
    command(sandbox, warehouse, "run")
    acknowledged = command(sandbox, warehouse, *OLD, "--acknowledge")
    known = command(sandbox, warehouse, *OLD, CHECK_PING_URL=monitor.url)
    command(sandbox, warehouse, "run")
    changed = command(sandbox, warehouse, *OLD, CHECK_PING_URL=monitor.url)

    assert [each.returncode for each in (acknowledged, known, changed)] == [0, 0, 8]
    assert "known listing_age_seconds   default/item-create: " in known.stdout
    assert [path for path, _ in monitor.calls] == ["/start", "/0", "/start", "/8"]


def test_nothing_is_noted_where_nobody_is_told(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """A check reads; only what is to be remembered is written."""
    command(sandbox, warehouse, "run")
    before = warehouse.path.read_bytes()

    assert command(sandbox, warehouse, *OLD).returncode == 8
    assert warehouse.path.read_bytes() == before


def test_a_copy_can_be_checked_but_nothing_noted_in_it(
    sandbox: Sandbox, warehouse: Warehouse, monitor: Monitor
) -> None:
    """It is told each time, and the log says why; to acknowledge is refused."""
    copy = warehouse.path.parent / "bi.duckdb"
    command(sandbox, warehouse, "run", BI_COPY=str(copy))
    for _ in range(2):
        ended = command(sandbox, Warehouse(copy), *OLD, CHECK_PING_URL=monitor.url)
    refused = command(sandbox, Warehouse(copy), *OLD, "--acknowledge")

    assert [path for path, _ in monitor.calls] == ["/start", "/8", "/start", "/8"]
    assert "what was told is not remembered, and will be told again" in ended.stderr
    assert refused.returncode == 7
    assert "is a published copy, in which nothing can be noted" in refused.stderr


def test_a_monitor_that_is_not_there_fails_nothing(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """The run goes through; the log says which setting leads nowhere, and not the address, which is a secret."""
    ended = command(sandbox, warehouse, "run", PING_URL=f"http://127.0.0.1:9/{SECRET}")

    assert ended.returncode == 0
    assert "ping_url could not be reached: ConnectionError" in ended.stderr
    assert SECRET not in ended.stderr


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_monitor_that_refuses_fails_nothing(monitor: Monitor, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """A redirect is not followed: it would carry the message elsewhere."""
    monitor.status = status
    with announced("run", ping_url=monitor.url):
        pass

    assert [message for message in caplog.messages if "ping_url answered" in message] == [
        f"ping_url answered {status}"
    ] * 2
    assert [path for path, _ in monitor.calls if not path] == []


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (500, 2)])
def test_what_the_monitor_refuses_is_not_sent_again(monitor: Monitor, status: int, attempts: int) -> None:
    """Only what may pass is tried a second time."""
    monitor.status = status
    with announced("run", ping_url=monitor.url):
        pass

    assert [path for path, _ in monitor.calls] == ["/start"] * attempts + ["/0"] * attempts


def test_a_monitor_that_is_silent_delays_for_seconds_only(monitor: Monitor) -> None:
    """Each ping is tried twice, for 2.5 seconds."""
    monitor.delay = 30
    started = time.monotonic()
    with announced("run", ping_url=monitor.url):
        pass

    assert 9 < time.monotonic() - started < 15


def test_a_command_told_to_stop_does_not_wait_for_a_silent_monitor(monitor: Monitor) -> None:
    """It has five seconds for all that it does."""

    def be_stopped() -> None:
        monitor.delay = 30
        raise StoppedError(15)

    started = time.monotonic()
    with pytest.raises(StoppedError), announced("run", ping_url=monitor.url, webhook_url=monitor.url):
        be_stopped()

    assert time.monotonic() - started < 2


def test_an_unexpected_error_is_a_fail_without_its_text(monitor: Monitor) -> None:
    """Nobody knows what such an error quotes, so only its class is told."""
    with pytest.raises(RuntimeError), announced("run", ping_url=monitor.url, webhook_url=monitor.url):
        raise RuntimeError("pk_secret")

    assert [path for path, _ in monitor.calls] == ["/start", "/fail", ""]
    assert "pk_secret" not in str(monitor.calls)
    assert json.loads(monitor.calls[2][1])["error"] == "RuntimeError"


def test_a_query_of_the_address_is_kept(monitor: Monitor) -> None:
    """Such as `create=1`, which makes a check at the first ping."""
    with pytest.raises(LockedError), announced("run", ping_url=f"{monitor.url}?create=1"):
        raise LockedError("another run holds the lock of this warehouse.")

    assert [path for path, _ in monitor.calls] == ["/start", "/6"]
    assert [query["create"] for query in monitor.queries] == [["1"], ["1"]]


@pytest.mark.usefixtures("no_file")
def test_a_plain_http_address_elsewhere_is_refused(sandbox: Sandbox, warehouse: Warehouse, tmp_path: Path) -> None:
    """The address is a secret, and so are errors; neither crosses the network in the open."""
    ended = command(sandbox, warehouse, "run", PING_URL=f"http://monitor.invalid/{SECRET}")

    assert ended.returncode == 2
    assert "ping_url is no https address." in ended.stderr
    assert SECRET not in ended.stderr
    assert not warehouse.path.exists()
