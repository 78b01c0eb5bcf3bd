"""
Bound the time of a whole answer, from its request to its last byte.

The timeouts of an HTTP library bound each silence, so an answer that drips, in its head, its body or its packing, may
take for ever. Here a timer shuts the connection when the time is up, wherever the library stands.
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
    """The time that one answer has left; `is_over` once its connection was shut for it."""

    def __init__(self) -> None:
        self.connection: HTTPConnection | None = None
        self.is_over = False

    def end(self) -> None:
        """Shut the connection under whatever reads from it."""
        self.is_over = True
        sock = self.connection.sock if self.connection is not None else None
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Give the request that this thread sends in the block *seconds* for its whole answer."""
    limit = Deadline()
    timer = threading.Timer(seconds, limit.end)
    timer.daemon = True
    _local.deadline = limit
    timer.start()
    try:
        yield limit
    finally:
        timer.cancel()
        _local.deadline = None


class _Bounded(HTTPConnection):
    """Tells the deadline of its thread which connection it is about."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        limit: Deadline | None = getattr(_local, "deadline", None)
        if limit is not None:
            limit.connection = self
        return super().getresponse()


class _BoundedHTTPConnection(_Bounded):
    pass


class _BoundedHTTPSConnection(_Bounded, HTTPSConnection):
    pass


class _BoundedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _BoundedHTTPConnection


class _BoundedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedHTTPSConnection


_POOLS = {"http": _BoundedHTTPPool, "https": _BoundedHTTPSPool}


class BoundedAdapter(HTTPAdapter):
    """An adapter of requests whose connections obey the `deadline` of their thread."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of connections, as requests asks for them."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        """Make the pools of connections that lead through *proxy*."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager
