"""
End what waits, whoever waits for it: a wait between attempts, a place in a budget, an answer that does not come.

In:     `end`, from any thread.
Out:    `ClosedError` in every thread that waits, and in every one that comes later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakSet

from klaviyo_jobs.errors import ClosedError


class Ending:
    """Comes once, for itself and for all that branched off it."""

    def __init__(self) -> None:
        self._has_come = threading.Event()
        self._lock = threading.Lock()
        self._under_way: list[Callable[[], None]] = []
        self._branches: WeakSet[Ending] = WeakSet()

    def branch(self) -> Ending:
        """Return an ending that may come sooner than this one, and no later."""
        branch = Ending()
        with self._lock:
            self._branches.add(branch)
            if self._has_come.is_set():
                branch.end()
        return branch

    def check(self) -> None:
        """Raise ClosedError if the ending has come."""
        if self._has_come.is_set():
            raise ClosedError(
                "reading was ended: the client is closed.",
                data="nothing of this answer was used.",
                next_step="run again.",
            )

    def wait(self, seconds: float) -> None:
        """Wait *seconds*; ClosedError as soon as the ending comes."""
        self._has_come.wait(seconds)
        self.check()

    @contextmanager
    def calls(self, end: Callable[[], None]) -> Iterator[None]:
        """Call *end*, from another thread, if the ending comes while the block runs; ClosedError if it came before."""
        with self._lock:
            self.check()
            self._under_way.append(end)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.remove(end)

    def end(self) -> None:
        """End all that waits; more than once is no more than once."""
        with self._lock:
            self._has_come.set()
            for end in self._under_way:
                end()
            for branch in self._branches:
                branch.end()
