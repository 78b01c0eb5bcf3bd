"""Following a listing: page by page, along the links as they were served, to the end and nowhere else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from klaviyo_jobs.api.client import Meter
from klaviyo_jobs.api.paging import Page, iter_pages
from klaviyo_jobs.errors import KlaviyoJobsError, PagingError, StatusError, UnavailableError
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_sandbox import Fault, Sandbox
from support.builders import job_object
from support.clients import PATH, client_of
from support.jobs import add_jobs

KIND = KINDS["item-create"]


def read(sandbox: Sandbox, **network: Any) -> tuple[list[Page], KlaviyoJobsError | None]:
    """Return the pages that are yielded, and the error that ended them."""
    pages: list[Page] = []
    try:
        for page in iter_pages(client_of(sandbox, **network), KIND, Meter()):
            pages.append(page)  # noqa: PERF402 - the pages before an error count
    except KlaviyoJobsError as error:
        return pages, error
    return pages, None


def ids_on(pages: list[Page]) -> list[str]:
    return [msgspec.json.decode(raw)["id"] for page in pages for raw in page.data]


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, [0]), (1, [1]), (100, [100]), (101, [100, 1]), (350, [100, 100, 100, 50])]
)
def test_every_job_is_on_one_page_in_the_order_served(sandbox: Sandbox, count: int, sizes: list[int]) -> None:
    """A listing of any length is read to its end, a hundred jobs a page, with one request a page."""
    ids = add_jobs(sandbox, count)

    pages, error = read(sandbox)

    assert error is None
    assert [len(page.data) for page in pages] == sizes
    assert [page.number for page in pages] == list(range(1, len(sizes) + 1))
    assert ids_on(pages) == ids
    assert len(sandbox.requests) == len(sizes)


def test_the_next_request_is_exactly_the_link_that_was_served(sandbox: Sandbox) -> None:
    """The first request has no parameters; the second is `links.next` byte for byte, its escapes untouched."""
    query = "fields%5Bcatalog-item-bulk-create-job%5D=status%2Ccreated_at&page%5Bcursor%5D=bmV4dDo6aWQ6OjAx"
    link = f"{sandbox.base_url}{PATH}?{query}"
    sandbox.world.replay_list(KIND.name, {"data": [], "links": {"next": link}})
    sandbox.world.replay_list(KIND.name, {"data": [], "links": {"next": None}}, cursor="bmV4dDo6aWQ6OjAx")

    pages, error = read(sandbox)

    assert error is None
    assert [(request.path, request.raw_query) for request in sandbox.requests] == [(PATH, ""), (PATH, query)]
    assert pages[1].url == link


def test_every_request_is_a_get_with_the_revision(sandbox: Sandbox) -> None:
    """Each page is asked for with the configured revision."""
    add_jobs(sandbox, 101)

    read(sandbox)

    assert [(request.method, request.revision) for request in sandbox.requests] == [("GET", "2026-07-15")] * 2


@pytest.mark.parametrize(
    "body",
    [
        {"data": [], "links": {"self": "x", "next": None}},
        {"data": [], "links": {"self": "x"}},
        {"data": [], "links": {}},
        {"data": [], "links": None},
        {"data": []},
        {"data": [], "links": {"next": ""}},
    ],
    ids=["null", "absent", "no links", "links null", "links absent", "empty"],
)
def test_a_listing_ends_where_there_is_no_next_link(sandbox: Sandbox, body: object) -> None:
    """Null, absent and empty mean the same."""
    sandbox.world.replay_list(KIND.name, body)

    pages, error = read(sandbox)

    assert (len(pages), error, len(sandbox.requests)) == (1, None, 1)


def test_an_empty_page_in_the_middle_is_not_the_end(sandbox: Sandbox) -> None:
    """Jobs behind an empty page are read."""

    def link(cursor: str) -> str:
        return f"{sandbox.base_url}{PATH}?page%5Bcursor%5D={cursor}"

    sandbox.world.replay_list(KIND.name, {"data": [job_object("J1")], "links": {"next": link("b")}})
    sandbox.world.replay_list(KIND.name, {"data": [], "links": {"next": link("c")}}, cursor="b")
    sandbox.world.replay_list(KIND.name, {"data": [job_object("J2")], "links": {"next": None}}, cursor="c")

    pages, error = read(sandbox)

    assert error is None
    assert [len(page.data) for page in pages] == [1, 0, 1]
    assert ids_on(pages) == ["J1", "J2"]


def test_a_page_that_links_to_itself_ends_the_listing_with_an_error(sandbox: Sandbox) -> None:
    """The pages before the repeated link are yielded, that page included, and it is asked for no third time."""
    ids = add_jobs(sandbox, 250)
    sandbox.faults.append(Fault("repeat-link", after=1))

    pages, error = read(sandbox)

    assert isinstance(error, PagingError)
    assert error.headline == (
        "PagingError: item-create, page 2: links.next repeats the link of an earlier page; reading on would not end."
    )
    assert ids_on(pages) == ids[:200]
    assert len(sandbox.requests) == 2


def test_the_first_page_repeated_as_a_full_link_ends_the_listing(sandbox: Sandbox) -> None:
    """A first page whose next link is its own address is found out, though it was asked for by its path."""
    ids = add_jobs(sandbox, 3)
    sandbox.faults.append(Fault("repeat-link"))

    pages, error = read(sandbox)

    assert isinstance(error, PagingError)
    assert ids_on(pages) == ids
    assert len(sandbox.requests) == 1


def test_pages_that_link_to_each_other_end_the_listing_with_an_error(sandbox: Sandbox) -> None:
    """A, B, A again: the repeat is seen although it is not the page before."""
    ids = add_jobs(sandbox, 350)
    sandbox.faults.append(Fault("aba-cursor"))

    pages, error = read(sandbox)

    assert isinstance(error, PagingError)
    assert "page 3: links.next repeats the link of an earlier page" in error.headline
    assert ids_on(pages) == ids[:300]
    assert len(sandbox.requests) == 3


def test_a_listing_without_end_is_left_at_a_bound(sandbox: Sandbox) -> None:
    """Fresh cursors for ever end at the cap on pages, with what was read before."""
    ids = add_jobs(sandbox, 3)
    sandbox.faults.append(Fault("endless-cursor"))

    pages, error = read(sandbox, max_pages=5)

    assert isinstance(error, PagingError)
    assert error.headline == "PagingError: item-create, page 5: links.next goes on after 5 pages (max_pages)."
    assert ids_on(pages) == ids
    assert len(sandbox.requests) == 5


def test_a_link_to_another_origin_is_not_followed(sandbox: Sandbox, other: Sandbox) -> None:
    """The other server gets no request at all; the page that held the link is yielded, then the error comes."""
    ids = add_jobs(sandbox, 150)
    sandbox.faults.append(Fault("foreign-link", other.base_url))

    pages, error = read(sandbox)

    assert isinstance(error, PagingError)
    assert error.headline == (
        f"PagingError: item-create, page 1: links.next leads away from {sandbox.base_url}; "
        "the API key must not follow it."
    )
    assert ids_on(pages) == ids[:100]
    assert other.requests == []


@pytest.mark.parametrize(
    "link",
    [
        "https://{own}{path}",
        "http://{foreign}{path}",
        "http://{own}@{foreign}{path}",
        # urllib and urllib3 disagree on where the host of this one ends.
        "http://{foreign}\\@{own}{path}",
        "http://{own}.{foreign}{path}",
        "//{foreign}{path}",
        "/\\{foreign}{path}",
        "http://[{path}",
        "http://127.0.0.1:99999{path}",
        "ftp://{own}{path}",
        "not a link",
        "another-endpoint?page%5Bcursor%5D=b",
    ],
)
def test_a_link_that_is_not_below_the_configured_origin_is_not_followed(
    sandbox: Sandbox, other: Sandbox, link: str
) -> None:
    """Another scheme, host or port, a disguised host and what is no absolute link at all: no request follows."""
    own, foreign = (server.base_url.removeprefix("http://") for server in (sandbox, other))
    url = link.format(own=own, foreign=foreign, path=PATH)
    sandbox.world.replay_list(KIND.name, {"data": [job_object("J1")], "links": {"next": url}})

    pages, error = read(sandbox)

    assert isinstance(error, PagingError)
    assert ids_on(pages) == ["J1"]
    assert other.requests == []
    assert len(sandbox.requests) == 1


def test_the_pages_before_a_failure_are_yielded(sandbox: Sandbox) -> None:
    """An API that fails on page 3 leaves pages 1 and 2; the error names the page."""
    ids = add_jobs(sandbox, 350)
    sandbox.faults.append(Fault("status", "503", after=2))

    pages, error = read(sandbox)

    assert isinstance(error, UnavailableError)
    assert error.headline.startswith(f"UnavailableError: item-create, page 3: {sandbox.base_url} answered 503")
    assert ids_on(pages) == ids[:200]


@pytest.mark.parametrize(
    "body",
    [
        {"data": {}},
        {"data": None},
        {"links": {"next": None}},
        {"errors": []},
        [],
        None,
        {"data": [], "links": {"next": 5}},
        {"data": [], "links": []},
    ],
)
def test_a_body_that_is_no_page_is_an_error_and_no_empty_listing(sandbox: Sandbox, body: object) -> None:
    """Missing page data is never taken for "no jobs"."""
    sandbox.world.replay_list(KIND.name, body if body is not None else b"null")

    pages, error = read(sandbox)

    assert isinstance(error, UnavailableError)
    assert pages == []


def test_a_page_of_another_shape_is_asked_for_once_more_and_named(sandbox: Sandbox) -> None:
    """What is whole and wrong is likely to come again: half a minute of attempts would change nothing."""
    sandbox.world.replay_list(KIND.name, {"data": {"items": []}})

    _, error = read(sandbox)

    assert len(sandbox.requests) == 2
    assert error is not None
    assert error.headline == (
        f"UnavailableError: item-create, page 1: {sandbox.base_url} answered 200 with JSON of another shape than the "
        "API's (Expected `array`, got `object` - at `$.data`); gave up after 2 attempts."
    )
    assert error.next_step == (
        "check `base_url`, and what stands between it and this machine; if it is Klaviyo that answers, try another "
        "`revision`."
    )


@pytest.mark.parametrize(
    "link",
    [
        "{path}?page%5Bcursor%5D=b",
        "?page%5Bcursor%5D=b",
        "catalog-item-bulk-create-jobs?page%5Bcursor%5D=b",
        "//{own}{path}?page%5Bcursor%5D=b",
    ],
    ids=["path", "query", "name", "host"],
)
def test_a_link_may_be_relative_to_its_page(sandbox: Sandbox, link: str) -> None:
    """As in any document: what is left out is that of the page."""
    url = link.format(own=sandbox.base_url.removeprefix("http://"), path=PATH)
    sandbox.world.replay_list(KIND.name, {"data": [job_object("J1")], "links": {"next": url}})
    sandbox.world.replay_list(KIND.name, {"data": [job_object("J2")]}, cursor="b")

    pages, error = read(sandbox)

    assert error is None
    assert ids_on(pages) == ["J1", "J2"]


def test_a_job_that_moves_to_the_next_page_is_yielded_twice(sandbox: Sandbox) -> None:
    """Pages are handed on as served; who counts jobs has to know that a growing list shows one twice."""
    ids = add_jobs(sandbox, 150)
    sandbox.faults.append(Fault("list-moves"))

    pages, error = read(sandbox)

    assert error is None
    assert ids_on(pages) == [*ids[:100], ids[99], *ids[100:]]


def test_leaving_off_in_the_middle_stops_reading(sandbox: Sandbox) -> None:
    """A reader that stops after a page leaves at most the one request that was under way."""
    add_jobs(sandbox, 350)

    pages = iter_pages(client_of(sandbox), KIND, Meter())
    next(pages)
    pages.close()

    assert len(sandbox.requests) <= 2


def test_the_meter_counts_every_request(sandbox: Sandbox) -> None:
    """Retries are counted as requests and as retries."""
    add_jobs(sandbox, 150)
    sandbox.faults.append(Fault("status", "500", nth=2))
    meter = Meter()

    list(iter_pages(client_of(sandbox), KIND, meter))

    assert (meter.request_count, meter.retry_count) == (3, 1)


def test_a_refused_cursor_starts_the_listing_again_once(sandbox: Sandbox) -> None:
    """A cursor that is no longer known is answered 400: the pages are read from the first on, and come to an end."""
    ids = add_jobs(sandbox, 150)
    sandbox.world.replay_list(
        KIND.name,
        {"data": [job_object(ids[0])], "links": {"next": f"{sandbox.base_url}{PATH}?page%5Bcursor%5D=stale"}},
    )
    pages = iter_pages(client_of(sandbox), KIND, Meter())

    first = next(pages)
    sandbox.world.clear_replays()
    rest = list(pages)

    assert ids_on([first]) == [ids[0]]
    assert ids_on(rest) == ids
    assert [page.number for page in rest] == [2, 3]


def test_a_cursor_that_is_refused_again_ends_the_listing(sandbox: Sandbox) -> None:
    """Starting again once is enough: the second refusal is the listing's error."""
    stale = f"{sandbox.base_url}{PATH}?page%5Bcursor%5D=stale"
    sandbox.world.replay_list(KIND.name, {"data": [job_object("J1")], "links": {"next": stale}})

    pages, error = read(sandbox)

    assert isinstance(error, StatusError)
    assert error.detail == ": Invalid cursor provided."
    assert ids_on(pages) == ["J1", "J1"]
