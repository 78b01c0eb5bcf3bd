"""
Make an API key of what people paste, and keep it from being seen.

In:     the text of a setting.
Out:    `ApiKey`, which never shows its value; or a `SettingError` that says what is wrong, and not the text.
"""

from __future__ import annotations

import re
from typing import Any, Final

from klaviyo_jobs.errors import SettingError

# What comes along when a key is copied: the word of Klaviyo's header before it, the header's own name before that.
_HEADER: Final = re.compile(r"(?:authorization\s*:\s*)?klaviyo-api-key(?:\s*:\s*|\s+|$)", re.IGNORECASE)
# Blanks, line ends, quotes and the marks that editors put at the beginning of a text.
_AROUND: Final = " \t\r\n\v\f\u00a0\u200b\u2060\ufeff\"'`\u2018\u2019\u201c\u201d"
_SEVERAL: Final = re.compile(r"[\s,;]|.pk_", re.DOTALL)


class ApiKey:
    """A private API key. Only `reveal` gives it away; printing, logging and pickling do not."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the key itself, for the one header that carries it."""
        return self._value

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("an API key is never written anywhere")


def key_of(label: str, text: object) -> ApiKey:
    """
    Return the key that *text* holds for the account *label*, without what surrounds it.

    Raises:
        SettingError: There is no key in it, more than one, or something that cannot be one.
    """
    if not isinstance(text, str):
        raise _no_key(label, f"is {type(text).__name__ if text is not None else 'nothing'}, where a text is expected")
    key = _HEADER.sub("", text.strip(_AROUND), count=1).strip(_AROUND)
    if not key:
        raise _no_key(label, "is empty")
    if not key.isascii() or not (key.isprintable() or _SEVERAL.search(key)):
        raise _no_key(label, "holds characters that no key has")
    if _SEVERAL.search(key):
        next_step = "set one key for each account, under a label in `accounts`."
        raise _no_key(label, "is more than one key, or not a key alone", next_step)
    return ApiKey(key)


def looks_like_key(text: str) -> bool:
    """Tell whether *text*, which is to be a name, begins as keys do: it is not to be printed or stored."""
    return text.strip(_AROUND).lower().startswith("pk_")


def _no_key(label: str, problem: str, next_step: str | None = None) -> SettingError:
    return SettingError(
        f"the API key of account {label!r} {problem}.",
        data="nothing was read or written.",
        next_step=next_step or "copy the private key again from Klaviyo: Settings, API keys.",
    )
