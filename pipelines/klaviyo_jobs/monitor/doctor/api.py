"""
What the API answers to the key: for each account and kind one small GET of its queued jobs.

In:     settings that can be used.
Out:    a `Call` for each account and kind, and the checks that follow from them.
Source: Klaviyo guides "API versioning and deprecation policy" and "Rate limits, status codes, and errors".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec
import pendulum

from klaviyo_jobs.api.client import Client, Meter
from klaviyo_jobs.api.pacing import parse_limit
from klaviyo_jobs.choices import select_kinds
from klaviyo_jobs.errors import KeyRefusedError, KlaviyoJobsError, RevisionError, SettingError
from klaviyo_jobs.model.kinds import JobKind, RateLimit
from klaviyo_jobs.model.revisions import DEFAULT_REVISION, lifetime_of
from klaviyo_jobs.monitor.doctor.result import SKEW_SECONDS, Call, Diagnosis, DoctorCheck, failed_check
from klaviyo_jobs.settings import DEFAULT_ACCOUNT, NetworkSettings, Settings, check_base_url, resolve_keys

# A doctor asks twice and does not wait long.
_ATTEMPTS: Final = 2
_READ_TIMEOUT_SECONDS: Final = 15.0
_BODY_TIMEOUT_SECONDS: Final = 30.0
_CALLS_AT_ONCE: Final = 13
# The first revision answered with the media type of JSON:API, which tells when an older one is not served as asked.
_FIRST_JSON_API_REVISION: Final = "2024-10-15"
_JSON_API: Final = "application/vnd.api+json"


class _Listing(msgspec.Struct):
    data: list[msgspec.Raw]


def call_all(settings: Settings, network: NetworkSettings, labels: Sequence[str] | None) -> list[Call]:
    network = network.copy()
    network.max_attempts = min(network.max_attempts, _ATTEMPTS)
    network.read_timeout_seconds = min(network.read_timeout_seconds, _READ_TIMEOUT_SECONDS)
    network.body_timeout_seconds = min(network.body_timeout_seconds, _BODY_TIMEOUT_SECONDS)
    base_url = check_base_url(settings.base_url)
    clients = [
        Client(label, key, base_url=base_url, revision=settings.revision, network=network)
        for label, key in resolve_keys(settings.api_key, settings.accounts, labels).items()
    ]
    pairs = [(client, kind) for client in clients for kind in select_kinds(settings.kinds)]
    with ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="doctor") as pool, ExitStack() as stack:
        for client in clients:
            stack.enter_context(client)
        return list(pool.map(lambda pair: _call(*pair), pairs))


def _call(client: Client, kind: JobKind) -> Call:
    params = {"filter": 'equals(status,"queued")', f"fields[{kind.job_type}]": "status"}
    decode = msgspec.json.Decoder(_Listing).decode
    try:
        answer = client.fetch(kind.name, kind.list_path, decode, kind=kind, meter=Meter(), params=params)
    except KlaviyoJobsError as error:
        return Call(client.account, kind, error)
    return Call(
        client.account,
        kind,
        clock_skew_seconds=_clock_skew_seconds(answer.headers.get("Date"), answer.received_at),
        announced=parse_limit(answer.headers.get("RateLimit-Limit", "")),
        media_type=answer.headers.get("Content-Type", "").split(";")[0].strip().lower() or None,
        revision=answer.headers.get("x-klaviyo-api-revision"),
    )


def _clock_skew_seconds(date: str | None, received_at: pendulum.DateTime) -> float | None:
    try:
        served_at = parsedate_to_datetime(date or "")
    except (ValueError, TypeError):
        return None
    # `Date` is cut to the second: on average it is half a second old.
    return round((received_at - pendulum.instance(served_at)).total_seconds() - 0.5, 1)


def check_api(diagnosis: Diagnosis, settings: Settings) -> Iterator[DoctorCheck]:
    by_account: dict[str, list[Call]] = defaultdict(list)
    for call in diagnosis.calls:
        by_account[call.account].append(call)
    places = {origin.name: origin.location for origin in diagnosis.origins}
    for account, calls in by_account.items():
        place = places.get(f"accounts.{account}") or places.get("api_key" if account == DEFAULT_ACCOUNT else "")
        yield from _check_answers(account, calls, settings)
        yield from _check_key(account, calls, place or "the settings")
        yield from _check_limits(account, calls)
    skew = min(
        (call.clock_skew_seconds for call in diagnosis.calls if call.clock_skew_seconds is not None),
        key=abs,
        default=None,
    )
    yield _check_revision(settings.revision, diagnosis, skew)
    if skew is not None:
        yield _check_clock(skew)


def _check_answers(account: str, calls: Sequence[Call], settings: Settings) -> Iterator[DoctorCheck]:
    """Say for which kinds the API answers, whatever it answers, and why not for the others."""
    failures: dict[tuple[str, str | None, int], list[Call]] = defaultdict(list)
    answered = []
    for call in calls:
        if call.error is None or isinstance(call.error, KeyRefusedError | RevisionError):
            answered.append(call)
        else:
            reason = call.error.message.removeprefix(f"{call.kind.name}: ")
            failures[reason, call.error.next_step, call.error.exit_code].append(call)
    if answered:
        message = f"{settings.base_url} answers for {_kinds(answered, calls)}"
        yield DoctorCheck("api", "ok", message, account=account)
    for (reason, next_step, exit_code), failed in failures.items():
        yield DoctorCheck("api", "fail", f"{_kinds(failed, calls)}: {reason}", next_step, account, exit_code)


def _check_key(account: str, calls: Sequence[Call], place: str) -> Iterator[DoctorCheck]:
    refusals = {call.kind.scopes: call.error for call in calls if isinstance(call.error, KeyRefusedError)}
    read = [call for call in calls if call.error is None]
    refusal = next((error for error in refusals.values() if not error.is_of_scope), None)
    if refusal is not None:
        next_step = f"copy the private key again from Klaviyo (Settings, API keys) to {place}."
        yield replace(failed_check("key", refusal, account=account), next_step=next_step)
        return
    if not refusals and not read:
        return
    yield DoctorCheck("key", "ok", "the key is accepted", account=account)
    for scopes in dict.fromkeys(call.kind.scopes for call in calls):
        of_scopes = [call for call in calls if call.kind.scopes == scopes]
        refusal = refusals.get(scopes)
        if refusal is not None:
            missing = "the scope {} is missing" if len(scopes) == 1 else "of the scopes {} one or more are missing"
            message = f"{missing.format(' and '.join(scopes))}. {refusal.message}"
            areas = " and ".join(scope.partition(":")[0].replace("-", " ").title() for scope in scopes)
            next_step = f"make a private key with read access to {areas} (Settings, API keys) and put it in {place}."
            yield replace(failed_check("scope", refusal, account=account, message=message), next_step=next_step)
        elif readable := [call for call in of_scopes if call.error is None]:
            message = f"{' and '.join(scopes)}, for {_kinds(readable, calls)}"
            yield DoctorCheck("scope", "ok", message, account=account)


def _check_limits(account: str, calls: Sequence[Call]) -> Iterator[DoctorCheck]:
    by_limit: dict[RateLimit | None, list[Call]] = defaultdict(list)
    for call in calls:
        if call.error is None:
            by_limit[call.announced].append(call)
    parts = [
        f"{limit.burst}/s and {limit.steady}/min" + ("" if len(by_limit) == 1 else f" for {_kinds(of_limit, calls)}")
        for limit, of_limit in by_limit.items()
        if limit is not None
    ]
    if silent := by_limit.get(None):
        assumed = sorted({call.kind.rate_limit for call in silent}, key=lambda limit: limit.burst)
        rates = " and ".join(f"{limit.burst}/s, {limit.steady}/min" for limit in assumed)
        parts.append(f"none announced for {_kinds(silent, calls)}, taken to be {rates}")
    if parts:
        yield DoctorCheck("limits", "ok", "; ".join(parts), account=account)


def _check_revision(revision: str, diagnosis: Diagnosis, skew: float | None) -> DoctorCheck:
    """Judge *revision* by its age on the API's clock, and by what the API says of it."""
    today = diagnosis.checked_at.subtract(seconds=skew or 0).date()
    deprecated_on, retired_on = lifetime_of(revision)
    next_step = f"set `revision` to {DEFAULT_REVISION}, or remove the setting."
    if revision == DEFAULT_REVISION:
        next_step = "upgrade klaviyo-jobs, whose default this is."
    fail = SettingError.exit_code
    refusal = next((call.error for call in diagnosis.calls if isinstance(call.error, RevisionError)), None)
    if revision[:10] > today.isoformat():
        return DoctorCheck("revision", "fail", f"{revision} is in the future", next_step, exit_code=fail)
    if today >= retired_on:
        return DoctorCheck(
            "revision",
            "fail",
            f"{revision} is retired since {retired_on}{_served_instead(revision, diagnosis.calls)}",
            next_step,
            exit_code=fail,
        )
    if refusal is not None:
        return DoctorCheck("revision", "fail", refusal.message, next_step, exit_code=fail)
    if today >= deprecated_on:
        message = f"{revision} is deprecated since {deprecated_on}, and retired from {retired_on} on"
        return DoctorCheck("revision", "warn", message, next_step)
    return DoctorCheck("revision", "ok", f"{revision} is stable until {deprecated_on}")


def _served_instead(revision: str, calls: Iterable[Call]) -> str:
    """Say what Klaviyo serves in place of a retired *revision*, as far as an answer tells."""
    answers = [call for call in calls if call.error is None]
    named = {call.revision for call in answers if call.revision} - {revision}
    if named:
        return f"; the answers name {', '.join(sorted(named))} (x-klaviyo-api-revision)"
    if revision[:10] < _FIRST_JSON_API_REVISION and any(call.media_type == _JSON_API for call in answers):
        return f"; Klaviyo answers in the shape of {_FIRST_JSON_API_REVISION} or later"
    return "; Klaviyo answers in the shape of the oldest one that is not" if answers else ""


def _check_clock(skew: float) -> DoctorCheck:
    """*skew* is how far this machine is ahead of the API, in seconds."""
    if abs(skew) <= 2:
        return DoctorCheck("clock", "ok", "this machine's clock agrees with Klaviyo's")
    message = f"this machine's clock is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} Klaviyo's"
    if abs(skew) <= SKEW_SECONDS:
        return DoctorCheck("clock", "ok", message)
    return DoctorCheck("clock", "warn", message, "set it, e.g. by NTP: observations are dated by it.")


def _kinds(some: Sequence[Call], of_all: Sequence[Call]) -> str:
    if len(some) == len(of_all) > 1:
        return f"all {len(of_all)} kinds"
    return ", ".join(call.kind.name for call in some)
