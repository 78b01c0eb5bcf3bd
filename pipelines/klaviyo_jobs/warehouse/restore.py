"""
Put a published copy in the place of a warehouse that is damaged or lost.

In:     the path of the warehouse, and a copy.
Out:    the warehouse, as it was when the copy was published. The file that was in its place is kept beside it.
How:    the copy is checked, copied into a temporary file beside the warehouse, and put in its place by one rename; the
        damaged file has a second name by then. A kill at any instant leaves that file, or the restored one.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.files import beside, sync
from klaviyo_jobs.memory import DEFAULT_MEMORY, MemoryBounds
from klaviyo_jobs.model.tables import JOBS, LISTINGS
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA
from klaviyo_jobs.warehouse.engines.duckdb import COPY, check_place, open_copy, open_warehouse, warehouse_errors
from klaviyo_jobs.warehouse.publish import check_copy, copy_file, newest_copy

_ANOTHER: Final = "name another copy: klaviyo-jobs restore COPY."
_UNCHANGED: Final = "the warehouse and the copy are as they were."
# For so long Klaviyo lists a job.
LISTED_FOR: Final = dt.timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Restored:
    """
    What was restored.

    Attributes:
        warehouse: The file.
        copy: What it was made of.
        job_count: The jobs that it holds.
        known_until: When a listing in it was last read to its end; None if none was.
        kept: Where the file is that was in its place; None if there was none.
    """

    warehouse: Path
    copy: Path
    job_count: int
    known_until: dt.datetime | None
    kept: Path | None


def restore(warehouse: Path, copy: Path, memory: MemoryBounds = DEFAULT_MEMORY, *, force: bool = False) -> Restored:
    """
    Put *copy* in the place of *warehouse*, which nobody has open.

    Args:
        force: Also if the warehouse is sound: what it came to know since the copy was published is then in the file
            that is kept, only.
    Raises:
        WarehouseError: The copy is not sound, or the warehouse is; both are as they were.
    """
    check_place(copy, COPY, must_exist=True, read_only=True)
    check_place(warehouse)
    if copy.resolve() == warehouse.resolve():
        raise WarehouseError(
            f"the copy {copy} is the warehouse itself.", data=_UNCHANGED, next_step="name another file."
        )
    if not force and warehouse.exists():
        _refuse_sound(warehouse, memory)
    with warehouse_errors(copy, COPY):
        _, job_count = check_copy(copy, memory, verifies=False, data=_UNCHANGED, next_step=_ANOTHER)
        with open_copy(copy, memory) as connection:
            [(known_until,)] = connection.execute(
                f"select max(finished_at) from {RAW_SCHEMA}.{LISTINGS.name} where is_complete"
            ).fetchall()
    with warehouse_errors(warehouse), beside(warehouse) as temporary:
        copy_file(copy, temporary)
        temporary.chmod(0o644)
        sync(temporary)
        kept = _keep(warehouse) if warehouse.exists() else None
        # What was not yet in the damaged file would be replayed into the restored one.
        with suppress(FileNotFoundError):
            _log_of(warehouse).unlink()
        temporary.replace(warehouse)
        sync(warehouse.parent)
    return Restored(warehouse, copy, job_count, known_until, kept)


def name_way_back(error: WarehouseError, target: Path | None, memory: MemoryBounds = DEFAULT_MEMORY) -> None:
    """Let the *error* of a damaged warehouse name the newest copy that was published to *target*, if there is one."""
    copy = newest_copy(target, memory) if error.is_damaged else None
    if copy is not None:
        published = dt.datetime.fromtimestamp(copy.stat().st_mtime, dt.UTC)
        error.next_step = (
            f"`klaviyo-jobs restore {copy}` puts that copy, published {published:%Y-%m-%d %H:%M} UTC, in its place and "
            "keeps the damaged file."
        )


def _refuse_sound(warehouse: Path, memory: MemoryBounds) -> None:
    """Refuse to replace a warehouse that can be read: it knows more than any copy of it."""
    try:
        with open_warehouse(warehouse, memory, read_only=True) as connection:
            [(count,)] = connection.execute(f"select count(*) from {RAW_SCHEMA}.{JOBS.name}").fetchall()
            check_copy(warehouse, memory, verifies=False)
    except WarehouseError as error:
        if not error.is_damaged and "is not sound" not in error.message:
            raise
        return
    except Exception:
        return
    raise WarehouseError(
        f"the warehouse {warehouse} can be read, and holds {count:,} jobs.",
        data=_UNCHANGED,
        next_step="run `klaviyo-jobs check --all` to see what is wrong with it; restore with --force to replace it all "
        "the same. It is kept beside.",
    )


def _keep(warehouse: Path) -> Path:
    """Give the file and its write-ahead log a second name, and return that."""
    moment = dt.datetime.now(dt.UTC)
    kept = warehouse.with_name(f"{warehouse.name}.damaged-{moment:%Y%m%dT%H%M%S%f}Z")
    for file, name in ((warehouse, kept), (_log_of(warehouse), _log_of(kept))):
        with suppress(FileNotFoundError):
            try:
                os.link(file, name)
            except OSError:  # a file system without a second name for a file
                shutil.copyfile(file, name)
    return kept


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.wal")
