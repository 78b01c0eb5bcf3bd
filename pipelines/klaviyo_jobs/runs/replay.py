"""
Read rejected records again, with what this version has learnt to read.

In:     the rows of `klaviyo_raw.rejected_records`.
Out:    those that can be read now stand in their tables, and are rejected no more; the others stay as they are.
Rules:  a job that the warehouse holds by now was read after all, later than the record, and is left alone. Parts of a
        job (one error, one linkage) cannot be placed without it: `--full-refresh` reads them again with their job.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import dlt
import msgspec
import pyarrow as pa
from dlt.extract.items import DataItemWithMeta

from klaviyo_jobs.extract.loads import TableMarks
from klaviyo_jobs.extract.rows import RowContext, SeenJob, rank_of, rows_of_jobs, rows_of_resources
from klaviyo_jobs.extract.source import SCHEMA_NAME
from klaviyo_jobs.model.kinds import KINDS, JobKind
from klaviyo_jobs.model.parse import parse_page, parse_resource_into
from klaviyo_jobs.model.records import Parsed, Resource, time_of
from klaviyo_jobs.model.tables import ENTITY_TABLES, JOB_OBSERVATIONS, JOBS, REJECTED_RECORDS, SEEN_RANK, TABLES
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA, Connection
from klaviyo_jobs.warehouse.engines.engine import Engine
from klaviyo_jobs.warehouse.load import load

_KEY: Final = REJECTED_RECORDS.key


@dataclass(slots=True)
class Replayed:
    """How a replay went: records found, jobs and resources that were read, and records that stay rejected."""

    record_count: int = 0
    job_count: int = 0
    resource_count: int = 0
    left_count: int = 0


@dataclass(slots=True)
class _Readable:
    """
    What can be read now, of one account, kind and revision.

    Attributes:
        seen: Each job as its last record has it.
        earlier: Jobs as records before the last one have them; they leave an observation and no more.
        resources: Each included resource with the job that it came with.
    """

    seen: dict[str, SeenJob] = field(default_factory=dict)
    earlier: list[SeenJob] = field(default_factory=list)
    resources: list[tuple[str, Resource]] = field(default_factory=list)


class _Record(NamedTuple):
    """A rejected record, and which runs met it: the first and the last."""

    account: str
    kind: JobKind
    record_hash: str
    api_revision: str
    endpoint: str
    raw: msgspec.Raw
    first_rejected_at: dt.datetime
    last_rejected_at: dt.datetime


def replay_rejected(engine: Engine, working_directory: Path, accounts: Collection[str]) -> Replayed:
    """
    Read every rejected record of *accounts* again.

    Args:
        engine: Where the warehouse is.
        working_directory: A folder for temporary files.
    Raises:
        WarehouseError: The warehouse cannot be opened.
    """
    replayed = Replayed()
    readable: dict[tuple[str, JobKind, str], _Readable] = defaultdict(_Readable)
    places: dict[tuple[str, JobKind, str], _Readable] = {}
    settled: list[tuple[Any, ...]] = []
    with engine.open() as connection:
        for record in _rejected(connection):
            if record.account not in accounts:
                continue
            replayed.record_count += 1
            into = readable[record.account, record.kind, record.api_revision]
            if _read_again(connection, into, places, record):
                settled.append((record.account, record.kind.name, record.record_hash))
    replayed.left_count = replayed.record_count - len(settled)
    replayed.job_count = sum(len(found.seen) for found in readable.values())
    replayed.resource_count = sum(len(found.resources) for found in readable.values())
    if replayed.job_count or replayed.resource_count:
        load(_build_source(readable), engine, working_directory / "replay")
    if settled:
        marks = " and ".join(f"{column} = ?" for column in _KEY)
        with engine.open() as connection, connection.transaction():
            for key in settled:
                connection.execute(f"delete from {RAW_SCHEMA}.{REJECTED_RECORDS.name} where {marks}", key)
    return replayed


def _rejected(connection: Connection) -> Iterator[_Record]:
    """Yield every record, in the order in which runs last met them."""
    if not connection.has_table(REJECTED_RECORDS.name):
        return
    found = connection.execute(
        f"""
        select
            r.account, r.job_kind, r.record_hash, l.api_revision, r.endpoint, r.raw,
            epoch_us(r.first_rejected_at), epoch_us(r.last_rejected_at)
        from {RAW_SCHEMA}.rejected_records as r
        left join {RAW_SCHEMA}.listings as l
            on l.account = r.account and l.job_kind = r.job_kind and l.run_id = r.run_id
        order by r.last_rejected_at, r.first_rejected_at, r.record_hash
        """
    ).fetchall()
    for account, kind, key, revision, endpoint, text, first, last in found:
        raw = msgspec.Raw(text.encode(errors="replace"))
        yield _Record(account, KINDS[kind], key, revision or "", endpoint, raw, time_of(first), time_of(last))


def _read_again(
    connection: Connection,
    readable: _Readable,
    places: dict[tuple[str, JobKind, str], _Readable],
    record: _Record,
) -> bool:
    """Put what *record* holds into *readable*; *places* tells where each job is. Tell whether the record is settled."""
    account, kind, raw = record.account, record.kind, record.raw
    try:
        record_type = msgspec.json.decode(raw).get("type")
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, RecursionError):
        return False
    if record_type == kind.job_type:
        parsed = parse_page(kind, [(0, raw)])
        if parsed.faults or not parsed.jobs:
            return False
        [job] = parsed.jobs
        if not _is_held(connection, account, kind, job.job_id):
            # Each state of the job that could not be read left a record: the first was seen first, the last counts.
            seen = SeenJob(job, record.first_rejected_at, record.first_rejected_at, record.first_rejected_at)
            place = account, kind, job.job_id
            if place in places:
                earlier = places[place].seen.pop(job.job_id)
                places[place].earlier.append(earlier)
                seen.first_seen_at = earlier.first_seen_at
                seen.is_observed = job.observation != earlier.job.observation
                if job.content_hash == earlier.job.content_hash:
                    seen.last_changed_at = earlier.last_changed_at
            readable.seen[job.job_id] = seen
            places[place] = readable
        return True
    if kind.included is not None and record_type == kind.included.resource_type:
        # The path of a detail ends with the id of the job that the resource came with.
        job_id = unquote(record.endpoint.rpartition("/")[2])
        parsed = Parsed()
        parse_resource_into(parsed, kind, raw, "$")
        for resource in parsed.resources:
            table = ENTITY_TABLES[kind.included.table_name]
            if rank_of(job_id, resource) > _held_rank(connection, table.name, table.key[-1], account, resource):
                readable.resources.append((job_id, resource))
        return bool(parsed.resources)
    return False


def _is_held(connection: Connection, account: str, kind: JobKind, job_id: str) -> bool:
    found = connection.execute(
        f"select 1 from {RAW_SCHEMA}.{JOBS.name} where account = ? and job_kind = ? and job_id = ?",
        (account, kind.name, job_id),
    )
    return found.fetchone() is not None


def _held_rank(connection: Connection, table: str, id_column: str, account: str, resource: Resource) -> str:
    if not connection.has_table(table):
        return ""
    found = connection.execute(
        f"select {SEEN_RANK} from {RAW_SCHEMA}.{table} where account = ? and {id_column} = ?",
        (account, resource.resource_id),
    ).fetchone()
    return found[0] or "" if found else ""


@dlt.source(name=SCHEMA_NAME, section=SCHEMA_NAME)
def _build_source(readable: dict[tuple[str, JobKind, str], _Readable]) -> Any:
    """Return a source of what can be read now."""

    @dlt.resource
    def replayed() -> Iterator[DataItemWithMeta]:
        run_id, marks = dlt.current.load_package_state()["load_id"], TableMarks()
        for (account, kind, revision), found in readable.items():
            context = RowContext(account, kind, run_id, revision)
            batch: dict[str, pa.Table] = rows_of_jobs(context, list(found.seen.values()))
            before = rows_of_jobs(context, found.earlier)[JOB_OBSERVATIONS.name]
            batch[JOB_OBSERVATIONS.name] = pa.concat_tables([before, batch[JOB_OBSERVATIONS.name]])
            if found.resources:
                table = ENTITY_TABLES[found.resources[0][1].entity.table_name]
                batch[table.name] = rows_of_resources(context, table, found.resources)
            for name, rows in batch.items():
                yield marks.mark(TABLES[name], rows)

    return replayed
