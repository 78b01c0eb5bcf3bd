"""
Read single values of a JSON object: texts, counts, times, numbers, each checked, each fault with its path.

In:     the members of an object, none of them decoded yet.
Out:    Python values; what is not of the form its place asks for raises an error that carries the path.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Any, Final

import msgspec
import pendulum
from pendulum.parsing.exceptions import ParserError

Members = dict[str, msgspec.Raw]

# A hundred times what Klaviyo documents for a page, a job's resources, or a detail's included ones.
MOST_ELEMENTS: Final = 10_000
_INT64: Final = range(-(2**63), 2**63)
# What decoding bad JSON raises: bad syntax or types, bytes that are no text, nesting without end.
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# The digits that a decimal(38, 9) holds before the point.
_NUMBER_BOUND: Final = Decimal(10) ** 29
_NUMBER_STEP: Final = Decimal("0.000000001")
_NUMBER_CONTEXT: Final = Context(prec=38)


class _UnreadableError(Exception):
    """A value that is not of the form its place asks for; carries the path below the record."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


_decode_members: Final = msgspec.json.Decoder(Members).decode
_decode_list: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_any: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def _members(raw: msgspec.Raw, path: str) -> Members:
    """Read a JSON object as its members, none of them decoded yet."""
    try:
        return _decode_members(raw)
    except _UNDECODABLE as error:
        raise _UnreadableError(path, f"expected an object, found {_shown(raw)}") from error


def _optional_members(raw: msgspec.Raw | None, path: str) -> Members:
    return {} if raw is None or bytes(raw) == b"null" else _members(raw, path)


def _elements(raw: msgspec.Raw | None, path: str) -> list[msgspec.Raw]:
    if raw is None or bytes(raw) == b"null":
        return []
    try:
        elements = _decode_list(raw)
    except _UNDECODABLE as error:
        raise _UnreadableError(path, f"expected an array, found {_shown(raw)}") from error
    if len(elements) > MOST_ELEMENTS:
        raise _UnreadableError(path, f"expected an array of at most {MOST_ELEMENTS:,}, found {len(elements):,}")
    return elements


def _required(members: Mapping[str, msgspec.Raw], name: str, path: str) -> msgspec.Raw:
    if name not in members:
        raise _UnreadableError(f"{path}.{name}", "expected an object, found nothing")
    return members[name]


def _value(members: Mapping[str, msgspec.Raw], name: str, path: str) -> Any:
    """Return the decoded member *name*, unwrapped, or None."""
    raw = members.get(name)
    if raw is None:
        return None
    try:
        value = _decode_any(raw)
    except _UNDECODABLE as error:
        raise _UnreadableError(f"{path}.{name}", str(error)) from error
    return _unwrapped(value)


def _unwrapped(value: Any) -> Any:
    """Return the inner value of `{"value": ...}`, a form of examples published for revision 2022-10-17."""
    return value["value"] if isinstance(value, dict) and value.keys() == {"value"} else value


def _text(members: Mapping[str, msgspec.Raw], name: str, path: str) -> str | None:
    return _text_of(_value(members, name, path), f"{path}.{name}")


def _text_of(value: Any, path: str) -> str | None:
    value = _unwrapped(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise _UnreadableError(path, f"expected a string, found {_shown(_encode(value))}")


def _count(members: Mapping[str, msgspec.Raw], name: str, path: str) -> int | None:
    value = _value(members, name, path)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value not in _INT64:
        raise _UnreadableError(f"{path}.{name}", f"expected an integer, found {_shown(_encode(value))}")
    return value


def _time(members: Mapping[str, msgspec.Raw], name: str, path: str) -> dt.datetime | None:
    """Read a time as UTC; one without a zone, as old revisions may have sent, is UTC already."""
    value = _value(members, name, path)
    if value is None:
        return None
    try:
        if not isinstance(value, str):
            raise TypeError
        try:
            time: dt.datetime = msgspec.convert(value, dt.datetime)
        except msgspec.ValidationError:
            time = _parse_time(value)
        return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
    except (ParserError, ValueError, TypeError, OverflowError) as error:
        raise _UnreadableError(f"{path}.{name}", f"expected a date-time, found {_shown(_encode(value))}") from error


def _parse_time(value: str) -> dt.datetime:
    """Read the ISO 8601 forms beyond RFC 3339, such as `+0000`; a date alone or a duration is no date-time."""
    # pendulum would take the word "now" for a time.
    time = pendulum.parse(value, strict=True, exact=True) if value[:1].isdigit() else None
    if isinstance(time, pendulum.DateTime):
        return time
    raise TypeError(value)


def _number(members: Mapping[str, msgspec.Raw], name: str, path: str) -> Decimal | None:
    """Read a JSON number digit by digit, as money wants it, rounded to nine places."""
    raw = members.get(name)
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        number = msgspec.json.decode(raw, type=Decimal, strict=True)
        if number.is_finite() and number.copy_abs() < _NUMBER_BOUND:
            return _NUMBER_CONTEXT.quantize(number, _NUMBER_STEP)
    except (*_UNDECODABLE, ArithmeticError):
        pass
    raise _UnreadableError(f"{path}.{name}", f"expected a number, found {_shown(raw)}")


def _flag(members: Mapping[str, msgspec.Raw], name: str, path: str) -> bool | None:
    value = _value(members, name, path)
    if value is None or isinstance(value, bool):
        return value
    raise _UnreadableError(f"{path}.{name}", f"expected true or false, found {_shown(_encode(value))}")


def _raw_json(members: Mapping[str, msgspec.Raw], name: str, path: str) -> str | None:
    """Return the JSON of member *name* as it came, None for null; decoded once, so that what is kept is JSON."""
    raw = members.get(name)
    return None if raw is None or _value(members, name, path) is None else bytes(raw).decode()


def _json(members: Mapping[str, msgspec.Raw]) -> str | None:
    try:
        return _encode(members).decode() if members else None
    except UnicodeDecodeError as error:
        raise _UnreadableError("", f"expected text, found {error}") from error


def _shown(raw: msgspec.Raw | bytes) -> str:
    text = bytes(raw).decode(errors="replace").strip()
    return text if len(text) <= 60 else f"{text[:57]}..."
