"""
The tables of the schema `klaviyo_raw`: every column, its type, and the key.

In:     nothing.
Out:    `TABLES`, by name.
Keys:   natural keys only. A table with `replaced_by` shorter than its key is replaced job by job: all rows of a job go,
        the new ones come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

TEXT: Final = pa.string()
# JSON travels and rests as text: DuckDB's JSON functions read it as it is, and no odd byte can fail a load.
JSON: Final = pa.string()
COUNT: Final = pa.int64()
TIME: Final = pa.timestamp("us", tz="UTC")
DAY: Final = pa.date32()
BOOL: Final = pa.bool_()
SECONDS: Final = pa.float64()
# Prices and quantities keep every digit the API sends: nine after the point, 29 before it.
NUMBER: Final = pa.decimal128(38, 9)

# The column that tells a merge "delete the children of this job, there are none any more"; such a row is never stored.
TOMBSTONE: Final = "is_removed"

# The column that orders the reads of one included resource: its time, then the job it came with. The highest stays,
# whatever the order of reading, so that runs of any number end with the same row.
SEEN_RANK: Final = "seen_rank"


@dataclass(frozen=True, slots=True)
class Table:
    """
    A table of the schema `klaviyo_raw`.

    Attributes:
        name: The table's name in the warehouse.
        key: The columns that identify a row, none of them null.
        replaced_by: The columns by which a merge replaces rows; shorter than *key* for the children of a job.
        schema: Every column with its Arrow type.
    """

    name: str
    key: tuple[str, ...]
    replaced_by: tuple[str, ...]
    schema: pa.Schema

    @property
    def has_tombstones(self) -> bool:
        """Whether the table holds children of a job, which can become none."""
        return self.replaced_by != self.key


def _table(
    name: str,
    key: tuple[str, ...],
    columns: dict[str, pa.DataType],
    *,
    replaced_by: tuple[str, ...] = (),
) -> Table:
    fields = [pa.field(column, kind, nullable=column not in key) for column, kind in columns.items()]
    return Table(name, key, replaced_by or key, pa.schema(fields))


_JOB: Final = ("account", "job_kind", "job_id")
_JOB_COLUMNS: Final = {"account": TEXT, "job_kind": TEXT, "job_id": TEXT}

JOBS: Final = _table(
    "jobs",
    _JOB,
    {
        **_JOB_COLUMNS,
        "status": TEXT,
        "created_at": TIME,
        "completed_at": TIME,
        "expires_at": TIME,
        # When Klaviyo began with it; told of imports of profiles only.
        "started_at": TIME,
        # Days in the reporting time zone: kept, as whoever reads them has rules of time zones of its own.
        "created_on": DAY,
        "completed_on": DAY,
        "total_count": COUNT,
        "completed_count": COUNT,
        "failed_count": COUNT,
        # What a suppression passed over: neither completed nor failed. Null in jobs of other kinds.
        "skipped_count": COUNT,
        "error_count": COUNT,
        "linkage_count": COUNT,
        # Errors and linkages among those counts that could not be read, and so have no rows.
        "unread_error_count": COUNT,
        "unread_linkage_count": COUNT,
        "first_seen_at": TIME,
        "last_changed_at": TIME,
        "vanished_at": TIME,
        # When the detail with its included resources was last read; null while only the listing was.
        "detail_read_at": TIME,
        # When the errors that are a list of their own were last read to the end; null while only the listing was.
        "errors_read_at": TIME,
        # A hash of all that is stored of what the API says of the job: what changes it has changed the job.
        "content_hash": TEXT,
        # A hash of the bytes by which a listing showed this content: a job that comes in them again is not even parsed.
        "listed_hash": TEXT,
        "api_revision": TEXT,
        "extra": JSON,
        "run_id": TEXT,
    },
)
JOB_ERRORS: Final = _table(
    "job_errors",
    (*_JOB, "position"),
    {
        **_JOB_COLUMNS,
        "position": COUNT,
        "error_id": TEXT,
        "code": TEXT,
        "title": TEXT,
        "detail": TEXT,
        # What the error has in common with others of its sort; made by `fingerprints.py`.
        "fingerprint": TEXT,
        "source_pointer": TEXT,
        "related_id": TEXT,
        "meta": JSON,
        # What an import was sent: personal data, kept only if a setting asks for it.
        "original_payload": JSON,
        "run_id": TEXT,
        TOMBSTONE: BOOL,
    },
    replaced_by=_JOB,
)
# By far the longest table: what can be told from these columns and from the job's row is left to the view.
JOB_LINKAGES: Final = _table(
    "job_linkages",
    (*_JOB, "position"),
    {
        **_JOB_COLUMNS,
        "position": COUNT,
        "related_type": TEXT,
        "related_id": TEXT,
        TOMBSTONE: BOOL,
    },
    replaced_by=_JOB,
)
JOB_OBSERVATIONS: Final = _table(
    "job_observations",
    (*_JOB, "observed_at"),
    {
        **_JOB_COLUMNS,
        "observed_at": TIME,
        "status": TEXT,
        "total_count": COUNT,
        "completed_count": COUNT,
        "failed_count": COUNT,
        "skipped_count": COUNT,
        "error_count": COUNT,
        "linkage_count": COUNT,
        "run_id": TEXT,
    },
)
LISTINGS: Final = _table(
    "listings",
    ("account", "job_kind", "run_id"),
    {
        "account": TEXT,
        "job_kind": TEXT,
        "run_id": TEXT,
        "started_at": TIME,
        "finished_at": TIME,
        "is_complete": BOOL,
        "page_count": COUNT,
        "job_count": COUNT,
        "changed_count": COUNT,
        "detail_count": COUNT,
        "rejected_count": COUNT,
        "request_count": COUNT,
        "retry_count": COUNT,
        "throttled_seconds": SECONDS,
        "api_revision": TEXT,
        "error": TEXT,
    },
)
REJECTED_RECORDS: Final = _table(
    "rejected_records",
    ("account", "job_kind", "record_hash"),
    {
        "account": TEXT,
        "job_kind": TEXT,
        "record_hash": TEXT,
        "endpoint": TEXT,
        "json_path": TEXT,
        "reason": TEXT,
        "raw": JSON,
        "first_rejected_at": TIME,
        "last_rejected_at": TIME,
        # How many runs met the record.
        "times": COUNT,
        "run_id": TEXT,
    },
)
# What all included resources have: with which job they came, and by which run.
_SEEN_COLUMNS: Final[dict[str, pa.DataType]] = {
    "seen_in_job_id": TEXT,
    SEEN_RANK: TEXT,
    "extra": JSON,
    "run_id": TEXT,
}
CATEGORIES: Final = _table(
    "categories",
    ("account", "category_id"),
    {
        "account": TEXT,
        "category_id": TEXT,
        "external_id": TEXT,
        "name": TEXT,
        "updated_at": TIME,
        **_SEEN_COLUMNS,
    },
)
# What items and variants have in common.
_PRODUCT_COLUMNS: Final[dict[str, pa.DataType]] = {
    "external_id": TEXT,
    "title": TEXT,
    "description": TEXT,
    "price": NUMBER,
    "url": TEXT,
    "image_full_url": TEXT,
    "image_thumbnail_url": TEXT,
    "images": JSON,
    "custom_metadata": JSON,
    "published": BOOL,
    "created_at": TIME,
    "updated_at": TIME,
    **_SEEN_COLUMNS,
}
ITEMS: Final = _table("items", ("account", "item_id"), {"account": TEXT, "item_id": TEXT, **_PRODUCT_COLUMNS})
VARIANTS: Final = _table(
    "variants",
    ("account", "variant_id"),
    {
        "account": TEXT,
        "variant_id": TEXT,
        "sku": TEXT,
        "inventory_policy": COUNT,
        "inventory_quantity": NUMBER,
        **_PRODUCT_COLUMNS,
    },
)

COUPON_CODES: Final = _table(
    "coupon_codes",
    ("account", "coupon_code_id"),
    {
        "account": TEXT,
        "coupon_code_id": TEXT,
        "unique_code": TEXT,
        "status": TEXT,
        "expires_at": TIME,
        **_SEEN_COLUMNS,
    },
)
LISTS: Final = _table(
    "lists",
    ("account", "list_id"),
    {
        "account": TEXT,
        "list_id": TEXT,
        "name": TEXT,
        "opt_in_process": TEXT,
        "created_at": TIME,
        "updated_at": TIME,
        **_SEEN_COLUMNS,
    },
)

# The tables of included resources, which a run creates when it is asked to include them.
ENTITY_TABLES: Final = {table.name: table for table in (ITEMS, VARIANTS, CATEGORIES, COUPON_CODES, LISTS)}

TABLES: Final = {
    table.name: table
    for table in (
        JOBS,
        JOB_ERRORS,
        JOB_LINKAGES,
        JOB_OBSERVATIONS,
        LISTINGS,
        REJECTED_RECORDS,
        *ENTITY_TABLES.values(),
    )
}
