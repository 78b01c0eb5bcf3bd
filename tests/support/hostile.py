"""A server that answers byte by byte as a test says, and how a listing against it ended."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from klaviyo_jobs.errors import ApiError
from klaviyo_jobs.extract.outcomes import ListingOutcome
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.runs.run import RunSummary
from support.builders import job_object
from support.loads import Warehouse

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


def record(job_id: str, **texts: bytes) -> bytes:
    """Return the JSON of a job with *texts*, JSON of any kind, as attributes."""
    resource = json.dumps(job_object(job_id, attributes=dict.fromkeys(texts, "@"))).encode()
    for name, text in texts.items():
        resource = resource.replace(f'"{name}": "@"'.encode(), b'"' + name.encode() + b'": ' + text)
    return resource


def category_job(job_id: str, **members: Any) -> Any:
    """Return a job that has a detail with included categories."""
    return job_object(job_id, kind=KINDS["category-create"], **members)


# Deeper than any Python follows: until 3.13 that is a thousand levels, from 3.14 on what the stack holds.
DEEP: Final = b"[" * 1_000_000 + b"]" * 1_000_000
CHUNKED: Final = answer(b"", "Transfer-Encoding: chunked", length=None)


def set_network(monkeypatch: pytest.MonkeyPatch, **settings: float) -> None:
    """Set how patiently the API is read, as a user does."""
    for name, value in settings.items():
        monkeypatch.setenv(f"SOURCES__KLAVIYO_JOBS__{name.upper()}", str(value))


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


# A group of cases runs as one load, each case an account of its own.
Group = dict[str, Callable[[Server, str], None]]
ReadTogether = Callable[[Group, str], Ended]


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


short = pytest.mark.usefixtures("_short")
