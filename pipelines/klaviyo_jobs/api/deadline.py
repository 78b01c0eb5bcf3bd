"""
Bound the time of a whole answer, from its request to its last byte, and end it early when asked to.

In:     a request that this thread sends within `Deadline.running`.
Out:    an answer in time, or an error of the HTTP library and `is_over`.
Why:    the timeouts of an HTTP library bound each silence, so an answer that drips, in its head, its body or its
        packing, may take for ever. Here the socket is shut when the time is up, wherever the library stands.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

_local = threading.local()


class Deadline:
    """The time that one answer has left; `is_over` once it was ended, by its time or by `end`."""

    def __init__(self) -> None:
        self.is_over = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    @contextmanager
    def running(self, seconds: float) -> Iterator[None]:
        """Give the request that this thread sends in the block *seconds* for its whole answer."""
        _local.deadline = self
        _WATCHDOG.add(self, seconds)
        try:
            yield
        finally:
            _WATCHDOG.remove(self)
            _local.deadline = None

    def watch(self, sock: socket.socket) -> None:
        """Take *sock* for the one that the answer comes through."""
        with self._lock:
            self._socket = sock
            if self.is_over:
                _shut(sock)

    def end(self) -> None:
        """Shut the socket under whatever reads from it, now or, while there is none, as soon as there is one."""
        with self._lock:
            self.is_over = True
            if self._socket is not None:
                _shut(self._socket)


class _Watchdog:
    """
    Ends deadlines when their time is up, all of them from one thread: a timer each would cost a third of a request.

    The thread ends when there has been nothing to watch for a while, and begins again with the next request.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ends: dict[Deadline, float] = {}
        self._wakes_at = 0.0
        self._thread: threading.Thread | None = None

    def add(self, deadline: Deadline, seconds: float) -> None:
        """End *deadline* in so many seconds, unless it is removed before."""
        ends_at = time.monotonic() + seconds
        with self._changed:
            self._ends[deadline] = ends_at
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif ends_at < self._wakes_at:
                self._changed.notify()

    def remove(self, deadline: Deadline) -> None:
        """Forget *deadline*."""
        with self._changed:
            self._ends.pop(deadline, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                over = [deadline for deadline, ends_at in self._ends.items() if ends_at <= now]
                for deadline in over:
                    del self._ends[deadline]
                if not over:
                    is_idle = not self._ends
                    self._wakes_at = min([*self._ends.values(), now + _IDLE_SECONDS])
                    if not self._changed.wait(self._wakes_at - now) and is_idle and not self._ends:
                        self._thread = None
                        return
            for deadline in over:
                deadline.end()


_WATCHDOG: Final = _Watchdog()
_IDLE_SECONDS: Final = 1.0


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class _Bounded(HTTPConnection):
    """Tells the deadline of its thread which socket the answer comes through, and leaves none open."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        limit: Deadline | None = getattr(_local, "deadline", None)
        # Now: a connection that is not kept hands its socket over to the answer, and forgets it.
        sock = self.sock
        if limit is not None and sock is not None:
            limit.watch(sock)
        try:
            return super().getresponse()
        except BaseException:
            # The answer may have the socket, and is dropped unclosed where urllib3 refuses its head.
            if sock is not None:
                socket.close(sock.detach())
            raise


class _BoundedHTTPSConnection(_Bounded, HTTPSConnection):
    pass


class _BoundedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _Bounded


class _BoundedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedHTTPSConnection


_POOLS = {"http": _BoundedHTTPPool, "https": _BoundedHTTPSPool}


class BoundedAdapter(HTTPAdapter):
    """An adapter of requests whose connections obey the `Deadline` of their thread."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of connections, as requests asks for them."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        """Make the pools of connections that lead through *proxy*."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager
