"""Answers that take their time, and waits that a server asks for."""

from __future__ import annotations

from typing import Final

import pytest

from klaviyo_jobs.errors import UnavailableError
from klaviyo_sandbox import Fault, Sandbox
from support.hostile import (
    CHUNKED,
    Group,
    Read,
    ReadTogether,
    answer,
    assert_ended_early,
    endless,
    second,
    set_network,
    short,
)

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
