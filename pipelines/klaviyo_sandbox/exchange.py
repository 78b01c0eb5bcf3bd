"""
One request as the sandbox sees it, and the answer on its way out.

A request is fixed. A response is changed by faults before it is delivered; `wire.py` says how.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from klaviyo_sandbox.kinds import KINDS_BY_COLLECTION, JobKind

_JOB_PATH = re.compile(r"/api/(?P<collection>[a-z-]+)(?:/(?P<job_id>[^/]+)(?P<errors>/import-errors)?)?/?")


class Target(NamedTuple):
    """What a path is about: all jobs of one kind, the one job named, or the import errors of that."""

    kind: JobKind
    job_id: str | None
    is_of_errors: bool = False


@dataclass(frozen=True)
class Request:
    """
    One request.

    Attributes:
        path: Percent-decoded.
        raw_query: As sent, without the question mark.
        headers: Names in any case, as the mapping takes care of it.
        base_url: Scheme, host and port the client has used; absolute links start with it.
    """

    method: str
    path: str
    raw_query: str
    headers: Mapping[str, str]
    base_url: str

    @cached_property
    def target(self) -> Target | None:
        """The job kind and, for a detail, the job id; none for a path that is not about jobs."""
        match = _JOB_PATH.fullmatch(self.path)
        kind = KINDS_BY_COLLECTION.get(match["collection"]) if match else None
        if match is None or kind is None or (match["errors"] and not kind.has_own_errors):
            return None
        return Target(kind, match["job_id"], is_of_errors=bool(match["errors"]))

    @property
    def kind(self) -> JobKind | None:
        """The job kind the path is about."""
        return self.target.kind if self.target else None

    @property
    def job_id(self) -> str | None:
        """The job the path is about; none for a list."""
        return self.target.job_id if self.target else None

    @property
    def endpoint(self) -> str | None:
        """`list`, `detail`, `errors` or none."""
        if self.target is None:
            return None
        if self.target.is_of_errors:
            return "errors"
        return "list" if self.job_id is None else "detail"

    @property
    def path_and_query(self) -> str:
        """What stands behind the origin in the request's URL."""
        return f"{self.path}?{self.raw_query}" if self.raw_query else self.path


@dataclass(slots=True)
class Response:
    """
    One answer, and how it is put on the wire.

    Attributes:
        headers: All but those the server adds itself: `Date`, `Content-Length`.
        delay_seconds: Waited before the first byte.
        drip_seconds: If not 0, the body goes out in small pieces over this time.
        padding_bytes: So many spaces follow the body.
        is_cut: The connection is closed after half of the promised body.
        is_reset: The connection is reset instead of an answer.
        faults: Names of the faults that changed this response.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    drip_seconds: float = 0.0
    padding_bytes: int = 0
    is_cut: bool = False
    is_reset: bool = False
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """
    What the sandbox remembers of one API request. The key itself is never kept.

    Attributes:
        query: Parsed; of a doubled parameter the last value (`raw_query` shows both).
        kind, endpoint, job_id: What the path is about, e.g. `item-create`, `detail`, `01M1...`.
        account: Whose key it was; none if it was missing or wrong.
        authorization: `right`, `wrong` or `missing`.
        status: What was answered; 0 if the connection was reset or the client left first.
        started_at: `time.monotonic()` on arrival.
        seconds: From arrival to the last byte handed over.
        headers: Those sent, names in lower case, without `authorization`.
        faults: Names of the faults that were applied.
    """

    method: str
    path: str
    raw_query: str
    query: Mapping[str, str]
    kind: str | None
    endpoint: str | None
    job_id: str | None
    revision: str | None
    account: str | None
    authorization: str
    status: int
    started_at: float
    seconds: float
    headers: Mapping[str, str]
    faults: tuple[str, ...]
