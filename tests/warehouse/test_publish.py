"""The copy for BI tools: complete, checked, replaced by one rename, and in nobody's way."""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.warehouse.publish import AS_TABLES, publish
from klaviyo_sandbox import Job, Sandbox
from support.loads import NOW, Load, Warehouse

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def copy(tmp_path: Path) -> Warehouse:
    """Where the copy goes."""
    (tmp_path / "bi").mkdir()
    return Warehouse(tmp_path / "bi" / "copy.duckdb")


def add_job(sandbox: Sandbox, job_id: str) -> None:
    """Add a finished job."""
    sandbox.world.add(Job("item-create", job_id, NOW - HOUR, completed_at=NOW, total_count=1, completed_count=1))


def ids_in(copy: Warehouse) -> list[str]:
    """The jobs that a reader of the copy sees."""
    with duckdb.connect(str(copy.path), read_only=True) as connection:
        return [job_id for (job_id,) in connection.execute("select job_id from klaviyo.jobs order by 1").fetchall()]


def test_the_copy_is_what_the_warehouse_is(sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse) -> None:
    """A reader finds the views and their rows; the file is read-only and nothing else is left beside it."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])

    published = publish(warehouse.path, copy.path)

    assert ids_in(copy) == ["J1"]
    assert "jobs" in published.views
    assert stat.S_IMODE(copy.path.stat().st_mode) == 0o444
    assert [path.name for path in copy.path.parent.iterdir()] == ["copy.duckdb"]


def test_what_a_killed_publishing_left_is_deleted_by_the_next(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse
) -> None:
    """Half a copy beside the target goes; what others keep there stays."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    halves = (".copy.duckdb.x1y2z3.new", ".copy.duckdb.x1y2z3.new.wal")
    for name in (*halves, ".copy.duckdb.swp", ".other.duckdb.x1y2z3.new"):
        copy.path.with_name(name).write_bytes(b"half")

    publish(warehouse.path, copy.path)

    assert sorted(path.name for path in copy.path.parent.iterdir()) == [
        ".copy.duckdb.swp",
        ".other.duckdb.x1y2z3.new",
        "copy.duckdb",
    ]


def test_what_is_not_in_the_file_yet_is_in_the_copy(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse
) -> None:
    """As long as another connection of this process is open, what was written last stands in the log beside the file."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("insert into klaviyo_raw.jobs select * replace ('J2' as job_id) from klaviyo_raw.jobs")
        publish(warehouse.path, copy.path)

    assert ids_in(copy) == ["J1", "J2"]


def test_what_another_publisher_is_writing_is_left_alone(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse
) -> None:
    """As long as one is at work in the folder, half a copy may be its own; nobody waits for it."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    half = copy.path.with_name(".copy.duckdb.x1y2z3.new")
    half.write_bytes(b"half")
    folder = os.open(copy.path.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_SH)

    publish(warehouse.path, copy.path)
    os.close(folder)

    assert half.exists()
    assert ids_in(copy) == ["J1"]


def test_a_reader_of_the_old_copy_goes_on_reading_it(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse
) -> None:
    """A BI tool that holds the copy open blocks neither the run nor the publishing, and sees what it opened."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    publish(warehouse.path, copy.path)
    code = (
        f"import duckdb; c = duckdb.connect({str(copy.path)!r}, read_only=True); print('open', flush=True); input();"
        "print(c.execute('select count(*) from klaviyo.jobs').fetchone()[0])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        add_job(sandbox, "J2")
        load(kinds=["item-create"])
        publish(warehouse.path, copy.path)
        seen, _ = reader.communicate("\n", timeout=30)

    assert seen.strip() == "1"
    assert ids_in(copy) == ["J1", "J2"]


def test_a_run_publishes_when_it_is_set_to(sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse) -> None:
    """The setting `bi_copy` makes every run end with a new copy."""
    add_job(sandbox, "J1")

    load(kinds=["item-create"], bi_copy=str(copy.path))

    assert ids_in(copy) == ["J1"]
    assert warehouse.count("jobs") == 1


@pytest.mark.parametrize("holds", ["text", "tables of others"])
def test_no_file_of_somebody_else_is_replaced(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse, holds: str
) -> None:
    """A wrong path costs nothing; --force does it all the same."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    if holds == "text":
        copy.path.write_text("notes of mine")
    else:
        with duckdb.connect(str(copy.path)) as connection:
            connection.execute("create table mine as select 1")
    before = copy.path.read_bytes()

    with pytest.raises(WarehouseError, match=r"holds something else than a database|holds other tables than a copy"):
        publish(warehouse.path, copy.path)
    kept = copy.path.read_bytes()
    publish(warehouse.path, copy.path, force=True)

    assert kept == before
    assert ids_in(copy) == ["J1"]


def test_a_damaged_copy_is_replaced(sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse) -> None:
    """It was one of ours: a run that publishes goes on."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    publish(warehouse.path, copy.path)
    copy.path.chmod(0o644)
    copy.path.write_bytes(copy.path.read_bytes()[:20_000])

    publish(warehouse.path, copy.path)

    assert ids_in(copy) == ["J1"]


def test_a_filled_copy_is_not_replaced_by_an_empty_one(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse, tmp_path: Path
) -> None:
    """A wrong path must not empty every dashboard; --force does it all the same."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    publish(warehouse.path, copy.path)
    sandbox.world.clear()
    empty = Warehouse(tmp_path / "empty.duckdb")
    Load(sandbox, empty)(kinds=["item-create"])

    with pytest.raises(WarehouseError, match="holds 0 jobs and does not know what the copy"):
        publish(empty.path, copy.path)
    kept = ids_in(copy)
    publish(empty.path, copy.path, force=True)

    assert (kept, ids_in(copy)) == (["J1"], [])


def test_a_copy_is_not_replaced_by_a_warehouse_that_began_anew(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse
) -> None:
    """Where the warehouse was lost, a run makes a new one of seven days; the copy is then all that is left of years."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"], bi_copy=str(copy.path))
    sandbox.world.clear()
    add_job(sandbox, "J2")
    warehouse.path.unlink()

    with pytest.raises(WarehouseError, match=r"holds 1 jobs and does not know what the copy .* knows") as caught:
        load(kinds=["item-create"], bi_copy=str(copy.path))

    assert f"klaviyo-jobs restore {copy.path} --force" in (caught.value.next_step or "")
    assert ids_in(copy) == ["J1"]


@pytest.mark.parametrize("place", ["a-file", "a-file/below"])
def test_a_folder_for_parquet_that_is_none_is_refused_before_anything_is_copied(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse, tmp_path: Path, place: str
) -> None:
    """And not when the copy has been made and checked."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    (tmp_path / "a-file").touch()

    with pytest.raises(WarehouseError, match=r"Parquet files cannot be written to .*: .*/a-file is a file\.") as caught:
        publish(warehouse.path, copy.path, parquet=tmp_path / place)

    assert not copy.path.exists()
    assert caught.value.next_step == "name another folder with --parquet."


def test_a_stale_wal_beside_the_copy_is_not_replayed(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse
) -> None:
    """DuckDB would play a left-over log into the new file: it goes before the rename."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    copy.path.with_name("copy.duckdb.wal").write_bytes(b"left over")

    publish(warehouse.path, copy.path)

    assert ids_in(copy) == ["J1"]
    assert not copy.path.with_name("copy.duckdb.wal").exists()


def test_earlier_copies_are_kept_on_request(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse
) -> None:
    """Of four copies with two kept, the newest three are there."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    publish(warehouse.path, copy.path, keep=2)
    for number in (2, 3, 4):
        job = f"select * replace ('J{number}' as job_id) from klaviyo_raw.jobs where job_id = 'J1'"
        warehouse.rows(f"insert into klaviyo_raw.jobs {job}")
        publish(warehouse.path, copy.path, keep=2)

    names = ["copy.duckdb", "copy.duckdb.1", "copy.duckdb.2"]
    assert sorted(path.name for path in copy.path.parent.iterdir()) == names
    assert [len(ids_in(Warehouse(copy.path.with_name(name)))) for name in names] == [4, 3, 2]


def test_views_are_written_as_parquet(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse, tmp_path: Path
) -> None:
    """One read-only file a view, with its rows, and nothing else beside them; the folder may be called anything."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    folder = tmp_path / "the shop's"
    folder.mkdir()
    folder.joinpath(".jobs.parquet.x1y2z3.new").write_bytes(b"half")

    published = publish(warehouse.path, copy.path, parquet=folder)

    assert sorted(path.stem for path in published.parquet) == published.views
    assert sorted(folder.iterdir()) == sorted(published.parquet)
    assert {stat.S_IMODE(path.stat().st_mode) for path in published.parquet} == {0o444}
    assert duckdb.read_parquet(str(folder / "jobs.parquet")).select("job_id").fetchall() == [("J1",)]


def test_the_warehouse_is_no_copy_of_itself(load: Load, warehouse: Warehouse) -> None:
    """Naming the warehouse as its copy is refused."""
    load(kinds=["item-create"])

    with pytest.raises(WarehouseError, match="would be the warehouse itself"):
        publish(warehouse.path, warehouse.path)


def test_a_broken_view_keeps_the_old_copy(sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse) -> None:
    """A copy whose views do not run is never put in place."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    publish(warehouse.path, copy.path)
    warehouse.rows("create view klaviyo.broken as select error('broken') as x from klaviyo_raw.jobs")

    with pytest.raises(WarehouseError, match="the copy is not sound"):
        publish(warehouse.path, copy.path)

    assert ids_in(copy) == ["J1"]
    assert [path.name for path in copy.path.parent.iterdir()] == ["copy.duckdb"]


@pytest.fixture
def broken_at_its_end(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> Warehouse:
    """A warehouse with a view whose fault shows only to who reads all of it."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    warehouse.rows("create view klaviyo.broken as select count(error('at its end')) from klaviyo_raw.jobs")
    return warehouse


def test_no_view_is_read_to_its_end_unless_asked(broken_at_its_end: Warehouse, copy: Warehouse) -> None:
    """What publishing costs does not grow with the history behind a view."""
    published = publish(broken_at_its_end.path, copy.path)

    assert not published.is_verified
    assert ids_in(copy) == ["J1"]


def test_a_verified_copy_has_views_that_run_to_their_end(broken_at_its_end: Warehouse, copy: Warehouse) -> None:
    """With `verifies` a view that cannot be read to its end keeps the copy from being put in place."""
    with pytest.raises(WarehouseError, match=r"the copy is not sound: .*at its end"):
        publish(broken_at_its_end.path, copy.path, verifies=True)

    assert not copy.path.exists()


def test_the_copy_of_a_quiet_run_is_fresh(sandbox: Sandbox, load: Load, copy: Warehouse) -> None:
    """A run in which nothing changed publishes all the same: its listing is what dashboards tell freshness by."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"], bi_copy=str(copy.path))
    before = copy.rows("select last_complete_at_utc from klaviyo.listing_freshness")

    load(kinds=["item-create"], bi_copy=str(copy.path))

    assert before < copy.rows("select last_complete_at_utc from klaviyo.listing_freshness")


def test_a_file_is_copied_where_the_kernel_will_not(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that does not know `copy_file_range` gets the copy byte by byte."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    monkeypatch.setattr(os, "copy_file_range", refuse)

    publish(warehouse.path, copy.path)

    assert ids_in(copy) == ["J1"]


def test_a_copy_is_a_backup_that_a_run_goes_on_from(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse, tmp_path: Path
) -> None:
    """Put in the place of a lost warehouse and made writable, it is the warehouse: only what is new is read."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    publish(warehouse.path, copy.path)
    add_job(sandbox, "J2")
    restored = Warehouse(tmp_path / "restored.duckdb")
    restored.path.write_bytes(copy.path.read_bytes())

    summary = Load(sandbox, restored)(kinds=["item-create"])

    assert (summary.job_count, summary.changed_count) == (2, 1)
    assert restored.rows("select job_id from klaviyo_raw.jobs order by 1") == [("J1",), ("J2",)]
    assert restored.count("job_observations") == 2


# Publishes two warehouses in turn, is killed at any instant, and keeps what a reader would have found then.
KILLED_PUBLISHER = """
import os, random, shutil, signal, sys, time
from functools import partial
from pathlib import Path

from klaviyo_jobs.warehouse import publish as publishing

publish = partial(publishing.publish, with_tables=len(sys.argv) > 6, force=True)
one, other, copy, kept = map(Path, sys.argv[1:5])
rng = random.Random(6)
started = time.monotonic()
publish(one, copy)
seconds = time.monotonic() - started
for number in range(int(sys.argv[5])):
    process = os.fork()
    if process == 0:
        if number % 2:
            publish(other, copy)
        while True:
            publish(one, copy)
            publish(other, copy)
    time.sleep(rng.uniform(0, 4 * seconds))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    if copy.exists():
        shutil.copy(copy, kept / f"{number}.duckdb")
"""


@pytest.mark.parametrize(
    ("kills", "with_tables"), [(16, False), *(pytest.param(40, each, marks=pytest.mark.slow) for each in (False, True))]
)
def test_a_killed_publishing_leaves_the_old_copy_or_the_new_one(
    sandbox: Sandbox,
    load: Load,
    warehouse: Warehouse,
    copy: Warehouse,
    tmp_path: Path,
    kills: int,
    with_tables: bool,
) -> None:
    """After each kill a reader finds one of the two warehouses, whole; what was half done is cleared away."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"])
    one, kept = tmp_path / "one.duckdb", tmp_path / "kept"
    shutil.copy(warehouse.path, one)
    add_job(sandbox, "J2")
    load(kinds=["item-create"])
    kept.mkdir()

    arguments = [str(path) for path in (one, warehouse.path, copy.path, kept)]
    tables = ["with tables"] if with_tables else []
    subprocess.run([sys.executable, "-c", KILLED_PUBLISHER, *arguments, str(kills), *tables], check=True)

    found = [ids_in(Warehouse(path)) for path in kept.iterdir()]
    assert len(found) == kills
    assert {tuple(ids) for ids in found} == {("J1",), ("J1", "J2")}
    assert len(list(copy.path.parent.iterdir())) <= (3 if with_tables else 2)


DESCRIBED = """
    select table_name, column_name, data_type, comment from duckdb_columns()
    where schema_name = 'klaviyo' order by table_name, column_index
"""


def test_what_dashboards_read_again_and_again_may_be_tables(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse
) -> None:
    """A run publishes them so on request: of the same names, columns, comments and rows as the views."""
    for number in range(3):
        add_job(sandbox, f"J{number}")

    load(kinds=["item-create"], bi_copy=str(copy.path), bi_copy_tables=True)

    with duckdb.connect(str(copy.path), read_only=True) as connection:
        tables = connection.execute("select table_name from duckdb_tables() where schema_name = 'klaviyo'").fetchall()
        described = connection.execute(DESCRIBED).fetchall()
        comments = connection.execute("select comment from duckdb_tables() where schema_name = 'klaviyo'").fetchall()
        rows = {name: connection.execute(f"from klaviyo.{name} order by all").fetchall() for name in AS_TABLES}
    assert sorted(name for (name,) in tables) == sorted(AS_TABLES)
    assert described == warehouse.rows(DESCRIBED)
    assert {comment.rpartition(". ")[2] for (comment,) in comments} == {
        "A table of the rows that the view had when this copy was published."
    }
    assert rows == {name: warehouse.rows(f"from klaviyo.{name} order by all") for name in AS_TABLES}
    assert len(rows["failing_entities"]) == 0
    assert len(rows["job_throughput_daily"]) > 0


def test_a_copy_with_tables_is_a_backup_too(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, copy: Warehouse
) -> None:
    """Put back as the warehouse, it has views again after the next run, and they show what is new."""
    add_job(sandbox, "J1")
    load(kinds=["item-create"], bi_copy=str(copy.path), bi_copy_tables=True)
    shutil.copy(copy.path, warehouse.path)
    warehouse.path.chmod(0o644)
    add_job(sandbox, "J2")

    load(kinds=["item-create"])

    assert warehouse.rows("from duckdb_tables() where schema_name = 'klaviyo'") == []
    assert warehouse.value("select sum(jobs_finished) from klaviyo.job_throughput_daily") == 2
