"""Several machines on one Postgres: accounts side by side, the same account once, and locks that die with their holder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from engines.conftest import Postgres
from engines.data import assert_same
from engines.test_contract import compared, exported
from klaviyo_jobs.errors import LockedError
from klaviyo_jobs.warehouse.lock import holders_of, lock_of
from klaviyo_sandbox import Fault, Sandbox
from support.loads import NOW, Warehouse
from support.places import InFile, InLake, InPostgres, Place, emptied
from support.tools import module

COMMAND = str(Path(sys.executable).with_name("klaviyo-jobs"))
TABLES = ("jobs", "job_errors", "job_linkages", "categories")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Two accounts, `eu` and `us`, with jobs of their own."""
    with Sandbox("demo", clock=NOW) as sandbox:
        yield sandbox


@pytest.fixture(params=["postgres", "ducklake"])
def place(
    request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """An empty database, or an empty lake whose catalog is there."""
    if request.param == "ducklake":
        module("duckdb_extension_ducklake")
    found: Place = InPostgres(postgres.url) if request.param == "postgres" else InLake(postgres.url, tmp_path)
    with emptied(found, monkeypatch):
        yield found


@pytest.fixture
def start(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts runs as cron does; those that are left are killed."""
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BASE_URL", sandbox.base_url)
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__ACCOUNTS__EU", sandbox.key)
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__ACCOUNTS__US", sandbox.add_account("us", "demo").key)
    started = Start(tmp_path)
    yield started
    for process in started.processes:
        process.kill()
        # Closes its pipes, which a killed one has left open.
        with process:
            pass


class Start:
    """Starts the command, each time in a folder of its own, as on another machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def __call__(self, *arguments: str) -> subprocess.Popen[str]:
        folder = self._folder / f"machine{len(self.processes)}"
        folder.mkdir()
        process = subprocess.Popen(
            [COMMAND, "run", "--json", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The exit code of *process*, and what it said."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def wait_for_holder(place: Place, accounts: Sequence[str]) -> None:
    """Wait until somebody holds the lock of one of *accounts*."""
    deadline = time.monotonic() + 60
    while not holders_of(place.engine(), accounts):
        assert time.monotonic() < deadline, "nobody takes the lock"
        time.sleep(0.05)


def test_two_accounts_are_loaded_side_by_side(start: Start, place: Place, tmp_path: Path) -> None:
    """Into new tables and into old ones: both are as if they had been loaded alone."""
    for _ in range(2):
        both = [start("--destination", place.name, "--account", label) for label in ("eu", "us")]
        codes_and_words = [ended(process) for process in both]
        assert [code for code, _, _ in codes_and_words] == [0, 0], codes_and_words
    there = exported(place, tmp_path)
    alone = InFile(tmp_path / "alone.duckdb")
    for label in ("eu", "us"):
        assert ended(start("--warehouse", str(alone.path), "--account", label))[0] == 0

    for table in TABLES:
        assert_same(compared(there, table), compared(Warehouse(alone.path), table))
    assert there.value("select count(*) from klaviyo_raw.listings where is_complete and error is null") == 36


def test_the_same_account_is_loaded_once(start: Start, place: Place, sandbox: Sandbox, tmp_path: Path) -> None:
    """Who comes second ends with 6 and says who holds it; the ledger tells of it after the next run."""
    sandbox.faults.append(Fault("slow", "3", kind="item-create"))
    first = start("--destination", place.name, "--account", "eu")
    wait_for_holder(place, ["eu"])
    code, _, told = ended(start("--destination", place.name, "--account", "eu"))
    first_code = ended(first)[0]
    sandbox.faults.clear()

    assert (first_code, code) == (0, 6)
    assert f"process {first.pid} on" in told
    assert "nothing was read or written" in told
    assert ended(start("--destination", place.name, "--account", "eu"))[0] == 0
    assert (
        exported(place, tmp_path).value(
            "select count(*) from klaviyo_raw.listings where error like 'skipped: process %'"
        )
        == 9
    )


def test_a_run_of_all_accounts_goes_away_for_one_that_is_taken(start: Start, place: Place, sandbox: Sandbox) -> None:
    """It lets go of those that it had got already."""
    with lock_of(place.engine(), [("us", "item-create")]):
        assert ended(start("--destination", place.name))[0] == 6
        assert ended(start("--destination", place.name, "--account", "eu"))[0] == 0


def test_a_lock_is_freed_when_its_holder_dies(start: Start, place: Place, sandbox: Sandbox, tmp_path: Path) -> None:
    """Killed without a word; the next run takes it at once, and the ledger tells of the killed one."""
    sandbox.faults.append(Fault("slow", "30", kind="item-create"))
    first = start("--destination", place.name, "--account", "eu")
    wait_for_holder(place, ["eu"])
    first.send_signal(signal.SIGKILL)
    first.wait()
    sandbox.faults.clear()

    code, out, _ = ended(start("--destination", place.name, "--account", "eu", "--wait-lock", "10"))

    assert code == 0
    assert exported(place, tmp_path).rows(
        "select distinct split_part(error, ' on ', 1) from klaviyo_raw.listings where run_id <> ?",
        json.loads(out)["run_id"],
    ) == [(f"interrupted: process {first.pid}",)]


def test_who_waits_gets_it_when_it_is_free(start: Start, place: Place) -> None:
    """As long as was asked for, and no longer."""
    with lock_of(place.engine(), [("eu", "item-create")]):
        waiter = start("--destination", place.name, "--account", "eu", "--wait-lock", "60")
        with pytest.raises(LockedError), lock_of(place.engine(), [("eu", "item-create")], wait_seconds=0.3):
            pass
        assert waiter.poll() is None

    assert ended(waiter)[0] == 0
