"""
What the machine offers: the warehouse's place, its lock, the disk, the installed versions.

In:     the engine of the warehouse.
Out:    a `DoctorCheck` for each.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from klaviyo_jobs import DISTRIBUTIONS
from klaviyo_jobs.errors import SettingError, WarehouseError
from klaviyo_jobs.memory import MemoryBounds
from klaviyo_jobs.monitor.doctor.result import FULL_DISK_BYTES, SCANT_DISK_BYTES, DoctorCheck, failed_check
from klaviyo_jobs.warehouse.engines.duckdb import check_place, open_warehouse
from klaviyo_jobs.warehouse.engines.engine import Engine
from klaviyo_jobs.warehouse.lock import holders_of
from klaviyo_jobs.warehouse.restore import name_way_back

PACKAGES: Final = ("dlt", "duckdb", "pyarrow")


def check_warehouse(path: Path, memory: MemoryBounds, copy: Path | None = None) -> Iterator[DoctorCheck]:
    """Say whether the warehouse can be written; if it is damaged, that *copy* is the way back."""
    try:
        check_place(path)
        if path.exists():
            open_warehouse(path, memory).close()
            message = f"{path} can be written; {_size(path.stat().st_size)}"
        else:
            # What a file without a name can do here, the warehouse can; nothing is left behind.
            with tempfile.TemporaryFile(dir=path.parent):
                message = f"{path} does not exist yet; a run can make it"
    except WarehouseError as error:
        name_way_back(error, copy, memory)
        yield failed_check("warehouse", error)
    except OSError as error:
        message = f"the warehouse {path} cannot be made: {error.strerror}."
        next_step = "choose another path with --warehouse."
        yield failed_check("warehouse", WarehouseError(message, next_step=next_step))
    else:
        yield DoctorCheck("warehouse", "ok", message)


def check_memory(path: Path, memory: MemoryBounds) -> Iterator[DoctorCheck]:
    """Say what the database may take, and whether there is a place for what does not fit."""
    folder = memory.spill_directory or path.with_name(f"{path.name}.tmp")
    message = (
        f"the command keeps to {memory.limit_bytes / 10**6:,.0f} MB; the database takes up to "
        f"{memory.database_bytes / 10**6:,.0f} MB of them, and writes what does not fit to {folder}"
    )
    try:
        memory.check_spill_directory()
    except SettingError as error:
        yield failed_check("memory", error)
    else:
        yield DoctorCheck("memory", "ok", message)


def check_server(engine: Engine) -> Iterator[DoctorCheck]:
    """Say whether a warehouse that is no file can be opened."""
    try:
        engine.check_place()
        message = f"{engine.place} can be opened"
        if not engine.exists():
            message += "; it holds nothing yet, and a run can make it"
    except (WarehouseError, SettingError) as error:
        yield failed_check("warehouse", error)
    else:
        yield DoctorCheck("warehouse", "ok", message)


def check_lock(engine: Engine, accounts: Sequence[str]) -> Iterator[DoctorCheck]:
    """Say whether a run holds the warehouse; that is no fault, but the next run has to wait for it."""
    try:
        holders = holders_of(engine, accounts)
    except WarehouseError:
        return  # a server that cannot be reached: it has been said
    if not holders:
        yield DoctorCheck("lock", "ok", "no run holds the warehouse")
    for holder in holders:
        message = (
            f"process {holder.pid} on {holder.host} holds the warehouse since {holder.since}, at step {holder.step}"
        )
        yield DoctorCheck("lock", "warn", message, "wait for it to end, or run with --wait-lock SECONDS.")


def check_disk(path: Path) -> Iterator[DoctorCheck]:
    if not path.parent.is_dir():
        return
    free = shutil.disk_usage(path.parent).free
    needed = max(SCANT_DISK_BYTES, path.stat().st_size if path.is_file() else 0)
    message = f"{_size(free)} free in {path.parent}"
    next_step = "make room, or move the warehouse with --warehouse."
    if free < FULL_DISK_BYTES:
        yield DoctorCheck("disk", "fail", message, next_step, exit_code=WarehouseError.exit_code)
    elif free < needed:
        yield DoctorCheck("disk", "warn", f"{message}; {_size(needed)} would be safe", next_step)
    else:
        yield DoctorCheck("disk", "ok", message)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"


def check_versions(versions: Mapping[str, str]) -> Iterator[DoctorCheck]:
    yield DoctorCheck("versions", "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))
    for requirement in _requirements():
        version = versions.get(requirement.name)
        if version is not None and not requirement.specifier.contains(version, prereleases=True):
            wanted = f"{requirement.name}{requirement.specifier}"
            message = f"{requirement.name} {version} is not what klaviyo-jobs is made for: {requirement.specifier}"
            yield DoctorCheck("versions", "warn", message, f'python -m pip install "{wanted}"')


def _requirements() -> list[Requirement]:
    for distribution in DISTRIBUTIONS:
        with suppress(metadata.PackageNotFoundError):
            named = [Requirement(text) for text in metadata.requires(distribution) or ()]
            # What an extra wants is for those who have asked for it.
            return [each for each in named if each.marker is None or each.marker.evaluate({"extra": ""})]
    return []
