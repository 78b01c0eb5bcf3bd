"""
Flatten parsed records into one Arrow batch a table; the schema of every table is declared here.

In:     records of `records.py`, each with what the warehouse already holds of it.
Out:    Arrow tables, one for each table of the schema `klaviyo_raw`.
Keys:   natural keys only. A table with a *merge_key* is replaced job by job: all rows of a job go, the new ones come.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from klaviyo_jobs.kinds import JobKind
from klaviyo_jobs.records import Fault, Job, Resource, external_id_of

TEXT: Final = pa.string()
# JSON travels and rests as text: DuckDB's JSON functions read it as it is, and no odd byte can fail a load.
JSON: Final = pa.string()
COUNT: Final = pa.int64()
TIME: Final = pa.timestamp("us", tz="UTC")
BOOL: Final = pa.bool_()
SECONDS: Final = pa.float64()
# Prices and quantities keep every digit the API sends: nine after the point, 29 before it.
NUMBER: Final = pa.decimal128(38, 9)

# The column that tells a merge "delete the children of this job, there are none any more"; such a row is never stored.
TOMBSTONE: Final = "is_removed"


# What is kept of a record that cannot be read; five times the largest job that Klaviyo documents.
RAW_BYTES: Final = 1024 * 1024

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
        "total_count": COUNT,
        "completed_count": COUNT,
        "failed_count": COUNT,
        "error_count": COUNT,
        "linkage_count": COUNT,
        "first_seen_at": TIME,
        "last_changed_at": TIME,
        "vanished_at": TIME,
        # When the detail with its included resources was last read; null while only the listing was.
        "detail_read_at": TIME,
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
        "source_pointer": TEXT,
        "related_id": TEXT,
        "meta": JSON,
        "run_id": TEXT,
        TOMBSTONE: BOOL,
    },
    replaced_by=_JOB,
)
JOB_LINKAGES: Final = _table(
    "job_linkages",
    (*_JOB, "position"),
    {
        **_JOB_COLUMNS,
        "position": COUNT,
        "relationship": TEXT,
        "related_type": TEXT,
        "related_id": TEXT,
        "external_id": TEXT,
        "run_id": TEXT,
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
    ("account", "run_id", "position"),
    {
        "account": TEXT,
        "run_id": TEXT,
        "position": COUNT,
        "job_kind": TEXT,
        "endpoint": TEXT,
        "json_path": TEXT,
        "reason": TEXT,
        "raw": JSON,
        "rejected_at": TIME,
    },
)
CATEGORIES: Final = _table(
    "categories",
    ("account", "category_id"),
    {
        "account": TEXT,
        "category_id": TEXT,
        "external_id": TEXT,
        "name": TEXT,
        "updated_at": TIME,
        "seen_in_job_id": TEXT,
        SEEN_RANK: TEXT,
        "extra": JSON,
        "run_id": TEXT,
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
    "seen_in_job_id": TEXT,
    SEEN_RANK: TEXT,
    "extra": JSON,
    "run_id": TEXT,
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

# The tables of entities by `Entity.plural`; a run creates those it is asked to include.
ENTITY_TABLES: Final = {"items": ITEMS, "variants": VARIANTS, "categories": CATEGORIES}

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


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows come from: the columns that all rows of one listing share."""

    account: str
    kind: JobKind
    run_id: str
    api_revision: str


@dataclass(slots=True)
class SeenJob:
    """
    A job that is to be written.

    Attributes:
        job: As it was last read.
        read_at: When it was last read.
        first_seen_at: When it was first seen, by this run or an earlier one.
        last_changed_at: When a run last saw its state changed.
        detail_read_at: When its detail with included resources was last read; None if only the listing was.
        is_observed: Whether its status and counts differ from those of the last observation.
    """

    job: Job
    read_at: dt.datetime
    first_seen_at: dt.datetime
    last_changed_at: dt.datetime
    detail_read_at: dt.datetime | None = None
    is_observed: bool = True


def rows_of_jobs(origin: Origin, seen: Sequence[SeenJob]) -> dict[str, pa.Table]:
    """
    Return the rows of *seen* jobs: their own, those of their errors and linkages, and their observations.

    A job without errors (or linkages) gets one tombstone row in their place: earlier ones may be stored, be it by a
    load that was cut off and of which nothing else tells.
    """
    jobs = [reading.job for reading in seen]
    observed = [reading for reading in seen if reading.is_observed]
    return {
        JOBS.name: _arrow(
            JOBS,
            len(jobs),
            account=origin.account,
            job_kind=origin.kind.name,
            job_id=[job.job_id for job in jobs],
            status=[job.status for job in jobs],
            created_at=[job.created_at for job in jobs],
            completed_at=[job.completed_at for job in jobs],
            expires_at=[job.expires_at for job in jobs],
            total_count=[job.total_count for job in jobs],
            completed_count=[job.completed_count for job in jobs],
            failed_count=[job.failed_count for job in jobs],
            error_count=[job.error_count for job in jobs],
            linkage_count=[job.linkage_count for job in jobs],
            first_seen_at=[reading.first_seen_at for reading in seen],
            last_changed_at=[reading.last_changed_at for reading in seen],
            detail_read_at=[reading.detail_read_at for reading in seen],
            api_revision=origin.api_revision,
            extra=[job.extra for job in jobs],
            run_id=origin.run_id,
        ),
        JOB_ERRORS.name: _rows_of_errors(origin, seen),
        JOB_LINKAGES.name: _rows_of_linkages(origin, seen),
        JOB_OBSERVATIONS.name: _arrow(
            JOB_OBSERVATIONS,
            len(observed),
            account=origin.account,
            job_kind=origin.kind.name,
            job_id=[reading.job.job_id for reading in observed],
            observed_at=[reading.read_at for reading in observed],
            status=[reading.job.status for reading in observed],
            total_count=[reading.job.total_count for reading in observed],
            completed_count=[reading.job.completed_count for reading in observed],
            failed_count=[reading.job.failed_count for reading in observed],
            error_count=[reading.job.error_count for reading in observed],
            linkage_count=[reading.job.linkage_count for reading in observed],
            run_id=origin.run_id,
        ),
    }


def _rows_of_errors(origin: Origin, seen: Sequence[SeenJob]) -> pa.Table:
    pairs = [(reading.job.job_id, error) for reading in seen for error in reading.job.errors]
    gone = [reading.job.job_id for reading in seen if not reading.job.errors]
    rows = _arrow(
        JOB_ERRORS,
        len(pairs),
        account=origin.account,
        job_kind=origin.kind.name,
        job_id=[job_id for job_id, _ in pairs],
        position=[error.position for _, error in pairs],
        error_id=[error.error_id for _, error in pairs],
        code=[error.code for _, error in pairs],
        title=[error.title for _, error in pairs],
        detail=[error.detail for _, error in pairs],
        source_pointer=[error.source_pointer for _, error in pairs],
        related_id=[error.related_id for _, error in pairs],
        meta=[error.meta for _, error in pairs],
        run_id=origin.run_id,
    )
    return _with_tombstones(JOB_ERRORS, origin, rows, gone)


def _rows_of_linkages(origin: Origin, seen: Sequence[SeenJob]) -> pa.Table:
    jobs = [reading.job for reading in seen]
    linkages = [linkage for job in jobs for linkage in job.linkages]
    related_ids = [linkage.id for linkage in linkages]
    gone = [reading.job.job_id for reading in seen if not reading.job.linkages]
    rows = _arrow(
        JOB_LINKAGES,
        len(linkages),
        account=origin.account,
        job_kind=origin.kind.name,
        job_id=[job.job_id for job in jobs for _ in job.linkages],
        position=[position for job in jobs for position in job.linkage_positions],
        relationship=origin.kind.entity.plural,
        related_type=[linkage.type for linkage in linkages],
        related_id=related_ids,
        external_id=[external_id_of(related_id) for related_id in related_ids],
        run_id=origin.run_id,
    )
    return _with_tombstones(JOB_LINKAGES, origin, rows, gone)


def _with_tombstones(table: Table, origin: Origin, rows: pa.Table, job_ids: list[str]) -> pa.Table:
    tombstones = _arrow(
        table,
        len(job_ids),
        account=origin.account,
        job_kind=origin.kind.name,
        job_id=job_ids,
        position=0,
        **{TOMBSTONE: True},
    )
    return pa.concat_tables([rows, tombstones])


def rows_of_resources(origin: Origin, table: Table, resources: Sequence[tuple[str, Resource]]) -> pa.Table:
    """Return the rows of included *resources*, each with the id of the job whose detail held it."""
    named = {column for _, resource in resources[:1] for column in resource.columns}
    return _arrow(
        table,
        len(resources),
        account=origin.account,
        **{resources[0][1].entity.id_column: [resource.resource_id for _, resource in resources]}
        | {column: [resource.columns[column] for _, resource in resources] for column in named},
        seen_in_job_id=[job_id for job_id, _ in resources],
        seen_rank=[rank_of(job_id, resource) for job_id, resource in resources],
        extra=[resource.extra for _, resource in resources],
        run_id=origin.run_id,
    )


def rank_of(job_id: str, resource: Resource) -> str:
    """Return the value of `seen_rank`: of two reads of a resource the later state has the higher one."""
    updated_at: dt.datetime | None = resource.columns["updated_at"]
    return f"{updated_at.isoformat(timespec='microseconds') if updated_at else ''} {job_id}"


def rows_of_faults(origin: Origin, faults: Sequence[tuple[int, str, Fault]], rejected_at: dt.datetime) -> pa.Table:
    """Return the rows of what could not be read: position in the run, endpoint, fault."""
    return _arrow(
        REJECTED_RECORDS,
        len(faults),
        account=origin.account,
        run_id=origin.run_id,
        position=[position for position, _, _ in faults],
        job_kind=origin.kind.name,
        endpoint=[endpoint for _, endpoint, _ in faults],
        json_path=[fault.json_path for _, _, fault in faults],
        reason=[fault.reason for _, _, fault in faults],
        raw=[fault.raw[:RAW_BYTES].decode(errors="replace") for _, _, fault in faults],
        rejected_at=rejected_at,
    )


def row_of_listing(origin: Origin, **columns: Any) -> pa.Table:
    """Return the one row that a listing leaves in the ledger."""
    return _arrow(
        LISTINGS,
        1,
        account=origin.account,
        job_kind=origin.kind.name,
        run_id=origin.run_id,
        api_revision=origin.api_revision,
        **columns,
    )


def rows_of_vanished(held: pa.Table, run_id: str, vanished_at: dt.datetime) -> pa.Table:
    """Return stored rows of `jobs`, marked as vanished by this run."""
    for name, value in (("vanished_at", vanished_at), ("run_id", run_id)):
        index = JOBS.schema.get_field_index(name)
        field = JOBS.schema.field(index)
        held = held.set_column(index, field, pa.repeat(pa.scalar(value, field.type), held.num_rows))
    return held


def _arrow(table: Table, count: int, **columns: Any) -> pa.Table:
    """
    Return *count* rows of *table*.

    A list gives one value a row, anything else is the value of all rows, and a column not named is null.
    """
    arrays = []
    for column in table.schema:
        value = columns.pop(column.name, None)
        if isinstance(value, list):
            arrays.append(pa.array(value, column.type))
        elif value is None:
            arrays.append(pa.nulls(count, column.type))
        else:
            arrays.append(pa.repeat(pa.scalar(value, column.type), count))
    if columns:
        raise TypeError(f"{table.name} has no column {', '.join(columns)}")
    return pa.Table.from_arrays(arrays, schema=table.schema)
