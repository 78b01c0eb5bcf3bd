"""
Run iterators in threads, each a few items ahead of its reader, and read several of them round robin.

In:     iterators that wait, for the network as a rule.
Out:    the items of each, its end or its error, in order; None while there is none yet.
Never:  what resolves dlt's configuration. dlt resolves it in contexts that the threads of its own pool share; opening a
        destination's client in several of them at once breaks those contexts. So the one connection of a load is
        opened and closed in the thread that dlt extracts in, and what runs here only asks over it, in turn.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor, wait
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# Enough to keep the thread busy while a batch is written, few enough to bound memory.
ITEMS_AHEAD: Final = 2
# How many to read at once, each in a thread. Enough that listings by the hundred, which wait for the network most of
# their time, are read in seconds; a thread of its own for each would cost as much as what it reads.
FEEDS_AT_ONCE: Final = 16
_POLL_SECONDS: Final = 0.05


class _End:
    """The last item: the iterator's end, or the error that ended it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Feed(Generic[T]):
    def __init__(self, items: Iterator[T], name: str, pool: Executor) -> None:
        self._items = items
        self._name = name
        self._ready: queue.Queue[T | _End] = queue.Queue(ITEMS_AHEAD)
        self._is_stopped = threading.Event()
        self._ended = pool.submit(self._run)

    def _run(self) -> None:
        end = _End()
        thread = threading.current_thread()
        thread.name, name_before = self._name, thread.name
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:
            end = _End(error)
        if isinstance(self._items, Generator):
            self._items.close()
        thread.name = name_before
        self._put(end)

    def _put(self, item: T | _End) -> bool:
        """Hand *item* on as soon as there is room; False if nobody reads on."""
        while not self._is_stopped.is_set():
            try:
                self._ready.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def take(self) -> T | _End | None:
        try:
            return self._ready.get_nowait()
        except queue.Empty:
            return None

    def stop(self) -> None:
        self._is_stopped.set()
        wait([self._ended])


def prefetch(items: Iterator[T], name: str, pool: Executor) -> Generator[T | None]:
    """
    Iterate *items* in a thread of *pool* and yield each, or None while none is ready, which dlt takes for "later".

    Meanwhile the thread is called *name*. An error of *items* is raised here. Closing the generator ends the work in
    the thread after the item it is at, and closes *items* there.
    """
    feed = _Feed(items, name, pool)
    try:
        while not isinstance(item := feed.take(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        feed.stop()


def round_robin(feeds: Iterable[Iterator[T | None]], at_once: int = FEEDS_AT_ONCE) -> Iterator[T | None]:
    """
    Yield the items of all *feeds*, one of each in turn, and None after a round in which none was ready.

    No more than *at_once* are under way: the next begins when one has ended.
    """
    waiting = iter(feeds)
    under_way = list(itertools.islice(waiting, at_once))
    while under_way:
        is_idle = True
        for feed in under_way.copy():
            try:
                item = next(feed)
            except StopIteration:
                under_way.remove(feed)
                under_way += itertools.islice(waiting, 1)
                continue
            if item is not None:
                is_idle = False
                yield item
        if is_idle and under_way:
            yield None
