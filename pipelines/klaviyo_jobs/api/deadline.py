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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

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
        timer = threading.Timer(seconds, self.end)
        timer.daemon = True
        _local.deadline = self
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
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
