"""
Stop when asked to: SIGTERM and Ctrl-C end a run in a few seconds, whatever it is doing.

In:     a signal.
Out:    `StoppedError` in the main thread. What cannot be interrupted, such as a merge under way or an answer that does
        not come, is left when the grace is over: a load that is cut off there is harmless, see `held.py`.
How:    the signal's number also comes out of a wake-up socket, whoever handles the signal: dlt does while it loads.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

from klaviyo_jobs.errors import StoppedError

GRACE_SECONDS: Final = 4.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT into `StoppedError`; outside the main thread there is nothing to turn."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard, told = socket.socketpair()
    told.setblocking(False)
    watcher = threading.Thread(target=_leave_after_grace, args=(heard,), name="stop-watcher", daemon=True)
    watcher.start()
    handlers = {number: signal.signal(number, _raise) for number in _SIGNALS}
    wakeup = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    try:
        yield
    except KeyboardInterrupt as interrupt:  # dlt's own, raised between two of its jobs
        number = interrupt.args[0] if interrupt.args and isinstance(interrupt.args[0], int) else signal.SIGINT
        raise StoppedError(number) from interrupt
    finally:
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


def _leave_after_grace(heard: socket.socket) -> None:
    for number in heard.recv(1):
        if number in _SIGNALS:
            heard.settimeout(GRACE_SECONDS)
            try:
                while heard.recv(64):
                    pass
            except TimeoutError:
                os._exit(128 + number)
