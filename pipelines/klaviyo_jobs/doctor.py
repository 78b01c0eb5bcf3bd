"""
Look at everything that a run needs, and say what is wrong before a run does.

In:     the settings and where they come from, the API, the warehouse's place, the installed versions.
Out:    `Diagnosis`: a checklist for a terminal or a mail, or one JSON object. Nothing is written, no key is shown.
Calls:  one small GET for each account and kind: the listing of its queued jobs, of which there are hardly ever any.
Source: Klaviyo guides "API versioning and deprecation policy" and "Rate limits, status codes, and errors".
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

import dlt
import msgspec
import pendulum
from dlt.common.configuration.providers import EnvironProvider
from dlt.common.configuration.specs.base_configuration import is_secret_hint
from dlt.common.configuration.utils import ResolvedValueTrace, get_resolved_traces
from packaging.requirements import Requirement

from klaviyo_jobs import __version__
from klaviyo_jobs.client import Client, Meter
from klaviyo_jobs.errors import KeyRefusedError, KlaviyoJobsError, RevisionError, SettingError, WarehouseError
from klaviyo_jobs.kinds import JobKind, RateLimit
from klaviyo_jobs.lock import holder_of
from klaviyo_jobs.pacing import parse_limit
from klaviyo_jobs.settings import (
    DEFAULT_ACCOUNT,
    DEFAULT_INCLUDE,
    DEFAULT_REVISION,
    ENV_PREFIX,
    CheckSettings,
    NetworkSettings,
    Settings,
    check_base_url,
    check_revision,
    include_of,
    keys_of,
    kinds_of,
    lifetime_of,
    read_check_settings,
    read_network_settings,
    read_settings,
)
from klaviyo_jobs.views import check_zone
from klaviyo_jobs.warehouse import check_place, open_warehouse

State = Literal["ok", "warn", "fail"]

# Beyond this, times that a run writes are visibly not Klaviyo's. `Date` tells whole seconds.
SKEW_SECONDS: Final = 30.0
SCANT_DISK_BYTES: Final = 2**30
FULL_DISK_BYTES: Final = 100 * 2**20

# A doctor asks twice and does not wait long.
_ATTEMPTS: Final = 2
_READ_TIMEOUT_SECONDS: Final = 15.0
_BODY_TIMEOUT_SECONDS: Final = 30.0
_CALLS_AT_ONCE: Final = 9
# The first revision answered with the media type of JSON:API, which tells when an older one is not served as asked.
_FIRST_JSON_API_REVISION: Final = "2024-10-15"
_JSON_API: Final = "application/vnd.api+json"
_PACKAGES: Final = ("dlt", "duckdb", "pyarrow")
# What must not be shown wherever somebody has put it: a private key, the credentials in an address.
_SECRET: Final = re.compile(r"\bpk_\w+|(?<=://)[^/\s@]+(?=@)")
# Settings that nobody needs to see while they have their defaults.
_FINE_TUNING: Final = {*NetworkSettings.get_resolvable_fields(), *CheckSettings.get_resolvable_fields()}
_SOURCES: Final = {"Environment Variables": "environment"}


@dataclass(frozen=True, slots=True)
class Check:
    """
    One thing that was looked at.

    Attributes:
        name: What, in one word: `setting`, `api`, `key`, `scope`, `revision`, `clock`, `limits`, `warehouse`, ...
        state: `ok`; `warn`, which a run survives; or `fail`, which it does not.
        message: What was found.
        next_step: What to do next, or None.
        account: The account it concerns, or None.
        exit_code: What the command ends with if nothing before it fails; 0 unless it fails.
    """

    name: str
    state: State
    message: str
    next_step: str | None = None
    account: str | None = None
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Where a setting comes from.

    Attributes:
        name: The setting, e.g. `revision`; `accounts.LABEL` for a key by label.
        value: Its value, None for a key.
        is_secret: Whether it is a key.
        source: `environment`, `secrets.toml`, `config.toml`, another provider of dlt's, `option` or `default`.
        location: The environment variable, the file or the option; None for a default.
    """

    name: str
    value: Any
    is_secret: bool
    source: str
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """
    How one account's listing of one kind answered.

    Attributes:
        error: Why it did not, or None.
        clock_skew_seconds: How far this machine's clock is ahead of the API's, None if the API does not tell.
        announced: The rate limit that the answer announces, or None.
        media_type: The answer's `Content-Type` without parameters.
        revision: What the undocumented header `x-klaviyo-api-revision` says, or None.
    """

    account: str
    kind: JobKind
    error: KlaviyoJobsError | None = None
    clock_skew_seconds: float | None = None
    announced: RateLimit | None = None
    media_type: str | None = None
    revision: str | None = None

    def as_object(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "account": self.account,
            "job_kind": self.kind.name,
            "is_answered": self.error is None,
            "error": _masked(self.error.headline) if self.error else None,
            "clock_skew_seconds": self.clock_skew_seconds,
            "burst_limit": self.announced.burst if self.announced else None,
            "steady_limit": self.announced.steady if self.announced else None,
            "media_type": self.media_type,
            "revision": self.revision,
        }


@dataclass(slots=True)
class Diagnosis:
    """Everything that was found, in the order in which it was looked at."""

    checked_at: pendulum.DateTime
    checks: list[Check] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """That of the first check that fails; 0 if none does."""
        return next((check.exit_code for check in self.checks if check.state == "fail"), 0)

    def count(self, state: State) -> int:
        """Return how many checks ended in *state*."""
        return sum(check.state == state for check in self.checks)

    def as_object(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "checked_at": self.checked_at.to_iso8601_string(),
            "exit_code": self.exit_code,
            "ok_count": self.count("ok"),
            "warn_count": self.count("warn"),
            "fail_count": self.count("fail"),
            "checks": [asdict(check) for check in self.checks],
            "settings": [asdict(origin) for origin in self.origins],
            "calls": [call.as_object() for call in self.calls],
            "versions": self.versions,
        }


class _Listing(msgspec.Struct):
    data: list[msgspec.Raw]


def examine(*, warehouse: Path | None = None, labels: Sequence[str] | None = None) -> Diagnosis:
    """
    Look at the settings, the API, the warehouse's place and the versions.

    Args:
        warehouse: The DuckDB file; what the settings say by default.
        labels: The accounts to look at; all by default.
    """
    diagnosis = Diagnosis(pendulum.now("UTC"))
    checks: list[Check] = []
    path = warehouse or Path(Settings().warehouse)
    try:
        settings, network, diagnosis.origins = _read_settings(warehouse)
    except KlaviyoJobsError as error:
        checks.append(_failed("setting", error))
    else:
        path = warehouse or Path(settings.warehouse)
        problems = _problems_of(settings, labels)
        checks += _check_settings(diagnosis.origins, problems)
        if not problems:
            diagnosis.calls = _call_all(settings, network, labels)
            checks += _check_api(diagnosis, settings)
    path = path.absolute()
    checks += [*_check_warehouse(path), *_check_lock(path), *_check_disk(path)]
    diagnosis.versions = {
        "klaviyo-jobs": __version__,
        **{name: metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
    }
    checks += _check_versions(diagnosis.versions)
    diagnosis.checks = [
        replace(check, message=_masked(check.message), next_step=check.next_step and _masked(check.next_step))
        for check in checks
    ]
    return diagnosis


def render_diagnosis(diagnosis: Diagnosis, width: int) -> str:
    """Return the checklist as plain text, *width* columns wide: state, name, what was found, what to do next."""
    lines = [f"klaviyo-jobs doctor, {diagnosis.checked_at.format('YYYY-MM-DD HH:mm:ss')} UTC", ""]
    indent = " " * 17
    for check in diagnosis.checks:
        state = "FAIL" if check.state == "fail" else check.state
        head = f"{state:<6}{check.name:<11}"
        account = f"{check.account}: " if check.account and repr(check.account) not in check.message else ""
        lines += _wrapped(account + check.message, width, head, indent)
        if check.next_step:
            lines += _wrapped(f"Next: {check.next_step}", width, indent, indent + " " * 6)
    warnings = diagnosis.count("warn")
    lines += [
        "",
        f"{diagnosis.count('ok')} ok, {warnings} warning{'' if warnings == 1 else 's'}, "
        f"{diagnosis.count('fail')} failed" + (f"; exit code {diagnosis.exit_code}." if diagnosis.exit_code else "."),
    ]
    return "\n".join(lines)


def _wrapped(text: str, width: int, first_indent: str, indent: str) -> list[str]:
    # Paths and addresses stay whole, so that they can be copied.
    return textwrap.wrap(
        text,
        max(width, 60),
        initial_indent=first_indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _masked(text: str) -> str:
    return _SECRET.sub("***", text)


def _failed(name: str, error: KlaviyoJobsError, *, account: str | None = None, message: str | None = None) -> Check:
    return Check(name, "fail", message or error.message, error.next_step, account, error.exit_code)


# Settings.


def _read_settings(warehouse: Path | None) -> tuple[Settings, NetworkSettings, list[Origin]]:
    traces = get_resolved_traces().resolved_traces
    start = len(traces)
    settings, network, thresholds = read_settings(), read_network_settings(), read_check_settings()
    found = {trace.key: trace for trace in traces[start:]}
    origins = []
    for spec in (settings, network, thresholds):
        for name, hint in spec.get_resolvable_fields().items():
            if name == "accounts":
                origins += [_origin_of_key(label, found.get(name)) for label in settings.accounts or {}]
            elif name == "warehouse" and warehouse is not None:
                origins.append(Origin(name, str(warehouse), False, "option", "--warehouse"))
            elif name in found or not is_secret_hint(hint):
                origins.append(_origin_of(name, getattr(spec, name), is_secret_hint(hint), found.get(name)))
    return settings, network, origins


def _origin_of(name: str, value: Any, is_secret: bool, trace: ResolvedValueTrace | None) -> Origin:
    value = None if is_secret else _masked(value) if isinstance(value, str) else value
    if trace is None:
        return Origin(name, value, is_secret, "default")
    source = _SOURCES.get(trace.provider_name, trace.provider_name)
    location: str | None = trace.provider_location
    if source == "environment":
        location = EnvironProvider.get_key_name(trace.key, *trace.sections)
    elif location in ("secrets.toml", "config.toml"):
        location = str(Path(dlt.current.run_context().settings_dir, location))
    elif location and location.startswith("global:"):
        location = str(Path(dlt.current.run_context().global_dir, location.removeprefix("global:")))
    return Origin(name, value, is_secret, source, location or None)


def _origin_of_key(label: str, trace: ResolvedValueTrace | None) -> Origin:
    prefix = f"{ENV_PREFIX}ACCOUNTS__"
    name = f"accounts.{label}"
    for variable in os.environ:
        if variable.startswith(prefix) and variable.removeprefix(prefix).lower() == label:
            return Origin(name, None, True, "environment", variable)
    return _origin_of(name, None, True, trace)


def _problems_of(settings: Settings, labels: Sequence[str] | None) -> dict[str, SettingError]:
    """Return what is wrong with settings that could be read, by the name of the setting."""
    checks: dict[str, Callable[[], object]] = {
        "api_key": lambda: keys_of(settings.api_key, settings.accounts, labels),
        "base_url": lambda: check_base_url(settings.base_url),
        "revision": lambda: check_revision(settings.revision),
        "kinds": lambda: kinds_of(settings.kinds),
        "include": lambda: include_of(settings.include),
        "reporting_timezone": lambda: check_zone(settings.reporting_timezone),
    }
    problems = {}
    for name, check in checks.items():
        try:
            check()
        except SettingError as error:
            problems[name] = error
    return problems


def _check_settings(origins: Iterable[Origin], problems: Mapping[str, SettingError]) -> Iterator[Check]:
    untouched, fine_tuning_count = [], 0
    for origin in origins:
        if origin.name in problems:
            continue
        if origin.source == "default" and origin.name in _FINE_TUNING:
            fine_tuning_count += 1
            continue
        if origin.source == "default":
            value = {"kinds": "all", "include": list(DEFAULT_INCLUDE)}.get(origin.name, origin.value)
            untouched.append(f"{origin.name} {_shown(value)}")
            continue
        shown = "is set" if origin.is_secret else f"is {_shown(origin.value)}"
        place = origin.location if origin.location not in (None, origin.source) else origin.source
        kind = " in the environment" if origin.source == "environment" else ""
        message = f"{origin.name} {shown}, from {place}{kind}"
        if origin.source == "environment" and "__" not in str(origin.location):
            yield Check(
                "setting",
                "warn",
                f"{message}, a name that may be meant for another program",
                f"unset {origin.location}, or rename it to {ENV_PREFIX}{origin.name.upper()}.",
            )
        else:
            yield Check("setting", "ok", message)
    if fine_tuning_count:
        untouched.append(f"and {fine_tuning_count} more, which --json shows")
    if untouched:
        yield Check("setting", "ok", f"by default: {', '.join(untouched)}")
    for problem in problems.values():
        yield _failed("setting", problem)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


# The API.


def _call_all(settings: Settings, network: NetworkSettings, labels: Sequence[str] | None) -> list[Call]:
    network = network.copy()
    network.max_attempts = min(network.max_attempts, _ATTEMPTS)
    network.read_timeout_seconds = min(network.read_timeout_seconds, _READ_TIMEOUT_SECONDS)
    network.body_timeout_seconds = min(network.body_timeout_seconds, _BODY_TIMEOUT_SECONDS)
    base_url = check_base_url(settings.base_url)
    clients = [
        Client(label, key, base_url=base_url, revision=settings.revision, network=network)
        for label, key in keys_of(settings.api_key, settings.accounts, labels).items()
    ]
    pairs = [(client, kind) for client in clients for kind in kinds_of(settings.kinds)]
    with ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="doctor") as pool:
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


def _check_api(diagnosis: Diagnosis, settings: Settings) -> Iterator[Check]:
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


def _check_answers(account: str, calls: Sequence[Call], settings: Settings) -> Iterator[Check]:
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
        yield Check("api", "ok", message, account=account)
    for (reason, next_step, exit_code), failed in failures.items():
        yield Check("api", "fail", f"{_kinds(failed, calls)}: {reason}", next_step, account, exit_code)


def _check_key(account: str, calls: Sequence[Call], place: str) -> Iterator[Check]:
    refusal = next((call.error for call in calls if isinstance(call.error, KeyRefusedError)), None)
    read = [call for call in calls if call.error is None]
    if refusal is not None and refusal.status == 401:
        next_step = f"copy the private key again from Klaviyo (Settings, API keys) to {place}."
        yield replace(_failed("key", refusal, account=account), next_step=next_step)
        return
    if refusal is None and not read:
        return
    yield Check("key", "ok", "the key is accepted", account=account)
    if refusal is None:
        yield Check("scope", "ok", f"catalogs:read, for {_kinds(read, calls)}", account=account)
    else:
        message = f"the scope catalogs:read is missing. {refusal.message}"
        next_step = f"make a private key with read access to Catalogs (Settings, API keys) and put it in {place}."
        yield replace(_failed("scope", refusal, account=account, message=message), next_step=next_step)


def _check_limits(account: str, calls: Sequence[Call]) -> Iterator[Check]:
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
        yield Check("limits", "ok", "; ".join(parts), account=account)


def _check_revision(revision: str, diagnosis: Diagnosis, skew: float | None) -> Check:
    """Judge *revision* by its age on the API's clock, and by what the API says of it."""
    today = diagnosis.checked_at.subtract(seconds=skew or 0).date()
    deprecated_on, retired_on = lifetime_of(revision)
    next_step = f"set `revision` to {DEFAULT_REVISION}, or remove the setting."
    if revision == DEFAULT_REVISION:
        next_step = "upgrade klaviyo-jobs, whose default this is."
    fail = SettingError.exit_code
    refusal = next((call.error for call in diagnosis.calls if isinstance(call.error, RevisionError)), None)
    if revision[:10] > today.isoformat():
        return Check("revision", "fail", f"{revision} is in the future", next_step, exit_code=fail)
    if today >= retired_on:
        return Check(
            "revision",
            "fail",
            f"{revision} is retired since {retired_on}{_served_instead(revision, diagnosis.calls)}",
            next_step,
            exit_code=fail,
        )
    if refusal is not None:
        return Check("revision", "fail", refusal.message, next_step, exit_code=fail)
    if today >= deprecated_on:
        message = f"{revision} is deprecated since {deprecated_on}, and retired from {retired_on} on"
        return Check("revision", "warn", message, next_step)
    return Check("revision", "ok", f"{revision} is stable until {deprecated_on}")


def _served_instead(revision: str, calls: Iterable[Call]) -> str:
    """Say what Klaviyo serves in place of a retired *revision*, as far as an answer tells."""
    answers = [call for call in calls if call.error is None]
    named = {call.revision for call in answers if call.revision} - {revision}
    if named:
        return f"; the answers name {', '.join(sorted(named))} (x-klaviyo-api-revision)"
    if revision[:10] < _FIRST_JSON_API_REVISION and any(call.media_type == _JSON_API for call in answers):
        return f"; Klaviyo answers in the shape of {_FIRST_JSON_API_REVISION} or later"
    return "; Klaviyo answers in the shape of the oldest one that is not" if answers else ""


def _check_clock(skew: float) -> Check:
    """*skew* is how far this machine is ahead of the API, in seconds."""
    if abs(skew) <= 2:
        return Check("clock", "ok", "this machine's clock agrees with Klaviyo's")
    message = f"this machine's clock is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} Klaviyo's"
    if abs(skew) <= SKEW_SECONDS:
        return Check("clock", "ok", message)
    return Check("clock", "warn", message, "set it, e.g. by NTP: observations are dated by it.")


def _kinds(some: Sequence[Call], of_all: Sequence[Call]) -> str:
    if len(some) == len(of_all) > 1:
        return f"all {len(of_all)} kinds"
    return ", ".join(call.kind.name for call in some)


# The machine.


def _check_warehouse(path: Path) -> Iterator[Check]:
    try:
        check_place(path)
        if path.exists():
            open_warehouse(path).close()
            message = f"{path} can be written; {_size(path.stat().st_size)}"
        else:
            # What a file without a name can do here, the warehouse can; nothing is left behind.
            with tempfile.TemporaryFile(dir=path.parent):
                message = f"{path} does not exist yet; a run can make it"
    except WarehouseError as error:
        yield _failed("warehouse", error)
    except OSError as error:
        message = f"the warehouse {path} cannot be made: {error.strerror}."
        next_step = "choose another path with --warehouse."
        yield _failed("warehouse", WarehouseError(message, next_step=next_step))
    else:
        yield Check("warehouse", "ok", message)


def _check_lock(path: Path) -> Iterator[Check]:
    """Say whether a run holds the warehouse; that is no fault, but the next run has to wait for it."""
    holder = holder_of(path)
    if holder is None:
        yield Check("lock", "ok", "no run holds the warehouse")
    else:
        message = (
            f"process {holder.pid} on {holder.host} holds the warehouse since {holder.since}, at step {holder.step}"
        )
        yield Check("lock", "warn", message, "wait for it to end, or run with --wait-lock SECONDS.")


def _check_disk(path: Path) -> Iterator[Check]:
    if not path.parent.is_dir():
        return
    free = shutil.disk_usage(path.parent).free
    needed = max(SCANT_DISK_BYTES, path.stat().st_size if path.is_file() else 0)
    message = f"{_size(free)} free in {path.parent}"
    next_step = "make room, or move the warehouse with --warehouse."
    if free < FULL_DISK_BYTES:
        yield Check("disk", "fail", message, next_step, exit_code=WarehouseError.exit_code)
    elif free < needed:
        yield Check("disk", "warn", f"{message}; {_size(needed)} would be safe", next_step)
    else:
        yield Check("disk", "ok", message)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"


def _check_versions(versions: Mapping[str, str]) -> Iterator[Check]:
    yield Check("versions", "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))
    for requirement in _requirements():
        version = versions.get(requirement.name)
        if version is not None and not requirement.specifier.contains(version, prereleases=True):
            wanted = f"{requirement.name}{requirement.specifier}"
            message = f"{requirement.name} {version} is not what klaviyo-jobs is made for: {requirement.specifier}"
            yield Check("versions", "warn", message, f'python -m pip install "{wanted}"')


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(text) for text in metadata.requires("klaviyo-jobs") or ()]
    except metadata.PackageNotFoundError:
        return []
