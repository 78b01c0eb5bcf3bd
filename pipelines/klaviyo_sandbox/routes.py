"""
From a request to a response: key, rate limit, revision, scope, path, method, query; then the page or the job.

In:     a request, and the account whose key it carries.
Out:    a response; every refusal is a JSON:API error.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from klaviyo_sandbox.errors import (
    ApiError,
    invalid_cursor,
    missing_scope,
    no_such_job,
    not_found,
    throttled,
    wrong_key,
    wrong_method,
)
from klaviyo_sandbox.exchange import Request, Response
from klaviyo_sandbox.jobs import JobError, RawJob
from klaviyo_sandbox.kinds import JobKind
from klaviyo_sandbox.query import (
    CURSOR,
    Cursor,
    ListQuery,
    parse_detail_query,
    parse_errors_query,
    parse_list_query,
    url_with,
)
from klaviyo_sandbox.render import Renderer, encode_json, import_error
from klaviyo_sandbox.revisions import SHAPES, Shape, shape_for
from klaviyo_sandbox.state import Account
from klaviyo_sandbox.world import THE_END, Page, World

_KEY_SCHEME = "Klaviyo-API-Key "
_OPT_OUT = "X-Klaviyo-Revision-Fall-Forward-Opt-Out"


class Api:
    """Answers requests. It holds no connection and no socket."""

    def __init__(self, accounts: Mapping[str, Account], *, serve_retired: bool) -> None:
        """
        Args:
            accounts: By label; looked up anew for each request.
            serve_retired: Serve retired revisions as they were in their time.
        """
        self._accounts = accounts
        self._serve_retired = serve_retired
        self._renderer = Renderer()

    def account_of(self, request: Request) -> Account | None:
        """The account whose key the request carries, or none."""
        given = request.headers.get("Authorization", "")
        return next(
            (each for each in self._accounts.values() if given == f"{_KEY_SCHEME}{each.key}"),
            None,
        )

    def answer(self, request: Request, account: Account | None, now: datetime) -> Response:
        """
        Args:
            request: The request.
            account: What `account_of` said of it.
            now: For job states, expiry and revisions.
        """
        shape = SHAPES[-1]
        headers: dict[str, str] = {}
        try:
            if account is None:
                raise wrong_key()
            rate_class = request.kind.rate_class if request.kind else "wide"
            wait = account.meter.take(rate_class)
            if wait is not None:
                raise throttled(str(wait), seconds=wait)
            headers = account.meter.headers(rate_class)
            shape = shape_for(
                request.headers.get("revision"),
                today=now.date(),
                serve_retired=self._serve_retired,
                opted_out=request.headers.get(_OPT_OUT) == "1",
            )
            if request.kind and not request.kind.scopes.issubset(account.scopes):
                raise missing_scope()
            status, body = 200, self._body(request, account.world, shape, now)
        except ApiError as error:
            status, body = error.status, encode_json(error.document())
            headers = headers | error.headers
        return Response(status, body, {"Content-Type": shape.media_type, **headers})

    def _body(self, request: Request, world: World, shape: Shape, now: datetime) -> bytes:
        if request.target is None:
            raise not_found("The path does not exist.")
        if request.method != "GET":
            raise wrong_method(request.method)
        kind, job_id, is_of_errors = request.target
        if job_id is None:
            return self._list(request, kind, world, shape, now)
        if is_of_errors:
            return self._import_errors(request, kind, job_id, world, shape, now)
        return self._detail(request, kind, job_id, world, shape, now)

    def _list(self, request: Request, kind: JobKind, world: World, shape: Shape, now: datetime) -> bytes:
        query = parse_list_query(request.raw_query, kind, shape)
        replay = world.replay_of_list(kind.name, query.cursor)
        if replay is not None:
            return _as_bytes(replay)
        cursor = None if query.cursor is None else Cursor.decode(query.cursor)
        try:
            page = world.page(
                kind.name,
                now,
                passes=query.passes,
                size=query.size,
                is_ascending=query.is_ascending,
                after=cursor.job_id if cursor and cursor.direction == "next" else None,
                before=cursor.job_id if cursor and cursor.direction == "prev" else None,
            )
        except KeyError:
            raise invalid_cursor() from None
        links = _page_links(f"{request.base_url}/api/{kind.collection}", query, shape, *_cursors_of(page))
        # One join: a page of big jobs is close to a megabyte, and each further copy costs more than finding the jobs.
        parts = [b'{"data":[']
        for entry in page.entries:
            parts += [self._renderer.job(entry, now, shape, request.base_url, query.fields), b","]
        if page.entries:
            parts.pop()
        return b"".join([*parts, b'],"links":', encode_json(links), b"}"])

    def _detail(self, request: Request, kind: JobKind, job_id: str, world: World, shape: Shape, now: datetime) -> bytes:
        query = parse_detail_query(request.raw_query, kind, shape)
        replay = world.replay_of_detail(kind.name, job_id)
        if replay is not None:
            return _as_bytes(replay)
        entry = world.find(kind.name, job_id, now)
        if entry is None:
            raise no_such_job(kind, job_id)
        parts = [b'{"data":', self._renderer.job(entry, now, shape, request.base_url, query.fields)]
        if query.wants_included:
            included = self._renderer.included(entry, now, shape, request.base_url, query.related_fields, world)
            parts += [b',"included":', included]
        if shape.has_detail_self:
            pairs = [pair for pair in query.pairs if kind.self_has_fields or not pair[0].startswith("fields[")]
            self_link = url_with(f"{request.base_url}/api/{kind.collection}/{job_id}", pairs)
            parts += [b',"links":', encode_json({"self": self_link})]
        return b"".join([*parts, b"}"])

    def _import_errors(
        self, request: Request, kind: JobKind, job_id: str, world: World, shape: Shape, now: datetime
    ) -> bytes:
        query = parse_errors_query(request.raw_query)
        replay = world.replay_of_errors(kind.name, job_id, query.cursor)
        if replay is not None:
            return _as_bytes(replay)
        entry = world.find(kind.name, job_id, now)
        if entry is None:
            raise no_such_job(kind, job_id)
        errors = () if isinstance(entry, RawJob) else entry.at(now).errors or ()
        start = 0 if query.cursor is None else _offset_of(query.cursor)
        on_page, end = errors[start : start + query.size], start + query.size
        following = Cursor("next", str(end)).encode() if end < len(errors) else None
        previous = Cursor("next", str(max(0, start - query.size))).encode() if start else None
        url = f"{request.base_url}/api/{kind.collection}/{quote(job_id, safe='')}/import-errors"
        # A raw one is served as it is, whatever is asked for.
        data = [
            import_error(each.import_error(), query.fields) if isinstance(each, JobError) else each for each in on_page
        ]
        return encode_json({"data": data, "links": _page_links(url, query, shape, following, previous)})


def _offset_of(cursor: str) -> int:
    offset = Cursor.decode(cursor).job_id
    if not offset.isdecimal():
        raise invalid_cursor()
    return int(offset)


def _cursors_of(page: Page) -> tuple[str | None, str | None]:
    """The cursors of the next and of the previous page, as far as there are such."""
    following = Cursor("next", page.entries[-1].id).encode() if page.has_next else None
    previous = Cursor("prev", page.entries[0].id).encode() if page.has_previous and page.entries else None
    return following, previous


def _page_links(
    url: str, query: ListQuery, shape: Shape, following: str | None, previous: str | None
) -> dict[str, str | None]:
    url += "/" if shape.path_ends_in_slash else ""

    def link(cursor: str | None) -> str:
        return url_with(url, query.pairs if cursor is None else [*query.pairs, (CURSOR, cursor)])

    links: dict[str, str | None] = {"self": link(query.cursor)}
    if shape.has_first_and_last:
        links |= {"first": link(None), "last": link(Cursor("prev", THE_END).encode())}
    for name, cursor in (("next", following), ("prev", previous)):
        if cursor is not None or shape.serves_nulls:
            links[name] = None if cursor is None else link(cursor)
    return links


def _as_bytes(replay: Any) -> bytes:
    return replay if isinstance(replay, bytes) else encode_json(replay)
