"""
Write the raw tables as Parquet that a distributed engine reads: partitioned, and only the months that have changed.

In:     a published copy, which is complete and checked.
Out:    a folder with `TABLE/account=.../month=.../*.parquet`. A row is in the month in which its job was created (UTC),
        a listing in that of its run, a rejected record in that of its first rejection. Included resources have no
        month. A table without rows is one file that has its columns.
How:    each publication is a folder of its own, beside the target, in which what has not changed is a hard link to the
        file of the one before; the target is a link that one rename turns to it. Whoever lists the files before that
        still reads the one before, which stays until the next publication.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from klaviyo_jobs import __version__
from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.memory import MemoryBounds
from klaviyo_jobs.model.tables import (
    ENTITY_TABLES,
    JOB_ERRORS,
    JOB_LINKAGES,
    JOB_OBSERVATIONS,
    JOBS,
    LISTINGS,
    REJECTED_RECORDS,
    TABLES,
    Table,
)
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA, quoted
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection, Native, be_frugal, open_copy, warehouse_errors

# Spark takes no file for data whose name begins so.
_MANIFEST: Final = "_manifest.json"
_UNFINISHED: Final = ".unfinished"
_OF_JOBS: Final = (JOB_ERRORS, JOB_LINKAGES, JOB_OBSERVATIONS)
_TIMES: Final = {
    JOBS.name: "created_at",
    LISTINGS.name: "coalesce(started_at, finished_at)",
    REJECTED_RECORDS.name: "first_rejected_at",
}

# Of each part of a table, an account's month, what tells whether it has changed.
Parts = dict[str, str]


@dataclass(frozen=True, slots=True)
class RawPublished:
    """
    What was published.

    Attributes:
        folder: The folder that readers open.
        part_count: How many parts there are: of each table an account's month.
        written_count: How many of them had changed, and were written.
    """

    folder: Path
    part_count: int
    written_count: int


def publish_raw(copy: Path, target: Path, memory: MemoryBounds) -> RawPublished:
    """
    Put the raw tables of *copy* in place as Parquet.

    Args:
        target: The folder that readers open; a link that this makes.
    Raises:
        WarehouseError: Something else stands there, or it cannot be written.
    """
    versions = target.parent / f".{target.name}.versions"
    _refuse_foreign(target, versions)
    try:
        versions.mkdir(parents=True, exist_ok=True)
        before = target.resolve() if target.is_symlink() else None
        with _new_version(versions) as folder:
            counts = _write(copy, folder, before, memory)
            done = versions / folder.name.removesuffix(_UNFINISHED)
            folder.rename(done)
        _turn(target, done)
        for left in versions.iterdir():
            if left not in (done, before):
                shutil.rmtree(left)
    except OSError as error:
        raise WarehouseError(
            f"Parquet files cannot be written to {target}: {error.strerror or error}.",
            data="what was published there before is as it was.",
            next_step="make room, or name another folder with --parquet.",
        ) from error
    return RawPublished(target, *counts)


def _refuse_foreign(target: Path, versions: Path) -> None:
    """Raise WarehouseError if what stands at *target* was not published by this."""
    if target.is_symlink():
        is_ours = target.resolve().parent == versions.resolve()
    else:
        is_ours = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not is_ours:
        raise WarehouseError(
            f"{target} holds something else than raw tables that were published there.",
            data="nothing was written there.",
            next_step="name another folder with --parquet.",
        )


@contextmanager
def _new_version(versions: Path) -> Iterator[Path]:
    """Yield a new folder in *versions*; what is left of it is gone afterwards, as is what a killed publisher left."""
    for left in versions.glob(f"*{_UNFINISHED}"):
        shutil.rmtree(left)
    folder = versions / f"{time.time_ns()}{_UNFINISHED}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _turn(target: Path, version: Path) -> None:
    """Let *target* lead to *version*, by one rename."""
    if target.is_dir() and not target.is_symlink():
        target.rmdir()
    link = version.parent / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(version, target.parent))
    link.replace(target)


def _write(copy: Path, folder: Path, before: Path | None, memory: MemoryBounds) -> tuple[int, int]:
    """Fill *folder*; return how many parts it has, and how many of them were written."""
    known = _manifest_of(before)
    manifest: dict[str, Parts] = {}
    part_count = written_count = 0
    with open_copy(copy, memory) as connection, warehouse_errors(copy):
        be_frugal(connection)
        for table in TABLES.values():
            if not DuckDBConnection(connection).has_table(table.name):
                continue
            parts = _parts_of(connection, table)
            same = {part for part, state in parts.items() if known.get(table.name, {}).get(part) == state}
            changed = parts.keys() - same
            for part in same:
                _link((before or folder) / table.name / part, folder / table.name / part)
            _write_parts(connection, table, folder / table.name, changed, is_empty=not parts)
            manifest[table.name] = parts
            # A month of jobs need not have errors, or linkages.
            part_count += sum((folder / table.name / part).is_dir() for part in parts)
            written_count += sum((folder / table.name / part).is_dir() for part in changed)
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return part_count, written_count


def _manifest_of(version: Path | None) -> dict[str, Parts]:
    try:
        found: dict[str, Parts] = json.loads((version / _MANIFEST).read_bytes()) if version is not None else {}
    except (OSError, ValueError):
        return {}
    return found


def _parts_of(connection: Native, table: Table) -> Parts:
    """Return the parts of *table*, by the path below its folder, each with what tells its state."""
    # Children change with their job only, and are many.
    source = _dated_by(table)
    found = connection.execute(
        f"""
        select account, {_month_of(table)} as month, count(*), bit_xor(hash({source.name}))
        from {RAW_SCHEMA}.{source.name} group by all order by all
        """
    ).fetchall()
    # Other columns, or another way to derive some, come with another version.
    rule = repr((__version__, table.schema.names))
    return {
        _path_of(account, month): hashlib.sha256(repr((rule, count, state)).encode()).hexdigest()[:32]
        for account, month, count, state in found
    }


def _dated_by(table: Table) -> Table:
    """Return the table whose rows tell the months of those of *table*."""
    return JOBS if table in _OF_JOBS else table


def _month_of(table: Table) -> str:
    """Return what gives the month of a row of *table*, or null, where it is joined to the one that dates it."""
    time_of_row = _TIMES.get(_dated_by(table).name)
    if time_of_row is None:
        return "null"
    return f"coalesce(strftime({time_of_row} at time zone 'UTC', '%Y-%m'), 'unknown')"


def _path_of(account: str, month: str | None) -> str:
    """Return the path of a part as DuckDB writes it."""
    of_account = f"account={quote(account, safe='')}"
    return of_account if month is None else f"{of_account}/month={month}"


def _link(before: Path, after: Path) -> None:
    """Put the files of a part of the version before in place, if it has any."""
    for file in sorted(before.glob("*.parquet")):
        after.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, after / file.name)
        except OSError:  # the file system has no hard links
            shutil.copy2(file, after / file.name)


def _write_parts(connection: Native, table: Table, folder: Path, changed: set[str], *, is_empty: bool) -> None:
    """Write the *changed* parts of *table*, or its columns if it *is_empty*."""
    folder.mkdir(parents=True, exist_ok=True)
    if is_empty:
        connection.table(f"{RAW_SCHEMA}.{table.name}").write_parquet(str(folder / "data_0.parquet"))
    if not changed:
        return
    columns = ", ".join(f"t.{name}" for name in table.schema.names)
    has_month = table.name not in ENTITY_TABLES
    joined = f"left join {RAW_SCHEMA}.{JOBS.name} as j using (account, job_kind, job_id)" if table in _OF_JOBS else ""
    listed = ", ".join(map(quoted, sorted(changed)))
    by_month = "'/month=' || month" if has_month else "''"
    connection.execute(
        f"""
        copy (
            with dated as (select {columns}, {_month_of(table)} as month from {RAW_SCHEMA}.{table.name} as t {joined})
            select {"*" if has_month else "* exclude (month)"} from dated
            where 'account=' || url_encode(account) || {by_month} in ({listed})
        ) to {quoted(str(folder))} (
            format parquet, partition_by ({"account, month" if has_month else "account"}),
            overwrite_or_ignore true
        )
        """
    )
