"""
Publish the copy that BI tools open, so that no reader ever stands in the way of a run.

In:     a warehouse that nobody has open.
Out:    a read-only copy, complete and checked before one rename puts it in the place of the old one. Readers of the old
        copy go on reading it. Optionally one Parquet file a view, put in place the same way.
How:    the warehouse is checkpointed, copied as a file into a temporary one beside the target, and opened there as a
        reader will: every view is bound, and every table and view that need not be read whole gives its first row.
        A `.wal` beside the target would be replayed into the new file, so it goes first.
Cost:   that of copying the file, or of sharing its blocks where the file system can. Only a publication that is to be
        verified reads the views to their end.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.files import beside, sync, without_leftovers
from klaviyo_jobs.memory import DEFAULT_MEMORY, MemoryBounds
from klaviyo_jobs.model.tables import JOBS, LISTINGS
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA, VIEW_SCHEMA, quoted
from klaviyo_jobs.warehouse.engines.duckdb import (
    COPY,
    TABLE_OF_A_VIEW,
    DatabaseError,
    Native,
    OutOfMemoryError,
    be_frugal,
    check_place,
    open_copy,
    open_warehouse,
    transaction,
    warehouse_errors,
)

# Views that dashboards read again and again, and that do not count up to the moment they are read at.
AS_TABLES: Final = (
    "job_throughput_hourly",
    "job_throughput_daily",
    "job_failure_rates_daily",
    "job_latency_daily",
    "job_backlog_hourly",
    "error_trend_daily",
    "error_ranking",
    "failing_entities",
)
# DuckDB's operators that hand on each row as it comes; of others the first row may take reading a whole table.
_STREAMING: Final = {"SEQ_SCAN", "DUMMY_SCAN", "PROJECTION", "LIMIT", "STREAMING_LIMIT"}
_OPERATOR: Final = re.compile(r'"name": "([^"]*)"')
_ROWS_AT_ONCE: Final = 20_000
_COPY_BYTES: Final = 1 << 30
# Where DuckDB's files say what they are.
_MARK: Final = slice(8, 12)


@dataclass(frozen=True, slots=True)
class Published:
    """
    What was published.

    Attributes:
        path: The copy.
        size_bytes: Its size.
        views: The views that it has, all of them sound.
        is_verified: Whether every view was read to its end.
        parquet: The Parquet files written.
    """

    path: Path
    size_bytes: int
    views: list[str]
    is_verified: bool
    parquet: list[Path]


def publish(
    warehouse: Path,
    target: Path,
    memory: MemoryBounds = DEFAULT_MEMORY,
    *,
    with_tables: bool = False,
    verifies: bool = False,
    force: bool = False,
    keep: int = 0,
    parquet: Path | None = None,
) -> Published:
    """
    Copy *warehouse* to *target*, all or nothing.

    Args:
        warehouse: The DuckDB file; opened for writing for a moment, to complete it.
        target: The copy; whatever is there is replaced by one rename.
        memory: What the database may take.
        with_tables: Whether the views of `AS_TABLES` become tables in the copy.
        verifies: Whether every view is read to its end before the copy is put in place.
        force: Replace a copy by one that does not follow from it.
        keep: How many earlier copies stay, as `<name>.1` (the newest), `<name>.2`, ...
        parquet: A folder for one Parquet file a view.
    Raises:
        WarehouseError: The warehouse cannot be opened, the copy is not sound, or must not replace the old one. The old
            copy is as it was.
    """
    check_targets(warehouse, target, parquet, force=force)
    memory.check_spill_directory()
    with open_warehouse(warehouse, memory, must_exist=True) as connection:
        connection.execute("checkpoint")
    with warehouse_errors(target, COPY), without_leftovers(target), beside(target) as temporary:
        copy_file(warehouse, temporary)
        if with_tables:
            _make_tables(temporary, memory)
        temporary.chmod(0o444)
        with ThreadPoolExecutor(1) as pool:  # the disk's part of the work, beside the processor's
            synced = pool.submit(sync, temporary)
            views, job_count = check_copy(temporary, memory, verifies)
            synced.result()
        if not force and _is_of_another(target, temporary, job_count, memory):
            raise WarehouseError(
                f"the warehouse {warehouse} holds {job_count:,} jobs and does not know what the copy {target} knows: "
                "it is another one, or began anew.",
                data="the copy is as it was.",
                next_step=f"if the warehouse was lost: klaviyo-jobs restore {target} --force. If the copy may go: "
                f"klaviyo-jobs publish {target} --force.",
            )
        files = _write_parquet(temporary, parquet, views, memory) if parquet is not None and views else []
        size = temporary.stat().st_size
        _keep_earlier(target, keep)
        with suppress(FileNotFoundError):
            target.with_name(f"{target.name}.wal").unlink()
        _replace(target, temporary)
        sync(target.parent)
    return Published(target, size, views, verifies, files)


def check_targets(warehouse: Path, target: Path, parquet: Path | None = None, *, force: bool = False) -> None:
    """
    Refuse a place where nothing can be published, as far as that shows before anything is.

    Args:
        force: Let a file go that is no database.
    Raises:
        WarehouseError: *target* cannot be written, or is the warehouse itself, or no database; *parquet* is no folder,
            nor can be one.
    """
    if target.resolve() == warehouse.resolve():
        raise WarehouseError(
            f"the copy {target} would be the warehouse itself.",
            data=COPY.untouched,
            next_step=f"{COPY.elsewhere}.",
        )
    check_place(target, COPY)
    if not force and _is_no_database(target):
        raise _no_copy(target, "holds something else than a database")
    if parquet is None:
        return
    nearest = next(folder for folder in (parquet, *parquet.parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise WarehouseError(
            f"Parquet files cannot be written to {parquet}: "
            + (f"no permission for {nearest}." if nearest.is_dir() else f"{nearest} is a file."),
            data=COPY.untouched,
            next_step="name another folder with --parquet.",
        )


def copy_file(source: Path, target: Path) -> None:
    """Copy a file inside the kernel, which shares the blocks of both where the file system can; else byte by byte."""
    try:
        with source.open("rb") as read, target.open("wb") as written:
            while os.copy_file_range(read.fileno(), written.fileno(), _COPY_BYTES):
                pass
    except (OSError, AttributeError) as error:
        # Not every system has the call, nor does every file system take it; a full disk is full for both ways.
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        shutil.copyfile(source, target)


def _make_tables(copy: Path, memory: MemoryBounds) -> None:
    """Put a table of its rows in the place of each of those views, with the same name and comments."""
    with open_warehouse(copy, memory) as connection:
        be_frugal(connection)
        present = _names(connection, "select view_name from duckdb_views() where schema_name = ?", VIEW_SCHEMA)
        with transaction(connection):
            for name in (name for name in AS_TABLES if name in present):
                view = f'{VIEW_SCHEMA}."{name}"'
                of_view = (VIEW_SCHEMA, name)
                [(comment,)] = connection.execute(
                    "select comment from duckdb_views() where schema_name = ? and view_name = ?", of_view
                ).fetchall()
                comments = connection.execute(
                    "select column_name, comment from duckdb_columns() where schema_name = ? and table_name = ?",
                    of_view,
                ).fetchall()
                connection.execute(f"create table {VIEW_SCHEMA}._rows as from {view}")
                connection.execute(f"drop view {view}")
                connection.execute(f'alter table {VIEW_SCHEMA}._rows rename to "{name}"')
                for kind, of, text in [
                    ("table", view, f"{comment} {TABLE_OF_A_VIEW}"),
                    *(("column", f'{view}."{c}"', t) for c, t in comments),
                ]:
                    connection.execute(f"comment on {kind} {of} is {quoted(text)}")
        connection.execute("checkpoint")


def check_copy(
    copy: Path,
    memory: MemoryBounds,
    verifies: bool,
    *,
    data: str = "the copy before it is as it was.",
    next_step: str = "run `klaviyo-jobs run` or `klaviyo-jobs views` to repair the warehouse, then publish again.",
) -> tuple[list[str], int]:
    """Open *copy* as a reader will, try every view and table, and return the views and the number of jobs."""
    try:
        with open_copy(copy, memory) as connection:
            views = sorted(
                _names(connection, "select view_name from duckdb_views() where schema_name = ?", VIEW_SCHEMA)
                + _names(connection, "select table_name from duckdb_tables() where schema_name = ?", VIEW_SCHEMA)
            )
            tables = _names(connection, "select table_name from duckdb_tables() where schema_name = ?", RAW_SCHEMA)
            for name in [f'{RAW_SCHEMA}."{table}"' for table in tables] + [f'{VIEW_SCHEMA}."{view}"' for view in views]:
                _try(connection, f"select * from {name} limit 1")
            [(job_count,)] = connection.execute(f"select count(*) from {RAW_SCHEMA}.{JOBS.name}").fetchall()
            if verifies:
                _read_views(connection, views)
    except OutOfMemoryError:
        raise
    except DatabaseError as error:
        raise WarehouseError(
            f"the copy is not sound: {str(error).splitlines()[0]}",
            data=data,
            next_step=next_step,
        ) from error
    return views, job_count


def _try(connection: Native, query: str) -> None:
    """Bind *query*, and run it unless its first row takes reading a whole table."""
    [(_, plan)] = connection.execute(f"explain (format json) {query}").fetchall()
    if {operator.strip() for operator in _OPERATOR.findall(plan)} <= _STREAMING:
        connection.execute(query).fetchall()


def _names(connection: Native, query: str, schema: str) -> list[str]:
    return sorted(name for (name,) in connection.execute(query, [schema]).fetchall())


def _read_views(connection: Native, views: list[str]) -> None:
    """Read every view to its end."""
    be_frugal(connection)
    for name in views:
        for _ in connection.sql(f'from {VIEW_SCHEMA}."{name}"').to_arrow_reader(_ROWS_AT_ONCE):
            pass


def _jobs_in(copy: Path, memory: MemoryBounds) -> int:
    """Return how many jobs *copy* holds; none if there is no copy, or none of ours."""
    try:
        with open_copy(copy, memory) as connection:
            [(count,)] = connection.execute(f"select count(*) from {RAW_SCHEMA}.{JOBS.name}").fetchall()
    except DatabaseError:
        return 0
    return int(count)


def _is_no_database(target: Path) -> bool:
    """Tell whether there is a file at *target* that is none of DuckDB's, not even a damaged one."""
    try:
        with target.open("rb") as file:
            begin = file.read(_MARK.stop)
    except OSError:
        return False
    return bool(begin) and begin[_MARK] != b"DUCK"


def _no_copy(target: Path, what: str) -> WarehouseError:
    return WarehouseError(
        f"the file {target} {what}.",
        data="it is as it was.",
        next_step=f"name another place for the copy. If it may go: klaviyo-jobs publish {target} --force.",
    )


def _is_of_another(copy: Path, new: Path, job_count: int, memory: MemoryBounds) -> bool:
    """
    Tell whether *copy* holds jobs, and its last complete listing is not among those of *new*, which would follow.

    Raises:
        WarehouseError: It is a database that was not published here; a damaged one is taken for a copy.
    """
    listings = f"{RAW_SCHEMA}.{LISTINGS.name}"
    holds_jobs, last = False, None
    # No copy, or none of ours, or one without listings: as far as it goes.
    with suppress(DatabaseError), open_copy(copy, memory) as connection:
        schemas = connection.execute("select distinct schema_name from duckdb_tables()").fetchall()
        if schemas and (RAW_SCHEMA,) not in schemas:
            raise _no_copy(copy, "is a database that holds other tables than a copy")
        holds_jobs = connection.execute(f"select 1 from {RAW_SCHEMA}.{JOBS.name} limit 1").fetchone() is not None
        last = connection.execute(
            f"select account, job_kind, run_id from {listings} where is_complete order by finished_at desc limit 1"
        ).fetchone()
    if not holds_jobs:
        return False
    if last is None:
        return job_count == 0
    with open_copy(new, memory) as connection:
        known = connection.execute(
            f"select 1 from {listings} where account = ? and job_kind = ? and run_id = ? limit 1", last
        ).fetchone()
    return known is None


def earlier_copy(target: Path, number: int) -> Path:
    """Return where the copy at *target* is kept when *number* newer ones have been published; 0 is the newest."""
    return target if number == 0 else target.with_name(f"{target.name}.{number}")


def newest_copy(target: Path | None, memory: MemoryBounds = DEFAULT_MEMORY) -> Path | None:
    """Return the newest copy published to *target* that holds jobs; None if there is none."""
    number = 0
    while target is not None and (number == 0 or earlier_copy(target, number).exists()):
        if _jobs_in(earlier_copy(target, number), memory):
            return earlier_copy(target, number)
        number += 1
    return None


def _write_parquet(copy: Path, folder: Path, views: list[str], memory: MemoryBounds) -> list[Path]:
    """Write every view to a file of its own in *folder*, and put them in place when all are written."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{name}.parquet" for name in views]
    with without_leftovers(*targets), ExitStack() as stack:
        written = {target: stack.enter_context(beside(target)) for target in targets}
        with open_copy(copy, memory) as connection:
            be_frugal(connection)
            for name, temporary in zip(views, written.values(), strict=True):
                connection.sql(f'from {VIEW_SCHEMA}."{name}"').write_parquet(str(temporary))
        for temporary in written.values():
            temporary.chmod(0o444)
            sync(temporary)
        for target, temporary in written.items():
            temporary.replace(target)
    return targets


def _keep_earlier(target: Path, keep: int) -> None:
    """Move the copy at *target* and those before it one place on; it stays in its own place until it is replaced."""
    for number in range(keep, 0, -1):
        earlier = earlier_copy(target, number - 1)
        if earlier.exists():
            place = earlier_copy(target, number)
            if number == 1:
                with beside(place) as temporary:
                    temporary.unlink()
                    os.link(target, temporary)
                    temporary.replace(place)
            else:
                earlier.replace(place)


def _replace(target: Path, temporary: Path) -> None:
    """Put *temporary* in the place of *target*; freeing the old file's blocks takes a while, which nobody waits for."""
    try:
        old = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        temporary.replace(target)
    else:
        temporary.replace(target)
        threading.Thread(target=os.close, args=(old,), name="free-old-copy").start()
