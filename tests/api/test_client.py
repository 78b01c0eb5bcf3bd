"""One request: what is tried again, what is sent, and what is handed back."""

from __future__ import annotations

import logging
import socket
import threading
import time

import pytest

from klaviyo_jobs.api.client import Meter
from klaviyo_jobs.errors import StatusError, UnavailableError
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_sandbox import Fault, Sandbox
from support.clients import client_at, client_of, fetch


@pytest.mark.parametrize(
    ("fault", "argument"),
    [
        *(("status", str(status)) for status in (500, 502, 503, 504, 524)),
        ("html", "502"),
        ("html", "503"),
        ("429", "0"),
        ("429", "none"),
        ("429", "0.05"),
        ("reset", ""),
        ("cut", ""),
        ("empty-body", ""),
        ("invalid-json", ""),
    ],
)
def test_what_may_pass_is_tried_again(sandbox: Sandbox, fault: str, argument: str) -> None:
    """Two failures are followed by a third attempt, whose answer counts."""
    sandbox.faults.append(Fault(fault, argument, times=2))
    meter = Meter()

    answer = fetch(client_of(sandbox), meter=meter)

    assert answer.body["data"] == []
    assert len(sandbox.requests) == 3
    assert (meter.request_count, meter.retry_count) == (3, 2)


@pytest.mark.parametrize("status", ["501", "505"])
def test_what_the_server_cannot_do_is_asked_for_once_more(sandbox: Sandbox, status: str) -> None:
    """It says so of itself, and not of how it fares."""
    sandbox.faults.append(Fault("status", status))

    with pytest.raises(UnavailableError, match=r"; gave up after 2 attempts\."):
        fetch(client_of(sandbox))

    assert len(sandbox.requests) == 2


@pytest.mark.parametrize(
    ("fault", "argument", "said"),
    [
        ("status", "500", "answered 500: "),
        ("status", "503", "answered 503: "),
        ("html", "502", "answered 502; gave up"),
        ("429", "0", "answered 429: Request was throttled."),
        ("reset", "", "gave no answer (ConnectionError: [Errno 104] Connection reset by peer)"),
        ("cut", "", "gave no answer ("),
        ("empty-body", "", "answered 200 with a body that is not the API's JSON ("),
        ("invalid-json", "", "answered 200 with a body that is not the API's JSON ("),
    ],
)
def test_five_attempts_are_made_and_no_more(sandbox: Sandbox, fault: str, argument: str, said: str) -> None:
    """What lasts ends with the place, the reason, and what to do, after as many attempts as are set."""
    sandbox.faults.append(Fault(fault, argument))

    with pytest.raises(UnavailableError) as caught:
        fetch(client_of(sandbox, max_attempts=5))

    assert len(sandbox.requests) == 5
    error = caught.value
    assert error.message.startswith(f"item-create, page 1: {sandbox.base_url} {said}")
    assert error.message.endswith("; gave up after 5 attempts.")
    assert error.data == "nothing of this answer was used."
    assert error.next_step == (
        "run again later; if it lasts, check `base_url`, the network and https://status.klaviyo.com."
    )


def test_a_host_that_does_not_listen_is_unavailable() -> None:
    """A refused connection is named in the system's words."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    client = client_at(f"http://127.0.0.1:{port}")

    with pytest.raises(UnavailableError, match=r"gave no answer \(ConnectionError: .*Connection refused\)"):
        fetch(client)


def test_each_retry_is_logged_with_its_reason(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """A log line names the account, the place, what happened and which attempt follows."""
    sandbox.faults.append(Fault("status", "503", times=1))
    with caplog.at_level(logging.INFO, "klaviyo_jobs"):
        fetch(client_of(sandbox))

    [message] = [record.getMessage() for record in caplog.records if record.name == "klaviyo_jobs"]
    assert message.startswith("default/item-create, page 1 answered 503")
    assert message.endswith("; attempt 2 follows in 0.0 s")


def test_parameters_are_added_to_a_path(sandbox: Sandbox) -> None:
    """A detail asks for its included resources; revision, account and the wanted form go with every request."""
    client = client_of(sandbox)
    with pytest.raises(StatusError) as caught:
        client.fetch(
            "x",
            "/api/catalog-category-bulk-create-jobs/C1",
            bytes,
            kind=KINDS["category-create"],
            meter=Meter(),
            params={"include": "categories"},
        )

    assert caught.value.status == 404
    [request] = sandbox.requests
    assert request.query == {"include": "categories"}
    assert request.revision == "2026-07-15"
    assert request.headers["accept"] == "application/vnd.api+json, application/json"


def test_an_answer_tells_when_it_arrived(sandbox: Sandbox) -> None:
    """In UTC."""
    answer = fetch(client_of(sandbox))

    assert answer.received_at.timezone_name == "UTC"
    assert abs(answer.received_at.timestamp() - time.time()) < 5


def test_several_threads_share_a_meter(sandbox: Sandbox) -> None:
    """No count is lost between threads."""
    client, meter = client_of(sandbox), Meter()
    threads = [threading.Thread(target=fetch, args=(client,), kwargs={"meter": meter}) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (meter.request_count, len(sandbox.requests)) == (20, 20)
