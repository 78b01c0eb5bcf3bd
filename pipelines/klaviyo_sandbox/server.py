"""
The server: a real HTTP/1.1 listener on loopback in a thread of its own, with its own event loop.

In:     accounts and their worlds, a clock, limits, latency, faults; all of them may change while it runs.
Out:    answers on the wire, and a record of each request.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

from aiohttp import web

from klaviyo_sandbox.clock import Clock
from klaviyo_sandbox.control import CONTROL_PREFIX, answer_control
from klaviyo_sandbox.exchange import Call, Reply, RequestRecord
from klaviyo_sandbox.faults import Fault
from klaviyo_sandbox.jobs import Job
from klaviyo_sandbox.limits import Meter, RateLimits
from klaviyo_sandbox.revisions import REVISIONS
from klaviyo_sandbox.routes import Account, Api
from klaviyo_sandbox.world import World
from klaviyo_sandbox.worlds import build_world

_BACKLOG = 1024
_LAST_PORT = 65535
_STOP_SECONDS = 0.01  # aiohttp takes 0 as "for ever"
_DRIP_PIECES = 20
_PADDING = b" " * 65536
_REFUSED_BEFORE_FAULTS = (401, 429)

_log = logging.getLogger("klaviyo_sandbox")


class Sandbox:
    """
    A running sandbox, to be used as a context manager.

    Attributes:
        base_url: `http://127.0.0.1:PORT`, known once it runs.
        seed: Chose the worlds' content and which requests a `one_in` fault strikes.
        clock: Set or advance it at will.
        accounts: By label; `default` is always there.
        faults: Append to it, clear it; each fault counts what it has struck.
        latency_seconds: Waited before every answer.
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
        self.seed = seed
        self.clock = clock if isinstance(clock, Clock) else Clock(clock)
        self.accounts: dict[str, Account] = {}
        self.faults = list(faults)
        self.latency_seconds = latency_seconds
        self._limits = limits if isinstance(limits, RateLimits) else RateLimits(is_enforced=limits)
        self._host, self._port = host, port
        self._api = Api(self.accounts, serve_retired=serve_retired)
        self._records: list[RequestRecord] = []
        self._end: Callable[[], object] | None = None
        self.add_account("default", world)

    @property
    def base_url(self) -> str:
        """Scheme, host and port; the port is 0 until the server runs."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def world(self) -> World:
        """The world of the default account."""
        return self.accounts["default"].world

    @property
    def key(self) -> str:
        """The key of the default account."""
        return self.accounts["default"].key

    @property
    def requests(self) -> list[RequestRecord]:
        """Every API request answered so far, in the order the answers ended."""
        return list(self._records)

    @property
    def throttled_count(self) -> int:
        """How many requests were over a rate limit; 429s made by a fault are not among them."""
        return sum(account.meter.refused_count for account in self.accounts.values())

    def add_account(self, label: str, world: str | World = "empty", *, has_scope: bool = True) -> Account:
        """
        Add an account with jobs and rate limits of its own; its key is `pk_sandbox_<label>`.

        Args:
            label: What to call it.
            world: As for the sandbox itself.
            has_scope: False makes its key lack `catalogs:read`: every request is a 403.
        """
        if isinstance(world, str):
            world = build_world(world, seed=self.seed, now=self.clock.now())
        self.accounts[label] = Account(label, f"pk_sandbox_{label}", world, Meter(self._limits), has_scope)
        return self.accounts[label]

    def expected(self, kind: str, *, account: str = "default") -> list[Job]:
        """The jobs of *kind* that the API holds right now, newest first, for comparing field by field."""
        return self.accounts[account].world.jobs(kind, self.clock.now())

    def headers(self, account: str = "default", *, revision: str = REVISIONS[-1].isoformat()) -> dict[str, str]:
        """The two headers that every API request needs."""
        return {"Authorization": f"Klaviyo-API-Key {self.accounts[account].key}", "revision": revision}

    def reset_requests(self) -> None:
        """Forget every request so far."""
        self._records.clear()

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

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith(CONTROL_PREFIX):
            control = answer_control(self, request.method, request.path, await request.read())
            return await _deliver(request, control)
        started_at = time.monotonic()
        call = Call(
            method=request.method,
            path=request.path,
            raw_query=request.rel_url.raw_query_string,
            headers=request.headers,
            base_url=f"http://{request.host}",
        )
        account = self._api.account_of(call)
        reply = self._api.answer(call, account, self.clock.now())
        if account is not None and reply.status not in _REFUSED_BEFORE_FAULTS:
            for fault in tuple(self.faults):
                fault.strike(reply, call, account.label)
        status = 0
        try:
            await asyncio.sleep(self.latency_seconds + reply.delay_seconds)
            response = await _deliver(request, reply)
            status = 0 if reply.is_reset else reply.status
            return response
        finally:
            self._records.append(_record(call, account, reply, status, started_at))
            _log.info("%s %s: %d", call.method, call.path_and_query, status)


def _record(call: Call, account: Account | None, reply: Reply, status: int, started_at: float) -> RequestRecord:
    given = call.headers.get("Authorization")
    return RequestRecord(
        method=call.method,
        path=call.path,
        raw_query=call.raw_query,
        query=dict(parse_qsl(call.raw_query, keep_blank_values=True)),
        kind=call.kind.name if call.kind else None,
        endpoint=call.endpoint,
        job_id=call.job_id,
        revision=call.headers.get("revision"),
        account=account.label if account else None,
        authorization="missing" if given is None else "wrong" if account is None else "right",
        status=status,
        started_at=started_at,
        seconds=time.monotonic() - started_at,
        headers={name.lower(): value for name, value in call.headers.items() if name.lower() != "authorization"},
        faults=tuple(reply.faults),
    )


async def _deliver(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    if reply.is_reset:
        _reset(request)
        return web.Response()
    if not (reply.is_cut or reply.drip_seconds or reply.padding_bytes):
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = len(reply.body) + reply.padding_bytes
    await response.prepare(request)
    if reply.is_cut:
        await response.write(reply.body[: len(reply.body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response
    for piece in _pieces(reply):
        await response.write(piece)
        await asyncio.sleep(reply.drip_seconds / _DRIP_PIECES)
    return response


def _pieces(reply: Reply) -> Iterator[bytes]:
    size = max(1, -(-len(reply.body) // _DRIP_PIECES)) if reply.drip_seconds else max(1, len(reply.body))
    for start in range(0, len(reply.body), size):
        yield reply.body[start : start + size]
    for start in range(0, reply.padding_bytes, len(_PADDING)):
        yield _PADDING[: reply.padding_bytes - start]


def _reset(request: web.BaseRequest) -> None:
    """Make the kernel send RST: an abort alone ends the connection in the orderly way."""
    transport = request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
