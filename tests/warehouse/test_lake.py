"""The raw tables as Parquet: in parts by account and month, of which only those that changed are written."""

from __future__ import annotations

import datetime as dt
import os
import signal
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.memory import DEFAULT_MEMORY
from klaviyo_jobs.model.tables import TABLES
from klaviyo_jobs.warehouse.lake import publish_raw
from klaviyo_sandbox import JobError, Sandbox, related_id
from support.jobs import finished, odd
from support.loads import Load, Warehouse
from support.processes import command, settings

ACCOUNT = "shop eu/ä"
OCTOBER, NOVEMBER = (dt.datetime(2026, month, 15, 8, tzinfo=dt.UTC) for month in (10, 11))

FAILED = {"total_count": 2, "failed_count": 1, "errors": [JobError("No.", related_id("B"))]}


@pytest.fixture
def filled(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> Callable[[], None]:
    """Two accounts; one has jobs of two months, and a run for each. Called again, it changes a job of November."""
    other = sandbox.add_account("other")
    accounts = {"default": sandbox.key, ACCOUNT: other.key}

    def run() -> None:
        load(api_key=None, accounts=accounts, kinds=["item-create", "category-create"])

    sandbox.clock.set(OCTOBER)
    sandbox.world.add(finished("item-create", "OLD", "A", created_at=OCTOBER, completed_at=OCTOBER, **FAILED))
    run()
    sandbox.clock.set(NOVEMBER)
    sandbox.world.add(
        finished("item-create", "NEW", "A", created_at=NOVEMBER, completed_at=NOVEMBER),
        finished("category-create", "C", "SHOES", created_at=NOVEMBER, completed_at=NOVEMBER),
        odd("item-create", created_at=NOVEMBER),
    )
    other.world.add(finished("item-create", "OTHER", "A", "B", created_at=NOVEMBER, completed_at=NOVEMBER))
    run()

    def change() -> None:
        new = finished("item-create", "NEW", "A", created_at=NOVEMBER, completed_at=NOVEMBER, **FAILED)
        sandbox.world.add(new)
        run()

    return change


def parts_in(folder: Path) -> set[str]:
    """The parts of tables, by their paths; those of the run's own tables are left out, as their months are of today."""
    paths = {str(file.parent.relative_to(folder)) for file in folder.glob("**/*.parquet")}
    return {
        path for path in paths if not path.startswith(("listings", "rejected_records", "lists", "items", "variants"))
    }


def inodes_of(folder: Path) -> dict[str, int]:
    """Which file each part is."""
    return {str(file.parent.relative_to(folder)): file.stat().st_ino for file in folder.glob("**/*.parquet")}


def test_a_part_is_an_accounts_month(filled: Callable[[], None], warehouse: Warehouse, tmp_path: Path) -> None:
    """That in which the job was created, for its children and observations too; a label is written as in an address."""
    target = tmp_path / "lake"

    publish_raw(warehouse.path, target, DEFAULT_MEMORY)

    odd_account = "account=shop%20eu%2F%C3%A4"
    assert parts_in(target.resolve()) == {
        *(f"jobs/account=default/month=2026-{month}" for month in (10, 11)),
        f"jobs/{odd_account}/month=2026-11",
        *(f"job_observations/account=default/month=2026-{month}" for month in (10, 11)),
        f"job_observations/{odd_account}/month=2026-11",
        *(f"job_linkages/account=default/month=2026-{month}" for month in (10, 11)),
        f"job_linkages/{odd_account}/month=2026-11",
        "job_errors/account=default/month=2026-10",
        "categories/account=default",
    }


def test_the_parts_hold_the_tables(filled: Callable[[], None], warehouse: Warehouse, tmp_path: Path) -> None:
    """Every row and column, a table without rows included."""
    target = tmp_path / "lake"

    publish_raw(warehouse.path, target, DEFAULT_MEMORY)

    with duckdb.connect(str(warehouse.path), read_only=True) as connection:
        names = [name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()]
        for name in set(names) & TABLES.keys():
            columns = ", ".join(TABLES[name].schema.names)
            ours = f"select {columns} from klaviyo_raw.{name}"
            theirs = f"select {columns} from read_parquet('{target}/{name}/**/*.parquet', hive_types_autocast = false)"
            for one, two in ((ours, theirs), (theirs, ours)):
                assert connection.execute(f"({one}) except all ({two})").fetchall() == [], name


def test_only_what_changed_is_written(filled: Callable[[], None], warehouse: Warehouse, tmp_path: Path) -> None:
    """Of a job of November that changed, that month of its account; all else are the files of before."""
    target = tmp_path / "lake"
    publish_raw(warehouse.path, target, DEFAULT_MEMORY)
    before = inodes_of(target.resolve())
    filled()

    published = publish_raw(warehouse.path, target, DEFAULT_MEMORY)

    after = inodes_of(target.resolve())
    changed = {part for part in after if before.get(part) != after[part]}
    month = "account=default/month=2026-11"
    assert {part for part in changed if not part.startswith(("listings", "rejected_records"))} == {
        *(f"{table}/{month}" for table in ("jobs", "job_errors", "job_linkages", "job_observations"))
    }
    assert published.written_count == len(changed)


def test_without_a_change_nothing_is_written(filled: Callable[[], None], warehouse: Warehouse, tmp_path: Path) -> None:
    """The next publication is the same files in another folder."""
    target = tmp_path / "lake"
    publish_raw(warehouse.path, target, DEFAULT_MEMORY)

    assert publish_raw(warehouse.path, target, DEFAULT_MEMORY).written_count == 0


def test_who_lists_files_keeps_them_for_one_publication(
    filled: Callable[[], None], warehouse: Warehouse, tmp_path: Path
) -> None:
    """Where the link led before still holds all; the one before that is gone."""
    target = tmp_path / "lake"
    folders = []
    for _ in range(3):
        publish_raw(warehouse.path, target, DEFAULT_MEMORY)
        folders.append(target.resolve())
        filled()

    assert [folder.exists() for folder in folders] == [False, True, True]
    assert parts_in(folders[1]) >= {"jobs/account=default/month=2026-10"}


def test_what_is_gone_from_the_warehouse_is_gone(
    filled: Callable[[], None], warehouse: Warehouse, tmp_path: Path
) -> None:
    """As after `prune`: no part stays behind."""
    target = tmp_path / "lake"
    publish_raw(warehouse.path, target, DEFAULT_MEMORY)
    for table in ("job_errors", "job_linkages", "job_observations", "jobs"):
        warehouse.rows(f"delete from klaviyo_raw.{table} where job_id = 'OLD' returning 1")

    publish_raw(warehouse.path, target, DEFAULT_MEMORY)

    assert not [part for part in parts_in(target.resolve()) if part.endswith("2026-10")]


def test_something_else_is_not_replaced(warehouse: Warehouse, tmp_path: Path) -> None:
    """Neither a folder with files in it, nor a link that leads elsewhere."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "link").symlink_to(tmp_path / "full")

    for name in ("full", "link"):
        with pytest.raises(WarehouseError, match="holds something else"):
            publish_raw(warehouse.path, tmp_path / name, DEFAULT_MEMORY)
    assert (tmp_path / "full" / "mine").exists()


def test_an_empty_folder_is_taken(warehouse: Warehouse, tmp_path: Path) -> None:
    """One that was made for it."""
    (tmp_path / "lake").mkdir()

    publish_raw(warehouse.path, tmp_path / "lake", DEFAULT_MEMORY)

    assert (tmp_path / "lake" / "jobs").is_dir()


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.1, 0.2])
def test_a_killed_publisher_leaves_what_was_there(
    filled: Callable[[], None], warehouse: Warehouse, tmp_path: Path, seconds: float
) -> None:
    """Whenever it is killed; the next one cleans up after it."""
    target = tmp_path / "lake"
    publish_raw(warehouse.path, target, DEFAULT_MEMORY)
    before = parts_in(target.resolve())
    filled()
    if (pid := os.fork()) == 0:
        publish_raw(warehouse.path, target, DEFAULT_MEMORY)
        os._exit(0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    dt_end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    while dt.datetime.now(dt.UTC) < dt_end:
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert parts_in(target.resolve()) >= before
    publish_raw(warehouse.path, target, DEFAULT_MEMORY)
    assert not list(tmp_path.glob(".lake.versions/*.unfinished"))
    assert "job_errors/account=default/month=2026-11" in parts_in(target.resolve())


def test_the_command_says_how_much_was_written(sandbox: Sandbox, tmp_path: Path) -> None:
    """And refuses `--raw` without a folder."""
    sandbox.world.add(finished("item-create", "J", "A"))
    given = settings(sandbox, kinds="item-create")
    command(tmp_path, "run", **given)

    first, second = (
        command(tmp_path, "publish", "copy.duckdb", "--parquet", "lake", "--raw", **given).stdout for _ in range(2)
    )

    assert "; 4 of 4 parts in lake were written" in first
    assert "; 0 of 4 parts in lake were written" in second
    assert command(tmp_path, "publish", "copy.duckdb", "--raw", **given).returncode == 2
