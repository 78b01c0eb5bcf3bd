"""Links and redirects that lead elsewhere, and listings without end."""

from __future__ import annotations

import itertools
import re
import socket

import pytest

from klaviyo_jobs.errors import PagingError, StatusError
from klaviyo_sandbox import Fault, Sandbox
from support.builders import job_object
from support.hostile import (
    CATEGORIES,
    ITEMS,
    SECOND,
    Read,
    Server,
    answer,
    assert_ended_early,
    category_job,
    page,
    set_network,
)

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
