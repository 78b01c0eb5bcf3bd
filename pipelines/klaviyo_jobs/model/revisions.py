"""
The dated revisions of the API: which is asked for, and how long each lives.

In:     the date of a revision.
Out:    until when it is served as it was, and what to do about one that is not.
Source: Klaviyo's guide "API versioning and deprecation policy".
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import pendulum

# The newest revision of which live answers were recorded (2026-09-04). 2026-10-15 has the same paths and attributes.
DEFAULT_REVISION: Final = "2026-07-15"


def lifetime_of(revision: str) -> tuple[dt.date, dt.date]:
    """
    Return when *revision* is deprecated and when it is retired: a year and two years after its date.

    Source: Klaviyo's guide "API versioning and deprecation policy".
    """
    released = pendulum.from_format(revision[:10], "YYYY-MM-DD").date()
    return released.add(years=1), released.add(years=2)


def revision_problem(revision: str, today: dt.date) -> str | None:
    """Return what is wrong with the age of *revision*, or None."""
    deprecated_on, retired_on = lifetime_of(revision)
    if today >= retired_on:
        return (
            f"revision {revision} is retired since {retired_on}: Klaviyo answers in the shape of the oldest one that "
            f"is not, or refuses; set `revision` to {DEFAULT_REVISION}"
        )
    if today >= deprecated_on:
        return (
            f"revision {revision} is deprecated and will be retired on {retired_on}; set `revision` to "
            f"{DEFAULT_REVISION}"
        )
    return None
