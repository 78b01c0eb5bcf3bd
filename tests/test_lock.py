"""Overlapping runs: one works, the others go away at once or wait their turn. Real processes, forked as `chaos` forks them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos import Run, Runs
from conftest import NOW, Warehouse
from klaviyo_sandbox import JobPlan, Sandbox

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
        words = ["run", "--json", "--kind", "item-create", "--warehouse", str(path), *arguments]
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
    assert late.seconds < 2
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
