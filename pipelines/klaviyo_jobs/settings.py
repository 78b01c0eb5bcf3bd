"""
What can be set, and what a usable value is.

In:     dlt's own configuration, section `sources.klaviyo_jobs`; `configuration.py` knows where that stands.
Out:    `Settings`, checked; API keys leave it as `ApiKey`, which never shows its value.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from dlt.common.configuration import configspec
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.typing import SecretSentinel, TSecretStrValue

from klaviyo_jobs.addresses import is_loopback, origin_of
from klaviyo_jobs.choices import refuse_unknown
from klaviyo_jobs.configuration import ENV_PREFIX as ENV_PREFIX
from klaviyo_jobs.configuration import exposed_secrets, own_value, refuse_unread
from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.forms import Names, Seconds, Share, given, names_of, read_seconds, read_share, refuse_below, resolved
from klaviyo_jobs.keys import ApiKey, key_of, looks_like_key
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.memory import MemoryBounds, parse_memory_limit
from klaviyo_jobs.model.revisions import DEFAULT_REVISION, lifetime_of
from klaviyo_jobs.places import path_of

DEFAULT_BASE_URL: Final = "https://a.klaviyo.com"
DEFAULT_ACCOUNT: Final = "default"
DEFAULT_DESTINATION: Final = "duckdb"
DEFAULT_WAREHOUSE: Final = "warehouse.duckdb"

# Whoever knows one of these can use it.
SECRET_URLS: Final = ("ping_url", "check_ping_url", "webhook_url")
SECRETS: Final = ("api_key", "accounts", *SECRET_URLS)
VIEW_SETTINGS: Final = ("reporting_timezone", "stuck_after_seconds", "jobs_in_progress_limit")

_REVISION: Final = re.compile(r"\d{4}-\d{2}-\d{2}(\.\w+)?")


@configspec
class Settings(BaseConfiguration):
    """
    The settings of the section `sources.klaviyo_jobs`; docs/settings.md describes each.

    `accounts` may hold keys by label instead of `api_key`; in the environment each label is a variable of its own.
    """

    api_key: TSecretStrValue | None = None
    accounts: Annotated[dict[str, str], SecretSentinel] | None = None
    base_url: str = DEFAULT_BASE_URL
    revision: str = DEFAULT_REVISION
    kinds: Names | None = None
    include: Names | None = None
    import_error_payloads: bool = False
    destination: str = DEFAULT_DESTINATION
    warehouse: str = DEFAULT_WAREHOUSE
    warehouse_wait_seconds: Seconds = 10.0
    progress_seconds: Seconds = 10.0
    download_extensions: bool = False
    bi_copy: str | None = None
    bi_copy_tables: bool = False
    report_page: str | None = None
    memory_limit: str = "512MB"
    temp_directory: str | None = None
    reporting_timezone: str = "UTC"
    stuck_after_seconds: Seconds = 21600
    jobs_in_progress_limit: int = 500
    ping_url: TSecretStrValue | None = None
    check_ping_url: TSecretStrValue | None = None
    webhook_url: TSecretStrValue | None = None

    def on_resolved(self) -> None:
        """Refuse what cannot work, before anything is read."""
        # To dlt, the section `destination` of its own is a value of this name too.
        self.destination = str(own_value("destination") or DEFAULT_DESTINATION).strip()
        for name in ("kinds", "include"):
            setattr(self, name, names_of(name, getattr(self, name)))
        for name in ("warehouse_wait_seconds", "progress_seconds", "stuck_after_seconds"):
            read_seconds(self, name, least=0.1 if name == "progress_seconds" else 0)
        # What stands in a view of whole seconds.
        self.stuck_after_seconds = round(self.stuck_after_seconds)
        refuse_below(self, "jobs_in_progress_limit", 1)
        for name in SECRET_URLS:
            _refuse_insecure(name, getattr(self, name))
        parse_memory_limit(self.memory_limit)

    @property
    def labels(self) -> list[str]:
        """The accounts whose keys are set, by their labels."""
        return [DEFAULT_ACCOUNT] if self.api_key else sorted(self.accounts or {})

    @property
    def memory(self) -> MemoryBounds:
        """What bounds the memory of every command."""
        return MemoryBounds(parse_memory_limit(self.memory_limit), self._path("temp_directory"))

    @property
    def copy_path(self) -> Path | None:
        """Where each run publishes its copy; None if it does not."""
        return self._path("bi_copy")

    @property
    def page_path(self) -> Path | None:
        """Where each run writes its page; None if it does not."""
        return self._path("report_page")

    def _path(self, name: str) -> Path | None:
        return path_of(getattr(self, name), name) if getattr(self, name) else None

    @property
    def of_views(self) -> dict[str, Any]:
        """What the views are told, by the names that `apply_views` has for it."""
        return {name: getattr(self, name) for name in VIEW_SETTINGS}

    def __repr__(self) -> str:
        """Show every setting but the keys."""
        shown = {name: getattr(self, name) for name in self.get_resolvable_fields()}
        hidden = {name: "***" for name in SECRETS if shown[name]}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in (shown | hidden).items())})"

    __str__ = __repr__


@configspec
class NetworkSettings(BaseConfiguration):
    """
    How patiently the API is read; settings of the same section, for every user of the source.

    Attributes:
        max_attempts: How often one request is sent at most.
        backoff_seconds: The longest first wait before a retry that the API names no time for; each further one may be
            twice as long as the one before.
        max_wait_seconds: The longest single wait before a retry; a longer `Retry-After` ends the listing.
        max_total_wait_seconds: The longest that one account waits for retries in all, added up over its requests.
        connect_timeout_seconds: How long a connection may take to come about.
        read_timeout_seconds: How long the API may say nothing.
        body_timeout_seconds: How long one whole answer may take, however slowly it drips in.
        max_body_bytes: How large one answer may be, unpacked.
        max_pages: Where a listing that does not end is left.
        fall_forward_opt_out: Ask for an error instead of an answer in the shape of a newer revision when the one asked
            for is retired.
    """

    max_attempts: int = 8
    backoff_seconds: Seconds = 0.5
    max_wait_seconds: Seconds = 60.0
    max_total_wait_seconds: Seconds = 600.0
    connect_timeout_seconds: Seconds = 10.0
    read_timeout_seconds: Seconds = 60.0
    body_timeout_seconds: Seconds = 120.0
    # A hundred jobs of a hundred resources with errors stay below 3 MB; a hundred included items of 100 kB below 12 MB.
    max_body_bytes: int = 64 * 2**20
    # 100 jobs a page; an account cannot have half a million jobs in seven days with 500 in progress at a time.
    max_pages: int = 5000
    fall_forward_opt_out: bool = False

    def on_resolved(self) -> None:
        """Refuse what cannot work: no attempt, no byte, no page, or a bound that is no time."""
        for name in self.get_resolvable_fields():
            if name in ("max_attempts", "max_body_bytes", "max_pages"):
                refuse_below(self, name, 1)
            elif name.endswith("_seconds"):
                # A timeout of no time lets nothing through; to wait no time is a wish.
                read_seconds(self, name, least=0.001 if "timeout" in name else 0)


@configspec
class CheckSettings(BaseConfiguration):
    """
    What `klaviyo-jobs check` compares with; settings of the same section. Each threshold is for one account and kind.

    Attributes:
        check_window_seconds: How far back it counts what runs came to know; a minute at least.
        min_operations: From how many operations on a failed share is judged.
        max_failed_share: The highest share, 0 to 1 or with a percent sign, of failed operations.
        max_stuck_jobs: The highest number of stuck jobs.
        max_listing_age_seconds: The highest age of the last listing that was read to its end; a week at most.
        max_rejected_records: The highest number of rejected records.
        max_silence: For how many times its usual pause a kind may have no new job; 1 at least.
        max_limit_share: The highest share of the limit on jobs in progress, of a kind and of the account.
        max_vanished_jobs: The highest number of jobs that vanished.
        max_new_errors: The highest number of errors of sorts never seen before.
        repeat_after: After how long, in seconds or as `6h`, a webhook and a failing ping tell again of what has not
            changed; a week at most.
    """

    check_window_seconds: Seconds = 86400.0
    min_operations: int = 20
    max_failed_share: Share = 0.1
    max_stuck_jobs: int = 0
    # A run a day, and two hours for it to be late.
    max_listing_age_seconds: Seconds = 93600.0
    max_rejected_records: int = 0
    max_silence: float = 3.0
    max_limit_share: Share = 0.9
    max_vanished_jobs: int = 0
    max_new_errors: int = 20
    repeat_after: Seconds = 21600.0

    def on_resolved(self) -> None:
        """Refuse what is no threshold, and what no finding could ever pass."""
        for name in self.get_resolvable_fields():
            if name.endswith("_share"):
                read_share(self, name)
            elif name in _SECONDS:
                least, most = _SECONDS[name]
                read_seconds(self, name, least=least, most=most)
            else:
                refuse_below(self, name, 1 if name == "max_silence" else 0)


# From a window of nothing, and for an age that no listing reaches before Klaviyo has forgotten its jobs, no alarm would
# come; one that is told once a month is none.
_WEEK: Final = 7 * 86400
_SECONDS: Final = {
    "check_window_seconds": (60, math.inf),
    "max_listing_age_seconds": (0, _WEEK),
    "repeat_after": (0, _WEEK),
}


def read_check_settings(**options: Any) -> CheckSettings:
    """Resolve the thresholds from dlt's configuration providers; *options* that are not None come first."""
    settings = resolved(CheckSettings(), SECRETS)
    given(settings, {name: (_option_of(name), value) for name, value in options.items()})
    settings.on_resolved()
    return settings


def _option_of(name: str) -> str:
    """Return the option of the command that stands for the threshold *name*."""
    return "--" + name.removeprefix("check_").removesuffix("_seconds").replace("_", "-")


def _refuse_insecure(name: str, url: str | None) -> None:
    """Refuse a secret address that would cross the network in the open, without quoting it."""
    if url is None:
        return
    try:
        scheme, _, _ = origin_of(url)
        is_safe = scheme == "https" or is_loopback(url)
    except ValueError:
        is_safe = False
    if not is_safe:
        raise SettingError(
            f"{name} is no https address.",
            data="nothing was read or written.",
            next_step="copy it again from your monitor; plain http is for a server on this machine only.",
        )


def read_network_settings() -> NetworkSettings:
    """Resolve the network settings from dlt's configuration providers."""
    return resolved(NetworkSettings(), SECRETS)


def setting_names() -> list[str]:
    """Return the name of every setting."""
    specs: tuple[type[BaseConfiguration], ...] = (Settings, NetworkSettings, CheckSettings)
    return [name for spec in specs for name in spec.get_resolvable_fields()]


def refuse_unread_settings() -> None:
    """Raise SettingError if something looks like a setting of ours and is none, or is a secret in the wrong file."""
    refuse_unread(setting_names(), SECRETS)


def read_settings() -> Settings:
    """
    Resolve the settings from dlt's configuration providers.

    Raises:
        SettingError: A value cannot be used, or something that looks like a setting is none.
    """
    # First: dlt, too, refuses a secret in the wrong file, and does not say which or where it belongs.
    refuse_unread_settings()
    settings = resolved(Settings(), SECRETS)
    for path in exposed_secrets():
        LOGGER.warning("%s can be read by every user of this machine: chmod 600 %s", path, path)
    settings.accounts = {**(settings.accounts or {}), **_accounts_in_environment()}
    _refuse_keys(settings.accounts)
    return settings


def _refuse_keys(labels: Iterable[str]) -> None:
    """Raise SettingError if a key stands where a label is expected, which would be printed and stored."""
    if any(map(looks_like_key, labels)):
        raise SettingError(
            "the label of an account in `accounts` begins with pk_, as keys do.",
            data="nothing was read or written.",
            next_step='write LABEL = "KEY": the label is a name of your own, e.g. shop, and is printed and stored.',
        )


def _accounts_in_environment() -> dict[str, str]:
    prefix = f"{ENV_PREFIX}ACCOUNTS__"
    return {name.removeprefix(prefix).lower(): key for name, key in os.environ.items() if name.startswith(prefix)}


def resolve_keys(
    api_key: str | None, accounts: Mapping[str, str] | None, labels: Iterable[str] | None = None
) -> dict[str, ApiKey]:
    """
    Return the API key of every account by its label.

    Args:
        api_key: The key of the one account `default`.
        accounts: Label to key; None to look for labels in the environment.
        labels: The accounts wanted; all by default.
    Raises:
        SettingError: There is no key, an empty one, both forms are used, or a label is unknown.
    """
    labelled = _accounts_in_environment() if accounts is None else dict(accounts)
    if api_key and labelled:
        raise SettingError(
            "both `api_key` and `accounts` are set; which account the single key belongs to is not clear.",
            data="nothing was read or written.",
            next_step=f"move the key of {ENV_PREFIX}API_KEY under a label in `accounts`, or remove one of the two.",
        )
    if api_key:
        labelled = {DEFAULT_ACCOUNT: api_key}
    if not labelled:
        secrets = Path(".dlt", "secrets.toml")
        state = "has none" if secrets.exists() else "no such file"
        raise SettingError(
            f"no API key. Looked at {ENV_PREFIX}API_KEY, {ENV_PREFIX}ACCOUNTS__<LABEL>, then {secrets} ({state}).",
            data="nothing was read or written.",
            next_step="set one of them; the key needs the scope catalogs:read and nothing else. "
            "`klaviyo-jobs demo` runs without a key.",
        )
    _refuse_keys(labelled)
    keys = {label: key_of(label, text) for label, text in labelled.items()}
    wanted = list(labelled) if labels is None else list(labels)
    refuse_unknown("account", "accounts", wanted, labelled)
    return {label: key for label, key in keys.items() if label in wanted}


def check_base_url(base_url: str) -> str:
    """Return *base_url* without a trailing slash; SettingError unless it is https, or http on this machine."""
    try:
        scheme, _, _ = origin_of(base_url)
    except ValueError:
        raise SettingError(
            f"base_url {base_url!r} is not an http(s) address.",
            data="nothing was read or written.",
            next_step=f"remove the setting to use {DEFAULT_BASE_URL}.",
        ) from None
    if scheme != "https" and not is_loopback(base_url):
        raise SettingError(
            f"base_url {base_url!r} would send the API key unencrypted.",
            data="nothing was read or written.",
            next_step="use https; plain http is for a server on this machine only.",
        )
    return base_url.rstrip("/")


def check_revision(revision: str) -> str:
    """Return *revision*; SettingError unless it reads YYYY-MM-DD, with or without a suffix."""
    try:
        lifetime_of(revision)
        is_date = _REVISION.fullmatch(revision) is not None
    except ValueError:
        is_date = False
    if not is_date:
        raise SettingError(
            f"revision {revision!r} is not a date like {DEFAULT_REVISION}.",
            data="nothing was read or written.",
            next_step=f"remove the setting to use {DEFAULT_REVISION}.",
        )
    return revision
