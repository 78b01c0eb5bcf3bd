"""
Stop when asked to: SIGTERM and Ctrl-C end a run in a few seconds, whatever it is doing.

In:     a signal.
Out:    `StoppedError` in the main thread. What cannot be interrupted, such as a merge under way or an answer that does
        not come, is left when the grace is over: a load that is cut off there is harmless, see `extract/questions.py`.
How:    the signal's number also comes out of a wake-up socket, whoever handles the signal: dlt does while it loads, and
        may forget it; a library may swallow the exception. So the run asks again between its steps.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn

from klaviyo_jobs.errors import StoppedError

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether a signal has asked the run to stop."""

    def __init__(self) -> None:
        self.number = 0

    def raise_if_asked(self) -> None:
        """Raise StoppedError if a signal came, and whoever handled it has gone on."""
        if self.number:
            raise StoppedError(self.number)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Make `StoppedError` of whatever error follows from the signal: dlt raises its own, and wraps it."""
        try:
            yield
        except KeyboardInterrupt as interrupt:
            raise StoppedError(self.number or getattr(interrupt, "signal_code", signal.SIGINT)) from interrupt
        except Exception as error:
            if self.number and not isinstance(error, StoppedError):
                raise StoppedError(self.number) from error
            raise


# The one under way, if there is one.
_OUTER: Final[list[Stop]] = []


@contextmanager
def stoppable(
    grace_seconds: float = 4.0, last_words: Callable[[StoppedError], None] = lambda error: None
) -> Iterator[Stop]:
    """
    Turn the first SIGTERM or SIGINT into `StoppedError`, and leave *grace_seconds* after it whatever goes on.

    Who leaves so has nobody any more to say it: *last_words* are called before, from another thread.

    Outside the main thread there is nothing to turn, and within another `stoppable` it is that one that does.
    """
    if _OUTER:
        with _OUTER[0].told():
            yield _OUTER[0]
        return
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    heard, told = socket.socketpair()
    told.setblocking(False)
    watcher = threading.Thread(
        target=_watch, args=(heard, stop, grace_seconds, last_words), name="stop-watcher", daemon=True
    )
    watcher.start()
    handlers = {number: signal.signal(number, _raise) for number in _SIGNALS}
    wakeup = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    _OUTER.append(stop)
    try:
        with stop.told():
            yield stop
    finally:
        _OUTER.clear()
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        told.close()
        watcher.join()
        heard.close()


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    # Once is enough: what follows is cleaning up.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise StoppedError(number)


def _watch(heard: socket.socket, stop: Stop, grace_seconds: float, last_words: Callable[[StoppedError], None]) -> None:
    """Note the first signal that asks to stop, and leave when the grace is over."""
    while numbers := heard.recv(64):
        for number in numbers:
            if number in _SIGNALS:
                stop.number = number
                heard.settimeout(grace_seconds)
                try:
                    while heard.recv(64):
                        pass
                except TimeoutError:
                    with suppress(Exception):
                        last_words(StoppedError(number))
                    os._exit(128 + number)
                return
