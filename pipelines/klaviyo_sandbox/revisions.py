"""
API revisions: which one a request is served in, and what an answer looks like in it.

Lifetime: a revision is retired two years after its release. A retired one is not refused: the request "falls forward"
to the oldest that is not, unless the client opts out (410). Dates are compared with the sandbox's clock.
Source: the vendor's versioning policy and OpenAPI documents; the newest shape follows recorded answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date

from klaviyo_sandbox.errors import invalid_input, not_found, retired_revision

REVISIONS = tuple(
    date(year, month, day)
    for year, days in {
        2022: ((10, 17), (12, 15)),
        2023: ((1, 24), (2, 22), (6, 15), (7, 15), (8, 15), (9, 15), (10, 15), (12, 15)),
        2024: ((2, 15), (5, 15), (6, 15), (7, 15), (10, 15)),
        2025: ((1, 15), (4, 15), (7, 15), (10, 15)),
        2026: ((1, 15), (4, 15), (7, 15), (10, 15)),
    }.items()
    for month, day in days
)

_LIFETIME_YEARS = 2
_HEADER = re.compile(r"(?P<date>\d{4}-\d{2}-\d{2})(\.[a-z0-9]+)?")


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What answers look like from one revision on.

    Attributes:
        since: The first revision with this shape.
        media_type: `Content-Type` of every answer.
        id_in_attributes: The job's id is `attributes.job_id`; there is no top-level `id`.
        serves_nulls: Attributes and page links without a value are null; otherwise they are left out.
        path_ends_in_slash: Links to lists and details end in a slash.
        has_relationship_links: Job relationships carry `links`.
        deletes_have_linkages: Jobs of the delete kinds list what they deleted.
        has_first_and_last: List `links` name the first and the last page.
        has_detail_self: Details carry `links.self` on the top level.
        has_error_meta: Job errors name the failed resource in `meta.id`.
        has_related_links: Included resources carry relationships (links only).
        extra_field: What `fields[job type]` allows beside the attributes common to all revisions.
    """

    since: date
    media_type: str
    id_in_attributes: bool
    serves_nulls: bool
    path_ends_in_slash: bool
    has_relationship_links: bool
    deletes_have_linkages: bool
    has_first_and_last: bool
    has_detail_self: bool
    has_error_meta: bool
    has_related_links: bool
    extra_field: str | None


_FIRST = Shape(
    since=date(2022, 10, 17),
    media_type="application/json",
    id_in_attributes=True,
    serves_nulls=False,
    path_ends_in_slash=True,
    has_relationship_links=False,
    deletes_have_linkages=True,
    has_first_and_last=True,
    has_detail_self=False,
    has_error_meta=False,
    has_related_links=False,
    extra_field="job_id",
)
_WITH_ID = replace(
    _FIRST,
    since=date(2023, 12, 15),
    id_in_attributes=False,
    has_relationship_links=True,
    deletes_have_linkages=False,
    extra_field=None,
)
_WITH_NULLS = replace(
    _WITH_ID,
    since=date(2024, 10, 15),
    media_type="application/vnd.api+json",
    serves_nulls=True,
    path_ends_in_slash=False,
)
_RECORDED = replace(
    _WITH_NULLS,
    since=date(2026, 7, 15),
    has_relationship_links=False,
    deletes_have_linkages=True,
    has_first_and_last=False,
    has_detail_self=True,
    has_error_meta=True,
    has_related_links=True,
    extra_field="id",
)
SHAPES = (_FIRST, _WITH_ID, _WITH_NULLS, _RECORDED)


def shape_for(header: str | None, *, today: date, serve_retired: bool, opted_out: bool) -> Shape:
    """
    The shape in which a request is answered.

    Args:
        header: The request's `revision` header.
        today: The sandbox's date.
        serve_retired: Serve retired revisions as they were in their time.
        opted_out: The client would rather be refused than fall forward.
    Raises:
        ApiError: No revision, a malformed one, one in the future, or a retired one after opting out.
    """
    if header is None:
        raise invalid_input("The 'revision' header is required.", pointer="/data/")
    asked = _parse(header)
    # The newest known revision is never "future", so a clock set to an earlier day still serves it.
    if asked > max(today, REVISIONS[-1]):
        raise not_found("Unable to specify a future revision date")
    oldest_live = next((revision for revision in REVISIONS if not _is_retired(revision, today)), REVISIONS[-1])
    # A date between two revisions means the earlier one, as the vendor's policy once said.
    served = max((revision for revision in REVISIONS if revision <= asked), default=REVISIONS[0])
    if served < oldest_live and not serve_retired:
        if opted_out:
            raise retired_revision(header)
        served = oldest_live
    return next(shape for shape in reversed(SHAPES) if shape.since <= served)


def _parse(header: str) -> date:
    match = _HEADER.fullmatch(header)
    try:
        return date.fromisoformat(match["date"] if match else "")
    except ValueError:
        raise invalid_input(f"'{header}' is not a valid revision; the form is YYYY-MM-DD[.suffix].") from None


def _is_retired(revision: date, today: date) -> bool:
    return today >= revision.replace(year=revision.year + _LIFETIME_YEARS)
