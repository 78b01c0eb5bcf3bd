"""Bodies: their bounds, and texts that only a lenient reader takes for JSON."""

from __future__ import annotations

import ast
import codecs
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import klaviyo_jobs
from klaviyo_jobs.api.client import Meter
from klaviyo_jobs.errors import SettingError, UnavailableError
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.settings import NetworkSettings
from klaviyo_sandbox import Fault, Sandbox
from support.clients import PATH, client_at, client_of, fetch
from support.hostile import answer
from support.raw_server import raw_server, says
from support.waiting import ends_within


@pytest.mark.parametrize("fault", ["huge-body", "gzip-bomb"])
def test_a_body_without_bounds_is_not_read_to_its_end(sandbox: Sandbox, fault: str) -> None:
    """More than the allowed bytes, plain or unpacked, is a failed attempt."""
    sandbox.faults.append(Fault(fault, "4", times=1))

    answer = fetch(client_of(sandbox, max_body_bytes=2**20))

    assert answer.body["data"] == []
    assert len(sandbox.requests) == 2


def test_a_body_that_stays_too_large_is_asked_for_once_more(sandbox: Sandbox) -> None:
    """The next answer is likely to be as large."""
    sandbox.faults.append(Fault("huge-body", "4"))
    meter = Meter()

    with pytest.raises(UnavailableError, match=r"larger than 1 MiB; gave up after 2 attempts\.") as caught:
        fetch(client_of(sandbox, max_body_bytes=2**20), meter=meter)

    assert meter.request_count == 2
    assert caught.value.next_step is not None
    assert caught.value.next_step.endswith("if it is Klaviyo that answers, raise `max_body_bytes`.")


def test_a_byte_order_mark_is_left_out(sandbox: Sandbox) -> None:
    """Some proxies and editors put one before a text; it means nothing."""
    sandbox.world.replay_list("item-create", codecs.BOM_UTF8 + b'{"data": []}')

    answer = fetch(client_of(sandbox))

    assert answer.body["data"] == []
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("setting", [{"max_body_bytes": 0}, {"backoff_seconds": -0.1}])
def test_a_bound_that_nothing_can_keep_is_refused(setting: dict[str, Any]) -> None:
    """An answer of no byte and a wait of less than no time are settings that cannot work."""
    with pytest.raises(SettingError, match=rf"^{next(iter(setting))} is "):
        NetworkSettings(**setting).on_resolved()


def test_a_body_that_drips_is_left_when_its_time_is_up(sandbox: Sandbox) -> None:
    """The bound on the time of a whole answer holds while its bytes still come in."""
    sandbox.faults.append(Fault("drip", "3", times=1))

    with ends_within(2):
        fetch(client_of(sandbox, body_timeout_seconds=0.3))


def fetch_bytes(served: bytes) -> bytes:
    """Serve *served* and return what the decoder of the caller gets to see."""
    decode = msgspec.json.Decoder(msgspec.Raw).decode
    with raw_server(says(answer(served))) as base_url, client_at(base_url) as client:
        return bytes(client.fetch("x", PATH, decode, kind=KINDS["item-create"], meter=Meter()).body)


def test_a_plain_body_is_decoded_as_it_came() -> None:
    """Byte for byte, spaces and digits included."""
    served = b'{"data": [ {"price": 12345678901234567890.10} ]}'

    assert fetch_bytes(served) == served


@pytest.mark.parametrize(
    ("odd", "repaired"),
    [
        (b'"half \\ud83d pair"', "half \ufffd pair"),
        (b'"no \xff text"', "no \N{REPLACEMENT CHARACTER} text"),
        (b"NaN", "NaN"),
        (b"-Infinity", "-Infinity"),
    ],
)
def test_an_odd_text_is_repaired_and_the_rest_stays(odd: bytes, repaired: str) -> None:
    """Half a surrogate pair and bytes that are no UTF-8 are replaced, NaN and Infinity become strings."""
    body = msgspec.json.decode(fetch_bytes(b'{"odd": ' + odd + b', "plain": ["\xc3\xbc", 1, null]}'))

    assert body == {"odd": repaired, "plain": ["ü", 1, None]}


def test_repairing_a_text_keeps_the_digits_of_the_numbers_beside_it() -> None:
    """A price in the same answer as an odd text is as exact as in any other."""
    served = b'{"title": "half \\ud83d pair", "price": 9007199254740993.01}'

    # Once a bug: the whole answer passes through Python's floats on the way.
    assert b"9007199254740993.01" in fetch_bytes(served)


def test_errors_that_come_at_one_moment_are_read() -> None:
    """Nine listings that fail at once do not end the process: msgspec crashed where threads met a type together."""
    program = """
import sys, threading
sys.setswitchinterval(1e-6)
from klaviyo_jobs.api.body import first_detail

barrier = threading.Barrier(9)

def read() -> None:
    barrier.wait()
    sys.stdout.write(first_detail(b'{"errors": [{"detail": "d", "source": {"pointer": "p"}}]}'))

threads = [threading.Thread(target=read) for _ in range(9)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (0, ": d" * 9)


def test_no_type_is_met_for_the_first_time_by_a_thread() -> None:
    """Decoders are made when a module is imported; nothing is decoded by a type that is named in the call."""
    calls = [
        f"{path.name}:{node.lineno}"
        for path in Path(klaviyo_jobs.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "msgspec.json.decode" and node.keywords
    ]

    assert calls == []
