"""Stopping when asked to, whatever the libraries make of the signal."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import duckdb
import pytest

from klaviyo_jobs.errors import StoppedError
from klaviyo_jobs.runs.run import run
from klaviyo_jobs.runs.signals import Stop, stoppable
from klaviyo_jobs.warehouse.lock import FileLock
from klaviyo_sandbox import Fault, Job, Sandbox
from support.loads import NOW, Load, Warehouse
from support.processes import reader, settings, started


def wait_until_heard(stop: Stop) -> None:
    """Wait until the signal is noted."""
    deadline = time.monotonic() + 5
    while not stop.number and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_at_once(number: signal.Signals, exit_code: int) -> None:
    """Nothing behind the line that it comes at is done."""
    reached = False
    try:
        with stoppable():
            os.kill(os.getpid(), number)
            reached = True
    except StoppedError as error:
        stopped = error

    assert not reached
    assert stopped.exit_code == exit_code


def test_a_signal_that_someone_else_handled_stops_at_the_next_step() -> None:
    """A library that takes the signals for itself and forgets one does not make the run go on to its end."""
    with stoppable() as stop:
        signal.signal(signal.SIGTERM, lambda *_: None)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until_heard(stop)
        with pytest.raises(StoppedError) as stopped:
            stop.raise_if_asked()

    assert stopped.value.exit_code == 143


def test_a_signal_whose_exception_was_swallowed_stops_at_the_next_step() -> None:
    """The same where the exception ends up in code that goes on whatever happens."""
    with stoppable() as stop:
        with suppress(Exception):
            os.kill(os.getpid(), signal.SIGINT)
        wait_until_heard(stop)
        with pytest.raises(StoppedError) as stopped:
            stop.raise_if_asked()

    assert stopped.value.exit_code == 130


def test_an_error_that_follows_from_a_signal_is_told_as_the_stop() -> None:
    """What breaks because of the signal is no error of its own."""

    def be_cut_off(stop: Stop) -> None:
        signal.signal(signal.SIGINT, lambda *_: None)
        os.kill(os.getpid(), signal.SIGINT)
        wait_until_heard(stop)
        raise RuntimeError("the load was cut off")

    with pytest.raises(StoppedError) as stopped, stoppable() as stop:
        be_cut_off(stop)

    assert stopped.value.exit_code == 130


def test_an_error_without_a_signal_stays_what_it_is() -> None:
    """Only a signal makes a stop of it."""
    with pytest.raises(RuntimeError, match="the load"), stoppable():
        raise RuntimeError("the load was cut off")


def test_handlers_are_given_back() -> None:
    """Who ran before handles signals again."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with suppress(StoppedError), stoppable():
        os.kill(os.getpid(), signal.SIGTERM)

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_within_another_the_outer_one_knows() -> None:
    """A signal that came before the inner block began is not forgotten in it."""
    with stoppable() as outer:
        signal.signal(signal.SIGTERM, lambda *_: None)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until_heard(outer)
        with pytest.raises(StoppedError), stoppable() as inner:
            inner.raise_if_asked()


def test_the_handlers_of_the_outer_one_stay_behind_the_inner() -> None:
    """The outer block goes on listening."""
    with stoppable() as outer:
        with stoppable():
            pass
        with suppress(StoppedError):
            os.kill(os.getpid(), signal.SIGTERM)
        wait_until_heard(outer)

    assert outer.number == signal.SIGTERM


def test_a_second_signal_does_not_disturb_the_cleaning_up() -> None:
    """Whoever presses Ctrl-C again ends nothing halfway, and the first signal is the one that is told."""
    cleaned_up = []

    def be_stopped_twice() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            cleaned_up.append("all")

    with pytest.raises(StoppedError) as stopped, stoppable():
        be_stopped_twice()

    assert cleaned_up == ["all"]
    assert stopped.value.exit_code == 143


def test_other_signals_stop_nothing() -> None:
    """A program that handles a signal of its own keeps it to itself."""
    came = []
    before = signal.signal(signal.SIGUSR1, lambda *_: came.append("USR1"))
    with stoppable() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)

    stop.raise_if_asked()
    assert (came, stop.number) == (["USR1"], 0)


def test_a_signal_behind_another_one_of_no_concern_stops() -> None:
    """The block goes on listening when it has heard a signal that is not for it."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    with stoppable() as stop:
        signal.signal(signal.SIGTERM, lambda *_: None)
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until_heard(stop)
        with pytest.raises(StoppedError) as stopped:
            stop.raise_if_asked()
    signal.signal(signal.SIGUSR1, before)

    assert stopped.value.exit_code == 143


def test_an_interrupt_of_a_library_is_told_as_the_stop() -> None:
    """dlt raises an interrupt of its own, which carries the signal; one that carries none is Ctrl-C."""
    told = KeyboardInterrupt()
    told.signal_code = signal.SIGTERM  # type: ignore[attr-defined]
    exit_codes = []
    for interrupt in (told, KeyboardInterrupt()):
        with pytest.raises(StoppedError) as stopped, stoppable():
            raise interrupt
        exit_codes.append(stopped.value.exit_code)

    assert exit_codes == [143, 130]


def test_outside_the_main_thread_nothing_is_turned() -> None:
    """Signals are the main thread's: the block runs there as if it were not one, and leaves the handlers alone."""
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with stoppable() as stop:
            stop.raise_if_asked()
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [before]


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_cannot_be_interrupted_is_left_when_the_grace_is_over(number: signal.Signals, exit_code: int) -> None:
    """A process that goes on whatever happens ends all the same, with the exit code of its signal."""
    code = (
        "import time\n"
        "from klaviyo_jobs.runs.signals import stoppable\n"
        "with stoppable(grace_seconds=0.5):\n"
        "    while True:\n"
        "        try:\n"
        "            print('begun', flush=True)\n"
        "            time.sleep(60)\n"
        "        except BaseException:\n"
        "            pass\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)

        assert process.wait(timeout=20) == exit_code


def test_the_wake_up_socket_is_given_back() -> None:
    """Whoever was woken by signals before is woken again."""
    with stoppable():
        inside = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(inside)
    after = signal.set_wakeup_fd(-1)

    assert inside != -1
    assert after == -1


def swallow(number: signal.Signals) -> None:
    """Stand in for a library that takes a signal for itself and forgets it."""
    with stoppable() as stop:
        signal.signal(number, lambda *_: None)
        os.kill(os.getpid(), number)
        wait_until_heard(stop)


@pytest.mark.usefixtures("no_file")
def test_a_run_does_not_begin_behind_a_signal_that_was_forgotten(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Nothing is read, and neither warehouse nor lock is touched."""
    with stoppable():
        swallow(signal.SIGTERM)
        with pytest.raises(StoppedError) as stopped:
            load(kinds=["item-create"])

    assert stopped.value.exit_code == 143
    assert list(sandbox.requests) == []
    assert list(warehouse.path.parent.glob("warehouse.duckdb*")) == []


def test_a_run_stops_at_the_step_behind_a_signal_that_was_forgotten(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """It came while the run was recovering, so nothing is read, and the next run tells of it."""
    with pytest.raises(StoppedError):
        run(load.settings(kinds=["item-create"]), warehouse.path, watch=lambda _: swallow(signal.SIGTERM))
    assert list(sandbox.requests) == []

    load(kinds=["item-create"])

    assert warehouse.rows("select error from klaviyo_raw.listings order by started_at") == [
        ("failed at step recover: StoppedError: stopped by SIGTERM.",),
        (None,),
    ]


def test_who_is_left_behind_says_so() -> None:
    """Nobody else can any more: the message, and the cursor that a drawing has hidden."""
    program = """if 1:
        import os, signal, threading, time
        from klaviyo_jobs.cli import app
        from klaviyo_jobs.runs.signals import stoppable

        with stoppable(0.2, app._tell_from_outside):
            signal.signal(signal.SIGTERM, lambda *_: None)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
    """
    controller, terminal = pty.openpty()

    process = subprocess.Popen([sys.executable, "-c", program], stdout=terminal, stderr=terminal)
    os.close(terminal)
    code, said = process.wait(20), os.read(controller, 4096).decode()

    assert code == 143
    assert said.replace("\r", "").splitlines() == [
        "\x1b[?25h",
        "StoppedError: stopped by SIGTERM.",
        "  Data: what was loaded before stays; a load that was cut off is done again by the next run.",
        "  Next: run again.",
    ]


WAITS = {
    "retry after": (["run"], Fault("429", "30"), "attempt 2 follows in"),
    "retry after, of a detail": (
        ["run", "--kind", "category-create"],
        Fault("429", "30", after=1),
        "attempt 2 follows in",
    ),
    "retry after, of a plan": (["run", "--dry-run"], Fault("429", "30"), "attempt 2 follows in"),
    "an answer that does not come": (["run", "--verbose"], Fault("slow", "30"), "step extract"),
    "the lock": (["run", "--verbose", "--wait-lock", "60"], None, "step lock"),
    "the file": (["run", "--verbose"], None, "waiting"),
}


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("wait", WAITS)
def test_a_signal_ends_a_wait_at_once(
    wait: str, number: signal.Signals, exit_code: int, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Whatever is waited for: exit code and message, in a second and not in four."""
    arguments, fault, sign = WAITS[wait]
    sandbox.world.add(Job("category-create", "J1", NOW, completed_at=NOW, total_count=1))
    sandbox.faults += [fault] if fault else []
    environment = {**os.environ, **settings(sandbox, warehouse_wait_seconds="60")}
    path = tmp_path / "warehouse.duckdb"
    duckdb.connect(str(path)).close()
    with (
        FileLock(path, []) if wait == "the lock" else nullcontext(),
        reader(path, 60) if wait == "the file" else nullcontext(),
        started(tmp_path, *arguments, environment=environment) as process,
    ):
        process.wait_for_log(sign)
        time.sleep(0.2)
        told_at = time.monotonic()
        process.send_signal(number)
        code = process.wait(30)
        seconds = time.monotonic() - told_at
        said = process.stderr

    assert code == exit_code
    assert seconds < 2
    assert said.splitlines()[-3:] == [
        f"StoppedError: stopped by {number.name}.",
        "  Data: what was loaded before stays; a load that was cut off is done again by the next run.",
        "  Next: run again.",
    ]


def test_a_signal_leaves_nothing_of_the_drawing(sandbox: Sandbox, tmp_path: Path) -> None:
    """On a terminal: the table is wiped out, the cursor is back, and the message is the last thing there."""
    sandbox.faults.append(Fault("429", "30"))
    controller, terminal = pty.openpty()
    environment = {**os.environ, **settings(sandbox), "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(
        [sys.executable, "-m", "klaviyo_jobs", "run"],
        cwd=tmp_path,
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    while b"reading" not in shown:
        shown += os.read(controller, 65536)
    process.send_signal(signal.SIGINT)
    with suppress(OSError):  # the end of a terminal whose programs have ended
        while more := os.read(controller, 65536):
            shown += more

    assert process.wait(20) == 130
    text = shown.decode()
    last = text.rpartition("\x1b[?25h")[2]
    assert "\x1b[?25l" not in last
    assert text.count("\x1b[?25l") <= text.count("\x1b[?25h")
    assert "how long is not known yet" in text
    assert not re.search(r"INFO +step", text)
    assert re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", last).replace("\r", "").strip().splitlines() == [
        "StoppedError: stopped by SIGINT.",
        "  Data: what was loaded before stays; a load that was cut off is done again by the next run.",
        "  Next: run again.",
    ]
