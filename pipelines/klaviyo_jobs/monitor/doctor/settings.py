"""
What the settings are, where each comes from, and what is wrong with them.

In:     dlt's own configuration.
Out:    the settings, an `SettingSource` for each, and a `DoctorCheck` for each that is set or wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dlt.common.configuration.providers import EnvironProvider
from dlt.common.configuration.specs.base_configuration import is_secret_hint
from dlt.common.configuration.utils import ResolvedValueTrace, get_resolved_traces

from klaviyo_jobs.choices import DEFAULT_INCLUDE, select_kinds, select_relationships
from klaviyo_jobs.configuration import exposed_secrets, file_with, place_of
from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.model.days import zone_of
from klaviyo_jobs.monitor.doctor.result import DoctorCheck, SettingSource, failed_check, format_setting, masked
from klaviyo_jobs.settings import (
    ENV_PREFIX,
    CheckSettings,
    NetworkSettings,
    Settings,
    check_base_url,
    check_revision,
    read_check_settings,
    read_network_settings,
    read_settings,
    resolve_keys,
)

# Settings that nobody needs to see while they have their defaults.
_FINE_TUNING: Final = {*NetworkSettings.get_resolvable_fields(), *CheckSettings.get_resolvable_fields()}
_SOURCES: Final = {"Environment Variables": "environment"}


def read_all_settings(warehouse: Path | None) -> tuple[Settings, NetworkSettings, list[SettingSource]]:
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
                origins.append(SettingSource(name, str(warehouse), False, "option", "--warehouse"))
            elif name in found or not is_secret_hint(hint):
                origins.append(_origin_of(name, getattr(spec, name), is_secret_hint(hint), found.get(name)))
    return settings, network, origins


def _origin_of(name: str, value: Any, is_secret: bool, trace: ResolvedValueTrace | None) -> SettingSource:
    value = None if is_secret else masked(value) if isinstance(value, str) else value
    if trace is None or (name == "destination" and place_of(name) is None):
        return SettingSource(name, value, is_secret, "default")
    source = _SOURCES.get(trace.provider_name, trace.provider_name)
    if source == "environment":
        location = EnvironProvider.get_key_name(trace.key, *trace.sections)
        return SettingSource(name, value, is_secret, source, location)
    file = file_with(trace.key, trace.sections, trace.provider_name)
    if file is not None and file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    return SettingSource(name, value, is_secret, source, str(file) if file else None)


def _origin_of_key(label: str, trace: ResolvedValueTrace | None) -> SettingSource:
    prefix = f"{ENV_PREFIX}ACCOUNTS__"
    name = f"accounts.{label}"
    for variable in os.environ:
        if variable.startswith(prefix) and variable.removeprefix(prefix).lower() == label:
            return SettingSource(name, None, True, "environment", variable)
    return _origin_of(name, None, True, trace)


def find_problems(settings: Settings, labels: Sequence[str] | None) -> dict[str, SettingError]:
    """Return what is wrong with settings that could be read, by the name of the setting."""
    checks: dict[str, Callable[[], object]] = {
        "api_key": lambda: resolve_keys(settings.api_key, settings.accounts, labels),
        "base_url": lambda: check_base_url(settings.base_url),
        "revision": lambda: check_revision(settings.revision),
        "kinds": lambda: select_kinds(settings.kinds),
        "include": lambda: select_relationships(settings.include),
        "reporting_timezone": lambda: zone_of(settings.reporting_timezone),
    }
    problems = {}
    for name, check in checks.items():
        try:
            check()
        except SettingError as error:
            problems[name] = error
    return problems


def check_settings(origins: Iterable[SettingSource], problems: Mapping[str, SettingError]) -> Iterator[DoctorCheck]:
    untouched, fine_tuning_count = [], 0
    for origin in origins:
        if origin.name in problems:
            continue
        if origin.source == "default" and origin.name in _FINE_TUNING:
            fine_tuning_count += 1
            continue
        if origin.source == "default":
            value = {"kinds": "those of catalogs", "include": list(DEFAULT_INCLUDE)}.get(origin.name, origin.value)
            untouched.append(f"{origin.name} {format_setting(value)}")
            continue
        shown = "is set" if origin.is_secret else f"is {format_setting(origin.value)}"
        place = origin.location if origin.location not in (None, origin.source) else origin.source
        kind = " in the environment" if origin.source == "environment" else ""
        message = f"{origin.name} {shown}, from {place}{kind}"
        if origin.source == "environment" and "__" not in str(origin.location):
            yield DoctorCheck(
                "setting",
                "warn",
                f"{message}, a name that may be meant for another program",
                f"unset {origin.location}, or rename it to {ENV_PREFIX}{origin.name.upper()}.",
            )
        else:
            yield DoctorCheck("setting", "ok", message)
    if fine_tuning_count:
        untouched.append(f"and {fine_tuning_count} more, which --json shows")
    if untouched:
        yield DoctorCheck("setting", "ok", f"by default: {', '.join(untouched)}")
    for path in exposed_secrets():
        yield DoctorCheck("setting", "warn", f"{path} can be read by every user of this machine", f"chmod 600 {path}")
    for problem in problems.values():
        yield failed_check("setting", problem)
