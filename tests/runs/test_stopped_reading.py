"""A signal while the API is waited for: the command ends at once, with the code and the message of the signal."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from klaviyo_sandbox import Fault, Sandbox
from support.loads import NOW
from support.processes import started

# An address, and what waits until a request has come to it.
Api = tuple[str, Callable[[], None]]


@contextmanager
def throttling() -> Iterator[Api]:
    """An API that answers every request with 429 and asks for a wait of half a minute."""
    with Sandbox(clock=NOW) as sandbox:
        sandbox.faults.append(Fault("429", "30"))

        def wait_for_request() -> None:
            until = time.monotonic() + 30
            while not sandbox.requests and time.monotonic() < until:
                time.sleep(0.02)

        yield sandbox.base_url, wait_for_request


@contextmanager
def silent() -> Iterator[Api]:
    """A host that takes a request and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        connections = []

        def wait_for_request() -> None:
            connection, _ = listener.accept()
            connections.append(connection)
            connection.settimeout(30)
            connection.recv(65536)

        yield f"http://127.0.0.1:{listener.getsockname()[1]}", wait_for_request
        for connection in connections:
            connection.close()


@pytest.mark.parametrize(
    ("api", "number", "arguments"),
    [
        (throttling, signal.SIGINT, ["run"]),
        (throttling, signal.SIGTERM, ["run", "--dry-run"]),
        (silent, signal.SIGTERM, ["run"]),
        (silent, signal.SIGINT, ["doctor"]),
    ],
    ids=["a wait of a run", "a wait of a dry run", "an answer to a run", "an answer to the doctor"],
)
def test_a_signal_ends_what_waits_for_the_api(
    api: Callable[[], AbstractContextManager[Api]], number: signal.Signals, arguments: list[str], tmp_path: Path
) -> None:
    """Neither a `Retry-After` nor an answer that does not come is waited for, nor is it told as a fault of the API."""
    with api() as (base_url, wait_for_request):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SOURCES__")},
            "SOURCES__KLAVIYO_JOBS__API_KEY": "pk_sandbox_default",
            "SOURCES__KLAVIYO_JOBS__BASE_URL": base_url,
            "SOURCES__KLAVIYO_JOBS__KINDS": '["item-create", "category-create", "variant-delete"]',
        }
        with started(tmp_path, *arguments, environment=environment) as process:
            wait_for_request()
            time.sleep(0.2)  # until what is to be waited for has begun
            process.send_signal(number)
            begun = time.monotonic()
            process.wait(20)
            seconds = time.monotonic() - begun
            stderr = process.stderr

    assert process.returncode == 128 + number
    assert f"StoppedError: stopped by {number.name}." in stderr
    assert "ClosedError" not in stderr
    assert "Traceback" not in stderr
    assert seconds < 2
