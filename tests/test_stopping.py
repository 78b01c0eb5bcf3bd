"""Stopping when asked to, whatever the libraries make of the signal."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import pytest

from klaviyo_jobs.errors import StoppedError
from klaviyo_jobs.stopping import Stop, stoppable


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
