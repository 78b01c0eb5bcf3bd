"""
What an address leads to, read as the HTTP library will read it.

In:     an absolute http(s) address.
Out:    its origin, or a ValueError for one that two readers may understand in two ways.
"""

from __future__ import annotations

import re
from typing import Final

from urllib3.util import parse_url

# Characters that a link of an API never has, and by which readers of addresses disagree on the host.
_DISGUISE: Final = re.compile(r"[\\\s\x00-\x1f\x7f]")
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}


def is_disguised(url: str) -> bool:
    """Tell whether *url* has characters by which two readers may see two hosts in it."""
    return _DISGUISE.search(url) is not None


def origin_of(url: str) -> tuple[str, str, int]:
    """
    Return scheme, host and port of *url*, the default port filled in, as the HTTP library will see them.

    Raises:
        ValueError: *url* is no absolute http(s) address, or is written so that two readers may see two hosts in it.
    """
    if is_disguised(url):
        raise ValueError(f"{url!r} has characters that no address has")
    parts = parse_url(url)
    default_port = {"http": 80, "https": 443}.get(parts.scheme or "")
    if default_port is None or not parts.host or parts.auth:
        raise ValueError(f"{url!r} is no plain http(s) address")
    return str(parts.scheme), parts.host.lower().strip("[]"), parts.port or default_port


def is_loopback(url: str) -> bool:
    """Tell whether *url* leads to this machine."""
    return origin_of(url)[1] in _LOOPBACK
