"""
Shares and durations, as people write and read them.

In:     a number, or a text such as `5%`, `90`, `30 min` or `1h30m`.
Out:    a share from 0 to 1, or seconds; and the one form in which ages are shown.
"""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)\s*", re.IGNORECASE)


def share_of(value: object) -> float:
    """Return the share that *value* says, a number or a text such as `0.05` or `5%`; ValueError if it is none."""
    text = str(value).strip()
    share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if isinstance(value, bool) or not 0 <= share <= 1:
        raise ValueError(value)
    return share


def seconds_of(value: object) -> float:
    """Return the seconds that *value* says, a number or a text with units such as `6h`; ValueError if it says none."""
    text = str(value).strip()
    parts = _PART.findall(text)
    if parts and not _PART.sub("", text):
        return float(sum(float(number) * _UNITS[unit.lower()] for number, unit in parts))
    seconds = float(text)
    if isinstance(value, bool) or not 0 <= seconds < float("inf"):
        raise ValueError(value)
    return seconds


def age_text(seconds: float) -> str:
    """Return an age in its two largest units, e.g. `3 d 4 h`, `2 h 5 min`, `45 s`."""
    whole = max(0, round(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days:,} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
