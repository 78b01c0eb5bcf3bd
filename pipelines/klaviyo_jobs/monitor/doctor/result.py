"""
What a diagnosis is made of, with nothing secret in it.

In:     findings.
Out:    `DoctorCheck`, `SettingSource`, `Call` and the `Diagnosis` that holds them, also as JSON data.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import pendulum

from klaviyo_jobs.errors import KlaviyoJobsError
from klaviyo_jobs.model.kinds import JobKind, RateLimit

State = Literal["ok", "warn", "fail"]

# Beyond this, times that a run writes are visibly not Klaviyo's. `Date` tells whole seconds.
SKEW_SECONDS: Final = 30.0
SCANT_DISK_BYTES: Final = 2**30
FULL_DISK_BYTES: Final = 100 * 2**20
# What must not be shown wherever somebody has put it: a private key, the credentials in an address.
_SECRET: Final = re.compile(r"\bpk_\w+|(?<=://)[^/\s@]+(?=@)")


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """
    One thing that was checked.

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
class SettingSource:
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
            "error": masked(self.error.headline) if self.error else None,
            "clock_skew_seconds": self.clock_skew_seconds,
            "burst_limit": self.announced.burst if self.announced else None,
            "steady_limit": self.announced.steady if self.announced else None,
            "media_type": self.media_type,
            "revision": self.revision,
        }


@dataclass(slots=True)
class Diagnosis:
    """Everything that was found, in the order in which it was checked."""

    checked_at: pendulum.DateTime
    checks: list[DoctorCheck] = field(default_factory=list)
    origins: list[SettingSource] = field(default_factory=list)
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


def masked(text: str) -> str:
    return _SECRET.sub("***", text)


def failed_check(
    name: str, error: KlaviyoJobsError, *, account: str | None = None, message: str | None = None
) -> DoctorCheck:
    return DoctorCheck(name, "fail", message or error.message, error.next_step, account, error.exit_code)


def format_setting(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
