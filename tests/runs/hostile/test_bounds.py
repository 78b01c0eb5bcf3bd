"""Answers without bounds, in a process whose memory is measured."""

from __future__ import annotations

import gzip
import json
import os
import socket
import zlib
from collections.abc import Callable
from typing import Any, Final

import pytest

from support.builders import job_object
from support.hostile import CHUNKED, ITEMS, MIB, Deed, Read, Server, answer, body_of_page, page, record, set_network
from support.loads import Warehouse
from support.processes import started

# Answers without bounds, in a process whose memory is measured.

CHILD: Final = """
import json, sys, time
from pathlib import Path

from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import Settings


def peak():
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


base_url, kinds, warehouse = sys.argv[1:]
before, started = peak(), time.monotonic()
summary = run(Settings(base_url=base_url, api_key="pk_hostile_4711", kinds=kinds.split(",")), Path(warehouse))
print(json.dumps({
    "memory": peak() - before,
    "seconds": time.monotonic() - started,
    "errors": [outcome.error.headline if outcome.error else None for outcome in summary.outcomes],
    "rejected": summary.rejected_count,
}))
"""


def run_apart(server: Server, warehouse: Warehouse, *kinds: str) -> dict[str, Any]:
    """Run once in a process of its own and return how much memory it took more than at its start, and how it ended."""
    environment = {**os.environ, "SOURCES__KLAVIYO_JOBS__MAX_ATTEMPTS": "2"}
    arguments = (server.base_url, ",".join(kinds), str(warehouse.path))
    with started(warehouse.path.parent, *arguments, program=CHILD, environment=environment) as process:
        assert process.wait(60) == 0, process.stderr[-3000:]
        output = process.stdout
    result: dict[str, Any] = json.loads(output)
    return result


def spaces_of(mib: int) -> bytes:
    """Return one gzip member that unpacks to *mib* MiB of spaces: the same packed block over and over."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + block * mib


def sent_in_parts(head: bytes, part: bytes, count: int) -> Callable[[socket.socket], None]:
    """Return a deed that sends *head*, then *part* *count* times."""

    def deed(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(count):
            connection.sendall(part)

    return deed


BOMB: Final = spaces_of(10 * 1024)
CHUNK_OF_A_MIB: Final = b"100000\r\n" + b" " * MIB + b"\r\n"


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(sent_in_parts(answer(length=100 * MIB), b" " * MIB, 100), id="100 MB", marks=pytest.mark.slow),
        pytest.param(sent_in_parts(CHUNKED, CHUNK_OF_A_MIB, 10_000), id="10 GB in chunks"),
        pytest.param(answer(BOMB, "Content-Encoding: gzip"), id="10 GB packed", marks=pytest.mark.slow),
        pytest.param(answer(gzip.compress(BOMB), "Content-Encoding: gzip, gzip"), id="10 GB packed twice"),
    ],
)
def test_a_body_without_bounds_takes_bounded_memory(
    server: Server, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, deed: Deed
) -> None:
    """Reading stops at 64 MiB, packed or not: no more than a few times that is ever held, and the page before stays."""
    set_network(monkeypatch, max_attempts=1)
    server.serve_second(deed)

    ended = run_apart(server, warehouse, "item-create")

    assert "larger than 64 MiB" in ended["errors"][0]
    assert ended["memory"] < 256 * MIB
    assert ended["seconds"] < 15
    assert warehouse.rows("select job_id from klaviyo_raw.jobs") == [("GOOD",)]
    assert warehouse.value("select is_complete from klaviyo_raw.listings") is False


MANY: Final = b"[" + b"0," * 300_000 + b"0]"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"data": ' + MANY + b"}", id="data"),
        pytest.param(body_of_page(record("J1", errors=MANY)), id="errors"),
        pytest.param(
            body_of_page(record("J1").replace(b"}}", b'}, "relationships": {"items": {"data": ' + MANY + b"}}}")),
            id="linkages",
        ),
        pytest.param(body_of_page(record("J1", odd=b"NaN", more=MANY)), id="mended"),
    ],
)
def test_a_body_of_many_small_values_takes_bounded_memory(server: Server, warehouse: Warehouse, body: bytes) -> None:
    """Half a megabyte of tiny values, a hundredth of what a body may have, takes 150 MiB and ten seconds at most."""
    server.deeds[ITEMS] = answer(body)

    ended = run_apart(server, warehouse, "item-create")

    assert ended["memory"] < 150 * MIB
    assert ended["seconds"] < 10


def test_a_large_record_that_cannot_be_read_is_kept_cut(server: Server, read: Read) -> None:
    """What is kept of a bad record has a bound, so that no record fills the warehouse."""
    server.deeds[ITEMS] = page(record("ODD", total_count=b'"' + b"x" * (8 * MIB) + b'"'), job_object("GOOD"))

    ended = read()

    assert ended.jobs() == ["GOOD"]
    assert ended.warehouse.value("select max(length(raw)) from klaviyo_raw.rejected_records") <= MIB
