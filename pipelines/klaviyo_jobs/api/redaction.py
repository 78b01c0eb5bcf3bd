"""
Keep the API key where it belongs: in one header of requests to one origin, and in no log.

In:     a key and the configured origin.
Out:    an `AuthBase` for requests, and a filter on the log of the HTTP library, in place once this module is loaded;
        the text of an answer without the key.
"""

from __future__ import annotations

import logging
import re
from typing import Final

import requests
from requests.auth import AuthBase

from klaviyo_jobs.addresses import origin_of
from klaviyo_jobs.keys import ApiKey


class KeyAuth(AuthBase):
    """Adds the key to requests for one origin only, and keeps requests from looking for one in a netrc file."""

    def __init__(self, key: ApiKey, origin: tuple[str, str, int]) -> None:
        self._key = key
        self._origin = origin

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if origin_of(request.url or "") == self._origin:
            request.headers["Authorization"] = f"Klaviyo-API-Key {self._key.reveal()}"
        return request


class Blanker:
    """Blanks a key out of an answer that echoes it, so that it gets into no message, table or log."""

    def __init__(self, key: ApiKey) -> None:
        self._key = key
        # The key as JSON may write it: any character as its number, and a slash behind a backslash.
        self._escaped = re.compile(
            "".join(rf"(?:\\?{re.escape(char)}|\\u{ord(char):04x})" for char in key.reveal()).encode(), re.IGNORECASE
        )

    def blank(self, body: bytes) -> bytes:
        """Return *body* with stars in place of the key."""
        body = body.replace(self._key.reveal().encode(), b"***")
        return self._escaped.sub(b"***", body) if b"\\" in body else body


class _KeylessLog(logging.Filter):
    """Keeps back what the HTTP library logs of a header that holds a key."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether *record*, its traceback included, is free of keys."""
        text = logging.Formatter().format(record)
        return not any(key in text for key in self.keys)


_KEYLESS: Final = _KeylessLog()
for _name in ("connection", "connectionpool"):
    logging.getLogger(f"urllib3.{_name}").addFilter(_KEYLESS)


def hide_from_logs(key: ApiKey) -> None:
    """Keep *key* out of what the HTTP library logs from now on."""
    _KEYLESS.keys.add(key.reveal())
