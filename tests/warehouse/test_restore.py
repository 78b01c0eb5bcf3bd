"""A damaged or lost warehouse, put back from a published copy: what is kept, what is refused, and kills in between."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.warehouse.restore import restore
from klaviyo_sandbox import Job, Sandbox
from support.loads import NOW, Load, Warehouse
from support.processes import command, settings

HOUR = dt.timedelta(hours=1)
DAMAGES = ["empty", "cut", "garbled"]


def damage(path: Path, how: str) -> bytes:
    """Damage the file; return what it is then."""
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = {"empty": b"", "cut": whole[:6000], "garbled": whole[:4096] + b"\x55" * middle + whole[4096 + middle :]}
    path.write_bytes(damaged[how])
    return damaged[how]


@pytest.fixture
def copy(sandbox: Sandbox, load: Load, warehouse: Warehouse, tmp_path: Path) -> Warehouse:
    """A copy of a warehouse that holds the job J1."""
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, completed_at=NOW, total_count=1, completed_count=1))
    (tmp_path / "bi").mkdir()
    load(kinds=["item-create"], bi_copy=str(tmp_path / "bi" / "copy.duckdb"))
    return Warehouse(tmp_path / "bi" / "copy.duckdb")


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_warehouse_is_as_its_copy_was(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse, how: str
) -> None:
    """The damaged file is kept beside it, and the next run reads what has come since."""
    damaged = damage(warehouse.path, how)
    sandbox.world.add(Job("item-create", "J2", NOW - HOUR, completed_at=NOW, total_count=1, completed_count=1))

    restored = restore(warehouse.path, copy.path)
    summary = load(kinds=["item-create"])

    assert restored.job_count == 1
    assert restored.kept is not None
    assert restored.kept.read_bytes() == damaged
    assert (summary.job_count, summary.changed_count) == (2, 1)
    assert warehouse.rows("select job_id from klaviyo.jobs order by 1") == [("J1",), ("J2",)]


def test_a_lost_warehouse_comes_back(warehouse: Warehouse, copy: Warehouse) -> None:
    """There is nothing to keep."""
    warehouse.path.unlink()

    restored = restore(warehouse.path, copy.path)

    assert (restored.kept, warehouse.count("jobs")) == (None, 1)


def test_what_was_not_yet_in_the_damaged_file_is_kept_and_not_replayed(warehouse: Warehouse, copy: Warehouse) -> None:
    """DuckDB would take the write-ahead log beside a file for its own."""
    damage(warehouse.path, "empty")
    log = warehouse.path.with_name(f"{warehouse.path.name}.wal")
    log.write_bytes(b"not yet")

    restored = restore(warehouse.path, copy.path)

    assert restored.kept is not None
    assert restored.kept.with_name(f"{restored.kept.name}.wal").read_bytes() == b"not yet"
    assert not log.exists()
    assert warehouse.count("jobs") == 1


def test_a_warehouse_that_can_be_read_is_not_replaced(warehouse: Warehouse, copy: Warehouse) -> None:
    """It knows more than any copy of it; --force does it all the same, and keeps it."""
    before = warehouse.path.read_bytes()

    with pytest.raises(WarehouseError, match="can be read, and holds 1 jobs"):
        restore(warehouse.path, copy.path)

    assert warehouse.path.read_bytes() == before
    kept = restore(warehouse.path, copy.path, force=True).kept
    assert kept is not None
    assert kept.read_bytes() == before


@pytest.mark.parametrize("how", [*DAMAGES, "missing", "foreign"])
def test_a_copy_that_is_not_sound_is_not_restored(warehouse: Warehouse, copy: Warehouse, how: str) -> None:
    """Both files are as they were."""
    damaged = damage(warehouse.path, "cut")
    copy.path.chmod(0o644)
    if how == "missing":
        copy.path.unlink()
    elif how == "foreign":
        copy.path.unlink()
        copy.rows("create table other as select 1 as x")
    else:
        damage(copy.path, how)

    with pytest.raises(WarehouseError, match=r"the copy .*|there is no copy"):
        restore(warehouse.path, copy.path)

    assert warehouse.path.read_bytes() == damaged
    assert not list(warehouse.path.parent.glob("*.damaged-*"))


# Restores again and again, and is killed at any instant.
KILLED_RESTORER = """
import os, random, signal, sys, time
from pathlib import Path

from klaviyo_jobs.warehouse.restore import restore

warehouse, copy = map(Path, sys.argv[1:3])
damaged, whole = warehouse.read_bytes(), copy.read_bytes()
rng = random.Random(6)
process = os.fork()
if process == 0:
    restore(warehouse, copy)
    os._exit(0)
started = time.monotonic()
os.waitpid(process, 0)
seconds = time.monotonic() - started
ends = set()
for number in range(int(sys.argv[3])):
    for left in warehouse.parent.glob("*.damaged-*"):
        left.unlink()
    warehouse.write_bytes(damaged)
    process = os.fork()
    if process == 0:
        restore(warehouse, copy)
        os._exit(0)
    time.sleep(rng.uniform(0.5, 1.1) * seconds)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert copy.read_bytes() == whole
    kept = [path.read_bytes() for path in warehouse.parent.glob("*.damaged-*")]
    if warehouse.read_bytes() == damaged:
        ends.add("damaged")
        assert all(bytes == damaged for bytes in kept)
    else:
        ends.add("restored")
        assert warehouse.read_bytes() == whole
        assert kept == [damaged]
print(" ".join(sorted(ends)))
"""


@pytest.mark.parametrize("kills", [20, pytest.param(150, marks=pytest.mark.slow)])
def test_a_killed_restoring_leaves_the_damaged_file_or_the_restored_one(
    warehouse: Warehouse, copy: Warehouse, kills: int
) -> None:
    """After each kill the copy is as it was, and the damaged file is there, in its place or beside."""
    damage(warehouse.path, "cut")
    program = [sys.executable, "-c", KILLED_RESTORER, str(warehouse.path), str(copy.path), str(kills)]

    ended = subprocess.run(program, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split()


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["run", "check", "report", "views", "publish", "prune", "doctor"])
def test_a_damaged_warehouse_names_the_way_back(
    sandbox: Sandbox, warehouse: Warehouse, copy: Warehouse, name: str, how: str
) -> None:
    """The newest copy and the command, whoever finds out."""
    damage(warehouse.path, how)
    arguments = ["--older-than", "90d"] if name == "prune" else []
    given = settings(sandbox, bi_copy=str(copy.path), warehouse=str(warehouse.path), warehouse_wait_seconds="0")

    ended = command(warehouse.path.parent, name, *arguments, **given)

    assert ended.returncode == 7
    assert f"klaviyo-jobs restore {copy.path}" in " ".join((ended.stdout + ended.stderr).split())


def test_the_command_says_what_it_did(sandbox: Sandbox, warehouse: Warehouse, copy: Warehouse) -> None:
    """What is in place, where the other file is, and what the next run reads again."""
    damage(warehouse.path, "empty")
    given = settings(sandbox, bi_copy=str(copy.path), warehouse=str(warehouse.path))

    ended = command(warehouse.path.parent, "restore", **given)

    assert ended.returncode == 0, ended.stderr
    restored, kept, known, *_ = ended.stdout.splitlines()
    assert restored == f"{warehouse.path}: restored from {copy.path}, 1 jobs."
    assert kept.startswith(f"The file that was in its place is kept: {warehouse.path}.damaged-")
    assert known.endswith("and is still listed: jobs created in the last seven days.")


@pytest.mark.parametrize("bi_copy", ["", "copy.duckdb"])
def test_without_a_copy_there_is_nothing_to_restore(sandbox: Sandbox, tmp_path: Path, bi_copy: str) -> None:
    """A usage error, which says how to name one."""
    given = settings(sandbox, **({"bi_copy": bi_copy} if bi_copy else {}))

    ended = command(tmp_path, "restore", **given)

    assert ended.returncode == 2
    assert "there is no copy to restore from" in ended.stderr
    assert "name one: klaviyo-jobs restore COPY." in ended.stderr
