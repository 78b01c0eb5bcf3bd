"""
Read one account: send a GET until it is answered or given up, within the limits that all its requests share.

In:     a path or a link of the configured origin.
Out:    `Answer`: the decoded body, when it arrived, and its headers.
Waits:  429, 5xx, connection errors, timeouts and bodies that cannot be decoded are tried again, never before
        `Retry-After` has passed; what is whole and of another shape only once. Every wait and the number of attempts
        are bounded, and `close` ends all of them.
Key:    added to requests for the configured origin only; redirects are not followed.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Final, Generic, NamedTuple

import msgspec
import pendulum
import requests
from urllib3.exceptions import HTTPError as Urllib3Error

from klaviyo_jobs.api.answers import UNUSED, FailedAttemptError, error_of, failure_of, network_reason, parse_retry_after
from klaviyo_jobs.api.body import BodyError, T, decode_leniently, is_json, read_body
from klaviyo_jobs.api.deadline import Deadline
from klaviyo_jobs.api.ending import Ending
from klaviyo_jobs.api.pacing import Budget
from klaviyo_jobs.api.redaction import Blanker
from klaviyo_jobs.api.retries import GivenUpError, Retries
from klaviyo_jobs.api.sessions import CONNECTIONS as CONNECTIONS
from klaviyo_jobs.api.sessions import Sessions
from klaviyo_jobs.errors import KeyRefusedError, KlaviyoJobsError, UnavailableError
from klaviyo_jobs.keys import ApiKey
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.model.kinds import KINDS, JobKind, RateLimit
from klaviyo_jobs.settings import NetworkSettings

_LATER: Final = "run again later; if it lasts, check `base_url`, the network and https://status.klaviyo.com."
_CHECK_ORIGIN: Final = "check `base_url`, and what stands between it and this machine"


@dataclass(slots=True)
class Meter:
    """
    What reading one listing costs; shared by the threads that read its details.

    Attributes:
        request_count: Requests sent, retries included.
        retry_count: Requests that were retries.
        throttled_seconds: Time spent waiting because the API answered 429.
    """

    request_count: int = 0
    retry_count: int = 0
    throttled_seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _retry: tuple[float, str] = (0.0, "")

    @property
    def retry(self) -> tuple[float, str]:
        """In how many seconds the attempt follows that was announced last, and why the one before did not succeed."""
        at, problem = self._retry
        return at - time.monotonic(), problem

    def announce_retry(self, seconds: float, problem: str) -> None:
        """Note that the next attempt follows in *seconds*."""
        self._retry = time.monotonic() + seconds, problem

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


class _Received(NamedTuple):
    """An answer as it came, whatever it means; `sent_at` is of the monotonic clock."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: pendulum.DateTime
    sent_at: float


class _Findings:
    """What the requests of one account have found out for those that follow."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.has_answered = False
        # For all kinds, or for those that need the same scopes.
        self.refusals: dict[tuple[str, ...] | None, KeyRefusedError] = {}
        # Rate classes that the API has closed for longer than this run may wait.
        self.closed: dict[RateLimit, UnavailableError] = {}


class Client:
    """
    Reads the API for one account, with one budget for each of its rate classes.

    A context manager: leaving it is `close`.

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
        self._blanker = Blanker(key)
        self._budgets: dict[RateLimit, Budget] = {kind.rate_limit: Budget(kind.rate_limit) for kind in KINDS.values()}
        self._retries = Retries(self.network)
        self._findings = _Findings()
        self._ending = Ending()
        self._is_branch = False
        headers = {
            "revision": revision,
            "Accept": "application/vnd.api+json, application/json",
            "User-Agent": "klaviyo-jobs",
        }
        if self.network.fall_forward_opt_out:
            headers["X-Klaviyo-Revision-Fall-Forward-Opt-Out"] = "1"
        self._sessions = Sessions(key, base_url, self.network, headers)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def branch(self) -> Client:
        """
        Return a client of the same account that is closed on its own, or with this one.

        Budgets, connections and what was found out of the API are shared, so that several readers of one account keep
        its limits together, and each can stop without stopping the others.
        """
        branch = copy.copy(self)
        branch._ending = self._ending.branch()
        branch._is_branch = True
        return branch

    def close(self) -> None:
        """
        End every wait and every answer under way, of this client and its branches, from any thread.

        Their threads get ClosedError at once, and so does every later request. A connection that is still being made
        ends by its own timeout.
        """
        self._ending.end()
        for budget in self._budgets.values():
            budget.wake()
        if not self._is_branch:
            self._sessions.close()

    def budget_of(self, kind: JobKind) -> Budget:
        """Return the budget that requests for *kind* are taken from."""
        return self._budgets[kind.rate_limit]

    def fetch(
        self,
        where: str,
        url: str,
        decode: Callable[[bytes], T],
        *,
        kind: JobKind,
        meter: Meter,
        params: Mapping[str, str] | None = None,
        blanks: bool = True,
    ) -> Answer[T]:
        """
        GET *url* and decode its body, trying again where that can help.

        Args:
            where: What is being read, for messages, e.g. `item-create, page 4`.
            url: A link of the configured origin, or a path below it.
            decode: Makes the body of a 200; a `msgspec.DecodeError` counts as a failed attempt.
            kind: Whose budget the request is taken from.
            meter: Counts requests, retries and waits.
            params: Query parameters that *url* does not have yet.
            blanks: Whether a key that the answer echoes is blanked out of it; who says no calls `blank` for each record
                that is used. Of most pages none is.
        Raises:
            KeyRefusedError: Answered 401 or 403.
            RevisionError: The revision is not served.
            StatusError: Answered another 3xx or 4xx.
            UnavailableError: No usable answer after the last attempt.
            ClosedError: The client was closed before, or meanwhile.
        """
        if url.startswith("/"):
            url = self.base_url + url
        attempt = 0
        while True:
            self._ending.check()
            self._raise_known(kind)
            attempt += 1
            count = partial(meter.count_request, is_retry=attempt > 1)
            try:
                received = self._send(url, params, self._budgets[kind.rate_limit], count, blanks=blanks)
                self._heed_limits(kind, received)
                return self._read(where, kind, received, decode)
            except FailedAttemptError as failure:
                wait = self._wait_before_retry(where, kind, attempt, failure)
                if failure.is_throttled:
                    meter.count_wait(wait)
                meter.announce_retry(wait, failure.problem)
                LOGGER.info(
                    "%s/%s %s; attempt %d follows in %.1f s", self.account, where, failure.problem, attempt + 1, wait
                )
            self._ending.wait(wait)

    def _raise_known(self, kind: JobKind) -> None:
        """Raise what an earlier request has found out, if this one could find nothing else."""
        refusals = self._findings.refusals
        found = refusals.get(None) or refusals.get(kind.scopes) or self._findings.closed.get(kind.rate_limit)
        if found is not None:
            raise found

    def blank(self, record: msgspec.Raw) -> msgspec.Raw:
        """Return *record* of an answer that was not blanked, with stars in place of a key that it echoes."""
        content = bytes(record)
        blanked = self._blanker.blank(content)
        return record if blanked == content else msgspec.Raw(blanked)

    def _send(
        self, url: str, params: Mapping[str, str] | None, budget: Budget, count: Callable[[], None], *, blanks: bool
    ) -> _Received:
        """Send the request once, when the budget has a place for it; FailedAttemptError if no whole answer comes."""
        limit = Deadline()
        seconds = self.network.body_timeout_seconds
        with budget.permit(self._ending.check), self._ending.calls(limit.end), limit.running(seconds):
            sent_at = time.monotonic()
            count()
            try:
                with self._sessions.get(url, params) as response:
                    body = read_body(response, self.network.max_body_bytes)
                    received_at = pendulum.now("UTC")
            except BodyError as error:
                raise FailedAttemptError(
                    f"answered with a body that is {error}",
                    is_lasting=True,
                    next_step=f"{_CHECK_ORIGIN}; if it is Klaviyo that answers, raise `max_body_bytes`.",
                ) from None
            except (requests.RequestException, Urllib3Error, OSError, ValueError, AttributeError) as error:
                if not limit.is_over:
                    if not isinstance(error, requests.RequestException | Urllib3Error | OSError):
                        raise
                    reason = self._blanker.blank(network_reason(error).encode()).decode()
                    raise FailedAttemptError(f"gave no answer ({reason})", is_silence=True) from None
            # With or without an error: an answer that tells no length looks whole when its socket is shut.
            if limit.is_over:
                self._ending.check()
                raise FailedAttemptError(f"did not end its answer in {seconds:.0f} s")
        if blanks or response.status_code != 200:
            body = self._blanker.blank(body)
        return _Received(response.status_code, response.headers, body, received_at, sent_at)

    def _heed_limits(self, kind: JobKind, received: _Received) -> None:
        """Take over what the answer says of the limits: of those of the account, or of a pause for all of it."""
        budget = self._budgets[kind.rate_limit]
        if received.status != 429:
            budget.learn(kind.name, received.headers, received.sent_at)
            return
        retry_after = parse_retry_after(received.headers.get("Retry-After"))
        if retry_after is not None and retry_after <= self.network.max_wait_seconds:
            budget.pause(retry_after)

    def _read(self, where: str, kind: JobKind, received: _Received, decode: Callable[[bytes], T]) -> Answer[T]:
        """Return what a good answer holds; FailedAttemptError or an error of ours for any other."""
        failure = failure_of(received.status, received.headers, received.body)
        if failure is not None:
            raise failure
        error = error_of(
            where,
            received.status,
            received.body,
            kind=kind,
            account=self.account,
            base_url=self.base_url,
            revision=self.revision,
        )
        if error is not None:
            raise self._remembered(error, kind)
        try:
            answer = Answer(decode_leniently(received.body, decode), received.received_at, received.headers)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as undecodable:
            if not self._findings.has_answered and "html" in received.headers.get("Content-Type", "").lower():
                raise UnavailableError(
                    f"{where}: {self.base_url} answers with a web page; it is not the Klaviyo API.",
                    data=UNUSED,
                    next_step="check `base_url`, and whether a proxy or a sign-in page stands in between.",
                ) from None
            is_whole = is_json(received.body)
            found = "JSON of another shape than the API's" if is_whole else "a body that is not the API's JSON"
            raise FailedAttemptError(
                f"answered 200 with {found} ({undecodable})",
                is_lasting=is_whole,
                next_step=f"{_CHECK_ORIGIN}; if it is Klaviyo that answers, try another `revision`."
                if is_whole
                else None,
            ) from undecodable
        self._findings.has_answered = True
        return answer

    def _remembered(self, error: KlaviyoJobsError, kind: JobKind) -> KlaviyoJobsError:
        """Return *error*; a refusal is said once, and is the same for all requests that need what the key lacks."""
        if not isinstance(error, KeyRefusedError):
            return error
        needed = kind.scopes if error.is_of_scope else None
        with self._findings.lock:
            if needed not in self._findings.refusals:
                self._findings.refusals[needed] = error
                LOGGER.warning("%s: %s", self.account, error.headline)
            return self._findings.refusals[needed]

    def _wait_before_retry(self, where: str, kind: JobKind, attempt: int, failure: FailedAttemptError) -> float:
        """Return how long to wait before the next attempt; UnavailableError if there is to be none."""
        try:
            return self._retries.next_wait(attempt, failure, is_first_contact=not self._findings.has_answered)
        except GivenUpError as given_up:
            error = UnavailableError(
                f"{where}: {self.base_url} {failure.problem}; {given_up.reason}.",
                data=UNUSED,
                next_step=failure.next_step or _LATER,
                is_of_the_answer=failure.is_lasting,
            )
            if given_up.is_closing:
                self._findings.closed[kind.rate_limit] = error
            raise error from None
