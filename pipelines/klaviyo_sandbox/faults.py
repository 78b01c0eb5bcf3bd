"""
Faults: what can go wrong between a client and the API, each by name, applied by rule.

To add one, write a function that changes a response and decorate it with its name; `--help` shows its docstring.
A fault acts on what would have been answered; a refused key and a real 429 are left alone.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from klaviyo_sandbox.errors import ApiError, no_such_job, server_error, throttled
from klaviyo_sandbox.exchange import Request, Response
from klaviyo_sandbox.jobs import digest
from klaviyo_sandbox.kinds import check_kind
from klaviyo_sandbox.query import CURSOR, Cursor, url_with
from klaviyo_sandbox.render import encode_json
from klaviyo_sandbox.world import PAGE_SIZE

_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_MIB = 1024 * 1024
_RULES = {
    "kind": str,
    "endpoint": str,
    "account": str,
    "path": str,
    "nth": int,
    "after": int,
    "one_in": int,
    "times": int,
}
_SPEC = re.compile(rf"(?P<name>[a-z0-9-]+)(:(?P<argument>.*?))?(@(?P<rules>(?:{'|'.join(_RULES)})=.*))?")

_Effect = Callable[[Response, Request, "Fault"], None]


class _Definition(NamedTuple):
    """What a fault does, the argument it takes unless given one, and how a given one is checked."""

    effect: _Effect
    default: str
    check: Callable[[str], object]


FAULTS: dict[str, _Definition] = {}


@dataclass(slots=True)
class Fault:
    """
    One fault and the rule that says which requests it is applied to: those that match every condition given.

    Attributes:
        name: One of `FAULTS`.
        argument: What the fault takes, e.g. a status or seconds.
        kind: Only this job kind.
        endpoint: Only `list`, `detail` or `errors`.
        account: Only this account.
        path: Only URLs (path and query) that contain this text.
        nth: Only the nth matching request, counted from 1.
        after: Not the first so many matching requests.
        one_in: One matching request in so many, chosen by *seed*.
        times: At most so often.
        seen: How many requests have matched so far.
        applied: To how many of these it was applied.
        memory: What a fault keeps from one request to the next.
    """

    name: str
    argument: str = ""
    kind: str | None = None
    endpoint: str | None = None
    account: str | None = None
    path: str | None = None
    nth: int | None = None
    after: int = 0
    one_in: int = 1
    times: int | None = None
    seed: int = 0
    seen: int = 0
    applied: int = 0
    memory: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ValueError(f"there is no fault {self.name!r}; known: {', '.join(sorted(FAULTS))}")
        self.argument = self.argument or FAULTS[self.name].default
        FAULTS[self.name].check(self.argument)
        if self.kind is not None:
            check_kind(self.kind)
        if self.endpoint not in (None, "list", "detail", "errors"):
            raise ValueError(f"endpoint is 'list', 'detail' or 'errors', not {self.endpoint!r}")
        if self.one_in < 1:
            raise ValueError(f"one_in is at least 1, not {self.one_in}")

    def apply(self, response: Response, request: Request, account: str) -> None:
        """Change *response* if the rule says so."""
        if self._matches(request, account) and self._is_due():
            self.applied += 1
            response.faults.append(self.name)
            FAULTS[self.name].effect(response, request, self)

    def _matches(self, request: Request, account: str) -> bool:
        return (
            (self.kind is None or (request.kind is not None and request.kind.name == self.kind))
            and self.endpoint in (None, request.endpoint)
            and self.account in (None, account)
            and (self.path is None or self.path in request.path_and_query)
        )

    def _is_due(self) -> bool:
        self.seen += 1
        return (
            self.nth in (None, self.seen)
            and self.seen > self.after
            and (self.times is None or self.applied < self.times)
            and int.from_bytes(digest(str(self.seed), str(self.seen), size=4)) % self.one_in == 0
        )


def parse_fault(spec: str, *, seed: int = 0) -> Fault:
    """
    Read `NAME[:ARGUMENT][@RULE=VALUE,...]`, e.g. `status:503@kind=item-create,times=2`.

    Raises:
        ValueError: Not of that form, or an unknown name, rule or value.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(f"{spec!r} is not of the form NAME[:ARGUMENT][@RULE=VALUE,...] with rules {', '.join(_RULES)}")
    rules: dict[str, Any] = {}
    for rule in filter(None, (match["rules"] or "").split(",")):
        name, _, value = rule.partition("=")
        if name not in _RULES:
            raise ValueError(f"there is no rule {name!r}; known: {', '.join(_RULES)}")
        rules[name] = _RULES[name](value)
    return Fault(match["name"], match["argument"] or "", seed=seed, **rules)


def describe_faults() -> str:
    """One line a fault, for `--help`."""
    width = max(map(len, FAULTS)) + 2
    return "\n".join(f"  {name:<{width}}{(each.effect.__doc__ or '').strip()}" for name, each in FAULTS.items())


def _fault(name: str, default: str = "", check: Callable[[str], object] = str) -> Callable[[_Effect], _Effect]:
    def register(effect: _Effect) -> _Effect:
        FAULTS[name] = _Definition(effect, default, check)
        return effect

    return register


def _check_url(argument: str) -> None:
    if not argument.startswith(("http://", "https://")):
        raise ValueError(f"a URL is needed, not {argument!r}")


@_fault("status", "500", int)
def _status(response: Response, request: Request, fault: Fault) -> None:
    """Answer with this status (500 unless given) and the API's body for it."""
    _set_error(response, server_error(int(fault.argument)))


@_fault("html", "502", int)
def _html(response: Response, request: Request, fault: Fault) -> None:
    """Answer with this status (502 unless given) and a proxy's HTML page."""
    response.status, response.body, response.headers = int(fault.argument), _HTML, {"Content-Type": "text/html"}


@_fault("429", "1")
def _too_many(response: Response, request: Request, fault: Fault) -> None:
    """Answer 429; Retry-After is the argument: seconds (1 unless given), `date`, `huge` or `none`."""
    in_a_second = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    named: dict[str, str | None] = {"date": in_a_second, "huge": "86400", "none": None}
    _set_error(response, throttled(named.get(fault.argument, fault.argument)))


@_fault("reset")
def _reset(response: Response, request: Request, fault: Fault) -> None:
    """Reset the connection instead of answering."""
    response.is_reset = True


@_fault("cut")
def _cut(response: Response, request: Request, fault: Fault) -> None:
    """Close the connection after half of the promised body."""
    response.is_cut = True


@_fault("empty-body")
def _empty_body(response: Response, request: Request, fault: Fault) -> None:
    """Answer 200 with nothing in it."""
    response.body = b""


@_fault("slow", "2", float)
def _slow(response: Response, request: Request, fault: Fault) -> None:
    """Wait so many seconds (2 unless given) before answering."""
    response.delay_seconds += float(fault.argument)


@_fault("drip", "2", float)
def _drip(response: Response, request: Request, fault: Fault) -> None:
    """Send the body in small pieces over so many seconds (2 unless given)."""
    response.drip_seconds = float(fault.argument)


@_fault("redirect", check=_check_url)
def _redirect(response: Response, request: Request, fault: Fault) -> None:
    """Answer 302 to the URL given."""
    response.status, response.body, response.headers = 302, b"", {"Location": fault.argument}


@_fault("expired-job")
def _expired_job(response: Response, request: Request, fault: Fault) -> None:
    """Answer a detail with 404, as if the job had expired since it was listed."""
    if request.kind and request.job_id:
        _set_error(response, no_such_job(request.kind, request.job_id))


@_fault("invalid-json")
def _invalid_json(response: Response, request: Request, fault: Fault) -> None:
    """Answer with the first half of the body, properly framed."""
    response.body = response.body[: len(response.body) // 2]


@_fault("nan")
def _nan(response: Response, request: Request, fault: Fault) -> None:
    """Write NaN, which is not JSON, as the total_count of every job."""
    _edit_jobs(response, lambda job: job["attributes"].update(total_count=float("nan")))


@_fault("huge-body", "64", int)
def _huge_body(response: Response, request: Request, fault: Fault) -> None:
    """Let so many MiB of spaces (64 unless given) follow the JSON."""
    response.padding_bytes = int(fault.argument) * _MIB


@_fault("gzip-bomb", "64", int)
def _gzip_bomb(response: Response, request: Request, fault: Fault) -> None:
    """Send so many MiB of spaces (64 unless given) compressed a thousandfold."""
    response.body = _compressed_spaces(int(fault.argument))
    response.headers["Content-Encoding"] = "gzip"


@_fault("repeat-link")
def _repeat_link(response: Response, request: Request, fault: Fault) -> None:
    """Let links.next point at the page that holds it."""
    _set_next(response, lambda page: request.base_url + request.path_and_query)


@_fault("aba-cursor")
def _aba_cursor(response: Response, request: Request, fault: Fault) -> None:
    """From the second page on, let two pages link to each other for ever."""
    here = request.base_url + request.path_and_query
    if _cursor_of(request) is None:
        return
    if fault.memory.setdefault("first", here) != here:
        _set_next(response, lambda page: str(fault.memory["first"]))
    else:
        _set_next(response, lambda page: page["links"].get("next") or request.base_url + request.path)


@_fault("endless-cursor")
def _endless_cursor(response: Response, request: Request, fault: Fault) -> None:
    """After the last page, link to empty pages for ever, each with a cursor never seen before."""

    def fresh_link(page: dict[str, Any]) -> str | None:
        following: str | None = page["links"].get("next")
        last = _id_of(page["data"][-1]) if page["data"] else fault.memory.get("last")
        fault.memory["last"] = last
        if following or last is None:
            return following
        return _link_to(request, Cursor("next", last).encode(suffix=str(fault.applied)))

    _set_next(response, fresh_link)


@_fault("foreign-link", check=_check_url)
def _foreign_link(response: Response, request: Request, fault: Fault) -> None:
    """Let links.next point at the origin given, e.g. `http://127.0.0.1:9`."""
    _set_next(response, lambda page: fault.argument.rstrip("/") + request.path_and_query)


@_fault("list-moves")
def _list_moves(response: Response, request: Request, fault: Fault) -> None:
    """Begin each page but the first with the last job of the page before, as when a list grows."""
    page = _document(response)
    if page is None or request.endpoint != "list":
        return
    if _cursor_of(request) and "last" in fault.memory:
        page["data"].insert(0, fault.memory["last"])
        if len(page["data"]) > PAGE_SIZE:
            page["data"].pop()
            page["links"]["next"] = _link_to(request, Cursor("next", _id_of(page["data"][-1])).encode())
        response.body = encode_json(page)
    fault.memory["last"] = page["data"][-1] if page["data"] else None


@_fault("odd-field")
def _odd_field(response: Response, request: Request, fault: Fault) -> None:
    """Add attributes and members that no specification names."""

    def add(job: dict[str, Any]) -> None:
        job["attributes"]["priority"] = {"level": 3, "labels": ["a", None]}
        job["meta"] = {"region": "eu"}

    _edit_jobs(response, add)


@_fault("unknown-status", "paused")
def _unknown_status(response: Response, request: Request, fault: Fault) -> None:
    """Give every job this status (`paused` unless given), which no specification names."""
    _edit_jobs(response, lambda job: job["attributes"].update(status=fault.argument))


def _set_error(response: Response, error: ApiError) -> None:
    response.status, response.body = error.status, encode_json(error.document())
    if error.status == 429:
        response.headers = {"Content-Type": response.headers["Content-Type"]}
    response.headers |= error.headers


def _document(response: Response) -> dict[str, Any] | None:
    """The response's JSON if it is a success."""
    document: dict[str, Any] | None = json.loads(response.body) if response.status == 200 and response.body else None
    return document


def _edit_jobs(response: Response, edit: Callable[[dict[str, Any]], None]) -> None:
    document = _document(response)
    if document is not None:
        for job in document["data"] if isinstance(document["data"], list) else [document["data"]]:
            edit(job)
        response.body = encode_json(document)


def _set_next(response: Response, link: Callable[[dict[str, Any]], str | None]) -> None:
    page = _document(response)
    if page is not None and isinstance(page["data"], list):
        page["links"]["next"] = link(page)
        response.body = encode_json(page)


def _id_of(job: dict[str, Any]) -> str:
    """The job's id at any revision."""
    return str(job.get("id") or job["attributes"]["job_id"])


def _cursor_of(request: Request) -> str | None:
    return parse_qs(request.raw_query).get(CURSOR, [None])[0]


def _link_to(request: Request, cursor: str) -> str:
    pairs = [
        (name, value) for name, values in parse_qs(request.raw_query).items() for value in values if name != CURSOR
    ]
    return url_with(request.base_url + request.path, [*pairs, (CURSOR, cursor)])


@lru_cache(maxsize=4)
def _compressed_spaces(mebibytes: int) -> bytes:
    gzip = zlib.compressobj(level=9, wbits=31)
    return b"".join([*(gzip.compress(b" " * _MIB) for _ in range(mebibytes)), gzip.flush()])
