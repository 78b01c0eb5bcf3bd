"""
Read the body of an answer within bounds, and decode it however odd its text is.

In:     an open answer.
Out:    its bytes; what a decoder makes of them; the first thing that an error body says.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
import requests

T = TypeVar("T")

# A decoder makes an object of some 70 bytes of each value; the largest answer of the API has a million.
BODY_VALUES: Final = 2_000_000

# What `_repaired` looks at: texts, brackets, and the words that are no JSON numbers.
_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]|-?(?:NaN|Infinity)', re.DOTALL)
# One half of a surrogate pair without the other; a pair, or an escaped backslash before a `u`, is passed over.
_HALF_PAIR: Final = re.compile(
    r"(?P<whole>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\[^u])|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
# Deeper than any answer, and well within what the decoder takes.
_DEPTH: Final = 100

_CHUNK_BYTES: Final = 256 * 1024


class BodyError(Exception):
    """An answer whose body is too large to be used."""


class _ErrorSource(msgspec.Struct):
    pointer: Any = None
    parameter: Any = None


class _ApiErrorObject(msgspec.Struct):
    code: Any = None
    title: Any = None
    detail: Any = None
    source: _ErrorSource | None = None


class _ErrorBody(msgspec.Struct):
    errors: list[_ApiErrorObject]


# Made here and not where it is used: msgspec finds out about a type when it first meets it, and two threads that do so
# at one time end the process with a segmentation fault.
_decode_any: Final = msgspec.json.Decoder(msgspec.Raw).decode
_decode_error_body: Final = msgspec.json.Decoder(_ErrorBody).decode


def read_body(response: requests.Response, most_bytes: int) -> bytes:
    """Read the whole body as it comes; BodyError if it unpacks to more than *most_bytes* or holds too many values."""
    chunks: list[bytes] = []
    size = 0
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
        chunks.append(chunk)
        size += len(chunk)
        if size > most_bytes:
            raise BodyError(f"larger than {most_bytes / 2**20:g} MiB")
    body = b"".join(chunks)
    # To count takes as long as to decode half of it: a body of fewer bytes holds fewer values.
    if size > BODY_VALUES and body.count(b",") > BODY_VALUES:
        raise BodyError(f"made of more than {BODY_VALUES:,} values")
    return body


def decode_leniently(body: bytes, decode: Callable[[bytes], T]) -> T:
    """
    Decode *body*; a text that only a lenient reader takes for JSON is repaired first.

    A byte-order mark is left out, half a surrogate pair and bytes that are no UTF-8 become a replacement character, NaN
    and Infinity become strings, and so does what is nested without end; so that one odd value costs at most the record
    it is in.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        if not body.isascii():  # which is seen at once, where to decode makes a text of it
            body.decode()
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        repaired = _repaired(body.decode(errors="replace")).encode()
        try:
            return decode(repaired)
        except (msgspec.DecodeError, RecursionError):
            raise error from None


def is_json(body: bytes) -> bool:
    """Tell whether *body* is JSON from its first byte to its last, whatever it says."""
    try:
        _decode_any(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _repaired(text: str) -> str:
    """Replace what a strict reader of JSON stumbles over; everything else, numbers included, stays to the letter."""
    parts: list[str] = []
    done = depth = 0
    for token in _TOKEN.finditer(text):
        first = token[0][0]
        if first in "[{":
            depth += 1
            if depth == _DEPTH + 1:
                parts.append(text[done : token.start()])
                done = token.start()
        elif first in "]}":
            if depth == _DEPTH + 1:
                parts.append('"nested too deep"')
                done = token.end()
            depth -= 1
        elif depth <= _DEPTH and (first != '"' or "\\u" in token[0]):
            parts += [text[done : token.start()], _repaired_token(token[0])]
            done = token.end()
    return "".join([*parts, text[done:]])


def _repaired_token(token: str) -> str:
    """Return NaN and the like as a string, and a string without halves of surrogate pairs."""
    if token[0] != '"':
        return f'"{token}"'
    return _HALF_PAIR.sub(lambda half: half["whole"] or r"\ufffd", token)


def first_detail(body: bytes) -> str:
    """Return what the first error of an error body says, ready to follow a status, or nothing."""
    try:
        errors = _decode_error_body(body).errors
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    for error in errors:
        if text := error.detail or error.title or error.code:
            return f": {printable(str(text))[:300]}"
    return ""


def printable(text: str) -> str:
    """Return *text* without the characters that would move a terminal's cursor or end a line."""
    return "".join(char if char.isprintable() else " " for char in text)
