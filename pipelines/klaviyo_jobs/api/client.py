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

import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final, Generic

import msgspec
import pendulum
import requests
from dlt.sources.helpers.requests import Client as DltClient
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError as Urllib3Error

from klaviyo_jobs.api.body import BodyError, T, decode_leniently, first_detail, printable, read_body
from klaviyo_jobs.api.deadline import BoundedAdapter, deadline
from klaviyo_jobs.api.pacing import Budget
from klaviyo_jobs.api.redaction import HTTP_LOGS, KEYLESS, KeyAuth, KeylessLog
from klaviyo_jobs.errors import KeyRefusedError, KlaviyoJobsError, RevisionError, StatusError, UnavailableError
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.model.kinds import KINDS, JobKind, RateLimit
from klaviyo_jobs.settings import DEFAULT_REVISION, ApiKey, NetworkSettings, is_loopback, origin_of

# The first wait is up to this long, each further one up to twice as long as the one before.
BACKOFF_SECONDS: Final = 0.5
# A host that has not answered once is more likely wrong than busy.
FIRST_CONTACT_ATTEMPTS: Final = 5
# Requests that may be under way at once: enough to fill the widest burst at 350 ms an answer.
CONNECTIONS: Final = 128
_UNUSED: Final = "nothing of this answer was used."


class _FailedAttemptError(Exception):
    """A request that is worth sending again."""

    def __init__(
        self, problem: str, *, retry_after: float | None = None, is_throttled: bool = False, is_silence: bool = False
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retry_after = retry_after
        self.is_throttled = is_throttled
        self.is_silence = is_silence


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
    """A decoded body, the moment (UTC) its last byte arrived, and the headers it came with."""

    body: T
    received_at: pendulum.DateTime
    headers: Mapping[str, str]


class _Http(DltClient):
    """dlt's client, whose connections obey deadlines."""

    def __init__(self, *, max_connections: int, **kwargs: Any) -> None:
        super().__init__(max_connections=max_connections, **kwargs)
        self._adapter = BoundedAdapter(pool_maxsize=max_connections)


class Client:
    """
    Reads the API for one account, with one budget for each of its rate classes.

    Args:
        account: The account's label, for messages.
        key: Its private API key.
        base_url: The configured origin, e.g. `https://a.klaviyo.com`.
        revision: The API revision asked for with every request.
        network: Timeouts, attempts and waits.
    """

    def __init__(
        self, account: str, key: ApiKey, *, base_url: str, revision: str, network: NetworkSettings | None = None
    ) -> None:
        self.account = account
        self.base_url = base_url
        self.revision = revision
        self.network = network or NetworkSettings()
        self._key = key
        # The key as JSON may write it: any character as its number, and a slash behind a backslash.
        self._escaped_key = re.compile(
            "".join(rf"(?:\\?{re.escape(char)}|\\u{ord(char):04x})" for char in key.reveal()).encode(), re.IGNORECASE
        )
        self._lock = threading.Lock()
        KeylessLog.keys.add(key.reveal())
        for log in HTTP_LOGS:
            log.addFilter(KEYLESS)
        self._has_answered = False
        self._refusal: KeyRefusedError | None = None
        self._budgets: dict[RateLimit, Budget] = {kind.rate_limit: Budget(kind.rate_limit) for kind in KINDS.values()}
        # Rate classes that the API has closed for longer than this run may wait.
        self._closed: dict[RateLimit, UnavailableError] = {}
        self._waited_seconds = 0.0
        # Proxies and certificates are looked up once; requests would look for them at every call.
        certificates = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._http = _Http(
            request_timeout=(self.network.connect_timeout_seconds, self.network.read_timeout_seconds),
            max_connections=CONNECTIONS,
            raise_for_status=False,
            # Attempts are counted here, where waits obey Retry-After, carry jitter and a bad body counts as a failure.
            status_codes=(),
            exceptions=(),
            request_max_attempts=1,
            session_attrs={
                "auth": KeyAuth(key, origin_of(base_url)),
                "trust_env": False,
                # A server on this machine is never behind a proxy, which would see the key in plain text.
                "proxies": {} if is_loopback(base_url) else get_environ_proxies(base_url),
                "verify": certificates,
            },
        )
        self._headers = {
            "revision": revision,
            "Accept": "application/vnd.api+json, application/json",
            "User-Agent": "klaviyo-jobs",
        }
        if self.network.fall_forward_opt_out:
            self._headers["X-Klaviyo-Revision-Fall-Forward-Opt-Out"] = "1"

    def limit_of(self, kind: JobKind) -> RateLimit:
        """Return the rate limit that holds for *kind* now: the announced one, or the default."""
        return self._budgets[kind.rate_limit].limit

    def fetch(
        self,
        where: str,
        url: str,
        decode: Callable[[bytes], T],
        *,
        kind: JobKind,
        meter: Meter,
        params: Mapping[str, str] | None = None,
    ) -> Answer[T]:
        """
        GET *url* and decode its body, trying again where that can help.

        Args:
            where: What is being read, for messages, e.g. `item-create, page 4`.
            url: A link of the configured origin, or a path below it.
            decode: Makes the body of a 200; a `msgspec.DecodeError` counts as a failed attempt.
            kind: Whose budget the request is taken from.
            meter: Counts requests, repeats and waits.
            params: Query parameters that *url* does not have yet.
        Raises:
            KeyRefusedError: Answered 401 or 403.
            RevisionError: The revision is not served.
            StatusError: Answered another 3xx or 4xx.
            UnavailableError: No usable answer after the last attempt.
        """
        if url.startswith("/"):
            url = self.base_url + url
        attempt = 0
        while True:
            if (refusal := self._refusal or self._closed.get(kind.rate_limit)) is not None:
                raise refusal
            attempt += 1
            meter.count_request(is_retry=attempt > 1)
            try:
                return self._attempt(where, url, decode, kind=kind, params=params)
            except _FailedAttemptError as failure:
                wait = self._wait_before_retry(where, kind, attempt, failure)
                if failure.is_throttled:
                    meter.count_wait(wait)
                LOGGER.info(
                    "%s/%s %s; attempt %d follows in %.1f s", self.account, where, failure.problem, attempt + 1, wait
                )
            time.sleep(wait)

    def _attempt(
        self,
        where: str,
        url: str,
        decode: Callable[[bytes], T],
        *,
        kind: JobKind,
        params: Mapping[str, str] | None,
    ) -> Answer[T]:
        """Send the request once; `_FailedAttemptError` if sending it again may help."""
        budget = self._budgets[kind.rate_limit]
        seconds = self.network.body_timeout_seconds
        with budget.permit(), deadline(seconds) as limit:
            sent_at = time.monotonic()
            try:
                with self._http.get(
                    url, params=params, headers=self._headers, stream=True, allow_redirects=False
                ) as response:
                    body = self._without_key(read_body(response))
                    received_at = pendulum.now("UTC")
            except BodyError as error:
                raise _FailedAttemptError(f"answered with a body that is {error}") from None
            except (requests.RequestException, Urllib3Error, OSError, ValueError, AttributeError) as error:
                if limit.is_over:
                    raise _FailedAttemptError(f"did not end its answer in {seconds:.0f} s") from None
                if not isinstance(error, requests.RequestException | Urllib3Error | OSError):
                    raise
                reason = self._without_key(_network_reason(error).encode()).decode()
                raise _FailedAttemptError(f"gave no answer ({reason})", is_silence=True) from None
        status = response.status_code
        if status == 429:
            retry_after = _retry_after_seconds(response.headers.get("Retry-After"))
            if retry_after is not None and retry_after <= self.network.max_wait_seconds:
                budget.pause(retry_after)
            raise _FailedAttemptError(f"answered 429{first_detail(body)}", retry_after=retry_after, is_throttled=True)
        budget.learn(kind.name, response.headers, sent_at)
        if status >= 500:
            retry_after = _retry_after_seconds(response.headers.get("Retry-After"))
            raise _FailedAttemptError(f"answered {status}{first_detail(body)}", retry_after=retry_after)
        if status != 200:
            raise self._error_of(where, status, body)
        try:
            answer = Answer(decode_leniently(body, decode), received_at, response.headers)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if not self._has_answered and "html" in response.headers.get("Content-Type", "").lower():
                raise UnavailableError(
                    f"{where}: {self.base_url} answers with a web page; it is not the Klaviyo API.",
                    data=_UNUSED,
                    next_step="check `base_url`, and whether a proxy or a sign-in page stands in between.",
                ) from None
            raise _FailedAttemptError(f"answered 200 with a body that is not the API's JSON ({error})") from error
        self._has_answered = True
        return answer

    def _wait_before_retry(self, where: str, kind: JobKind, attempt: int, failure: _FailedAttemptError) -> float:
        """Return how long to wait before the next attempt; UnavailableError if there is to be none."""
        attempts = self.network.max_attempts
        if failure.is_silence and not self._has_answered:
            attempts = min(attempts, FIRST_CONTACT_ATTEMPTS)
        wait = _wait_seconds(attempt, failure.retry_after, self.network.max_wait_seconds)
        longest, longest_in_all = self.network.max_wait_seconds, self.network.max_total_wait_seconds
        if failure.retry_after is not None and failure.retry_after > longest:
            reason = f"it asks to wait {failure.retry_after:.0f} s, longer than max_wait_seconds ({longest:.0f})"
        elif attempt >= attempts:
            reason = f"gave up after {attempt} attempts"
        elif self._waited_seconds + wait > longest_in_all:
            reason = f"gave up after waiting {longest_in_all:.0f} s in all (max_total_wait_seconds)"
        else:
            self._waited_seconds += wait
            return wait
        error = UnavailableError(
            f"{where}: {self.base_url} {failure.problem}; {reason}.",
            data=_UNUSED,
            next_step="run again later; if it lasts, check `base_url`, the network and https://status.klaviyo.com.",
        )
        if failure.retry_after is not None and failure.retry_after > longest:
            self._closed[kind.rate_limit] = error
        raise error from None

    def _without_key(self, body: bytes) -> bytes:
        """Blank the key out of an answer that echoes it, so that it gets into no message, table or log."""
        body = body.replace(self._key.reveal().encode(), b"***")
        return self._escaped_key.sub(b"***", body) if b"\\" in body else body

    def _error_of(self, where: str, status: int, body: bytes) -> KlaviyoJobsError:
        """Return what an answer that no repeat can mend means."""
        detail = first_detail(body)
        if status in (401, 403):
            with self._lock:
                if self._refusal is None:
                    self._refusal = KeyRefusedError(
                        f"Klaviyo refused the key of account {self.account!r} ({status}{detail}).",
                        data="nothing of this account was read; its rows are as they were.",
                        next_step="set a private key that has the scope catalogs:read "
                        "(SOURCES__KLAVIYO_JOBS__API_KEY, or the account's entry in `accounts`).",
                        status=status,
                    )
                    LOGGER.warning("%s: %s", self.account, self._refusal.headline)
            return self._refusal
        # Revision faults come as 400, 404 or 410, and look like a missing job unless read.
        if status == 410 or "revision" in detail.lower():
            return RevisionError(
                f"{where}: revision {self.revision} is not served ({status}{detail}).",
                data=_UNUSED,
                next_step=f"set `revision` to {DEFAULT_REVISION}, or remove the setting."
                if self.revision != DEFAULT_REVISION
                else "install a newer klaviyo-jobs, or set `revision` to one that is.",
            )
        if 300 <= status < 400:
            next_step = "set `base_url` to the address that answers by itself; redirects are not followed."
        elif detail:
            next_step = f"check `revision` (now {self.revision}) and `base_url` (now {self.base_url})."
        else:
            detail = " without an error of Klaviyo's form"
            next_step = f"check `base_url`: {self.base_url} does not look like the Klaviyo API."
        return StatusError(
            f"{where}: answered {status}{detail}", status=status, detail=detail, data=_UNUSED, next_step=next_step
        )


def _wait_seconds(attempt: int, retry_after: float | None, longest: float) -> float:
    """Exponential backoff with full jitter, and never before `Retry-After` has passed."""
    backoff = random.uniform(0, BACKOFF_SECONDS * 2 ** (attempt - 1))  # noqa: S311 - no secret
    return min((retry_after or 0.0) + backoff, max(longest, retry_after or 0.0))


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
    except (ValueError, TypeError, OverflowError):
        return None


def _network_reason(error: Exception) -> str:
    """Name the failure in a few words: requests and urllib3 wrap the operating system's reason several times over."""
    innermost: BaseException = error
    while (inner := innermost.__cause__ or innermost.__context__) is not None:
        innermost = inner
    text = str(innermost) or str(error)
    return f"{type(error).__name__}: {printable(text)[:200]}" if text else type(error).__name__
