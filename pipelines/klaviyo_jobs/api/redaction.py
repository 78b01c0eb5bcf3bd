"""
Keep the API key where it belongs: in one header of requests to one origin, and in no log.

In:     a key and the configured origin.
Out:    an `AuthBase` for requests, and a filter on the log of the HTTP library.
"""

from __future__ import annotations

import logging
from typing import ClassVar, Final

import requests
from requests.auth import AuthBase

from klaviyo_jobs.settings import ApiKey, origin_of

HTTP_LOGS: Final = tuple(logging.getLogger(f"urllib3.{name}") for name in ("connection", "connectionpool"))


class KeyAuth(AuthBase):
    """Adds the key to requests for one origin only, and keeps requests from looking for one in a netrc file."""

    def __init__(self, key: ApiKey, origin: tuple[str, str, int]) -> None:
        self._key = key
        self._origin = origin

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if origin_of(request.url or "") == self._origin:
            request.headers["Authorization"] = f"Klaviyo-API-Key {self._key.reveal()}"
        return request


class KeylessLog(logging.Filter):
    """Keeps back what the HTTP library logs of a header that holds a key."""

    keys: ClassVar[set[str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether *record*, its traceback included, is free of keys."""
        text = logging.Formatter().format(record)
        return not any(key in text for key in self.keys)


KEYLESS: Final = KeylessLog()
