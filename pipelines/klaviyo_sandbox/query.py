"""
Query parameters: what a list and a detail request may ask for, checked as strictly as the API does.

In:     the raw query string, the job kind, and the shape of the revision served.
Out:    `ListQuery`, `DetailQuery`; or `ApiError` 400 that names the parameter.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

from klaviyo_sandbox.errors import invalid_cursor, invalid_input
from klaviyo_sandbox.jobs import Job
from klaviyo_sandbox.kinds import JobKind
from klaviyo_sandbox.revisions import Shape

CURSOR = "page[cursor]"
SIZE = "page[size]"

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
    "coupon-code": ("unique_code", "expires_at", "status"),
    "list": ("name", "created", "updated", "opt_in_process"),
}
_ERROR_FIELDS = ("code", "detail", "id", "original_payload", "source", "source.pointer", "title")
_STATUSES = ("queued", "processing", "complete", "cancelled")
_TEXT = r"""(?:"[^"']*"|'[^"']*')"""
_EQUALS = re.compile(rf"equals\(\s*(?P<field>\w+)\s*,\s*(?P<values>{_TEXT})\s*\)")
_ANY = re.compile(rf"any\(\s*(?P<field>\w+)\s*,\s*\[\s*(?P<values>{_TEXT}(?:\s*,\s*{_TEXT})*)\s*\]\s*\)")
# The relationship that a filter looks at.
_FILTERED = {"list_id": "lists", "segment_id": "segments"}

Filter = Callable[[Job], bool]

_ERRORS_A_PAGE, _MOST_ERRORS_A_PAGE = 20, 100

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
        passes: Tells which jobs the filter lets through; none for all.
        size: Records a page.
        is_ascending: The oldest first.
    """

    pairs: Pairs
    fields: Fields
    cursor: str | None
    passes: Filter | None = None
    size: int = 100
    is_ascending: bool = False


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
    allowed = {job_fields, "filter", CURSOR} | ({"sort"} if kind.sort else set())
    given = _parse(raw, allowed, kind.job_type, most_a_page=kind.most_a_page)
    if given.get("sort", kind.sort).removeprefix("-") != kind.sort:
        raise invalid_input(f"'{given['sort']}' is not a valid sort; allowed: '{kind.sort}'.", parameter="sort")
    return ListQuery(
        pairs=[(name, value) for name, value in given.items() if name != CURSOR],
        fields=_fields(given, job_fields, _allowed_job_fields(kind, shape)),
        cursor=given.get(CURSOR),
        passes=_filter(given["filter"], kind) if "filter" in given else None,
        size=int(given.get(SIZE, kind.page_size)),
        is_ascending=given.get("sort") == kind.sort,
    )


def parse_errors_query(raw: str) -> ListQuery:
    """
    Read what a request for the import errors of a job asks for.

    Raises:
        ApiError: A parameter or a value that the list does not take.
    """
    fields = "fields[import-error]"
    given = _parse(raw, {fields, CURSOR}, "import-error", most_a_page=_MOST_ERRORS_A_PAGE)
    return ListQuery(
        pairs=[(name, value) for name, value in given.items() if name != CURSOR],
        fields=_fields(given, fields, _ERROR_FIELDS),
        cursor=given.get(CURSOR),
        size=int(given.get(SIZE, _ERRORS_A_PAGE)),
    )


def _filter(text: str, kind: JobKind) -> Filter:
    match = _EQUALS.fullmatch(text) or (_ANY.fullmatch(text) if kind.has_any_filter else None)
    field = match["field"] if match else ""
    values = {each.strip()[1:-1] for each in match["values"].split(",")} if match else set()
    is_of_status = field == "status" and values.issubset(_STATUSES)
    if not is_of_status and (field not in kind.filters or not _EQUALS.fullmatch(text)):
        allowed = ", ".join(repr(each) for each in ("status", *kind.filters))
        raise invalid_input(f"'{text}' is not a valid filter; allowed: equals on {allowed}.", parameter="filter")
    if is_of_status:
        return lambda job: job.status in values
    return lambda job: not values.isdisjoint(job.related(_FILTERED[field]) or ())


def parse_detail_query(raw: str, kind: JobKind, shape: Shape) -> DetailQuery:
    """
    Raises:
        ApiError: A parameter or a value that the detail does not take.
    """
    job_fields, related_fields = f"fields[{kind.job_type}]", f"fields[{kind.related_type}]"
    allowed = {job_fields, related_fields, "include"} if kind.can_include else {job_fields}
    given = _parse(raw, allowed, kind.job_type)
    if given.get("include", kind.relationship) != kind.relationship:
        raise invalid_input(
            f"'{given['include']}' is not a valid include; allowed: '{kind.relationship}'.",
            parameter="include",
        )
    related = (*_RELATED_FIELDS[kind.related_type], *(["id"] if shape.extra_field == "id" else []))
    return DetailQuery(
        pairs=list(given.items()),
        fields=_fields(given, job_fields, _allowed_job_fields(kind, shape)),
        related_fields=_fields(given, related_fields, related),
        wants_included="include" in given,
    )


def url_with(url: str, pairs: Pairs) -> str:
    """*url* with a query, percent-encoded as in the API's own links: brackets, commas and quotes too."""
    return f"{url}?{urlencode(pairs, quote_via=quote, safe='')}" if pairs else url


def _parse(raw: str, allowed: set[str], resource: str, *, most_a_page: int = 0) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True):
        if name == SIZE and not most_a_page:
            raise invalid_input(
                f"'page_size' is not a valid field for the resource '{resource}'",
                pointer="/data/attributes/page_size",
            )
        if name == SIZE and value not in map(str, range(1, most_a_page + 1)):
            raise invalid_input(f"Page size must be an integer between 1 and {most_a_page}.", parameter=SIZE)
        if name not in allowed and name != SIZE:
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


def _allowed_job_fields(kind: JobKind, shape: Shape) -> tuple[str, ...]:
    return (*kind.fields, *([shape.extra_field] if shape.extra_field else []))
