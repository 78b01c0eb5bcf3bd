"""
Name the sort of an error: its text without what differs from one error of the sort to the next.

In:     what an error says, and which resource it names.
Out:    its fingerprint. Ids, numbers, addresses and quoted values are replaced by `?`; what went wrong stays: the
        field's name, the path of a pointer, the status of an answer. docs/fingerprints.md has examples.
Kept:   fingerprints stand in the warehouse. Whoever changes the rule counts `RULE` up, and the next run makes those
        of all stored errors anew.
Source: the names of fields and resources are those of the OpenAPI documents, revisions 2022-10-17 to 2026-07-15.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Final

RULE: Final = 2

# Longer texts are no messages; the patterns look back, and take time with the square of a text without digits.
_MOST_CHARACTERS: Final = 1000
# What stays although it is quoted. A name of several words joined by underscores is a field's as well.
_FIELDS: Final = re.compile(
    "attributes|categor(?:y|ies)|code|coupon|currency|data|description|email|errors?|id|images?|included|items?|links?"
    "|lists?|locale|location|meta|name|organization|price|profiles?|properties|published|relationships|segments?|sku"
    "|source|status|title|type|updated|url|variants?"
)
_NAME: Final = re.compile(r"[a-z]+(?:_[a-z]+)+|(?:catalog|coupon|profile)(?:-[a-z]+)*")
# A JSON pointer into what was sent; of it only the places in lists differ from error to error.
_POINTER: Final = r"/(?:data|included|meta|attributes|relationships)(?:/[\w-]+)*"
_PLACE: Final = re.compile(r"(?<=/)[^/]*\d[^/]*")
_PHRASES: Final = "|".join(re.escape(status.phrase) for status in HTTPStatus if status >= 400)
# Of the web, and of mail.
_ADDRESS: Final = re.compile(
    r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*://[^\s\"'`<>“”)\]]*[^\s\"'`<>“”)\].,;:!?]"
    r"|(?<![^\s\"'`<>“”(),;:@])[^\s\"'`<>“”(),;:@]+@[\w-]+(?:\.[\w-]+)+",
    re.IGNORECASE,
)
_COMPOUND: Final = re.compile(r"[\w$-]+:::[\w$-]+:::[^\s,;]*\w")
_PARTS: Final = re.compile(
    "|".join(
        [
            rf"(?P<pointer>(?<!\w){_POINTER})",
            rf"(?P<status>\b(?:HTTP(?:/\d(?:\.\d)?)?|status(?: code)?)[ :=]*[1-5]\d\d\b|\b[45]\d\d (?:{_PHRASES})\b)",
            # Parts in "double", `back`, “curly” or 'single' quotes; an apostrophe within a word is no quote.
            r"(?P<quoted>\"[^\"]*\"|`[^`]*`|“[^”]*”|\B'(?:[^']|\b'\b)*'\B)",
            # Every word with a digit in it: numbers, prices, times, SKUs, ULIDs, UUIDs.
            r"(?P<word>(?<![\w$:/@%+.-])[\w$:/@%+.-]*\d(?:[\w$:/@%+.,-]*\w)?)",
        ]
    ),
    re.IGNORECASE,
)
# Without one of these a message has no such part.
_HAS_PARTS: Final = re.compile(r"[\d\"`“'/]")


def fingerprint_of(detail: str | None, title: str | None, code: str | None, related_id: str | None) -> str:
    """Return the fingerprint of an error with these members."""
    message = detail if detail is not None else title if title is not None else code
    message = "no message" if message is None else message[:_MOST_CHARACTERS]
    if "  " in message or not message.isprintable() or message[:1] == " " or message[-1:] == " ":
        message = " ".join(message.split())
    return _mask(message if related_id is None else _without_id(message, related_id))


def _without_id(message: str, related_id: str) -> str:
    """
    Return *message* without the id of the resource that the error names, be it in full or as the shop knows it.

    Such ids may hold blanks and quotes, so no pattern finds their end; the error says what its id is. One that is not
    compound may be a word like any other, and stays.
    """
    external_id = related_id.split(":::", 2)[-1]
    if external_id == related_id or external_id not in message:
        return message
    message = _without(message, related_id)
    if len(external_id) < 2 or external_id not in message or _is_field(external_id):
        return message
    return _without(message, external_id)


def _without(message: str, part: str) -> str:
    """Return *message* with `?` for each *part* that is not within a longer word; a pattern a part would be dear."""
    kept, begin = [], 0
    while (found := message.find(part, begin)) >= 0:
        end = found + len(part)
        is_whole = not _goes_on(message[found - 1 : found]) and not _goes_on(message[end : end + 1])
        kept.append(message[begin:found] + "?" if is_whole else message[begin:end])
        begin = end
    return "".join([*kept, message[begin:]])


def _goes_on(character: str) -> bool:
    return character.isalnum() or character in ("_", "-")


def _is_field(text: str) -> bool:
    return any(names.fullmatch(text) for names in (_FIELDS, _NAME))


@lru_cache(maxsize=10_000)
def _mask(message: str) -> str:
    if "://" in message or "@" in message:
        message = _ADDRESS.sub("?", message)
    if ":::" in message:
        message = _COMPOUND.sub("?", message)
    return _PARTS.sub(_masked, message) if _HAS_PARTS.search(message) else message


def _masked(part: re.Match[str]) -> str:
    """Return what stands in the place of a *part* of a message."""
    text = part.group()
    inner = text[1:-1]
    if part.lastgroup == "pointer":
        return _PLACE.sub("?", text)
    if part.lastgroup == "quoted" and re.fullmatch(_POINTER, inner):
        return text[0] + _PLACE.sub("?", inner) + text[-1]
    if part.lastgroup == "status" or (part.lastgroup == "quoted" and _is_field(inner)):
        return text
    return "?"
