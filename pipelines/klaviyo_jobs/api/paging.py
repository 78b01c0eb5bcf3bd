"""
Follow one listing of bulk jobs from its first page to its last.

In:     a job kind from `kinds`, and how long a list may be, from `values`.
Out:    pages in the order served; `data` holds the JSON of each resource object, untouched.
Ends:   when `links.next` is absent, null or empty. An empty page is not an end.
        A cursor that is refused starts it again, once.
Source: Klaviyo API, revision 2026-07-15, "Get Bulk Create Catalog Items Jobs" and its twelve siblings.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final
from urllib.parse import urljoin, urlsplit

import msgspec
import pendulum

from klaviyo_jobs.addresses import is_disguised, origin_of
from klaviyo_jobs.api.client import Answer, Client, Meter
from klaviyo_jobs.errors import PagingError, StatusError
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.model.kinds import JobKind
from klaviyo_jobs.model.values import MOST_ELEMENTS


class Links(msgspec.Struct):
    """The `links` of a page; first, last, prev and self are of no use here."""

    next: str | None = None


class PageBody(msgspec.Struct):
    """One answer of a list endpoint: `{"data": [{...}, ...], "links": {"next": "https://..." or null}}`."""

    data: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MOST_ELEMENTS)]
    links: Links | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """
    One answer of a listing.

    Attributes:
        number: Counted from 1.
        url: What was asked for.
        data: The JSON of 0 to 100 resource objects, as they came: `Client.blank` is to be called for those used.
        received_at: When its last byte arrived (UTC).
    """

    number: int
    url: str
    data: list[msgspec.Raw]
    received_at: pendulum.DateTime


@dataclass(frozen=True, slots=True)
class Below:
    """
    A paged list below a listing: that of the errors of one job.

    Attributes:
        path: Where it is.
        name: What messages call it.
        params: What its first page is asked for with.
    """

    path: str
    name: str
    params: Mapping[str, str]


_JOBS_BEFORE: Final = (
    "the jobs up to this page are loaded; what comes after it is not, and no absence was concluded from it."
)
_ERRORS_AGAIN: Final = (
    "the job is loaded without them, and keeps those that were stored; the next run asks for them again."
)
_decode_page = msgspec.json.Decoder(PageBody).decode


def iter_pages(
    client: Client, kind: JobKind, meter: Meter, below: Below | None = None, *, is_ahead: bool = True
) -> Generator[Page]:
    """
    Yield every page of the listing of *kind*, first to last.

    The next page is on its way while the caller works on this one: a listing is a chain that nothing else can shorten.

    Args:
        client: Sends one request; has already waited and retried where that could help.
        kind: Whose listing to read.
        meter: Counts the requests.
        below: The list to read instead.
        is_ahead: Whether the next page is asked for before the caller wants it.
    Yields:
        Pages numbered from 1, each with 0 to 100 resource objects.
    Raises:
        PagingError: `links.next` repeats an earlier link, leads to another origin, or the pages do not end.
        ApiError, KeyRefusedError, RevisionError, ClosedError: As `Client.fetch`.
    """
    name = below.name if below else kind.name
    first = client.base_url + (below.path if below else kind.list_path)
    url = first
    followed: set[str] = set()
    data = _JOBS_BEFORE if below is None else _ERRORS_AGAIN

    def fetch(number: int, link: str) -> Answer[PageBody]:
        params = (below.params if below else kind.list_params) if link == first else None
        where = f"{name}, page {number}"
        return client.fetch(where, link, _decode_page, kind=kind, meter=meter, params=params or None, blanks=False)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"pages-{kind.name}") as ahead:
        # The first page in this thread: most listings have no other, and to start a thread costs more than to read one.
        coming: Callable[[], Answer[PageBody]] | None = partial(fetch, 1, url)
        number = 0
        may_restart = below is None
        while coming is not None:
            try:
                answer, coming, number = coming(), None, number + 1
            except StatusError as error:
                if not (may_restart and error.status == 400 and number > 0 and "cursor" in error.detail.lower()):
                    raise
                # A cursor does not live for ever; jobs read before are recognised when they come again.
                LOGGER.info("%s/%s: %s The listing starts again.", client.account, kind.name, error.message)
                may_restart, url, followed = False, first, set()
                coming = partial(fetch, number + 1, url)
                continue
            page = Page(number, url, answer.body.data, answer.received_at)
            followed.add(url)
            problem = None
            if answer.body.links is not None and (link := answer.body.links.next):
                url = _absolute(link, url)
                problem = _problem_of_next(client, f"{name}, page {number}", number, url, followed, data)
                if problem is None:
                    following = partial(fetch, number + 1, url)
                    coming = ahead.submit(following).result if is_ahead else following
            yield page
            if problem is not None:
                raise problem


def _absolute(link: str, page: str) -> str:
    """
    Return where *link* of *page* leads: it may be relative.

    What has no plain reading, or would be another endpoint's, stays as it is and is refused.
    """
    try:
        if is_disguised(link) or urlsplit(link).scheme:
            return link
        absolute = urljoin(page, link)
        return absolute if urlsplit(absolute).path == urlsplit(page).path else link
    except ValueError:
        return link


def _problem_of_next(
    client: Client, page: str, number: int, url: str, followed: set[str], data: str
) -> PagingError | None:
    """Return why the link *url* of the page of that *number*, called *page*, must not be followed, or None."""
    where = f"{page}: links.next"
    if url in followed:
        return PagingError(
            f"{where} repeats the link of an earlier page; reading on would not end.",
            data=data,
            next_step="run again; if it repeats, report it to Klaviyo with the time of this run.",
        )
    try:
        is_foreign = origin_of(url) != origin_of(client.base_url)
    except ValueError:
        is_foreign = True
    if is_foreign:
        return PagingError(
            f"{where} leads away from {client.base_url}; the API key must not follow it.",
            data=data,
            next_step="check `base_url`; behind a proxy it must be the address that the links name.",
        )
    if number >= client.network.max_pages:
        return PagingError(
            f"{where} goes on after {number} pages (max_pages).",
            data=data,
            next_step="run again; raise `max_pages` if the account really has that many jobs.",
        )
    return None
