"""Pages that are not what HTTP or the API promise, and records that are hard to read among good ones."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from klaviyo_jobs.errors import ApiError, PagingError, StatusError, UnavailableError
from support.builders import job_object
from support.hostile import (
    DEEP,
    ITEMS,
    Deed,
    Group,
    Read,
    ReadTogether,
    Server,
    answer,
    assert_ended_early,
    body_of_page,
    page,
    record,
    second,
    set_network,
)

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
    "UTF-16": (answer(body_of_page().decode().encode("utf-16")), UnavailableError, "not the"),
    "deep, cut": (answer(b"[" * 100_000), UnavailableError, "not the API's JSON"),
    "data twice": (answer(b'{"data": [], "data": {}}'), UnavailableError, "JSON of another shape than the API's"),
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
        answer(b'{"errors": [{"detail": ' + DEEP + b"}]}", status="500 Oh"),
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
