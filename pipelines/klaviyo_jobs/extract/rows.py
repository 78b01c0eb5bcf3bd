"""
Flatten parsed records into one Arrow batch a table.

In:     records of `model/records.py`, each with what the warehouse already knows of it.
Out:    Arrow tables, with the columns that `model/tables.py` declares.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, Final

import pyarrow as pa

from klaviyo_jobs.model.days import day_of, zone_of
from klaviyo_jobs.model.fingerprints import fingerprint_of
from klaviyo_jobs.model.kinds import JobKind
from klaviyo_jobs.model.records import Fault, Job, Resource
from klaviyo_jobs.model.tables import (
    JOB_ERRORS,
    JOB_LINKAGES,
    JOB_OBSERVATIONS,
    JOBS,
    LISTINGS,
    REJECTED_RECORDS,
    TEXT,
    TOMBSTONE,
    Table,
)

# What is kept of a record that cannot be read; five times the largest job that Klaviyo documents.
RAW_BYTES: Final = 1024 * 1024


Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RowContext:
    """
    Where rows come from: the columns that all rows of one listing share.

    Attributes:
        reporting_timezone: The zone whose days jobs are created and completed on.
    """

    account: str
    kind: JobKind
    run_id: str
    api_revision: str
    reporting_timezone: str = "UTC"


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
        errors_read_at: When the errors that are a list of their own were last read to the end.
        is_observed: Whether its status and counts differ from those of the last observation.
    """

    job: Job
    read_at: dt.datetime
    first_seen_at: dt.datetime
    last_changed_at: dt.datetime
    detail_read_at: dt.datetime | None = None
    errors_read_at: dt.datetime | None = None
    is_observed: bool = True


def rows_of_jobs(
    context: RowContext, seen: Sequence[SeenJob], superseded: Sequence[SeenJob] = ()
) -> dict[str, pa.Table]:
    """
    Return the rows of *seen* jobs: their own, those of their errors and linkages, and their observations.

    Of *superseded* reads nothing is left but their observations.

    A job without errors (or linkages) gets one tombstone row in their place: earlier ones may be stored, be it by a
    load that was cut off and of which nothing else tells.
    """
    jobs = [reading.job for reading in seen]
    observed = [*superseded, *(reading for reading in seen if reading.is_observed)]
    zone = zone_of(context.reporting_timezone)
    return {
        JOBS.name: _arrow(
            JOBS,
            len(jobs),
            account=context.account,
            job_kind=context.kind.name,
            job_id=[job.job_id for job in jobs],
            status=[job.status for job in jobs],
            created_at=[job.created_at for job in jobs],
            completed_at=[job.completed_at for job in jobs],
            expires_at=[job.expires_at for job in jobs],
            started_at=[job.started_at for job in jobs],
            created_on=[day_of(job.created_at, zone) for job in jobs],
            completed_on=[day_of(job.completed_at, zone) for job in jobs],
            total_count=[job.total_count for job in jobs],
            completed_count=[job.completed_count for job in jobs],
            failed_count=[job.failed_count for job in jobs],
            skipped_count=[job.skipped_count for job in jobs],
            error_count=[job.error_count for job in jobs],
            linkage_count=[job.linkage_count for job in jobs],
            unread_error_count=[job.unread_error_count for job in jobs],
            unread_linkage_count=[job.unread_linkage_count for job in jobs],
            first_seen_at=[reading.first_seen_at for reading in seen],
            last_changed_at=[reading.last_changed_at for reading in seen],
            detail_read_at=[reading.detail_read_at for reading in seen],
            errors_read_at=[reading.errors_read_at for reading in seen],
            content_hash=[job.content_hash for job in jobs],
            listed_hash=[job.listed_hash for job in jobs],
            api_revision=context.api_revision,
            extra=[job.extra for job in jobs],
            run_id=context.run_id,
        ),
        JOB_ERRORS.name: _rows_of_errors(context, seen),
        JOB_LINKAGES.name: _rows_of_linkages(context, seen),
        JOB_OBSERVATIONS.name: _arrow(
            JOB_OBSERVATIONS,
            len(observed),
            account=context.account,
            job_kind=context.kind.name,
            job_id=[reading.job.job_id for reading in observed],
            observed_at=[reading.read_at for reading in observed],
            status=[reading.job.status for reading in observed],
            total_count=[reading.job.total_count for reading in observed],
            completed_count=[reading.job.completed_count for reading in observed],
            failed_count=[reading.job.failed_count for reading in observed],
            skipped_count=[reading.job.skipped_count for reading in observed],
            error_count=[reading.job.error_count for reading in observed],
            linkage_count=[reading.job.linkage_count for reading in observed],
            run_id=context.run_id,
        ),
    }


def _rows_of_errors(context: RowContext, seen: Sequence[SeenJob]) -> pa.Table:
    pairs = [(reading.job.job_id, error) for reading in seen for error in reading.job.errors]
    # Those that could not be read are not gone.
    gone = [reading.job.job_id for reading in seen if not reading.job.errors and reading.job.errors_are_known]
    rows = _arrow(
        JOB_ERRORS,
        len(pairs),
        account=context.account,
        job_kind=context.kind.name,
        job_id=[job_id for job_id, _ in pairs],
        position=[error.position for _, error in pairs],
        error_id=[error.error_id for _, error in pairs],
        code=[error.code for _, error in pairs],
        title=[error.title for _, error in pairs],
        detail=[error.detail for _, error in pairs],
        fingerprint=[fingerprint_of(error.detail, error.title, error.code, error.related_id) for _, error in pairs],
        source_pointer=[error.source_pointer for _, error in pairs],
        related_id=[error.related_id for _, error in pairs],
        meta=[error.meta for _, error in pairs],
        original_payload=[error.original_payload for _, error in pairs],
        run_id=context.run_id,
    )
    return _with_tombstones(JOB_ERRORS, context, rows, gone)


def _rows_of_linkages(context: RowContext, seen: Sequence[SeenJob]) -> pa.Table:
    jobs = [reading.job for reading in seen]
    linkages = list(chain.from_iterable(job.linkages for job in jobs))
    types = [linkage.type for linkage in linkages]
    gone = [reading.job.job_id for reading in seen if not reading.job.linkages]
    rows = _arrow(
        JOB_LINKAGES,
        len(linkages),
        account=context.account,
        job_kind=context.kind.name,
        job_id=_repeated([job.job_id for job in jobs], [len(job.linkages) for job in jobs]),
        position=list(chain.from_iterable(job.linkage_positions for job in jobs)),
        # One type for all but never fails to hold, and is written at once.
        related_type=types[0] if types and types.count(types[0]) == len(types) else types,
        related_id=[linkage.id for linkage in linkages],
    )
    return _with_tombstones(JOB_LINKAGES, context, rows, gone)


def _repeated(texts: list[str], times: list[int]) -> pa.Array[Any]:
    """Return each of *texts* as often as *times* says."""
    # Not before there are rows: it takes a tenth of a second, which dlt spends in a load, and nothing else need spend.
    from pyarrow.compute import call_function

    runs = [(text, count) for text, count in zip(texts, times, strict=True) if count]
    ends = pa.array(accumulate(count for _, count in runs), pa.int32())
    encoded: pa.Array[Any] = pa.RunEndEncodedArray.from_arrays(ends, pa.array([text for text, _ in runs], TEXT))
    repeated: pa.Array[Any] = call_function("run_end_decode", [encoded])
    return repeated


def _with_tombstones(table: Table, context: RowContext, rows: pa.Table, job_ids: list[str]) -> pa.Table:
    tombstones = _arrow(
        table,
        len(job_ids),
        account=context.account,
        job_kind=context.kind.name,
        job_id=job_ids,
        position=0,
        **{TOMBSTONE: True},
    )
    return pa.concat_tables([rows, tombstones])


def rows_of_resources(context: RowContext, table: Table, resources: Sequence[tuple[str, Resource]]) -> pa.Table:
    """Return the rows of included *resources*, each with the id of the job whose detail held it."""
    named = {column for _, resource in resources[:1] for column in resource.columns}
    return _arrow(
        table,
        len(resources),
        account=context.account,
        **{resources[0][1].entity.id_column: [resource.resource_id for _, resource in resources]}
        | {column: [resource.columns[column] for _, resource in resources] for column in named},
        seen_in_job_id=[job_id for job_id, _ in resources],
        seen_rank=[rank_of(job_id, resource) for job_id, resource in resources],
        extra=[resource.extra for _, resource in resources],
        run_id=context.run_id,
    )


def rank_of(job_id: str, resource: Resource) -> str:
    """Return the value of `seen_rank`: of two reads of a resource the later state has the higher one."""
    updated_at: dt.datetime | None = resource.columns.get("updated_at")
    return f"{updated_at.isoformat(timespec='microseconds') if updated_at else ''} {job_id}"


def rows_of_rejected(
    context: RowContext,
    rejected: dict[str, tuple[str, Fault]],
    before: dict[str, tuple[dt.datetime, int]],
    rejected_at: dt.datetime,
) -> pa.Table:
    """
    Return the rows of what could not be read.

    Args:
        rejected: Endpoint and fault of each record by its hash.
        before: Since when, and by how many runs, those among them were met that are stored already.
    """
    new = rejected_at, 0
    return _arrow(
        REJECTED_RECORDS,
        len(rejected),
        account=context.account,
        job_kind=context.kind.name,
        record_hash=list(rejected),
        endpoint=[endpoint for endpoint, _ in rejected.values()],
        json_path=[fault.json_path for _, fault in rejected.values()],
        reason=[fault.reason for _, fault in rejected.values()],
        raw=[fault.raw[:RAW_BYTES].decode(errors="replace") for _, fault in rejected.values()],
        first_rejected_at=[before.get(key, new)[0] for key in rejected],
        last_rejected_at=rejected_at,
        times=[before.get(key, new)[1] + 1 for key in rejected],
        run_id=context.run_id,
    )


def row_of_listing(context: RowContext, **columns: Any) -> Row:
    """Return the one row that a listing leaves in the ledger."""
    return {
        "account": context.account,
        "job_kind": context.kind.name,
        "run_id": context.run_id,
        "api_revision": context.api_revision,
        **columns,
    }


def rows_of_listings(rows: Sequence[Row]) -> pa.Table:
    """Return the *rows* of the ledger."""
    names = dict.fromkeys(name for row in rows for name in row)
    return _arrow(LISTINGS, len(rows), **{name: [row.get(name) for row in rows] for name in names})


def rows_of_vanished(stored: pa.Table, run_id: str, vanished_at: dt.datetime) -> pa.Table:
    """Return stored rows of `jobs`, marked as vanished by this run."""
    for name, value in (("vanished_at", vanished_at), ("run_id", run_id)):
        index = JOBS.schema.get_field_index(name)
        field = JOBS.schema.field(index)
        stored = stored.set_column(index, field, pa.repeat(pa.scalar(value, field.type), stored.num_rows))
    return stored


def _arrow(table: Table, count: int, **columns: Any) -> pa.Table:
    """
    Return *count* rows of *table*.

    A list or an array gives one value a row, anything else is the value of all rows, and a column not named is null.
    """
    arrays = []
    for column in table.schema:
        value = columns.pop(column.name, None)
        if isinstance(value, pa.Array):
            arrays.append(value)
        elif isinstance(value, list):
            arrays.append(pa.array(value, column.type))
        elif value is None:
            arrays.append(pa.nulls(count, column.type))
        else:
            arrays.append(pa.repeat(pa.scalar(value, column.type), count))
    if columns:
        raise TypeError(f"{table.name} has no column {', '.join(columns)}")
    return pa.Table.from_arrays(arrays, schema=table.schema)
