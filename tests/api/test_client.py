"""One request: what is tried again, how long is waited, what is refused, and where the key goes."""

from __future__ import annotations

import copy
import logging
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from klaviyo_jobs.api.client import Answer, Client, Meter
from klaviyo_jobs.errors import KeyRefusedError, RevisionError, StatusError, UnavailableError
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.settings import ApiKey, NetworkSettings
from klaviyo_sandbox import Fault, Sandbox
from support.loads import NOW

PATH = "/api/catalog-item-bulk-create-jobs"
WRONG_KEY = "pk_wrong_4711"


@pytest.fixture
def other() -> Iterator[Sandbox]:
    """Another server than the configured one."""
    with Sandbox(clock=NOW) as running:
        yield running


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the number of attempts and shorten the waits between them."""
    monkeypatch.setattr("klaviyo_jobs.api.client.BACKOFF_SECONDS", 0.001)


quick = pytest.mark.usefixtures("_quick")


def client_of(sandbox: Sandbox, *, key: str | None = None, **network: Any) -> Client:
    return Client(
        "default",
        ApiKey(key or sandbox.key),
        base_url=sandbox.base_url,
        revision="2026-07-15",
        network=NetworkSettings(**network),
    )


def fetch(client: Client, url: str = PATH, *, meter: Meter | None = None) -> Answer[Any]:
    return client.fetch(
        "item-create, page 1", url, msgspec.json.decode, kind=KINDS["item-create"], meter=meter or Meter()
    )


def whole_text(error: BaseException) -> str:
    """Everything that logging or printing *error* could show."""
    return f"{error!r} {error} {vars(error)} {''.join(traceback.format_exception(error))}"


# What is tried again.


@quick
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


@quick
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


@quick
def test_a_host_that_does_not_listen_is_unavailable() -> None:
    """A refused connection is named in the system's words."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    client = Client("default", ApiKey("pk_x"), base_url=f"http://127.0.0.1:{port}", revision="2026-07-15")

    with pytest.raises(UnavailableError, match=r"gave no answer \(ConnectionError: .*Connection refused\)"):
        fetch(client)


@quick
def test_each_repeat_is_logged_with_its_reason(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """A log line names the account, the place, what happened and which attempt follows."""
    sandbox.faults.append(Fault("status", "503", times=1))
    with caplog.at_level(logging.INFO, "klaviyo_jobs"):
        fetch(client_of(sandbox))

    [message] = [record.getMessage() for record in caplog.records if record.name == "klaviyo_jobs"]
    assert message.startswith("default/item-create, page 1 answered 503")
    assert message.endswith("; attempt 2 follows in 0.0 s")


# How long is waited.


@quick
@pytest.mark.parametrize(("retry_after", "seconds"), [("0.3", 0.3), ("1", 1.0)])
def test_no_attempt_is_made_before_retry_after_has_passed(sandbox: Sandbox, retry_after: str, seconds: float) -> None:
    """`Retry-After` in seconds is a lower bound of the wait, and the wait counts as throttled."""
    sandbox.faults.append(Fault("429", retry_after, times=1))
    meter = Meter()

    fetch(client_of(sandbox), meter=meter)

    first, second = sandbox.requests
    assert second.started_at - first.started_at >= seconds
    assert seconds <= meter.throttled_seconds < seconds + 0.1


@quick
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


@quick
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


def test_the_bound_of_each_wait_is_twice_the_one_before(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `Retry-After` a wait is anything up to its bound, and the bounds double."""
    monkeypatch.setattr("klaviyo_jobs.api.client.BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    sandbox.faults.append(Fault("status", "503"))

    with pytest.raises(UnavailableError):
        fetch(client_of(sandbox, max_attempts=5))

    starts = [request.started_at for request in sandbox.requests]
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert [wait >= bound for wait, bound in zip(waits, (0.05, 0.1, 0.2, 0.4), strict=True)] == [True] * 4
    assert sum(waits) < 2


@quick
def test_waiting_for_a_server_error_does_not_count_as_throttled(sandbox: Sandbox) -> None:
    """Only a 429 throttles."""
    sandbox.faults.append(Fault("status", "503", times=1))
    meter = Meter()

    fetch(client_of(sandbox), meter=meter)

    assert meter.throttled_seconds == 0


# Bounds of an answer.


@quick
@pytest.mark.parametrize("fault", ["huge-body", "gzip-bomb"])
def test_a_body_without_bounds_is_not_read_to_its_end(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """More than the allowed bytes, plain or unpacked, is a failed attempt."""
    monkeypatch.setattr("klaviyo_jobs.api.body.BODY_BYTES", 2**20)
    sandbox.faults.append(Fault(fault, "4", times=1))

    answer = fetch(client_of(sandbox))

    assert answer.body["data"] == []
    assert len(sandbox.requests) == 2


@quick
def test_a_body_that_drips_is_left_when_its_time_is_up(sandbox: Sandbox) -> None:
    """The bound on the time of a whole answer holds while its bytes still come in."""
    sandbox.faults.append(Fault("drip", "3", times=1))
    started_at = time.monotonic()

    fetch(client_of(sandbox, body_timeout_seconds=0.3))

    assert time.monotonic() - started_at < 2


# Texts that only a lenient reader takes for JSON.


class _Fixed(BaseHTTPRequestHandler):
    """Answers every GET with the bytes of `body`."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.api+json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


def fetch_bytes(served: bytes) -> bytes:
    """Serve *served* and return what the decoder of the caller gets to see."""
    handler = type("Handler", (_Fixed,), {"body": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        base_url = f"http://127.0.0.1:{server.server_port}"
        client = Client("default", ApiKey("pk_x"), base_url=base_url, revision="2026-07-15")
        try:
            return bytes(
                client.fetch(
                    "x", PATH, msgspec.json.Decoder(msgspec.Raw).decode, kind=KINDS["item-create"], meter=Meter()
                ).body
            )
        finally:
            server.shutdown()


def test_a_plain_body_is_decoded_as_it_came() -> None:
    """Byte for byte, spaces and digits included."""
    served = b'{"data": [ {"price": 12345678901234567890.10} ]}'

    assert fetch_bytes(served) == served


@pytest.mark.parametrize(
    ("odd", "mended"),
    [
        (b'"half \\ud83d pair"', "half \ufffd pair"),
        (b'"no \xff text"', "no \N{REPLACEMENT CHARACTER} text"),
        (b"NaN", "NaN"),
        (b"-Infinity", "-Infinity"),
    ],
)
def test_an_odd_text_is_mended_and_the_rest_stays(odd: bytes, mended: str) -> None:
    """Half a surrogate pair and bytes that are no UTF-8 are replaced, NaN and Infinity become strings."""
    body = msgspec.json.decode(fetch_bytes(b'{"odd": ' + odd + b', "plain": ["\xc3\xbc", 1, null]}'))

    assert body == {"odd": mended, "plain": ["ü", 1, None]}


def test_mending_a_text_keeps_the_digits_of_the_numbers_beside_it() -> None:
    """A price in the same answer as an odd text is as exact as in any other."""
    served = b'{"title": "half \\ud83d pair", "price": 9007199254740993.01}'

    # Once a bug: the whole answer passes through Python's floats on the way.
    assert b"9007199254740993.01" in fetch_bytes(served)


# What is not tried again.


@pytest.mark.parametrize("status", [400, 404, 405, 409, 415])
def test_a_refused_request_is_not_repeated(sandbox: Sandbox, status: int) -> None:
    """A 4xx other than 429 ends at the first answer, with its status and the API's own words."""
    sandbox.faults.append(Fault("status", str(status)))

    with pytest.raises(StatusError) as caught:
        fetch(client_of(sandbox))

    assert len(sandbox.requests) == 1
    assert caught.value.status == status
    assert caught.value.message.startswith(f"item-create, page 1: answered {status}: ")
    assert caught.value.next_step == f"check `revision` (now 2026-07-15) and `base_url` (now {sandbox.base_url})."


def test_a_revision_in_the_future_is_told_from_a_missing_job(sandbox: Sandbox) -> None:
    """The 404 of a revision fault is read: the setting is wrong, not the job gone."""
    client = Client("default", ApiKey(sandbox.key), base_url=sandbox.base_url, revision="2030-01-01")

    with pytest.raises(RevisionError) as caught:
        fetch(client, f"{PATH}/J1")

    assert caught.value.message == (
        "item-create, page 1: revision 2030-01-01 is not served (404: Unable to specify a future revision date)."
    )
    assert caught.value.next_step == "set `revision` to 2026-07-15, or remove the setting."


def test_a_retired_revision_is_refused_only_with_the_opt_out(sandbox: Sandbox) -> None:
    """By default Klaviyo answers in the shape of a newer revision; with the opt-out it says 410."""
    opt_out = NetworkSettings(fall_forward_opt_out=True)
    forgiving = Client("default", ApiKey(sandbox.key), base_url=sandbox.base_url, revision="2023-12-15")
    strict = Client("default", ApiKey(sandbox.key), base_url=sandbox.base_url, revision="2023-12-15", network=opt_out)

    assert fetch(forgiving).body["data"] == []
    with pytest.raises(RevisionError, match=r"revision 2023-12-15 is not served \(410"):
        fetch(strict)


def test_waiting_in_all_is_bounded(sandbox: Sandbox) -> None:
    """However many attempts are allowed, the waits of an account add up to no more than is set."""
    sandbox.faults.append(Fault("status", "503"))
    started_at = time.monotonic()

    with pytest.raises(UnavailableError, match=r"gave up after waiting 1 s in all \(max_total_wait_seconds\)"):
        fetch(client_of(sandbox, max_attempts=100, max_total_wait_seconds=1.0))

    assert time.monotonic() - started_at < 3


def test_a_throttled_request_stops_all_of_its_account(sandbox: Sandbox) -> None:
    """`Retry-After` is meant for the account: another thread's request waits as well."""
    sandbox.faults.append(Fault("429", "1", times=1))
    client = client_of(sandbox)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, client)
        while not sandbox.requests:
            time.sleep(0.01)
        second = pool.submit(fetch, client)
        first.result()
        second.result()

    starts = [request.started_at for request in sandbox.requests]
    assert [request.status for request in sandbox.requests] == [429, 200, 200]
    assert min(starts[1:]) - starts[0] >= 1


def test_a_refused_request_without_the_apis_form_names_the_host(sandbox: Sandbox) -> None:
    """A 404 page of some web server points at `base_url`."""
    sandbox.faults.append(Fault("html", "404"))

    with pytest.raises(StatusError) as caught:
        fetch(client_of(sandbox))

    assert caught.value.message == "item-create, page 1: answered 404 without an error of Klaviyo's form"
    assert caught.value.next_step == f"check `base_url`: {sandbox.base_url} does not look like the Klaviyo API."


def test_a_wrong_key_is_refused_at_once(sandbox: Sandbox) -> None:
    """A 401 is no reason to try again; the message names the account and the scope, not the key."""
    with pytest.raises(KeyRefusedError) as caught:
        fetch(client_of(sandbox, key=WRONG_KEY))

    assert len(sandbox.requests) == 1
    error = caught.value
    assert error.message == (
        "Klaviyo refused the key of account 'default' (401: Incorrect authentication credentials.)."
    )
    assert error.data == "nothing of this account was read; its rows are as they were."
    assert "catalogs:read" in (error.next_step or "")
    assert "4711" not in whole_text(error)


def test_a_key_without_the_scope_is_refused_at_once(sandbox: Sandbox) -> None:
    """A 403 is the key's fault as well."""
    sandbox.accounts["default"].has_scope = False

    with pytest.raises(KeyRefusedError, match=r"refused the key of account 'default' \(403: "):
        fetch(client_of(sandbox))

    assert len(sandbox.requests) == 1


def test_a_web_page_from_a_host_that_never_answered_otherwise_ends_at_once(sandbox: Sandbox) -> None:
    """A sign-in page answers 200 for ever: it is told apart at the first answer."""
    sandbox.faults.append(Fault("html", "200"))

    with pytest.raises(UnavailableError) as caught:
        fetch(client_of(sandbox))

    assert len(sandbox.requests) == 1
    assert caught.value.message == (
        f"item-create, page 1: {sandbox.base_url} answers with a web page; it is not the Klaviyo API."
    )
    assert caught.value.next_step == "check `base_url`, and whether a proxy or a sign-in page stands in between."


@quick
def test_a_web_page_between_good_answers_is_tried_again(sandbox: Sandbox) -> None:
    """A host that has answered as the API before has a bad moment."""
    sandbox.faults.append(Fault("html", "200", nth=2))
    client = client_of(sandbox)

    fetch(client)
    fetch(client)

    assert len(sandbox.requests) == 3


# Where the key goes.


def test_the_key_is_sent_to_the_configured_origin(sandbox: Sandbox) -> None:
    """In the one header that the API reads."""
    fetch(client_of(sandbox))

    assert [request.authorization for request in sandbox.requests] == ["right"]


def test_the_key_is_not_sent_to_another_origin(sandbox: Sandbox, other: Sandbox) -> None:
    """Even when asked for a link of another origin, the key stays."""
    with pytest.raises(KeyRefusedError):
        fetch(client_of(sandbox), f"{other.base_url}{PATH}")

    assert [request.authorization for request in other.requests] == ["missing"]


def test_redirects_are_not_followed(sandbox: Sandbox, other: Sandbox) -> None:
    """A redirect is an error that names the setting; the other server hears nothing."""
    sandbox.faults.append(Fault("redirect", f"{other.base_url}{PATH}"))

    with pytest.raises(StatusError) as caught:
        fetch(client_of(sandbox))

    assert caught.value.status == 302
    assert caught.value.next_step == (
        "set `base_url` to the address that answers by itself; redirects are not followed."
    )
    assert len(sandbox.requests) == 1
    assert other.requests == []


def test_a_redirect_within_the_origin_is_not_followed_either(sandbox: Sandbox) -> None:
    """Links are followed as they are served, or not at all."""
    sandbox.faults.append(Fault("redirect", f"{sandbox.base_url}{PATH}/", times=1))

    with pytest.raises(StatusError):
        fetch(client_of(sandbox))

    assert len(sandbox.requests) == 1


def test_a_netrc_file_is_not_asked(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's netrc entry neither takes the key's place nor is sent anywhere."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\ndefault login anybody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    fetch(client_of(sandbox))

    assert [request.authorization for request in sandbox.requests] == ["right"]


def test_a_netrc_entry_is_not_sent_to_another_origin(
    sandbox: Sandbox, other: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where our key does not go, no other password goes."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login anybody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    with pytest.raises(KeyRefusedError):
        fetch(client_of(sandbox), f"{other.base_url}{PATH}")

    assert [request.authorization for request in other.requests] == ["missing"]


# Where the key does not show.


def test_the_key_is_in_no_text_of_what_holds_it(sandbox: Sandbox) -> None:
    """Neither the key object nor the client gives the key away in any of their texts."""
    key = ApiKey("pk_secret_4711")
    client = client_of(sandbox, key="pk_secret_4711")

    for holder in (key, client, [key], {"key": key}):
        for text in (repr(holder), str(holder), f"{holder}", f"{holder!r:>20}", f"{getattr(holder, '__dict__', '')}"):
            assert "4711" not in text


def test_the_key_cannot_be_pickled_or_copied() -> None:
    """What cannot be written cannot be left behind."""
    key = ApiKey("pk_secret_4711")

    for write in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError, match="an API key is never written anywhere"):
            write(key)


@quick
@pytest.mark.parametrize(
    ("fault", "argument"), [("status", "503"), ("status", "400"), ("reset", ""), ("cut", ""), ("429", "huge")]
)
def test_the_key_is_in_no_log_line_and_no_error(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, fault: str, argument: str
) -> None:
    """At the most talkative level, of every library, and in the whole traceback."""
    sandbox.faults.append(Fault(fault, argument))
    with caplog.at_level(logging.DEBUG), pytest.raises((UnavailableError, StatusError)) as caught:
        fetch(client_of(sandbox))

    assert sandbox.key not in caplog.text
    assert sandbox.key not in whole_text(caught.value)


class _Echo(BaseHTTPRequestHandler):
    """Answers every GET with 400 and the headers it was sent, as a careless proxy does."""

    def do_GET(self) -> None:
        body = msgspec.json.encode({"errors": [{"detail": f"bad request: {self.headers['Authorization']}"}]})
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


def test_a_key_that_a_server_echoes_is_not_shown() -> None:
    """An error body that repeats the request's header does not bring the key into our message."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        client = Client(
            "default",
            ApiKey("pk_secret_4711"),
            base_url=f"http://127.0.0.1:{server.server_port}",
            revision="2026-07-15",
        )

        with pytest.raises(StatusError) as caught:
            fetch(client)
        server.shutdown()

    assert "4711" not in str(caught.value)


# What is sent and handed back.


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
