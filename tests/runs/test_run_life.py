"""A run's life: what stops it, what it leaves, and what the next one says of it."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from klaviyo_jobs.errors import KeyRefusedError, PartialError, SettingError, WarehouseError
from klaviyo_jobs.runs.run import run
from klaviyo_jobs.warehouse.engines.duckdb import open_warehouse
from klaviyo_jobs.warehouse.lock import FileLock
from klaviyo_sandbox import Fault, Job, RawJob, Sandbox
from support.loads import NOW, Load, Warehouse
from support.processes import Process, reader, settings, started

HOUR = dt.timedelta(hours=1)
STEPS = ["lock", "recover", "recall", "extract", "load", "views", "checks", "ledger", "unlock"]


@contextmanager
def started_run(sandbox: Sandbox, warehouse: Warehouse) -> Iterator[Process]:
    """The command as a process of its own."""
    environment = {**os.environ, **settings(sandbox)}
    arguments = ("run", "--verbose", "--kind", "item-create", "--warehouse", str(warehouse.path))
    with started(warehouse.path.parent, *arguments, environment=environment) as process:
        yield process


def test_every_step_is_named_in_the_log(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """One line a step, in the order of the run's life."""
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, completed_at=NOW, total_count=1))

    with started_run(sandbox, warehouse) as process:
        process.wait()
        log = process.stderr

    assert [line.rpartition("step ")[2] for line in log.splitlines() if "step " in line] == STEPS


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_in_seconds(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, number: signal.Signals, code: int
) -> None:
    """Even while an answer does not come: nothing is half loaded, and the next run's ledger tells."""
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, completed_at=NOW, total_count=1))
    sandbox.latency_seconds = 30
    with started_run(sandbox, warehouse) as process:
        process.wait_for_log("step extract")
        time.sleep(0.3)
        told_at = time.monotonic()
        process.send_signal(number)
        process.wait(30)
        seconds = time.monotonic() - told_at
    sandbox.latency_seconds = 0
    load(kinds=["item-create"])

    assert process.returncode == code
    assert seconds < 5
    assert warehouse.rows(
        "select is_complete, split_part(error, ' on ', 1) from klaviyo_raw.listings order by started_at"
    ) in (
        [(False, f"failed at step extract: StoppedError: stopped by {number.name}."), (True, None)],
        [(False, f"interrupted: process {process.pid}"), (True, None)],
    )


def test_a_killed_run_is_told_of_by_the_next(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """SIGKILL leaves no time for words: the lock file still says who died, and at which step."""
    sandbox.latency_seconds = 5
    with started_run(sandbox, warehouse) as process:
        process.wait_for_log("step extract")
        process.send_signal(signal.SIGKILL)
    sandbox.latency_seconds = 0

    load(kinds=["item-create"])

    [(first, is_complete), (second, _)] = warehouse.rows(
        "select error, is_complete from klaviyo_raw.listings order by started_at"
    )
    assert first.startswith(f"interrupted: process {process.pid} on ")
    assert first.endswith(" ended at step extract.")
    assert (is_complete, second) == (False, None)


@pytest.mark.usefixtures("no_file")
def test_a_failed_run_is_told_of_by_the_next(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """An error that ends the whole run is in the ledger of the run after it, once."""
    # A table that somebody made in the place of a view.
    warehouse.rows("create schema klaviyo; create table klaviyo.stuck_jobs (job_id varchar)")
    with pytest.raises(WarehouseError, match=r"view klaviyo\.stuck_jobs cannot be made"):
        load(kinds=["item-create"])
    warehouse.rows("drop table klaviyo.stuck_jobs")
    for _ in range(2):
        load(kinds=["item-create"])

    [(is_complete, error), *later] = warehouse.rows(
        "select is_complete, error from klaviyo_raw.listings order by started_at"
    )
    assert error.startswith("failed at step views: WarehouseError: view klaviyo.stuck_jobs cannot be made from ")
    assert (is_complete, later) == (True, [(True, None), (True, None)])


def test_a_killed_run_leaves_no_folder_behind_for_long(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run deletes the working directory of a killed one, and that of no run that may be alive."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    others = tmp_path / "klaviyo-jobs-of-another-warehouse"
    others.mkdir()
    sandbox.faults.append(Fault("slow", "30"))
    with started_run(sandbox, warehouse) as process:
        process.wait_for_log("step extract")
        process.send_signal(signal.SIGKILL)
    left = set(tmp_path.glob("klaviyo-jobs-*")) - {others}
    sandbox.faults.clear()

    load(kinds=["item-create"])

    assert len(left) == 1
    assert list(tmp_path.glob("klaviyo-jobs-*")) == [others]


def test_a_held_warehouse_is_waited_for(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A reader that closes in time delays the run and fails nothing."""
    load(kinds=["item-create"])
    with reader(warehouse.path, 1.5):
        summary = load(kinds=["item-create"])

    assert summary.error is None
    assert sandbox.requests


def test_a_warehouse_that_stays_held_names_its_holder(load: Load, warehouse: Warehouse) -> None:
    """After the bounded wait: exit 7, the process that has it open, and what to do instead."""
    load(kinds=["item-create"])
    with reader(warehouse.path, 30) as holder, pytest.raises(WarehouseError) as caught:
        load(kinds=["item-create"], warehouse_wait_seconds=0.5)

    assert f"(process {holder.pid})." in caught.value.message
    assert caught.value.next_step is not None
    assert "set `bi_copy`" in caught.value.next_step


def test_nobody_gets_between_a_run_and_its_warehouse(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """A reader that opens the file in the middle of a run is refused; the run ends well."""
    sandbox.latency_seconds = 2
    with started_run(sandbox, warehouse) as process:
        process.wait_for_log("step extract")
        with pytest.raises(duckdb.IOException, match="lock"):
            duckdb.connect(str(warehouse.path), read_only=True)
        process.wait(60)

    assert process.returncode == 0


def test_tables_of_a_newer_version_are_left_alone(load: Load, warehouse: Warehouse) -> None:
    """A warehouse that a later contract has changed is not written by this one."""
    load(kinds=["item-create"])
    warehouse.rows("comment on table klaviyo_raw.jobs is 'klaviyo-jobs contract 3'")

    with pytest.raises(WarehouseError, match=r"made by a newer klaviyo-jobs \(contract 3, known here: 2\)"):
        load(kinds=["item-create"])

    assert warehouse.count("listings") == 1


@pytest.mark.usefixtures("no_file")
def test_tables_of_somebody_else_are_left_alone(load: Load, warehouse: Warehouse) -> None:
    """A `klaviyo_raw.jobs` without our keys is not ours to merge into."""
    warehouse.rows("create schema klaviyo_raw")
    warehouse.rows("create table klaviyo_raw.jobs (name text)")

    with pytest.raises(WarehouseError, match="not of this program's making"):
        load(kinds=["item-create"])

    assert warehouse.rows("select count(*) from duckdb_tables()") == [(1,)]


def test_a_damaged_file_is_left_as_it_is(load: Load, warehouse: Warehouse) -> None:
    """Bytes that are no DuckDB file are named, not overwritten."""
    warehouse.path.write_bytes(b"not a database" * 1000)

    with pytest.raises(WarehouseError, match="is damaged"):
        load(kinds=["item-create"])

    assert warehouse.path.read_bytes() == b"not a database" * 1000


@pytest.mark.parametrize("version", [60, 99], ids=["older", "newer"])
def test_a_file_of_another_duckdb_is_told(version: int, load: Load, warehouse: Warehouse) -> None:
    """The version number in the file's header is not one of ours: which DuckDB it needs is said."""
    load(kinds=["item-create"])
    content = bytearray(warehouse.path.read_bytes())
    content[12] = version
    # The header's first eight bytes are its checksum, as DuckDB computes it.
    checksum = 5381
    for (word,) in struct.iter_unpack("<Q", content[8:4096]):
        checksum ^= word * 0xBF58476D1CE4E5B9 % 2**64
    content[:8] = struct.pack("<Q", checksum)
    warehouse.path.write_bytes(content)

    with pytest.raises(WarehouseError, match=rf"by another version of DuckDB than .* version number {version}"):
        load(kinds=["item-create"])

    assert warehouse.path.read_bytes() == content


def test_the_contract_is_marked_in_the_warehouse(load: Load, warehouse: Warehouse) -> None:
    """A later version can tell what it finds."""
    load(kinds=["item-create"])

    assert warehouse.value(
        "select comment from duckdb_tables() where schema_name = 'klaviyo_raw' and table_name = 'jobs'"
    ).endswith("[klaviyo-jobs contract 2]")


def test_a_lock_file_cut_off_by_a_kill_is_no_obstacle(tmp_path: Path) -> None:
    """Half a line of JSON tells nothing, and takes nobody's turn."""
    (tmp_path / "w.duckdb.lock").write_text('{"holder":{"pid":12')

    with FileLock(tmp_path / "w.duckdb", [("default", "item-create")]) as lock:
        holder = json.loads((tmp_path / "w.duckdb.lock").read_text())["holder"]

    assert lock.ended == []
    assert (holder["pid"], holder["listings"]) == (os.getpid(), [["default", "item-create"]])


def test_what_the_settings_say_of_the_views_holds_after_a_run(load: Load, warehouse: Warehouse) -> None:
    """Reporting time zone, the age of stuck jobs and Klaviyo's limit come from the settings."""
    load(
        kinds=["item-create"],
        reporting_timezone="Europe/Berlin",
        stuck_after_seconds=7200,
        jobs_in_progress_limit=50,
    )

    assert warehouse.rows("from klaviyo.reporting_settings") == [("Europe/Berlin", 7200, 50)]


@pytest.mark.usefixtures("no_file")
def test_an_unknown_time_zone_is_refused_before_anything_is_read(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """A wrong setting costs no call and leaves no file."""
    with pytest.raises(SettingError, match="'Europe/Brlin' is not a time zone"):
        load(reporting_timezone="Europe/Brlin")

    assert (list(sandbox.requests), warehouse.path.exists()) == ([], False)


def test_every_step_is_entered_once_whatever_is_listed(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    """Listings that are read one after another or side by side are all of one extraction."""
    caplog.set_level("INFO", logger="klaviyo_jobs")

    load(kinds=["item-create", "item-delete", "category-create"])

    messages = [record.getMessage() for record in caplog.records]
    assert [message.removeprefix("step ") for message in messages if message.startswith("step ")] == STEPS


@pytest.mark.parametrize(
    ("host", "name"),
    [("another-machine", "klaviyo-jobs-of-its-own"), (socket.gethostname(), "reports")],
    ids=["of another machine", "of somebody else's making"],
)
def test_only_a_folder_of_a_run_of_this_machine_is_deleted(
    host: str, name: str, load: Load, warehouse: Warehouse, tmp_path: Path
) -> None:
    """The lock file may lie on a shared disk, and what it says may be wrong: the folder of that path stays."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "precious.txt").write_text("keep me")
    holder = {
        "pid": 4242,
        "host": host,
        "since": "2026-11-20T11:00:00+00:00",
        "command": "klaviyo-jobs run",
        "listings": [["default", "item-create"]],
        "step": "load",
        "working_directory": str(tmp_path / name),
    }
    Path(f"{warehouse.path}.lock").write_text(json.dumps({"holder": holder}))

    load(kinds=["item-create"])

    assert (tmp_path / name / "precious.txt").read_text() == "keep me"
    assert warehouse.rows("select error from klaviyo_raw.listings order by started_at") == [
        (f"interrupted: process 4242 on {host} ended at step load.",),
        (None,),
    ]


def test_a_contradiction_is_told_by_the_run_that_changed_something(
    sandbox: Sandbox, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that was done before it began is a line that names the query: no warning, no error, and told once."""
    sandbox.world.add(Job("item-create", "J1", NOW, completed_at=NOW - HOUR, total_count=1, completed_count=1))
    caplog.set_level("INFO", logger="klaviyo_jobs")
    told = []
    for _ in range(2):
        caplog.clear()
        summary = load(kinds=["item-create", "item-delete"])
        lines = [(record.levelname, record.getMessage().partition(" is ")[0]) for record in caplog.records]
        told.append((summary.error, [line for line in lines if "Klaviyo" in line[1] or line[0] != "INFO"]))

    assert told == [(None, [("INFO", "Klaviyo contradicts itself: contradictory_times")]), (None, [])]


def test_a_fault_of_ours_is_a_warning_of_the_run_that_wrote_the_job(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    """An observation that stands twice is told when its job is written again, and fails nothing."""
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, status="processing", total_count=1))
    load(kinds=["item-create"])
    warehouse.rows("insert into klaviyo_raw.job_observations select * from klaviyo_raw.job_observations")
    caplog.set_level("WARNING", logger="klaviyo_jobs")
    sandbox.world.change("item-create", "J1", status="complete", completed_at=NOW, completed_count=1)
    summary = load(kinds=["item-create"])

    assert summary.error is None
    assert [record.getMessage().partition(" is ")[0] for record in caplog.records] == ["check grain_of_tables"]


def test_a_load_that_fails_is_an_error_and_changes_nothing(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A table that does not take the rows ends the run; what it held it still holds, and the next run reads again."""
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, completed_at=NOW, total_count=1))
    load(kinds=["item-create"])
    sandbox.world.add(Job("item-create", "J2", NOW - HOUR, completed_at=NOW, total_count=1))
    warehouse.rows("create unique index one_of_a_status on klaviyo_raw.jobs (status)")

    with pytest.raises(WarehouseError, match="Constraint Error"):
        load(kinds=["item-create"])

    assert warehouse.rows("select job_id from klaviyo_raw.jobs") == [("J1",)]
    warehouse.rows("drop index klaviyo_raw.one_of_a_status")
    load(kinds=["item-create"])
    assert warehouse.rows("select job_id from klaviyo_raw.jobs order by 1") == [("J1",), ("J2",)]


def test_tables_without_a_later_contract_are_ours(load: Load, warehouse: Warehouse) -> None:
    """A comment that names no later contract, whoever wrote it, keeps no run from its tables."""
    load(kinds=["item-create"])
    for comment in ("null", "'ours'", "'klaviyo-jobs contract next'", "'klaviyo-jobs contract 1'"):
        warehouse.rows(f"comment on table klaviyo_raw.jobs is {comment}")

        with open_warehouse(warehouse.path) as connection:
            assert connection.execute("select count(*) from klaviyo_raw.listings").fetchall() == [(1,)]


@pytest.mark.usefixtures("no_file")
@pytest.mark.parametrize("column", ["account", "job_kind", "job_id", "run_id"])
def test_a_table_that_lacks_one_column_of_ours_is_not_ours(column: str, load: Load, warehouse: Warehouse) -> None:
    """Without the columns of the key and the run there is nothing to merge by."""
    others = [f"{name} text" for name in ("account", "job_kind", "job_id", "run_id") if name != column]
    warehouse.rows("create schema klaviyo_raw")
    warehouse.rows(f"create table klaviyo_raw.jobs ({', '.join(others)})")

    with pytest.raises(WarehouseError, match="not of this program's making"):
        load(kinds=["item-create"])


def test_records_that_cannot_be_read_make_a_run_partial(sandbox: Sandbox, load: Load) -> None:
    """The exit code says that something is missing, the message how many and where to look."""
    sandbox.world.add(RawJob("item-create", {"id": "ODD", "attributes": {}}, id="ODD", created_at=NOW))

    summary = load(kinds=["item-create"])

    assert isinstance(summary.error, PartialError)
    assert summary.error.message == "1 records could not be read."
    assert f"where run_id = '{summary.run_id}'" in str(summary.error)


def test_listings_that_all_fail_for_different_reasons_make_a_run_partial(sandbox: Sandbox, load: Load) -> None:
    """No one exit code would be true of all of them."""
    refused = sandbox.add_account("refused")
    sandbox.faults.append(Fault("status", "400", account="refused"))

    summary = load(api_key=None, accounts={"wrong": "pk_wrong", "refused": refused.key}, kinds=["item-create"])

    assert isinstance(summary.error, PartialError)
    assert summary.error.message.startswith("2 of 2 listings failed (wrong: all, refused: all). First: ")
    assert summary.error.next_step == "run again; what was read before is not read again."


def test_a_refused_key_among_others_is_told_with_what_to_do_about_it(sandbox: Sandbox, load: Load) -> None:
    """To run again would not help, so the advice is that on the key."""
    summary = load(api_key=None, accounts={"wrong": "pk_wrong", "good": sandbox.key}, kinds=["item-create"])

    [refused, good] = summary.outcomes
    assert (refused.name, good.name, good.error) == ("wrong/item-create", "good/item-create", None)
    assert isinstance(summary.error, PartialError)
    assert isinstance(refused.error, KeyRefusedError)
    assert summary.error.next_step == refused.error.next_step


def test_failed_listings_are_named_by_account(sandbox: Sandbox, load: Load) -> None:
    """Those of an account of which others succeeded one by one; an account that has none is not named."""
    second = sandbox.add_account("second")
    for kind in ("item-create", "item-delete"):
        sandbox.faults.append(Fault("status", "400", account="second", kind=kind))

    summary = load(
        api_key=None,
        accounts={"one": sandbox.key, "two": second.key},
        kinds=["item-create", "item-update", "item-delete"],
    )

    assert summary.error is not None
    names = r"item-create, item-delete|item-delete, item-create"  # whichever was begun first
    assert re.match(rf"2 of 6 listings failed \(two: ({names})\)\. First: ", summary.error.message)


def test_a_run_warns_of_a_retired_revision(warehouse: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    """It is served for now, in whatever shape: the run goes on and says since when it is retired."""
    caplog.set_level("WARNING", logger="klaviyo_jobs")
    with Sandbox(clock=NOW, serve_retired=True) as sandbox:
        summary = Load(sandbox, warehouse)(kinds=["item-create"], revision="2023-12-15")

    assert summary.error is None
    assert ["2023-12-15 is retired since 2025-12-15" in record.getMessage() for record in caplog.records] == [True]


def test_a_run_reads_the_accounts_it_is_asked_for(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The others are neither called nor in the ledger."""
    second = sandbox.add_account("second")
    settings = load.settings(api_key=None, accounts={"one": sandbox.key, "two": second.key}, kinds=["item-create"])

    run(settings, warehouse.path, labels=["two"])

    assert warehouse.rows("select account from klaviyo_raw.listings") == [("two",)]


@pytest.fixture
def copy_that_stays(tmp_path: Path) -> str:
    """The path of a copy that no run of an empty account may replace, as it holds jobs."""
    path = tmp_path / "copy.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema klaviyo_raw; create table klaviyo_raw.jobs as select 'J1' as job_id")
    return str(path)


@pytest.mark.parametrize(
    ("bi_copy", "message"),
    [
        ("missing/copy.duckdb", "the folder of the copy .*/missing/copy.duckdb does not exist"),
        (".", "the copy .* is a folder, not a file"),
        ("warehouse.duckdb", "the copy .* would be the warehouse itself"),
    ],
)
def test_a_copy_that_can_have_no_place_is_refused_before_anything_is_read(
    bi_copy: str, message: str, sandbox: Sandbox, load: Load, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when all is loaded; and the message speaks of the copy."""
    monkeypatch.chdir(warehouse.path.parent)

    with pytest.raises(WarehouseError, match=message) as caught:
        load(kinds=["item-create"], bi_copy=bi_copy)

    assert sandbox.requests == []
    assert caught.value.data == "nothing was copied; the copy before it, if there is one, is as it was."
    assert "--warehouse" not in (caught.value.next_step or "")


def test_a_folder_to_spill_into_is_looked_at_before_anything_is_read(
    sandbox: Sandbox, load: Load, tmp_path: Path
) -> None:
    """DuckDB would find out in the middle of a large merge."""
    with pytest.raises(
        SettingError, match=r"temp_directory .*/missing/spill cannot be used: .*/missing is no folder\."
    ):
        load(kinds=["item-create"], temp_directory=str(tmp_path / "missing" / "spill"))

    assert sandbox.requests == []


def test_a_copy_that_cannot_be_made_fails_the_step_of_publishing(
    load: Load, warehouse: Warehouse, copy_that_stays: str
) -> None:
    """The warehouse is loaded by then, and the next run tells at which step it ended."""
    with pytest.raises(WarehouseError):
        load(kinds=["item-create"], bi_copy=copy_that_stays)

    load(kinds=["item-create"])

    assert warehouse.rows(
        "select is_complete, split_part(error, ': ', 1) from klaviyo_raw.listings order by started_at"
    ) == [(True, "failed at step publish"), (True, None)]


def test_a_run_tells_how_long_it_took(load: Load) -> None:
    """From its start to its end, in seconds."""
    started = time.monotonic()

    summary = load(kinds=["item-create"])

    assert 0 < summary.seconds <= time.monotonic() - started


def test_an_ended_run_is_told_of_once(load: Load, warehouse: Warehouse, copy_that_stays: str) -> None:
    """Once the ledger knows, the lock file keeps no note of it."""
    with pytest.raises(WarehouseError):
        load(kinds=["item-create"], bi_copy=copy_that_stays)
    with FileLock(warehouse.path, []) as lock:
        before = [note.step for note in lock.ended]

    load(kinds=["item-create"])

    with FileLock(warehouse.path, []) as lock:
        assert (before, lock.ended) == (["publish"], [])
