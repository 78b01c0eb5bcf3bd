"""A server that means harm: bounded time and memory, an error of our own, and what was good is loaded all the same."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from klaviyo_jobs.errors import ApiError, PagingError, StatusError, UnavailableError
from klaviyo_jobs.extract.listing import ListingOutcome
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.runs.run import RunSummary, run
from klaviyo_jobs.settings import Settings
from klaviyo_sandbox import Fault, Job, Sandbox
from support.builders import job_object
from support.loads import NOW, Warehouse

KEY: Final = "pk_hostile_4711"
ITEMS: Final = KINDS["item-create"].list_path
CATEGORIES: Final = KINDS["category-create"].list_path
MIB: Final = 2**20
SECOND: Final = "?page%5Bcursor%5D=two"

# What a server does with a connection after it has read a request: bytes are sent, a function does as it likes.
Deed = bytes | Callable[[socket.socket], None]


class Server:
    """
    Answers requests on loopback byte by byte as a test says.

    `deeds` says what is done for each target (path and query), or for a key and a target, "key target"; any other
    request gets an empty page.
    `received` holds the bytes of every connection.
    """

    def __init__(self) -> None:
        self.deeds: dict[str, Deed] = {}
        self.received: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_stopped = threading.Event()
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def serve_second(self, deed: Deed, *, key: str = KEY) -> None:
        """Serve one good job on the first page of a listing, and *deed* in the place of the second."""
        self.deeds[f"{key} {ITEMS}"] = page(job_object("GOOD"), next=f"{self.base_url}{ITEMS}{SECOND}")
        self.deeds[f"{key} {ITEMS}{SECOND}"] = deed

    def targets(self) -> list[str]:
        """Return the target of each request."""
        return [request.split(b" ")[1].decode() for request in self.received]

    def stop(self) -> None:
        self._is_stopped.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(20)
            try:
                request = b""
                while b"\r\n\r\n" not in request and (some := connection.recv(65536)):
                    request += some
                self.received.append(request)
                target = request.split(b" ")[1].decode()
                given = re.search(rb"Klaviyo-API-Key (\S+)", request)
                key = given[1].decode() if given else ""
                names = (f"{key} {target}", target, target.partition("?")[0])
                deed = next((self.deeds[name] for name in names if name in self.deeds), page())
                if callable(deed):
                    deed(connection)
                else:
                    connection.sendall(deed)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)
            except (OSError, IndexError):
                pass  # the client has left, as it should


def answer(body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = -1) -> bytes:
    """Return a whole answer; *length* is what it says of its body, None nothing, -1 the truth."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/vnd.api+json", "Connection: close", *headers]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def page(*records: Any, next: str | None = None) -> bytes:  # noqa: A002 - the API's own word
    """Return a whole answer with one page; a record may be bytes."""
    return answer(body_of_page(*records, next=next))


def body_of_page(*records: Any, next: str | None = None) -> bytes:  # noqa: A002
    data = b",".join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in records)
    return b'{"data": [' + data + b'], "links": {"next": ' + json.dumps(next).encode() + b"}}"


def endless(*head: bytes, again: bytes, pause: float = 0.0, seconds: float = 3) -> Callable[[socket.socket], None]:
    """Return a deed: send *head*, then *again* and again, until the client leaves or a test has long failed."""

    def deed(connection: socket.socket) -> None:
        connection.sendall(b"".join(head))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            connection.sendall(again)
            time.sleep(pause)

    return deed


def category_job(job_id: str, **members: Any) -> Any:
    """Return a job that has a detail with included categories."""
    return job_object(job_id, kind=KINDS["category-create"], **members)


CHUNKED: Final = answer(b"", "Transfer-Encoding: chunked", length=None)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server whose listings are all empty."""
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def foreign() -> Iterator[Server]:
    """Another server, which must never hear of us."""
    running = Server()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the number of attempts and shorten the waits between them."""
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BACKOFF_SECONDS", "0.001")


def set_network(monkeypatch: pytest.MonkeyPatch, **settings: float) -> None:
    """Set how patiently the API is read, as a user does."""
    for name, value in settings.items():
        monkeypatch.setenv(f"SOURCES__KLAVIYO_JOBS__{name.upper()}", str(value))


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attempts, and half a second for each answer."""
    set_network(monkeypatch, max_attempts=2, read_timeout_seconds=0.5, body_timeout_seconds=0.5)


short = pytest.mark.usefixtures("_short")


@dataclass(frozen=True)
class Ended:
    """How one listing against a hostile server ended, and the run it was part of."""

    outcome: ListingOutcome
    summary: RunSummary
    warehouse: Warehouse

    @property
    def seconds(self) -> float:
        """How long the listing took, as the ledger says."""
        query = "select epoch(finished_at - started_at) from klaviyo_raw.listings where account = ?"
        return float(self.warehouse.value(query, self.outcome.account))

    def jobs(self) -> list[str]:
        """Return the ids of the jobs loaded."""
        query = "select job_id from klaviyo_raw.jobs where account = ? order by job_id"
        return [job_id for (job_id,) in self.warehouse.rows(query, self.outcome.account)]

    def ledger(self) -> tuple[bool, str | None]:
        """Return what the ledger says of the listing: whether it is complete, and its error."""
        query = "select is_complete, error from klaviyo_raw.listings where account = ?"
        [row] = self.warehouse.rows(query, self.outcome.account)
        return row[0], row[1]

    def rejected_paths(self) -> list[str]:
        """Return the JSON path of each rejected record."""
        query = "select json_path from klaviyo_raw.rejected_records where account = ?"
        return [path for (path,) in self.warehouse.rows(query, self.outcome.account)]


Read = Callable[..., Ended]


@pytest.fixture
def read(server: Server, warehouse: Warehouse) -> Read:
    """Run the extractor once for one kind."""

    def read(kind: str = "item-create", **others: Any) -> Ended:
        settings = Settings(**{"base_url": server.base_url, "api_key": KEY, "kinds": [kind], **others})
        summary = run(settings, warehouse.path)
        [outcome] = summary.outcomes
        return Ended(outcome, summary, warehouse)

    return read


# A group of cases runs as one load, each case an account of its own.
Group = dict[str, Callable[[Server, str], None]]
ReadTogether = Callable[[Group, str], Ended]


@pytest.fixture(scope="module")
def read_together(tmp_path_factory: pytest.TempPathFactory) -> ReadTogether:
    """
    Run the extractor once for all cases of a group, and return how the listing of one case ended.

    If that fails as a whole, each case of the group runs alone, when it is asked for.
    """
    groups: dict[int, dict[str, Ended] | None] = {}

    def load(cases: Group) -> dict[str, Ended]:
        server = Server()
        keys = {f"case{number}": f"pk_case_{number}" for number in range(len(cases))}
        for key, prepare in zip(keys.values(), cases.values(), strict=True):
            prepare(server, key)
        warehouse = Warehouse(tmp_path_factory.mktemp("together") / "warehouse.duckdb")
        settings = Settings(base_url=server.base_url, accounts=keys, kinds=["item-create"])
        try:
            summary = run(settings, warehouse.path)
        finally:
            server.stop()
        outcomes = {outcome.account: outcome for outcome in summary.outcomes}
        return {case: Ended(outcomes[account], summary, warehouse) for case, account in zip(cases, keys, strict=True)}

    def read_together(cases: Group, case: str) -> Ended:
        if id(cases) not in groups:
            try:
                groups[id(cases)] = load(cases)
            except Exception:
                groups[id(cases)] = None
        ended = groups[id(cases)]
        return ended[case] if ended is not None else load({case: cases[case]})[case]

    return read_together


def second(deed: Deed) -> Callable[[Server, str], None]:
    """Return a case: *deed* in the place of the second page."""
    return lambda server, key: server.serve_second(deed, key=key)


def assert_ended_early(ended: Ended, error: type[ApiError], message: str, *, jobs: list[str], within: float) -> None:
    """The listing ended with *error* and said so in the ledger, *jobs* are loaded, and no time was lost."""
    assert isinstance(ended.outcome.error, error)
    assert re.search(message, ended.outcome.error.message), ended.outcome.error.message
    assert ended.summary.error is not None
    assert ended.ledger() == (False, ended.outcome.error.headline)
    assert ended.jobs() == jobs
    assert_plain(ended.outcome.error.headline)
    assert ended.seconds < within


def assert_plain(text: str) -> None:
    """A text that stands in a log or on a terminal is one line, of bounded length, without control characters."""
    assert text.isprintable(), repr(text)
    assert len(text) < 1000


# Links and redirects that lead elsewhere.


def test_a_foreign_server_receives_not_one_byte_of_a_followed_link(server: Server, foreign: Server, read: Read) -> None:
    """A next link to another origin is an error; nobody connects to it, so no key can reach it."""
    server.deeds[ITEMS] = page(job_object("GOOD"), next=f"{foreign.base_url}{ITEMS}{SECOND}")

    ended = read()

    assert_ended_early(ended, PagingError, "leads away from", jobs=["GOOD"], within=5)
    assert foreign.received == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_of_the_second_page_ends_the_listing(
    server: Server, foreign: Server, read: Read, status: str
) -> None:
    """Whatever its status, what came before the redirect is loaded, and nobody connects to the other origin."""
    server.serve_second(answer(b"", f"Location: {foreign.base_url}{ITEMS}", status=status))

    ended = read()

    assert_ended_early(ended, StatusError, f"answered {status[:3]}", jobs=["GOOD"], within=5)
    assert len(server.received) == 2
    assert foreign.received == []


def test_a_redirect_of_a_detail_leaves_the_job_to_its_listing(server: Server, foreign: Server, read: Read) -> None:
    """The job is loaded as the listing showed it, the error is told, and nobody connects to the other origin."""
    server.deeds[CATEGORIES] = page(category_job("C1"))
    server.deeds[f"{CATEGORIES}/C1"] = answer(b"", f"Location: {foreign.base_url}/", status="302 Found")

    ended = read("category-create")

    assert isinstance(ended.outcome.error, StatusError)
    assert ended.ledger() == (True, ended.outcome.error.headline)
    assert ended.jobs() == ["C1"]
    assert foreign.received == []


def test_a_redirect_to_itself_is_asked_for_once(server: Server, read: Read) -> None:
    """A redirect is no reason to ask again."""
    server.serve_second(answer(b"", f"Location: {server.base_url}{ITEMS}{SECOND}", status="302 Found"))

    ended = read()

    assert_ended_early(ended, StatusError, "answered 302", jobs=["GOOD"], within=5)
    assert len(server.received) == 2


def test_a_proxy_of_the_machine_is_not_asked_for_an_address_on_this_machine(
    server: Server, foreign: Server, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http is allowed for loopback because nothing leaves the machine; a proxy would read the key."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, foreign.base_url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server.deeds[ITEMS] = page(job_object("GOOD"))

    ended = read()

    # Once a bug: the request goes to the proxy in plain text, with the key.
    assert foreign.received == []
    assert ended.jobs() == ["GOOD"]


def test_a_job_id_does_not_lead_to_another_endpoint(server: Server, read: Read) -> None:
    """Whatever a server calls its jobs, only paths below the listing's are asked for; dots alone are no id."""
    ids = ["..", ".", "a/b", "a?b=c", "a#b", "../../x", "%2e%2e", "a\r\nX: y", "a b", "\x00"]
    server.deeds[CATEGORIES] = page(*map(category_job, ids))

    ended = read("category-create")

    wanted = re.compile(rf"{CATEGORIES}/[^/?#]+\?include=categories")
    assert [target for target in server.targets() if target != CATEGORIES and not wanted.fullmatch(target)] == []
    # A path made of dots leads elsewhere, however it is written: such an id is no id.
    assert ended.jobs() == sorted(set(ids) - {".", ".."})


# Listings without end.


@pytest.fixture
def sandbox_with_jobs(sandbox: Sandbox) -> Sandbox:
    """An API with 250 jobs on three pages."""
    sandbox.world.add(*(Job("item-create", f"J{number:03}", NOW) for number in range(250)))
    return sandbox


@pytest.mark.parametrize(
    ("fault", "message", "job_count"),
    [
        ("endless-cursor", r"page 20: links\.next goes on after 20 pages", 250),
        ("aba-cursor", r"page 3: links\.next repeats the link of an earlier page", 250),
        ("repeat-link", r"page 1: links\.next repeats the link of an earlier page", 100),
    ],
)
def test_a_listing_without_end_ends(
    sandbox_with_jobs: Sandbox,
    read: Read,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    message: str,
    job_count: int,
) -> None:
    """Cursors that go round or never stop end the listing as incomplete; the jobs before are loaded once each."""
    set_network(monkeypatch, max_pages=20)
    sandbox_with_jobs.faults.append(Fault(fault))

    ended = read(base_url=sandbox_with_jobs.base_url, api_key=sandbox_with_jobs.key)

    ids = [f"J{number:03}" for number in range(250)]
    assert len(ended.jobs()) == job_count
    assert set(ended.jobs()) <= set(ids)
    assert_ended_early(ended, PagingError, message, jobs=ended.jobs(), within=10)


def test_empty_pages_for_ever_end_at_the_cap(server: Server, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page without jobs is not an end, and a hundred thousand of them are not read."""
    set_network(monkeypatch, max_pages=20)
    numbers = itertools.count()

    def empty(connection: socket.socket) -> None:
        connection.sendall(page(next=f"{server.base_url}{ITEMS}?page%5Bcursor%5D={next(numbers)}"))

    server.deeds[ITEMS] = empty

    ended = read()

    assert_ended_early(ended, PagingError, "goes on after 20 pages", jobs=[], within=5)
    assert len(server.received) == 20


# Answers that take their time.


SLOW: Final[Group] = {
    "nothing": second(endless(again=b"", pause=0.05)),
    # Once a bug: the bound on an answer's time begins after its headers, so a byte at a time is read for ever.
    "a header drips": second(endless(b"HTTP/1.1 200 OK\r\nX: ", again=b"x", pause=0.05)),
    # Once a bug: the library skips 100 Continue without end.
    "100 Continue": second(endless(again=b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.01)),
    "a body drips": second(endless(answer(length=10**9), again=b" ", pause=0.05)),
    "a body without length drips": second(endless(answer(length=None), again=b" ", pause=0.05)),
    "chunks drip": second(endless(CHUNKED, again=b"1\r\n \r\n", pause=0.05)),
    # Once a bug: the bound is looked at between chunks only: a chunk's own header, and what follows the last, may drip.
    "the size of a chunk drips": second(endless(CHUNKED, b"1", again=b"0", pause=0.05)),
    "trailers": second(endless(CHUNKED, b"2\r\n{}\r\n0\r\n", again=b"X: y\r\n", pause=0.01)),
    # Once a bug: the library reads on until there is something unpacked to hand over.
    "gzip of nothing": second(
        endless(
            answer(b"", "Content-Encoding: gzip", length=None),
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
            again=b"\x00\x00\x00\xff\xff" * 100,
            pause=0.01,
        )
    ),
    "gzip with an endless name": second(
        endless(
            answer(b"", "Content-Encoding: gzip", length=None),
            b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03",
            again=b"name",
            pause=0.01,
        )
    ),
}


@short
@pytest.mark.parametrize("case", list(SLOW))
def test_an_answer_that_never_ends_is_left_when_its_time_is_up(read_together: ReadTogether, case: str) -> None:
    """Whatever part of it drips: two attempts of half a second end the listing, and the page before is loaded."""
    ended = read_together(SLOW, case)

    assert_ended_early(ended, UnavailableError, "gave up after 2 attempts", jobs=["GOOD"], within=10)


@short
def test_a_slow_drip_from_the_sandbox_ends_the_listing(sandbox_with_jobs: Sandbox, read: Read) -> None:
    """The first page is loaded when the second drips for longer than an answer may take."""
    sandbox_with_jobs.faults.append(Fault("drip", "5", after=1))

    ended = read(base_url=sandbox_with_jobs.base_url, api_key=sandbox_with_jobs.key)

    assert len(ended.jobs()) == 100
    assert_ended_early(ended, UnavailableError, "did not end its answer in", jobs=ended.jobs(), within=10)


# Waits that a server asks for.


LONG_WAITS: Final[Group] = {
    f"{status}, {value}": second(answer(b"", f"Retry-After: {value}", status=f"{status} Oh"))
    for status in (429, 503)
    for value in ("86400", "1e400", "Wed, 21 Oct 2099 07:28:00 GMT", "99999999999999999999")
}


@pytest.mark.parametrize("case", list(LONG_WAITS))
def test_a_wait_of_a_day_is_not_begun(read_together: ReadTogether, case: str) -> None:
    """A `Retry-After` beyond what is allowed ends the listing at once, said as seconds or as a date."""
    ended = read_together(LONG_WAITS, case)

    assert_ended_early(ended, UnavailableError, "answered (429|503).* asks to wait", jobs=["GOOD"], within=10)
    assert ended.outcome.request_count == 2


UNREADABLE_WAITS: Final = (
    *("", "-1", "-1e400", "nan", "soon", "1;2", "0x10", "\xb2", "Wed, 21 Oct 2015 07:28:00", "0000"),
    "Wed, 21 Oct 1015 07:28:00 GMT",
    "Wed, 99 Oct 2015 07:28:00 GMT",
    # Once a bug: a year beyond a C int ends the run with OverflowError.
    "Mon, 1 Jan 99999999999999999999 00:00:00 GMT",
    "Mon, 1 Jan 2026 00:00:00 +99999999999999999999",
    "Mon, 1 Jan 2026 99999999999999999999:00:00 GMT",
    "x" * 60_000,
)
WAIT_CASES: Final[Group] = {
    value[:60]: second(
        answer(b"", status="429 Oh").replace(b" Oh\r\n", f" Oh\r\nRetry-After: {value}\r\n".encode("latin-1"))
    )
    for value in UNREADABLE_WAITS
}


@pytest.mark.parametrize("case", list(WAIT_CASES))
def test_a_wait_that_cannot_be_read_is_a_wait_of_our_own(
    read_together: ReadTogether, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """A `Retry-After` that is negative, in the past or no time at all is as good as none."""
    set_network(monkeypatch, max_attempts=2)

    ended = read_together(WAIT_CASES, case)

    assert_ended_early(ended, UnavailableError, "answered 429; gave up after 2 attempts", jobs=["GOOD"], within=10)
    assert ended.outcome.request_count == 3


# Answers that are not what HTTP or the API promise.

LONG_LINE: Final = b"X: " + b"x" * 10**6
CUT: Final = body_of_page(job_object("CUT"))[:-10]


# Each case with the error it must end with, and what that says.
SECOND_PAGES: Final[dict[str, tuple[Deed, type[ApiError], str]]] = {
    "103": (answer(status="103 Early Hints"), ApiError, ""),
    "199": (answer(status="199 Odd"), ApiError, ""),
    "204": (answer(status="204 No Content", length=None), ApiError, "answered 204"),
    "206": (answer(body_of_page(), status="206 Partial Content"), ApiError, "answered 206"),
    "304": (answer(status="304 Not Modified", length=None), ApiError, "answered 304"),
    "999": (answer(body_of_page(), status="999 Odd"), ApiError, "answered 999"),
    "nothing": (b"", UnavailableError, "gave no answer"),
    # Once a bug: what a server sends in place of a status line stands in the message as it is.
    "TLS": (b"\x16\x03\x01\x02\x00", UnavailableError, "gave no answer"),
    "terminal codes": (b"HTTP/1.1 2\x1b[31m0 OK\r\n\r\n", UnavailableError, "gave no answer"),
    "a long status": (b"HTTP/1.1 " + b"2" * 10**6, UnavailableError, "gave no answer"),
    "a flood of headers": (
        answer(body_of_page(), *(f"X-{number}: y" for number in range(20_000))),
        UnavailableError,
        "gave no answer",
    ),
    "a long header": (b"HTTP/1.1 200 OK\r\n" + LONG_LINE + b"\r\n\r\n", UnavailableError, "gave no answer"),
    "1.0, cut": (b"HTTP/1.0 200 OK\r\n\r\n" + CUT, UnavailableError, "not the API's JSON"),
    "cut": (answer(body_of_page(), length=10**6), UnavailableError, "gave no answer"),
    "cut, without length": (answer(CUT, length=None), UnavailableError, "not the API's JSON"),
    "two lengths": (
        answer(body_of_page(), "Content-Length: 5", "Content-Length: 7", length=None),
        UnavailableError,
        "gave no answer",
    ),
    "a chunk of size zz": (
        answer(b"zz\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=None),
        UnavailableError,
        "gave no answer",
    ),
    "a chunk of negative size": (
        answer(b"-5\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=None),
        UnavailableError,
        "gave no answer",
    ),
    "a chunk of boundless size": (
        answer(b"f" * 60 + b"\r\n{}", "Transfer-Encoding: chunked", length=None),
        UnavailableError,
        "gave no answer",
    ),
    "no gzip": (answer(b"no gzip", "Content-Encoding: gzip"), UnavailableError, "gave no answer"),
    "gzip, cut": (
        answer(gzip.compress(body_of_page())[:-12], "Content-Encoding: gzip"),
        UnavailableError,
        "gave no answer|not the API's JSON",
    ),
    "fifty encodings": (answer(b"{}", "Content-Encoding: " + ", ".join(["gzip"] * 50)), UnavailableError, ""),
    "a BOM": (answer(b"\xef\xbb\xbf" + body_of_page()), UnavailableError, "not the API's JSON"),
    "UTF-16": (answer(body_of_page().decode().encode("utf-16")), UnavailableError, "not the"),
    "deep, cut": (answer(b"[" * 100_000), UnavailableError, "not the API's JSON"),
    "data twice": (answer(b'{"data": [], "data": {}}'), UnavailableError, "not the API's JSON"),
    "data is NaN": (answer(b'{"data": NaN}'), UnavailableError, "not the API's JSON"),
    "the next link is Infinity": (answer(b'{"data": [], "links": {"next": Infinity}}'), ApiError, ""),
    "a number as link": (answer(b'{"data": [], "links": {"next": ' + b"9" * 10_000 + b"}}"), ApiError, ""),
    "NUL in the link": (
        answer(b'{"data": [], "links": {"next": "http://127.0.0.1\\u0000.x/"}}'),
        PagingError,
        "leads away",
    ),
    "half a pair as link": (answer(b'{"data": [], "links": {"next": "\\ud83d"}}'), PagingError, "leads away"),
    # Once a bug: line breaks and terminal codes of an answer reach log, terminal and ledger as they are.
    "an error with terminal codes": (
        answer(b'{"errors": [{"detail": "a\\r\\nb\\u001b[2J\\u0000\\u202e"}]}', status="400 Bad Request"),
        StatusError,
        "answered 400",
    ),
    "an error without end": (
        answer(b'{"errors": [{"detail": "' + b"x" * 10**6 + b'"}]}', status="500 Oh"),
        UnavailableError,
        "answered 500",
    ),
    # Once a bug: a RecursionError ends the whole run, all accounts and kinds.
    "a deep error": (
        answer(b'{"errors": [{"detail": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", status="500 Oh"),
        UnavailableError,
        "answered 500|not the API's JSON",
    ),
    "an error of many levels": (
        answer(b'{"errors": [{"detail": ' + b"[" * 900 + b"]" * 900 + b"}]}", status="404 Oh"),
        StatusError,
        "answered 404",
    ),
    "NaN error": (answer(b'{"errors": [{"detail": {"a": NaN}}]}', status="500 Oh"), ApiError, "500"),
    "no errors": (answer(b'{"errors": null}', status="400 Oh"), StatusError, "answered 400"),
}
SECOND_PAGE_CASES: Final[Group] = {name: second(deed) for name, (deed, _, _) in SECOND_PAGES.items()}


# The library leaves the socket of an answer with two lengths to the garbage collector, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("case", list(SECOND_PAGES))
def test_a_second_page_that_is_none_ends_the_listing(
    read_together: ReadTogether, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Whatever comes in its place: one error in one line, the first page is loaded, the ledger says incomplete."""
    set_network(monkeypatch, max_attempts=2)
    _, error, message = SECOND_PAGES[case]

    ended = read_together(SECOND_PAGE_CASES, case)

    assert_ended_early(ended, error, message, jobs=["GOOD"], within=20)


def test_a_page_of_http_1_0_without_length_is_read(server: Server, read: Read) -> None:
    """The end of the connection is the end of the page."""
    server.deeds[ITEMS] = b"HTTP/1.0 200 OK\r\n\r\n" + body_of_page(job_object("GOOD"))

    ended = read()

    assert ended.ledger() == (True, None)
    assert ended.jobs() == ["GOOD"]


# Records that are hard to read among good ones.

DEEP: Final = b"[" * 100_000 + b"]" * 100_000


def record(job_id: str, **texts: bytes) -> bytes:
    """Return the JSON of a job with *texts*, JSON of any kind, as attributes."""
    resource = json.dumps(job_object(job_id, attributes=dict.fromkeys(texts, "@"))).encode()
    for name, text in texts.items():
        resource = resource.replace(f'"{name}": "@"'.encode(), b'"' + name.encode() + b'": ' + text)
    return resource


@dataclass(frozen=True)
class Odd:
    """A record that is odd: its JSON, and the path of the fault it must leave, or None if it is to be loaded."""

    text: bytes
    path: str | None = None


ODD: Final = {
    # Once a bug: the whole page is lost to nesting in one record of it.
    "deep": Odd(record("ODD", odd=DEEP), None),
    "deep error": Odd(record("ODD", errors=b'[{"meta": ' + DEEP + b"}]"), None),
    "id twice": Odd(record("FIRST").replace(b'"FIRST"', b'"FIRST", "id": "ODD"')),
    "status twice": Odd(record("ODD", status=b'"queued", "status": "complete"')),
    "a name twice": Odd(record("ODD", odd=b'1, "odd": 2')),
    "NaN": Odd(record("ODD", odd=b"NaN")),
    "NaN count": Odd(record("ODD", total_count=b"NaN"), ".attributes.total_count"),
    "Infinity": Odd(record("ODD", failed_count=b"-Infinity"), ".attributes.failed_count"),
    "a huge integer": Odd(record("ODD", total_count=b"1" + b"0" * 400), ".attributes.total_count"),
    "a huge integer in extra": Odd(record("ODD", odd=b"1" + b"0" * 400)),
    "an integer beyond Python's bound": Odd(record("ODD", odd=b"9" * 5000)),
    "a count beyond Python's bound": Odd(record("ODD", total_count=b"9" * 5000), ".attributes.total_count"),
    "a huge exponent": Odd(record("ODD", total_count=b"1e999999999"), ".attributes.total_count"),
    "beyond 64 bits": Odd(record("ODD", total_count=b"9223372036854775808"), ".attributes.total_count"),
    "half a pair": Odd(record("ODD", status=b'"\\ud83d"')),
    "half a pair in extra": Odd(record("ODD", odd=b'"\\udc00 \\ud83d"')),
    "half a pair as a name": Odd(record("ODD", odd=b'{"\\ud83d": 1}')),
    "no UTF-8": Odd(record("ODD", odd=b'"\xff\xfe\xc0\x80"')),
    "NUL": Odd(record("ODD", status=b'"a\\u0000b"', odd=b'"\\u0000"')),
    "NUL in an error": Odd(record("ODD", errors=b'[{"detail": "\\u0000", "meta": {"id": "a\\u0000"}}]')),
    "the year 1": Odd(record("ODD", created_at=b'"0001-01-01T00:00:00+14:00"'), ".attributes.created_at"),
    "the year 9999": Odd(record("ODD", expires_at=b'"9999-12-31T23:59:59-14:00"'), ".attributes.expires_at"),
    "the year 10000": Odd(record("ODD", created_at=b'"10000-01-01T00:00:00Z"'), ".attributes.created_at"),
    "a long duration": Odd(record("ODD", created_at=b'"' + b"P" + b"9" * 5000 + b'Y"'), ".attributes.created_at"),
    "an odd digit": Odd(record("ODD", created_at='"٢٠٢٦-١١-٢٠T10:00:00Z"'.encode()), ".attributes.created_at"),
    "linkages of numbers": Odd(
        record("ODD").replace(b"}}", b'}, "relationships": {"items": {"data": 5}}}'), ".relationships.items.data"
    ),
}


def odd_case(odd: Odd) -> Callable[[Server, str], None]:
    body = page(job_object("BEFORE"), odd.text, job_object("AFTER"))
    return lambda server, key: server.deeds.__setitem__(f"{key} {ITEMS}", body)


ODD_CASES: Final[Group] = {name: odd_case(odd) for name, odd in ODD.items()}


@pytest.mark.parametrize("case", list(ODD))
def test_an_odd_record_does_not_cost_its_neighbours(read_together: ReadTogether, case: str) -> None:
    """The jobs beside it are loaded; the odd one is loaded too, or rejected at its path; the listing is complete."""
    ended = read_together(ODD_CASES, case)

    assert ended.outcome.error is None
    assert ended.ledger() == (True, None)
    path = ODD[case].path
    assert ended.rejected_paths() == ([] if path is None else [f"$.data[1]{path}"])
    assert ended.jobs() == (["AFTER", "BEFORE", "ODD"] if path is None else ["AFTER", "BEFORE"])
    assert ended.seconds < 20


# Details that are not what was asked for.


def test_a_detail_of_another_job_is_not_taken_for_the_job(server: Server, read: Read) -> None:
    """Both jobs stay as the listing showed them, the wrong answer is told, and is no detail of the job."""
    server.deeds[CATEGORIES] = page(category_job("C1"), category_job("C2"))
    wrong = {"data": category_job("C2", attributes={"status": "queued"}), "included": [category("K1", "Wrong")]}
    server.deeds[f"{CATEGORIES}/C1"] = answer(json.dumps(wrong).encode())
    server.deeds[f"{CATEGORIES}/C2"] = answer(json.dumps({"data": category_job("C2"), "included": []}).encode())

    ended = read("category-create")

    assert ended.warehouse.rows("select job_id, status from klaviyo_raw.jobs order by 1") == [
        ("C1", "complete"),
        ("C2", "complete"),
    ]
    # Once a bug: the answer counts as the detail of C1, silently, and is never asked for again.
    assert ended.summary.error is not None
    assert ended.warehouse.value("select detail_read_at from klaviyo_raw.jobs where job_id = 'C1'") is None


@pytest.mark.parametrize("order", [1, -1], ids=["later first", "later last"])
def test_a_detail_that_includes_an_id_twice_leaves_one_row(server: Server, read: Read, order: int) -> None:
    """Of two states of one category the later stays, wherever it stands."""
    server.deeds[CATEGORIES] = page(category_job("C1"))
    included = [
        category("K1", "Later", updated="2026-11-20T10:00:00+00:00"),
        category("K1", "Earlier", updated="2026-11-19T10:00:00+00:00"),
        category("K2", "Other"),
    ][::order]
    server.deeds[f"{CATEGORIES}/C1"] = answer(json.dumps({"data": category_job("C1"), "included": included}).encode())

    ended = read("category-create")

    assert ended.summary.error is None
    assert ended.warehouse.rows("select category_id, name from klaviyo_raw.categories order by 1") == [
        ("K1", "Later"),
        ("K2", "Other"),
    ]


def category(category_id: str, name: str, *, updated: str | None = None) -> Any:
    """Return an included category."""
    return {"type": "catalog-category", "id": category_id, "attributes": {"name": name, "updated": updated}}


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(answer(b"{}"), id="nothing"),
        pytest.param(answer(b"[]"), id="a list"),
        pytest.param(answer(b'{"data": null}'), id="null"),
        pytest.param(answer(b'{"data": [], "included": [null, 5, {}]}'), id="of other types"),
        pytest.param(answer(b'{"data": {}, "included": {}}'), id="included is an object"),
        pytest.param(answer(b'{"data": ' + DEEP + b"}"), id="deep"),
        pytest.param(answer(status="404 Not Found"), id="gone"),
        pytest.param(answer(status="304 Not Modified", length=None), id="304"),
        # Once a bug: what a server sends in place of a status line stands in the message as it is.
        pytest.param(b"\r\n\r\n", id="no HTTP"),
    ],
)
def test_a_bad_detail_costs_neither_its_job_nor_another(
    server: Server, read: Read, monkeypatch: pytest.MonkeyPatch, deed: Deed
) -> None:
    """The job is loaded as the listing showed it, and the jobs read before and after it as well."""
    set_network(monkeypatch, max_attempts=2)
    server.deeds[CATEGORIES] = page(*(category_job(job_id) for job_id in ("C1", "C2", "C3")))
    for job_id in ("C1", "C3"):
        body = {"data": category_job(job_id), "included": [category(f"K-{job_id}", "Good")]}
        server.deeds[f"{CATEGORIES}/{job_id}"] = answer(json.dumps(body).encode())
    server.deeds[f"{CATEGORIES}/C2"] = deed

    ended = read("category-create")

    assert ended.jobs() == ["C1", "C2", "C3"]
    assert (ended.summary.error is None) == (b"404" in deed if isinstance(deed, bytes) else False)
    if ended.summary.error is not None:
        assert_plain(ended.summary.error.headline)
    assert ended.seconds < 5


def test_one_bad_detail_does_not_keep_the_others_from_being_read(server: Server, read: Read) -> None:
    """A refusal that concerns one job costs that job's detail, in this run and in every other until the job expires."""
    ids = [f"C{number:03}" for number in range(400)]
    server.deeds[CATEGORIES] = page(*map(category_job, ids))
    for job_id in ids[1:]:
        body = {"data": category_job(job_id), "included": [category(f"K-{job_id}", "Good")]}
        server.deeds[f"{CATEGORIES}/{job_id}"] = answer(json.dumps(body).encode())
    server.deeds[f"{CATEGORIES}/{ids[0]}"] = answer(status="400 Bad Request")

    ended = read("category-create")

    assert isinstance(ended.outcome.error, StatusError)
    assert ended.jobs() == ids
    # Once a bug: once a failed detail has been taken note of, no further one is asked for.
    assert ended.warehouse.count("categories") == 399


# Answers without bounds, in a process whose memory is measured.

CHILD: Final = """
import json, sys, time
from pathlib import Path

from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import Settings


def peak():
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


base_url, kinds, warehouse = sys.argv[1:]
before, started = peak(), time.monotonic()
summary = run(Settings(base_url=base_url, api_key="pk_hostile_4711", kinds=kinds.split(",")), Path(warehouse))
print(json.dumps({
    "memory": peak() - before,
    "seconds": time.monotonic() - started,
    "errors": [outcome.error.headline if outcome.error else None for outcome in summary.outcomes],
    "rejected": summary.rejected_count,
}))
"""


def run_apart(server: Server, warehouse: Warehouse, *kinds: str) -> dict[str, Any]:
    """Run once in a process of its own and return how much memory it took more than at its start, and how it ended."""
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, server.base_url, ",".join(kinds), str(warehouse.path)],
        capture_output=True,
        text=True,
        env={**os.environ, "SOURCES__KLAVIYO_JOBS__MAX_ATTEMPTS": "2"},
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def spaces_of(mib: int) -> bytes:
    """Return one gzip member that unpacks to *mib* MiB of spaces: the same packed block over and over."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + block * mib


def sent_in_parts(head: bytes, part: bytes, count: int) -> Callable[[socket.socket], None]:
    """Return a deed that sends *head*, then *part* *count* times."""

    def deed(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(count):
            connection.sendall(part)

    return deed


BOMB: Final = spaces_of(10 * 1024)
CHUNK_OF_A_MIB: Final = b"100000\r\n" + b" " * MIB + b"\r\n"


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(sent_in_parts(answer(length=100 * MIB), b" " * MIB, 100), id="100 MB"),
        pytest.param(sent_in_parts(CHUNKED, CHUNK_OF_A_MIB, 10_000), id="10 GB in chunks"),
        pytest.param(answer(BOMB, "Content-Encoding: gzip"), id="10 GB packed"),
        pytest.param(answer(gzip.compress(BOMB), "Content-Encoding: gzip, gzip"), id="10 GB packed twice"),
    ],
)
def test_a_body_without_bounds_takes_bounded_memory(
    server: Server, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, deed: Deed
) -> None:
    """Reading stops at 64 MiB, packed or not: no more than a few times that is ever held, and the page before stays."""
    set_network(monkeypatch, max_attempts=1)
    server.serve_second(deed)

    ended = run_apart(server, warehouse, "item-create")

    assert "larger than 64 MiB" in ended["errors"][0]
    assert ended["memory"] < 256 * MIB
    assert ended["seconds"] < 15
    assert warehouse.rows("select job_id from klaviyo_raw.jobs") == [("GOOD",)]
    assert warehouse.value("select is_complete from klaviyo_raw.listings") is False


MANY: Final = b"[" + b"0," * 300_000 + b"0]"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"data": ' + MANY + b"}", id="data"),
        pytest.param(body_of_page(record("J1", errors=MANY)), id="errors"),
        pytest.param(
            body_of_page(record("J1").replace(b"}}", b'}, "relationships": {"items": {"data": ' + MANY + b"}}}")),
            id="linkages",
        ),
        pytest.param(body_of_page(record("J1", odd=b"NaN", more=MANY)), id="mended"),
    ],
)
def test_a_body_of_many_small_values_takes_bounded_memory(server: Server, warehouse: Warehouse, body: bytes) -> None:
    """Half a megabyte of tiny values, a hundredth of what a body may have, takes 150 MiB and ten seconds at most."""
    server.deeds[ITEMS] = answer(body)

    ended = run_apart(server, warehouse, "item-create")

    assert ended["memory"] < 150 * MIB
    assert ended["seconds"] < 10


def test_a_large_record_that_cannot_be_read_is_kept_cut(server: Server, read: Read) -> None:
    """What is kept of a bad record has a bound, so that no record fills the warehouse."""
    server.deeds[ITEMS] = page(record("ODD", total_count=b'"' + b"x" * (8 * MIB) + b'"'), job_object("GOOD"))

    ended = read()

    assert ended.jobs() == ["GOOD"]
    assert ended.warehouse.value("select max(length(raw)) from klaviyo_raw.rejected_records") <= MIB
