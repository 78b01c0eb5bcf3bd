"""
Name the sort of an error: its text without what differs from one error of the sort to the next.

In:     what an error says, and which resource it names.
Out:    its fingerprint: ids, numbers and quoted parts are replaced by `?`.
Kept:   fingerprints stand in the warehouse. Whoever changes the rule counts `RULE` up, and the next run makes those
        of all stored errors anew.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

RULE: Final = 1

# Longer texts are no messages; the patterns look back, and take time with the square of a text without digits.
_MOST_CHARACTERS: Final = 1000
# Parts in "double", `back`, “curly” or 'single' quotes; an apostrophe within a word is no quote.
_QUOTED: Final = re.compile(r"\"[^\"]*\"|`[^`]*`|“[^”]*”|\B'(?:[^']|\b'\b)*'\B", re.ASCII)
# Compound ids, then every word with a digit in it: numbers, prices, times, SKUs, ULIDs, UUIDs.
_VARIABLE: Final = re.compile(
    r"[\w$-]+:::[\w$-]+:::[^\s,;]*\w|[\w$:/@%+.-]*\d(?:[\w$:/@%+.,-]*\w)?",
    re.ASCII,
)


def fingerprint_of(detail: str | None, title: str | None, code: str | None, related_id: str | None) -> str:
    """Return the fingerprint of an error with these members."""
    message = next((text for text in (detail, title, code) if text is not None), "no message")[:_MOST_CHARACTERS]
    # Klaviyo's compound ids may hold blanks and quotes, so no pattern finds their end; the error says what its id is.
    if related_id is not None and ":::" in related_id:
        message = message.replace(related_id, "?")
    return _mask(message)


@lru_cache(maxsize=10_000)
def _mask(message: str) -> str:
    return _VARIABLE.sub("?", _QUOTED.sub("?", message))
