"""
The wire: an HTTP request read as a call, and a reply sent over its socket, whole, dripped, cut or reset.

In:     what aiohttp has parsed, and the reply to send.
Out:    bytes on the socket, and the record of the request once it is answered.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Iterator
from urllib.parse import parse_qsl

from aiohttp import web

from klaviyo_sandbox.exchange import Call, Reply, RequestRecord

_DRIP_PIECES = 20
_PADDING = b" " * 65536


def read_call(request: web.BaseRequest) -> Call:
    """The call that an HTTP request makes; its body is never read."""
    return Call(
        method=request.method,
        path=request.path,
        raw_query=request.rel_url.raw_query_string,
        headers=request.headers,
        base_url=f"http://{request.host}",
    )


async def deliver(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Send *reply* as it says: whole, in pieces over some time, cut in half, or as a reset connection."""
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


def record_of(call: Call, account: str | None, reply: Reply, *, status: int, started_at: float) -> RequestRecord:
    """
    What to remember of a request that has just ended.

    Args:
        call: The request.
        account: The label of the account whose key it carried; none if the key was missing or wrong.
        reply: What it was answered, with the faults that changed it.
        status: What reached the client; 0 if nothing did.
        started_at: `time.monotonic()` on arrival.
    """
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
        account=account,
        authorization="missing" if given is None else "wrong" if account is None else "right",
        status=status,
        started_at=started_at,
        seconds=time.monotonic() - started_at,
        headers={name.lower(): value for name, value in call.headers.items() if name.lower() != "authorization"},
        faults=tuple(reply.faults),
    )
