"""Overlapping runs: one works, the others go away at once or wait their turn. Real processes, forked as `chaos` forks them."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pytest

from chaos.run import Run, Runs
from klaviyo_jobs.errors import LockedError, SettingError, WarehouseError
from klaviyo_jobs.warehouse.engines.duckdb_engine import DuckDBFile
from klaviyo_jobs.warehouse.engines.engine import RunNote
from klaviyo_jobs.warehouse.lock import FileLock, holders_of
from klaviyo_sandbox import JobPlan, Sandbox
from support.loads import NOW, Warehouse

Start = Callable[..., Run]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Starts runs without the seconds that imports take."""
    runs = Runs(tmp_path_factory.mktemp("runs"))
    yield runs
    runs.close()


@pytest.fixture
def start(runs: Runs, sandbox: Sandbox, warehouse: Warehouse, tmp_path: Path) -> Iterator[Start]:
    """Start the command on an account of one job; what still runs after the test is killed."""
    sandbox.world.add(JobPlan("item-create", "J1", NOW, ["I1", "I2"]))
    started: list[Run] = []

    def start(*arguments: str, path: Path = warehouse.path) -> Run:
        environment = {
            "HOME": str(tmp_path),
            "PATH": os.environ.get("PATH", ""),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "SOURCES__KLAVIYO_JOBS__API_KEY": sandbox.key,
            "SOURCES__KLAVIYO_JOBS__BASE_URL": sandbox.base_url,
        }
        words = ["run", "--verbose", "--json", "--kind", "item-create", "--warehouse", str(path), *arguments]
        started.append(runs.start(words, directory=tmp_path, environment=environment))
        return started[-1]

    yield start
    for run in started:
        run.send(signal.SIGKILL)
        run.wait()


@pytest.fixture
def holder(start: Start, sandbox: Sandbox) -> Run:
    """A run that holds the lock and waits for an answer, two seconds long."""
    sandbox.latency_seconds = 2
    holder = start()
    assert holder.wait_for_step("extract")
    return holder


def endings(warehouse: Warehouse) -> list[str]:
    """What the ledger says of runs that did not end well, in a word each."""
    return [
        text.split(":")[0] for (text,) in warehouse.rows("select error from klaviyo_raw.listings where error <> ''")
    ]


def test_the_second_run_exits_6_at_once_and_names_the_holder(
    start: Start, holder: Run, sandbox: Sandbox, warehouse: Warehouse
) -> None:
    """It asks the API for nothing, and the run after it tells of it in the ledger."""
    late = start()

    assert late.wait() == 6
    # From when it asks for the lock: starting Python takes as long as the machine is busy.
    assert late.ended - late.steps[0][1] < 2
    assert f"process {holder.pid} " in "\n".join(late.lines)
    assert holder.wait() == 0
    assert len(sandbox.requests) == 1

    sandbox.latency_seconds = 0
    assert start().wait() == 0
    assert endings(warehouse) == ["skipped"]
    assert warehouse.value("select count(*) from klaviyo_raw.listings where is_complete") == 2


def test_with_wait_lock_it_runs_when_the_holder_is_done(start: Start, holder: Run, warehouse: Warehouse) -> None:
    """Both do their work, one after the other, and nothing is doubled."""
    late = start("--wait-lock", "60")

    assert late.wait() == 0
    assert holder.wait(0) == 0
    recovered_at = next(began for step, began in late.steps if step == "recover")
    assert recovered_at > next(began for step, began in holder.steps if step == "unlock")
    assert late.run_id > holder.run_id
    assert (warehouse.count("jobs"), warehouse.count("job_observations"), warehouse.count("listings")) == (1, 1, 2)


def test_wait_lock_waits_no_longer_than_told(start: Start, holder: Run) -> None:
    """After its seconds it goes away as it would have gone at once."""
    late = start("--wait-lock", "0.5")

    assert late.wait() == 6
    assert 0.5 <= late.seconds < 2.5
    assert holder.wait() == 0


def test_a_killed_holder_frees_the_lock(start: Start, holder: Run, warehouse: Warehouse) -> None:
    """Whoever waits gets it at once, and tells of the killed run in the ledger."""
    late = start("--wait-lock", "60")
    assert late.wait_for_step("lock")
    holder.send(signal.SIGKILL)

    assert late.wait() == 0
    assert holder.wait() == -signal.SIGKILL
    assert endings(warehouse) == ["interrupted"]
    assert warehouse.count("jobs") == 1


def test_a_run_of_another_warehouse_is_not_held_up(start: Start, holder: Run, tmp_path: Path) -> None:
    """There is one lock for each warehouse."""
    assert start(path=tmp_path / "other.duckdb").wait() == 0
    assert holder.wait() == 0


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\x00", b'{"holder": 1}', b"[]"])
def test_a_lock_file_that_cannot_be_read_holds_nobody_up(start: Start, warehouse: Warehouse, text: bytes) -> None:
    """A kill in the middle of writing it leaves anything."""
    Path(f"{warehouse.path}.lock").write_bytes(text)

    assert start().wait() == 0


def test_runs_started_together_do_the_work_once(start: Start, warehouse: Warehouse) -> None:
    """Some work, the rest exit 6; the tables are those of one run."""
    together = [start() for _ in range(4)]
    deadline = time.monotonic() + 60

    codes = {run.wait(deadline - time.monotonic()) for run in together}

    assert codes <= {0, 6}
    assert 0 in codes
    counts = warehouse.count("jobs"), warehouse.count("job_linkages"), warehouse.count("job_observations")
    assert counts == (1, 0, 1)


# ---------------------------------------------------------------------------------------------------------------------
# What the files beside the warehouse tell the next holder
# ---------------------------------------------------------------------------------------------------------------------

LISTINGS = [("default", "item-create"), ("shop_eu", "item-update")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A warehouse that nobody has locked."""
    return tmp_path / "warehouse.duckdb"


def leave_killed(path: Path, *steps: tuple[str, str]) -> None:
    """Leave the lock of *path* as a run that is killed after *steps*, each with its run id, leaves it."""
    lock_file = Path(f"{path}.lock")
    with FileLock(path, LISTINGS) as lock:
        for step, run_id in steps:
            lock.enter_step(step, run_id)
        text = lock_file.read_bytes()
    lock_file.write_bytes(text)


def fail(path: Path, error: Exception, *steps: str, on_step: Callable[[], None] = lambda: None) -> None:
    """Hold the lock of *path*, get as far as the last of *steps*, and end with *error*."""
    with FileLock(path, LISTINGS) as lock:
        for step in steps:
            lock.enter_step(step)
            on_step()
        raise error


def ended_before(path: Path) -> list[RunNote]:
    """Which runs the next holder of the lock is told of; it takes note of them for good."""
    with FileLock(path, []) as lock:
        ended = lock.ended
        lock.forget_ended()
    return ended


@contextmanager
def room_for_files() -> Iterator[Callable[[], None]]:
    """Give a function that lets the system refuse to write files from then on, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_killed_run_is_known_by_its_last_step(path: Path) -> None:
    """Process, machine, listings, step, and the run id that an earlier step gave it."""
    leave_killed(path, ("recover", ""), ("load", "1795176002.1"), ("views", ""))

    [note] = ended_before(path)

    assert (note.pid, note.host, note.listings) == (os.getpid(), socket.gethostname(), LISTINGS)
    assert (note.step, note.run_id, note.failure, note.is_skipped) == ("views", "1795176002.1", "", False)
    assert note.ending == f"interrupted: process {os.getpid()} on {socket.gethostname()} ended at step views."
    assert ended_before(path) == []


def test_a_run_that_ends_well_leaves_nothing_to_tell(path: Path) -> None:
    """The lock file stays, and names nobody."""
    with FileLock(path, LISTINGS) as lock:
        lock.enter_step("load", "1795176002.1")

    assert ended_before(path) == []


def test_ended_runs_are_told_until_a_ledger_knows_them(path: Path) -> None:
    """A holder that does not come as far as its ledger leaves the older news to the next, before its own."""
    leave_killed(path, ("recover", ""))
    leave_killed(path, ("extract", "1795176002.1"))
    with pytest.raises(SettingError):
        fail(path, SettingError("no place."), "publish")

    assert [(note.step, note.run_id, note.failure) for note in ended_before(path)] == [
        ("recover", "", ""),
        ("extract", "1795176002.1", ""),
        ("publish", "", "SettingError: no place."),
    ]


def test_a_failure_that_is_not_ours_is_told_by_its_type(path: Path) -> None:
    """Its words may hold anything, a key too; they are not written down."""
    with pytest.raises(ValueError, match="pk_secret"):
        fail(path, ValueError("pk_secret"), "extract")

    [note] = ended_before(path)

    assert note.ending == "failed at step extract: ValueError"


def test_a_run_that_ends_before_its_first_step_is_no_news(path: Path) -> None:
    """It has touched nothing yet."""
    with pytest.raises(ValueError, match="too early"):
        fail(path, ValueError("too early"))

    assert ended_before(path) == []


def test_runs_that_found_the_lock_taken_are_told_once_and_in_order(path: Path) -> None:
    """Each names the process that held it; what a kill left of a line in between is passed over."""
    with FileLock(path, []) as holder:
        holder.enter_step("load")
        for listings in (LISTINGS[:1], LISTINGS[1:]):
            with pytest.raises(LockedError), FileLock(path, listings):
                pass
            with Path(f"{path}.skipped").open("ab") as file:
                file.write(b'{"pid": 7, "ho\n')

    assert [(note.listings, note.is_skipped, note.ending) for note in ended_before(path)] == [
        ([listing], True, f"skipped: process {os.getpid()} held the lock.") for listing in LISTINGS
    ]
    assert ended_before(path) == []


def test_a_run_that_is_skipped_later_is_told_too(path: Path) -> None:
    """The notes that were taken over leave nothing in the file that would spoil the next."""
    for _ in range(2):
        with FileLock(path, []), pytest.raises(LockedError), FileLock(path, LISTINGS):
            pass
        assert [note.listings for note in ended_before(path)] == [LISTINGS]


@pytest.mark.parametrize("is_held", [True, False])
def test_skipped_runs_are_noted_and_taken_over_one_at_a_time(path: Path, is_held: bool) -> None:
    """Whoever comes while another process works on their file waits for it: a note in between would be lost."""

    def come() -> None:
        with suppress(LockedError), FileLock(path, LISTINGS):
            pass

    with FileLock(path, []) if is_held else nullcontext(), Path(f"{path}.skipped").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        coming = threading.Thread(target=come)
        coming.start()
        coming.join(0.3)
        had_to_wait = coming.is_alive()
        fcntl.flock(file, fcntl.LOCK_UN)
        coming.join()

    assert had_to_wait
    assert [note.is_skipped for note in ended_before(path)] == [True] * is_held


def test_a_run_that_is_turned_away_leaves_no_file_open(path: Path) -> None:
    """It may be one of many in a process that lives on."""
    with FileLock(path, []):
        open_before = len([*Path("/proc/self/fd").iterdir()])
        with pytest.raises(LockedError), FileLock(path, LISTINGS):
            pass

        assert len([*Path("/proc/self/fd").iterdir()]) == open_before


def test_a_kill_after_the_skipped_runs_were_taken_over_does_not_lose_them(path: Path) -> None:
    """They stand in the lock file before their own file is emptied."""
    with FileLock(path, []), pytest.raises(LockedError), FileLock(path, LISTINGS):
        pass
    leave_killed(path)

    assert [note.is_skipped for note in ended_before(path)] == [True, False]


def test_who_holds_the_lock_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Process, machine, command without its options, time and step; to whoever asks and to whoever is turned away."""
    monkeypatch.setattr(sys, "argv", ["/opt/bin/klaviyo-jobs", "run", "--warehouse", "w.duckdb"])
    with FileLock(path, LISTINGS) as lock:
        lock.enter_step("load", "1795176002.1")
        with pytest.raises(LockedError) as caught, FileLock(path, []):
            pass
        [holder] = holders_of(DuckDBFile(path), [])

    assert holder == lock.note
    assert caught.value.message == (
        f"another run holds the lock of this warehouse: process {os.getpid()} on {socket.gethostname()}, "
        f"`klaviyo-jobs run`, since {lock.note.since}, at step load."
    )
    assert holders_of(DuckDBFile(path), []) == []


def test_options_in_the_place_of_a_command_are_not_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option may hold what is nobody's business."""
    monkeypatch.setattr(sys, "argv", ["klaviyo-jobs", "--account=shop_eu", "run"])

    assert FileLock(path, []).note.command == "klaviyo-jobs"


@pytest.mark.parametrize("text", [b"", b'{"holder":{"pi', b"\xff"])
def test_a_holder_whose_text_cannot_be_read_still_holds_the_lock(path: Path, text: bytes) -> None:
    """It may be writing it just now."""
    with FileLock(path, []):
        Path(f"{path}.lock").write_bytes(text)
        assert holders_of(DuckDBFile(path), []) == []
        with pytest.raises(LockedError, match=r"another run holds the lock of this warehouse\."), FileLock(path, []):
            pass

    assert [(note.is_skipped, note.holder_pid) for note in ended_before(path)] == [(True, 0)]


def test_a_shorter_text_leaves_no_rest_of_a_longer_one(path: Path) -> None:
    """A lock file whose end is that of an older text could not be read."""
    with FileLock(path, LISTINGS * 50):
        pass
    size = Path(f"{path}.lock").stat().st_size
    leave_killed(path)

    assert size < 50
    assert len(ended_before(path)) == 1


def test_a_lock_file_that_cannot_be_made_is_a_problem_of_the_warehouse(path: Path) -> None:
    """The reason and the path are named, and nobody is left holding anything."""
    Path(f"{path}.lock").mkdir()

    with (
        pytest.raises(WarehouseError, match=f"the lock {path}.lock cannot be taken: Is a directory"),
        FileLock(path, []),
    ):
        pass

    assert holders_of(DuckDBFile(path), []) == []


def test_a_skipped_run_that_cannot_be_noted_is_turned_away_all_the_same(path: Path) -> None:
    """The exit code tells of it, even where the ledger will not."""
    with FileLock(path, []), room_for_files() as fill:
        fill()
        with pytest.raises(LockedError), FileLock(path, LISTINGS):
            pass

    assert ended_before(path) == []


def test_a_full_disk_hides_no_error_that_is_on_its_way(path: Path) -> None:
    """Steps and the end of the run go on without their note."""
    with room_for_files() as fill, pytest.raises(SettingError, match="the reason"):
        fail(path, SettingError("the reason"), "recover", "extract", on_step=fill)

    assert [note.step for note in ended_before(path)] == ["recover"]


def test_a_wait_is_as_long_as_told(path: Path) -> None:
    """Not given up before, and not much later."""
    with FileLock(path, []):
        began_at = time.monotonic()
        with pytest.raises(LockedError), FileLock(path, LISTINGS, wait_seconds=0.3):
            pass
        seconds = time.monotonic() - began_at

    assert 0.3 <= seconds < 1


def test_a_disk_that_is_full_already_is_told(path: Path) -> None:
    """A run that cannot say that it holds the lock does not begin, and leaves the lock to others."""
    with room_for_files() as fill:
        fill()
        with pytest.raises(WarehouseError), FileLock(path, LISTINGS):
            pass

    assert holders_of(DuckDBFile(path), []) == []
    assert ended_before(path) == []
