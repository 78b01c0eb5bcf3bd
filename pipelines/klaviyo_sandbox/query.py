"""
Query parameters: what a list and a detail request may ask for, checked as strictly as the API does.

In:     the raw query string, the job kind, and the shape of the revision served.
Out:    `ListQuery`, `DetailQuery`; or `ApiError` 400 that names the parameter.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

from klaviyo_sandbox.errors import invalid_cursor, invalid_input
from klaviyo_sandbox.kinds import JobKind
from klaviyo_sandbox.revisions import Shape

CURSOR = "page[cursor]"

_JOB_FIELDS = (
    "completed_at",
    "completed_count",
    "created_at",
    "errors",
    "expires_at",
    "failed_count",
    "status",
    "total_count",
)
_ITEM_FIELDS = (
    "external_id",
    "title",
    "description",
    "price",
    "url",
    "image_full_url",
    "image_thumbnail_url",
    "images",
    "custom_metadata",
    "published",
    "created",
    "updated",
)
_RELATED_FIELDS = {
    "catalog-item": _ITEM_FIELDS,
    "catalog-variant": (*_ITEM_FIELDS, "sku", "inventory_policy", "inventory_quantity"),
    "catalog-category": ("external_id", "name", "updated"),
}
_STATUS_FILTER = re.compile(
    r"""equals\(\s*status\s*,\s*(?P<quote>['"])(?P<status>queued|processing|complete|cancelled)(?P=quote)\s*\)"""
)

Pairs = list[tuple[str, str]]
Fields = tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page starts: behind a job id (`next`) or in front of one (`prev`)."""

    direction: str
    job_id: str

    def encode(self, suffix: str = "") -> str:
        """
        The opaque text that clients see.

        Args:
            suffix: Makes a different text for the same place; `decode` does not look at it.
        """
        text = f"{self.direction}::id::{self.job_id}{suffix and '::'}{suffix}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @staticmethod
    def decode(text: str) -> Cursor:
        """
        Raises:
            ApiError: *text* is not a cursor.
        """
        try:
            padded = text + "=" * (-len(text) % 4)
            parts = base64.b64decode(padded, altchars=b"-_", validate=True).decode().split("::")
        except (binascii.Error, ValueError):
            raise invalid_cursor() from None
        if len(parts) < 3 or parts[0] not in ("next", "prev") or parts[1] != "id":
            raise invalid_cursor()
        return Cursor(parts[0], parts[2])


@dataclass(frozen=True, slots=True)
class ListQuery:
    """
    What a list request asks for.

    Attributes:
        pairs: The query without its cursor, for building links.
        cursor: Not taken apart yet: an answer to replay may go by any text.
    """

    pairs: Pairs
    fields: Fields
    status: str | None
    cursor: str | None


@dataclass(frozen=True, slots=True)
class DetailQuery:
    """What a detail request asks for."""

    pairs: Pairs
    fields: Fields
    related_fields: Fields
    wants_included: bool


def parse_list_query(raw: str, kind: JobKind, shape: Shape) -> ListQuery:
    """
    Raises:
        ApiError: A parameter or a value that the list does not take.
    """
    job_fields = f"fields[{kind.job_type}]"
    given = _parse(raw, {job_fields, "filter", CURSOR}, kind)
    status = None
    if "filter" in given:
        match = _STATUS_FILTER.fullmatch(given["filter"])
        if match is None:
            raise invalid_input(
                f"'{given['filter']}' is not a valid filter; allowed: equals on 'status'.", parameter="filter"
            )
        status = match["status"]
    return ListQuery(
        pairs=[(name, value) for name, value in given.items() if name != CURSOR],
        fields=_fields(given, job_fields, _allowed_job_fields(shape)),
        status=status,
        cursor=given.get(CURSOR),
    )


def parse_detail_query(raw: str, kind: JobKind, shape: Shape) -> DetailQuery:
    """
    Raises:
        ApiError: A parameter or a value that the detail does not take.
    """
    job_fields, related_fields = f"fields[{kind.job_type}]", f"fields[{kind.related_type}]"
    allowed = {job_fields, related_fields, "include"} if kind.can_include else {job_fields}
    given = _parse(raw, allowed, kind)
    if given.get("include", kind.relationship) != kind.relationship:
        raise invalid_input(
            f"'{given['include']}' is not a valid include; allowed: '{kind.relationship}'.",
            parameter="include",
        )
    related = (*_RELATED_FIELDS[kind.related_type], *(["id"] if shape.extra_field == "id" else []))
    return DetailQuery(
        pairs=list(given.items()),
        fields=_fields(given, job_fields, _allowed_job_fields(shape)),
        related_fields=_fields(given, related_fields, related),
        wants_included="include" in given,
    )


def url_with(url: str, pairs: Pairs) -> str:
    """*url* with a query, percent-encoded as in the API's own links: brackets, commas and quotes too."""
    return f"{url}?{urlencode(pairs, quote_via=quote, safe='')}" if pairs else url


def _parse(raw: str, allowed: set[str], kind: JobKind) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True):
        if name == "page[size]":
            raise invalid_input(
                f"'page_size' is not a valid field for the resource '{kind.job_type}'",
                pointer="/data/attributes/page_size",
            )
        if name not in allowed:
            raise invalid_input(f"'{name}' is not a valid parameter of this endpoint.", parameter=name)
        # What the API does with a doubled parameter is not known; refusing it shows the client's mistake.
        if name in given:
            raise invalid_input(f"'{name}' is given more than once.", parameter=name)
        given[name] = value
    return given


def _fields(given: dict[str, str], parameter: str, allowed: tuple[str, ...]) -> Fields:
    if parameter not in given:
        return None
    names = tuple(name for name in given[parameter].split(",") if name)
    for name in names:
        if name not in allowed:
            resource = parameter.removeprefix("fields[").removesuffix("]")
            raise invalid_input(f"'{name}' is not a valid field for the resource '{resource}'", parameter=parameter)
    return names


def _allowed_job_fields(shape: Shape) -> tuple[str, ...]:
    return (*_JOB_FIELDS, *([shape.extra_field] if shape.extra_field else []))
