"""
The server: a real HTTP/1.1 listener on loopback in a thread of its own, with its own event loop.

In:     what `state.py` holds, a host and a port, HTTP requests.
Out:    each request answered by the control paths or the API, changed by faults, delivered, and recorded.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self

from aiohttp import web

from klaviyo_sandbox.clock import Clock
from klaviyo_sandbox.control import CONTROL_PREFIX, answer_control
from klaviyo_sandbox.faults import Fault
from klaviyo_sandbox.limits import RateLimits
from klaviyo_sandbox.routes import Api
from klaviyo_sandbox.state import SandboxState
from klaviyo_sandbox.wire import deliver, read_request, record_of
from klaviyo_sandbox.world import World

_BACKLOG = 1024
_LAST_PORT = 65535
_STOP_SECONDS = 0.01  # aiohttp takes 0 as "for ever"
_REFUSED_BEFORE_FAULTS = (401, 429)

_log = logging.getLogger("klaviyo_sandbox")


class Sandbox(SandboxState):
    """
    A running sandbox, to be used as a context manager; what it holds is documented at `SandboxState`.

    Attributes:
        base_url: `http://127.0.0.1:PORT`, known once it runs.
    """

    def __init__(
        self,
        world: str | World = "empty",
        *,
        seed: int = 1,
        clock: Clock | datetime | None = None,
        limits: bool | RateLimits = False,
        latency_seconds: float = 0.0,
        faults: Iterable[Fault] = (),
        serve_retired: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """
        Args:
            world: A named world, see `WORLDS`, or one made by the caller.
            seed: For named worlds and faults.
            clock: A clock, a time at which it stands still, or none to follow real time.
            limits: Enforce the real rate limits, or others; False announces the real ones, refusing nothing.
            latency_seconds: Waited before every answer.
            faults: At work from the start.
            serve_retired: Serve retired revisions in the shape of their time instead of falling forward.
            host: A loopback address; any other is refused.
            port: 0 for any free one.
        Raises:
            ValueError: *host* is not loopback, or there is no such port or named world.
        """
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"the sandbox listens on loopback addresses only, not on {host!r}")
        if not 0 <= port <= _LAST_PORT:
            raise ValueError(f"there is no port {port}")
        super().__init__(world, seed=seed, clock=clock, limits=limits, latency_seconds=latency_seconds, faults=faults)
        self._host, self._port = host, port
        self._api = Api(self.accounts, serve_retired=serve_retired)
        self._end: Callable[[], object] | None = None

    @property
    def base_url(self) -> str:
        """Scheme, host and port; the port is 0 until the server runs."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        """
        Begin to listen; returns when requests are answered. After a stop, on the same port again.

        Raises:
            OSError: The port cannot be had.
        """
        ready: Future[Callable[[], object]] = Future()
        thread = threading.Thread(target=self._run, args=(ready,), name="klaviyo-sandbox", daemon=True)
        thread.start()
        request_end = ready.result()

        def end() -> None:
            request_end()
            thread.join()

        self._end = end

    def stop(self) -> None:
        """Close every connection and end the thread; answers on their way are cut."""
        if self._end is not None:
            self._end()
            self._end = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, ready: Future[Callable[[], object]]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def _serve(self, ready: Future[Callable[[], object]]) -> None:
        end = asyncio.Event()
        # With cancellation, a client that leaves early is on record at once, not when its answer would be ready.
        server = web.Server(self._handle, access_log=None, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=_BACKLOG).start()
            self._port = runner.addresses[0][1]
            ready.set_result(partial(asyncio.get_running_loop().call_soon_threadsafe, end.set))
            await end.wait()
        finally:
            await runner.cleanup()

    async def _handle(self, http_request: web.BaseRequest) -> web.StreamResponse:
        if http_request.path.startswith(CONTROL_PREFIX):
            control = answer_control(self, http_request.method, http_request.path, await http_request.read())
            return await deliver(http_request, control)
        started_at = time.monotonic()
        request = read_request(http_request)
        account = self._api.account_of(request)
        response = self._api.answer(request, account, self.clock.now())
        if account is not None and response.status not in _REFUSED_BEFORE_FAULTS:
            for fault in tuple(self.faults):
                fault.apply(response, request, account.label)
        status = 0
        try:
            await asyncio.sleep(self.latency_seconds + response.delay_seconds)
            delivered = await deliver(http_request, response)
            status = 0 if response.is_reset else response.status
            return delivered
        finally:
            label = account.label if account else None
            self.record(record_of(request, label, response, status=status, started_at=started_at))
            _log.info("%s %s: %d", request.method, request.path_and_query, status)
