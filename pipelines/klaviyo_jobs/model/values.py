"""
Read a JSON object member by member: texts, counts, times, numbers, each checked, each fault with its path.

In:     the JSON of an object, and the path that leads to it.
Out:    Python values; what is not of the form its place asks for raises `UnreadableError`, which carries the path.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Container
from decimal import Context, Decimal
from typing import Any, Final

import msgspec
import pendulum
from pendulum.parsing.exceptions import ParserError

Members = dict[str, msgspec.Raw]

# A hundred times what Klaviyo documents for a page, a job's resources, or a detail's included ones.
MOST_ELEMENTS: Final = 10_000
# What decoding bad JSON raises: bad syntax or types, bytes that are no text, nesting without end.
UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
INT64: Final = range(-(2**63), 2**63)
# What a decimal(38, 9) holds; a number with more digits before the point cannot be rounded in this context.
_NUMBER_STEP: Final = Decimal("0.000000001")
_NUMBER_CONTEXT: Final = Context(prec=38)


class UnreadableError(Exception):
    """A value that is not of the form its place asks for; carries the path from the top of the answer."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_decode_members: Final = msgspec.json.Decoder(Members).decode
_decode_list: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
decode_any: Final = msgspec.json.Decoder().decode
_decode_decimal: Final = msgspec.json.Decoder(Decimal).decode


class JsonObject:
    """
    A JSON object that knows its path: members by name, none of them decoded before it is read.

    A member that is absent, null, or wrapped as `{"value": null}` reads as None. Every method raises `UnreadableError`
    with the path of the member for what is not of the form asked for.

    Attributes:
        path: What leads to the object, from the top of the answer, e.g. `$.data[3].attributes`.
        members: Name and undecoded value of each member.
    """

    __slots__ = ("members", "path")

    def __init__(self, raw: msgspec.Raw | None, path: str) -> None:
        """Read the names of *raw*; None makes an object without members."""
        self.path = path
        try:
            self.members: Members = {} if raw is None else _decode_members(raw)
        except UNDECODABLE as error:
            raise UnreadableError(path, f"expected an object, found {_excerpt(raw or b'')}") from error

    def object(self, name: str) -> JsonObject:
        """Return the member, which has to be there, as an object."""
        if name not in self.members:
            raise UnreadableError(f"{self.path}.{name}", "expected an object, found nothing")
        return JsonObject(self.members[name], f"{self.path}.{name}")

    def optional_object(self, name: str) -> JsonObject:
        """Return the member as an object; one that is absent or null has no members."""
        return JsonObject(self.present(name), f"{self.path}.{name}")

    def elements(self, name: str) -> list[msgspec.Raw]:
        """Return the undecoded elements of an array; one that is absent or null has none."""
        raw = self.present(name)
        if raw is None:
            return []
        try:
            elements = _decode_list(raw)
        except UNDECODABLE as error:
            raise UnreadableError(f"{self.path}.{name}", f"expected an array, found {_excerpt(raw)}") from error
        if len(elements) > MOST_ELEMENTS:
            reason = f"expected an array of at most {MOST_ELEMENTS:,}, found {len(elements):,}"
            raise UnreadableError(f"{self.path}.{name}", reason)
        return elements

    def present(self, name: str) -> msgspec.Raw | None:
        """Return the undecoded member, None for one that is absent or null."""
        raw = self.members.get(name)
        return None if raw is None or bytes(raw) == b"null" else raw

    def value(self, name: str) -> Any:
        """Return the decoded member."""
        raw = self.members.get(name)
        if raw is None:
            return None
        try:
            value = decode_any(raw)
        except UNDECODABLE as error:
            raise UnreadableError(f"{self.path}.{name}", str(error)) from error
        return _unwrapped(value)

    def text(self, name: str) -> str | None:
        """Return a string; a number reads as its digits."""
        value = self.value(name)
        return value if isinstance(value, str) else text_of(value, f"{self.path}.{name}")

    def count(self, name: str) -> int | None:
        """Return an integer of 64 bits; a number with nothing after its point is one."""
        value = self.value(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value not in INT64:
            raise UnreadableError(f"{self.path}.{name}", f"expected an integer, found {_excerpt(encode(value))}")
        return value

    def time(self, name: str) -> dt.datetime | None:
        """Return a time as UTC; one without a zone, as old revisions may have sent, is UTC already."""
        value = self.value(name)
        if value is None:
            return None
        try:
            if not isinstance(value, str):
                raise TypeError
            try:
                time: dt.datetime = msgspec.convert(value, dt.datetime)
            except msgspec.ValidationError:
                time = _parse_time(value)
            return utc_of(time)
        except (ParserError, ValueError, TypeError, OverflowError) as error:
            reason = f"expected a date-time, found {_excerpt(encode(value))}"
            raise UnreadableError(f"{self.path}.{name}", reason) from error

    def number(self, name: str) -> Decimal | None:
        """Return a number read digit by digit, as money wants it, rounded to nine places."""
        raw = self.present(name)
        if raw is None:
            return None
        try:
            return rounded(_decode_decimal(raw))
        except (*UNDECODABLE, ArithmeticError):
            pass
        raise UnreadableError(f"{self.path}.{name}", f"expected a number, found {_excerpt(raw)}")

    def flag(self, name: str) -> bool | None:
        """Return true or false."""
        value = self.value(name)
        if value is None or isinstance(value, bool):
            return value
        raise UnreadableError(f"{self.path}.{name}", f"expected true or false, found {_excerpt(encode(value))}")

    def json(self, name: str) -> str | None:
        """Return the JSON of the member as it came; decoded once, so that what is kept is JSON."""
        return None if self.value(name) is None else bytes(self.members[name]).decode()

    def others(self, known: Container[str], prefix: str = "") -> Members:
        """Return the members that are not *known*, their names behind *prefix*."""
        return {f"{prefix}{name}": raw for name, raw in self.members.items() if name not in known}


def utc_of(time: dt.datetime) -> dt.datetime:
    """Return *time* in UTC; one without a zone, as old revisions may have sent, is UTC already."""
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def rounded(number: Decimal) -> Decimal:
    """Return *number* with nine places; ArithmeticError if it is none, or has more digits before them than are kept."""
    if not number.is_finite():
        raise ArithmeticError(number)
    return _NUMBER_CONTEXT.quantize(number, _NUMBER_STEP)


def text_of(value: Any, path: str) -> str | None:
    """Return a decoded *value* as a string; a number reads as its digits, and what is neither raises."""
    value = _unwrapped(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise UnreadableError(path, f"expected a string, found {_excerpt(encode(value))}")


def json_of(members: Members, path: str) -> str | None:
    """Return *members* as one JSON object, None for none; they are those of the record at *path*."""
    try:
        return encode(members).decode() if members else None
    except UnicodeDecodeError as error:
        raise UnreadableError(path, f"expected text, found {error}") from error


def without_member(raw: msgspec.Raw, name: str) -> msgspec.Raw:
    """Return *raw* without the members called *name*, however deep they are; null if that cannot be told."""
    try:
        value = decode_any(raw)
        return msgspec.Raw(encode(value)) if _drop(value, name) else raw
    except UNDECODABLE:
        return msgspec.Raw(b"null")


def _drop(value: Any, name: str) -> bool:
    """Take the members called *name* out of a decoded *value*; tell whether there was any."""
    is_there = isinstance(value, dict) and name in value
    if is_there:
        del value[name]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        is_there |= _drop(part, name)
    return is_there


def _unwrapped(value: Any) -> Any:
    """Return the inner value of `{"value": ...}`, a form of examples published for revision 2022-10-17."""
    return value["value"] if isinstance(value, dict) and value.keys() == {"value"} else value


def _parse_time(value: str) -> dt.datetime:
    """Read the ISO 8601 forms beyond RFC 3339, such as `+0000`; a date alone or a duration is no date-time."""
    # pendulum would take the word "now" for a time.
    time = pendulum.parse(value, strict=True, exact=True) if value[:1].isdigit() else None
    if isinstance(time, pendulum.DateTime):
        # Python's own: the difference of two of pendulum's cannot be divided by a duration of Python's.
        return dt.datetime.fromisoformat(time.isoformat())
    raise TypeError(value)


def _excerpt(raw: msgspec.Raw | bytes) -> str:
    """Return the first 60 characters of *raw*, for a message."""
    text = bytes(raw).decode(errors="replace").strip()
    return text if len(text) <= 60 else f"{text[:57]}..."
