"""
Put the diagnosis together, and draw it as a checklist.

In:     an engine, by name or as the settings say, and the accounts to look at.
Out:    `Diagnosis`, and its lines.
"""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pendulum

from klaviyo_jobs import __version__
from klaviyo_jobs.errors import KlaviyoJobsError, SettingError
from klaviyo_jobs.memory import DEFAULT_MEMORY
from klaviyo_jobs.monitor.doctor.api import call_all, check_api
from klaviyo_jobs.monitor.doctor.machine import (
    PACKAGES,
    check_disk,
    check_lock,
    check_memory,
    check_server,
    check_versions,
    check_warehouse,
)
from klaviyo_jobs.monitor.doctor.result import Diagnosis, DoctorCheck, failed_check, masked
from klaviyo_jobs.monitor.doctor.settings import check_settings, find_problems, read_all_settings
from klaviyo_jobs.places import path_of
from klaviyo_jobs.settings import Settings
from klaviyo_jobs.warehouse.engines.choice import engine_for
from klaviyo_jobs.warehouse.engines.duckdb_engine import DuckDBFile
from klaviyo_jobs.warehouse.engines.engine import Engine


def diagnose(
    *, warehouse: Path | None = None, destination: str | None = None, labels: Sequence[str] | None = None
) -> Diagnosis:
    """
    Look at the settings, the API, the warehouse's place and the versions.

    Args:
        warehouse: A DuckDB file; what the settings say by default.
        destination: The name of another engine.
        labels: The accounts to look at; all by default.
    """
    diagnosis = Diagnosis(pendulum.now("UTC"))
    checks: list[DoctorCheck] = []
    memory, copy, accounts = DEFAULT_MEMORY, None, list(labels or ())
    engine: Engine | None = DuckDBFile(path_of(warehouse or Settings().warehouse, "warehouse"))
    try:
        settings, network, diagnosis.origins = read_all_settings(warehouse)
    except KlaviyoJobsError as error:
        checks.append(failed_check("setting", error))
    else:
        memory, copy, accounts = settings.memory, settings.copy_path, list(labels or settings.labels)
        try:
            engine = engine_for(settings, warehouse=warehouse, destination=destination)
        except SettingError as error:
            engine = None
            checks.append(failed_check("warehouse", error))
        problems = find_problems(settings, labels)
        checks += check_settings(diagnosis.origins, problems)
        if not problems:
            diagnosis.calls = call_all(settings, network, labels)
            checks += check_api(diagnosis, settings)
    if engine is not None and engine.file is not None:
        checks += [*check_warehouse(engine.file, memory, copy), *check_memory(engine.file, memory)]
    elif engine is not None:
        checks += check_server(engine)
    if engine is not None:
        checks += check_lock(engine, accounts)
    if engine is not None and engine.file is not None:
        checks += check_disk(engine.file)
    diagnosis.versions = {
        "klaviyo-jobs": __version__,
        **{name: metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
    }
    checks += check_versions(diagnosis.versions)
    diagnosis.checks = [
        replace(check, message=masked(check.message), next_step=check.next_step and masked(check.next_step))
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
