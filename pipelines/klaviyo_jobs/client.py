"""
Send one GET to the API: key, revision, timeouts, attempts, and what a bad answer means.

In:     a path or a link of the configured origin.
Out:    `Answer`: the decoded body and when it arrived.
Waits:  429, 5xx, connection errors, timeouts and bodies that cannot be decoded are tried again, never before
        `Retry-After` has passed; every wait and the number of attempts are bounded.
Key:    added to requests for the configured origin only; redirects are not followed.
Source: Klaviyo guide "Rate limits, status codes, and errors"; live answers recorded 2026-09-04 (revision 2026-07-15).
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final, Generic, TypeVar

import msgspec
import pendulum
import requests
from dlt.sources.helpers.requests import Client as DltClient
from requests.auth import AuthBase
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError as Urllib3Error

from klaviyo_jobs.errors import ApiError, KeyRefusedError, StatusError, UnavailableError
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.settings import ApiKey, origin_of

T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS: Final = 10.0
READ_TIMEOUT_SECONDS: Final = 60.0
# One whole answer, however slowly it drips in.
BODY_TIMEOUT_SECONDS: Final = 120.0
# A hundred jobs of a hundred resources with errors stay below 3 MB; a hundred included items of 100 kB below 12 MB.
BODY_BYTES: Final = 64 * 2**20
MAX_ATTEMPTS: Final = 5
MAX_WAIT_SECONDS: Final = 60.0
BACKOFF_SECONDS: Final = 1.0

_CHUNK_BYTES: Final = 256 * 1024
_UNSENT: Final = "nothing of this listing's answer was used; rows read before it are kept."


class BodyError(Exception):
    """An answer whose body cannot be used: cut, too large, or not the JSON it should be."""


@dataclass(slots=True)
class Meter:
    """
    What reading one listing costs; shared by the threads that read its details.

    Attributes:
        request_count: Requests sent, repeats included.
        retry_count: Requests that were repeats.
        throttled_seconds: Time spent waiting because the API answered 429.
    """

    request_count: int = 0
    retry_count: int = 0
    throttled_seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count_request(self, *, is_retry: bool) -> None:
        """Count one request."""
        with self._lock:
            self.request_count += 1
            self.retry_count += is_retry

    def count_wait(self, seconds: float) -> None:
        """Count *seconds* of waiting for a throttled request."""
        with self._lock:
            self.throttled_seconds += seconds


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A decoded body and the moment (UTC) its last byte arrived."""

    body: T
    received_at: pendulum.DateTime


class _ErrorSource(msgspec.Struct):
    pointer: Any = None
    parameter: Any = None


class _ApiErrorObject(msgspec.Struct):
    code: Any = None
    title: Any = None
    detail: Any = None
    source: _ErrorSource | None = None


class _ErrorBody(msgspec.Struct):
    errors: list[_ApiErrorObject]


class _KeyAuth(AuthBase):
    """Adds the key to requests for one origin only, and keeps requests from looking for one in a netrc file."""

    def __init__(self, key: ApiKey, origin: tuple[str, str, int]) -> None:
        self._key = key
        self._origin = origin

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if origin_of(request.url or "") == self._origin:
            request.headers["Authorization"] = f"Klaviyo-API-Key {self._key.reveal()}"
        return request


class Client:
    """
    Reads the API for one account.

    Args:
        account: The account's label, for messages.
        key: Its private API key.
        base_url: The configured origin, e.g. `https://a.klaviyo.com`.
        revision: The API revision asked for with every request.
        max_connections: How many requests may be under way at once.
    """

    def __init__(self, account: str, key: ApiKey, *, base_url: str, revision: str, max_connections: int = 32) -> None:
        self.account = account
        self.base_url = base_url
        self.revision = revision
        self.max_connections = max_connections
        self._key = key
        self._has_answered = False
        self._refusal: KeyRefusedError | None = None
        # Proxies and certificates are looked up once; requests would look for them at every call.
        certificates = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._http = DltClient(
            request_timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
            max_connections=max_connections,
            raise_for_status=False,
            # Attempts are counted here, where waits obey Retry-After, carry jitter and a bad body counts as a failure.
            status_codes=(),
            exceptions=(),
            request_max_attempts=1,
            session_attrs={
                "auth": _KeyAuth(key, origin_of(base_url)),
                "trust_env": False,
                "proxies": get_environ_proxies(base_url),
                "verify": certificates,
            },
        )
        self._headers = {
            "revision": revision,
            "Accept": "application/vnd.api+json, application/json",
            "User-Agent": "klaviyo-jobs",
        }

    def fetch(
        self,
        where: str,
        url: str,
        decode: Callable[[bytes], T],
        *,
        meter: Meter,
        params: Mapping[str, str] | None = None,
    ) -> Answer[T]:
        """
        GET *url* and decode its body, trying again where that can help.

        Args:
            where: What is being read, for messages, e.g. `item-create, page 4`.
            url: A link of the configured origin, or a path below it.
            decode: Makes the body of a 200; a `msgspec.DecodeError` counts as a failed attempt.
            meter: Counts requests, repeats and waits.
            params: Query parameters that *url* does not have yet.
        Raises:
            KeyRefusedError: Answered 401 or 403.
            StatusError: Answered another 3xx or 4xx.
            UnavailableError: No usable answer after the last attempt.
        """
        if self._refusal is not None:
            raise self._refusal
        if url.startswith("/"):
            url = self.base_url + url
        problem = ""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            meter.count_request(is_retry=attempt > 1)
            retry_after: float | None = None
            is_throttled = False
            try:
                with self._http.get(
                    url, params=params, headers=self._headers, stream=True, allow_redirects=False
                ) as response:
                    body = self._without_key(_read_body(response))
                    received_at = pendulum.now("UTC")
                    if response.status_code == 200:
                        answer = Answer(_decoded(body, decode), received_at)
                        self._has_answered = True
                        return answer
                    if response.status_code != 429 and response.status_code < 500:
                        raise self._error_of(where, response, body)
                    is_throttled = response.status_code == 429
                    retry_after = _retry_after_seconds(response.headers.get("Retry-After"))
                    problem = f"answered {response.status_code}{_first_detail(body)}"
            except (BodyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                problem = f"answered 200 with a body that is not the API's JSON ({error})"
                if not self._has_answered and _is_html(response):
                    raise UnavailableError(
                        f"{where}: {self.base_url} answers with a web page; it is not the Klaviyo API.",
                        data=_UNSENT,
                        next_step="check `base_url`, and whether a proxy or a sign-in page stands in between.",
                    ) from None
            except (requests.RequestException, Urllib3Error) as error:
                problem = f"gave no answer ({_network_reason(error)})"
            if attempt < MAX_ATTEMPTS:
                wait = _wait_seconds(attempt, retry_after)
                if retry_after is not None and retry_after > MAX_WAIT_SECONDS:
                    problem += (
                        f" and asks to wait {retry_after:.0f} s, longer than the {MAX_WAIT_SECONDS:.0f} s allowed"
                    )
                    break
                LOGGER.info("%s/%s %s; attempt %d follows in %.1f s", self.account, where, problem, attempt + 1, wait)
                if is_throttled:
                    meter.count_wait(wait)
                time.sleep(wait)
        raise UnavailableError(
            f"{where}: {self.base_url} {problem}; gave up after {attempt} attempts.",
            data=_UNSENT,
            next_step="run again later; if it lasts, check `base_url`, the network and https://status.klaviyo.com.",
        )

    def _without_key(self, body: bytes) -> bytes:
        """Blank the key out of an answer that echoes it, so that it gets into no message, table or log."""
        return body.replace(self._key.reveal().encode(), b"***")

    def _error_of(self, where: str, response: requests.Response, body: bytes) -> KeyRefusedError | ApiError:
        status = response.status_code
        detail = _first_detail(body)
        if status in (401, 403):
            self._refusal = KeyRefusedError(
                f"Klaviyo refused the key of account {self.account!r} ({status}{detail}).",
                data="nothing of this account was read; its rows are as they were.",
                next_step="set a private key that has the scope catalogs:read (SOURCES__KLAVIYO_JOBS__API_KEY, "
                "or the account's entry in `accounts`).",
            )
            LOGGER.warning("%s: %s", self.account, self._refusal.headline)
            return self._refusal
        if 300 <= status < 400:
            next_step = "set `base_url` to the address that answers by itself; redirects are not followed."
        elif detail:
            next_step = f"check `revision` (now {self.revision}) and `base_url` (now {self.base_url})."
        else:
            detail = " without an error of Klaviyo's form"
            next_step = f"check `base_url`: {self.base_url} does not look like the Klaviyo API."
        return StatusError(f"{where}: answered {status}{detail}", status=status, data=_UNSENT, next_step=next_step)


def _read_body(response: requests.Response) -> bytes:
    """Read the whole body as it comes, within its bounds of size and time."""
    deadline = time.monotonic() + BODY_TIMEOUT_SECONDS
    chunks: list[bytes] = []
    size = 0
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
        chunks.append(chunk)
        size += len(chunk)
        if size > BODY_BYTES:
            raise BodyError(f"larger than {BODY_BYTES // 2**20} MiB")
        if time.monotonic() > deadline:
            raise BodyError(f"not complete after {BODY_TIMEOUT_SECONDS:.0f} s")
    return b"".join(chunks)


def _decoded(body: bytes, decode: Callable[[bytes], T]) -> T:
    """
    Decode *body*; a text that only a lenient reader takes for JSON is mended first.

    Half a surrogate pair and bytes that are no UTF-8 become a replacement character, NaN and Infinity become strings,
    so that one odd text costs at most the record it is in.
    """
    try:
        body.decode()
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        try:
            lenient = json.loads(body.decode(errors="replace"), parse_constant=str)
            mended = json.dumps(lenient, ensure_ascii=False).encode(errors="replace")
        except (ValueError, RecursionError):
            raise error from None
        return decode(mended)


def _wait_seconds(attempt: int, retry_after: float | None) -> float:
    """Exponential backoff with full jitter, and never before `Retry-After` has passed."""
    backoff = random.uniform(0, BACKOFF_SECONDS * 2 ** (attempt - 1))  # noqa: S311 - no secret
    return min((retry_after or 0.0) + backoff, MAX_WAIT_SECONDS)


def _retry_after_seconds(value: str | None) -> float | None:
    """Read `Retry-After`, given in seconds or as a date; None where there is none or it cannot be read."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - pendulum.now("UTC")).total_seconds())
    except (ValueError, TypeError):
        return None


def _is_html(response: requests.Response) -> bool:
    return "html" in response.headers.get("Content-Type", "").lower()


def _first_detail(body: bytes) -> str:
    """Return what the first error of an error body says, ready to follow a status, or nothing."""
    try:
        errors = msgspec.json.decode(body, type=_ErrorBody).errors
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    for error in errors:
        if text := error.detail or error.title or error.code:
            return f": {str(text)[:300]}"
    return ""


def _network_reason(error: Exception) -> str:
    """Name the failure in a few words: requests and urllib3 wrap the operating system's reason several times over."""
    innermost: BaseException = error
    while (inner := innermost.__cause__ or innermost.__context__) is not None:
        innermost = inner
    text = str(innermost) or str(error)
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
