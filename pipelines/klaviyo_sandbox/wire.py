"""
The wire: what aiohttp has parsed read as a request, and a response sent over its socket, whole, dripped, cut or reset.

In:     an HTTP request, and the response to send.
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

from klaviyo_sandbox.exchange import Request, RequestRecord, Response

_DRIP_PIECES = 20
_PADDING = b" " * 65536


def read_request(http_request: web.BaseRequest) -> Request:
    """What the API looks at in an HTTP request; never its body."""
    return Request(
        method=http_request.method,
        path=http_request.path,
        raw_query=http_request.rel_url.raw_query_string,
        headers=http_request.headers,
        base_url=f"http://{http_request.host}",
    )


async def deliver(http_request: web.BaseRequest, response: Response) -> web.StreamResponse:
    """Send *response* as it says: whole, in pieces over some time, cut in half, or as a reset connection."""
    if response.is_reset:
        _reset(http_request)
        return web.Response()
    if not (response.is_cut or response.drip_seconds or response.padding_bytes):
        return web.Response(status=response.status, body=response.body, headers=response.headers)
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    stream.content_length = len(response.body) + response.padding_bytes
    await stream.prepare(http_request)
    if response.is_cut:
        await stream.write(response.body[: len(response.body) // 2])
        if http_request.transport is not None:
            http_request.transport.close()
        return stream
    for piece in _pieces(response):
        await stream.write(piece)
        await asyncio.sleep(response.drip_seconds / _DRIP_PIECES)
    return stream


def _pieces(response: Response) -> Iterator[bytes]:
    size = max(1, -(-len(response.body) // _DRIP_PIECES)) if response.drip_seconds else max(1, len(response.body))
    for start in range(0, len(response.body), size):
        yield response.body[start : start + size]
    for start in range(0, response.padding_bytes, len(_PADDING)):
        yield _PADDING[: response.padding_bytes - start]


def _reset(http_request: web.BaseRequest) -> None:
    """Make the kernel send RST: an abort alone ends the connection in the orderly way."""
    transport = http_request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def record_of(
    request: Request, account: str | None, response: Response, *, status: int, started_at: float
) -> RequestRecord:
    """
    What to remember of a request that has just ended.

    Args:
        request: The request.
        account: The label of the account whose key it carried; none if the key was missing or wrong.
        response: What it was answered, with the faults that changed it.
        status: What reached the client; 0 if nothing did.
        started_at: `time.monotonic()` on arrival.
    """
    given = request.headers.get("Authorization")
    return RequestRecord(
        method=request.method,
        path=request.path,
        raw_query=request.raw_query,
        query=dict(parse_qsl(request.raw_query, keep_blank_values=True)),
        kind=request.kind.name if request.kind else None,
        endpoint=request.endpoint,
        job_id=request.job_id,
        revision=request.headers.get("revision"),
        account=account,
        authorization="missing" if given is None else "wrong" if account is None else "right",
        status=status,
        started_at=started_at,
        seconds=time.monotonic() - started_at,
        headers={name.lower(): value for name, value in request.headers.items() if name.lower() != "authorization"},
        faults=tuple(response.faults),
    )
