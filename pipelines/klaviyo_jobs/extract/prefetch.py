"""
Run iterators in threads of their own, each a few items ahead of its reader, and read several of them round robin.

In:     iterators that wait, for the network as a rule.
Out:    the items of each, its end or its error, in order; None while there is none yet.
Never:  what resolves dlt's configuration. dlt resolves it in contexts that the threads of its own pool share; opening a
        destination's client in several of them at once breaks those contexts. So the one connection of a load is
        opened and closed in the thread that dlt extracts in, and what runs here only asks over it, in turn.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# Enough to keep the thread busy while a batch is written, few enough to bound memory.
ITEMS_AHEAD: Final = 2
_POLL_SECONDS: Final = 0.05


class _End:
    """The last item: the iterator's end, or the error that ended it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Feed(Generic[T]):
    def __init__(self, items: Iterator[T], name: str) -> None:
        self._items = items
        self._ready: queue.Queue[T | _End] = queue.Queue(ITEMS_AHEAD)
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        end = _End()
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:
            end = _End(error)
        if isinstance(self._items, Generator):
            self._items.close()
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
        self._thread.join()


def prefetch(items: Iterator[T], name: str) -> Generator[T | None]:
    """
    Iterate *items* in a thread called *name* and yield each, or None while none is ready, which dlt takes for "later".

    An error of *items* is raised here. Closing the generator stops the thread after the item it is working on, and
    closes *items* there.
    """
    feed = _Feed(items, name)
    try:
        while not isinstance(item := feed.take(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        feed.stop()


def round_robin(feeds: Iterable[Iterator[T | None]]) -> Iterator[T | None]:
    """Yield the items of all *feeds*, one of each in turn, and None after a round in which none was ready."""
    under_way = list(feeds)
    while under_way:
        is_idle = True
        for feed in under_way.copy():
            try:
                item = next(feed)
            except StopIteration:
                under_way.remove(feed)
                continue
            if item is not None:
                is_idle = False
                yield item
        if is_idle and under_way:
            yield None
