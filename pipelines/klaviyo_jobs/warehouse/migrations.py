"""
Bring a warehouse that an earlier version made up to this version's contract, in place.

In:     an open warehouse whose tables are of an earlier contract, or none; a transaction around it.
Out:    the same rows in tables that have the columns of this contract and no others. A column that is new holds what
        can be told from the rows that are there, and null where nothing can.
When:   before the run asks what the warehouse holds. dlt adds missing columns too, but only while it loads, and by then
        a question about a column that is not there would have known no job.
Since:  contract 0, the first commit; 1 marked its tables; 2 made `job_linkages` slim, keeps a rejected record once, and
        tells by `content_hash` what has changed.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import pyarrow as pa

from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.model.content import content_hash
from klaviyo_jobs.model.records import Job, JobError, Linkage, time_of
from klaviyo_jobs.model.tables import JOB_LINKAGES, JOBS, REJECTED_RECORDS, TABLES, Table
from klaviyo_jobs.warehouse.engines.connection import CONTRACT_VERSION, RAW_SCHEMA, Connection

# What earlier contracts had and this one derives.
_DROPPED: Final = {JOB_LINKAGES.name: ("relationship", "external_id", "run_id")}
_TEMPORARY: Final = ("recent_jobs", "recent_job_errors", "recent_job_linkages")
# How many jobs are hashed at once: their children are in memory then.
_JOBS_AT_ONCE: Final = 1000


def is_of_earlier_contract(connection: Connection) -> bool:
    """Tell whether `migrate` would change anything."""
    columns = _columns_of(connection)
    is_whole = all(columns[name].issuperset(table.schema.names) for name, table in TABLES.items() if name in columns)
    return JOBS.name in columns and (connection.contract < CONTRACT_VERSION or not is_whole)


def migrate(connection: Connection) -> None:
    """Change the tables that are there to this version's contract; *connection* is inside a transaction."""
    if not is_of_earlier_contract(connection):
        return
    columns = _columns_of(connection)
    if "record_hash" not in columns.get(REJECTED_RECORDS.name, {"record_hash"}):
        _keep_rejected_records_once(connection)
    for table in TABLES.values():
        lacking = set(table.schema.names) - columns.get(table.name, set(table.schema.names))
        if table.name != REJECTED_RECORDS.name and lacking:
            _add_columns(connection, table, lacking)
    for table_name, dropped in _DROPPED.items():
        for column in columns.get(table_name, set()).intersection(dropped):
            connection.run_own(f"alter table {RAW_SCHEMA}.{table_name} drop column {column}")
    if connection.contract < CONTRACT_VERSION:
        LOGGER.info("changing the warehouse from contract %s to %s", connection.contract, CONTRACT_VERSION)
        _count_unread_children(connection)
        _hash_recent_jobs(connection)
        # dlt makes it anew, with the columns that tables have now.
        connection.run_own(f"drop schema if exists {RAW_SCHEMA}_staging cascade")
        connection.mark_contract()


def _columns_of(connection: Connection) -> dict[str, set[str]]:
    columns: dict[str, set[str]] = defaultdict(set)
    for column in connection.columns():
        if column.schema == RAW_SCHEMA:
            columns[column.table].add(column.name)
    return columns


def _add_columns(connection: Connection, table: Table, lacking: set[str]) -> None:
    # Only where something is to be added: DuckDB's way from an Arrow type to its own imports `pyarrow.dataset`.
    for column, column_type in connection.types_of(table.schema).items():
        if column in lacking:
            LOGGER.info("adding the column %s.%s to the warehouse", table.name, column)
            connection.run_own(f"alter table {RAW_SCHEMA}.{table.name} add column {column} {column_type}")


def _keep_rejected_records_once(connection: Connection) -> None:
    """Make one row of all that runs left of one record: that of the last, and when and by how many it was met."""
    old, new = f"{RAW_SCHEMA}.rejected_records_of_contract_1", f"{RAW_SCHEMA}.{REJECTED_RECORDS.name}"
    columns = ", ".join(
        f"{column} {column_type}{' not null' if column in REJECTED_RECORDS.key else ''}"
        for column, column_type in connection.types_of(REJECTED_RECORDS.schema).items()
    )
    connection.run_own(f"alter table {new} rename to rejected_records_of_contract_1")
    connection.run_own(f"create table {new} ({columns})")
    connection.execute(
        f"""
        insert into {new} (
            account, job_kind, record_hash, endpoint, json_path, reason, raw, first_rejected_at, last_rejected_at,
            times, run_id
        )
        select
            account,
            job_kind,
            substr(sha256(raw), 1, 32) as record_hash,
            arg_max(endpoint, (rejected_at, position)) as endpoint,
            arg_max(json_path, (rejected_at, position)) as json_path,
            arg_max(reason, (rejected_at, position)) as reason,
            min(raw) as raw,
            min(rejected_at) as first_rejected_at,
            max(rejected_at) as last_rejected_at,
            count(distinct run_id) as times,
            arg_max(run_id, (rejected_at, position)) as run_id
        from {old}
        group by account, job_kind, sha256(raw)
        """
    )
    connection.run_own(f"drop table {old}")


def _count_unread_children(connection: Connection) -> None:
    """Set how many errors and linkages could not be read: those that were counted and have no row."""
    for child in ("error", "linkage"):
        connection.execute(
            f"""
            update {RAW_SCHEMA}.{JOBS.name} as j
            set unread_{child}_count = coalesce({child}_count, 0) - (
                select count(*) from {RAW_SCHEMA}.job_{child}s as c
                where c.account = j.account and c.job_kind = j.job_kind and c.job_id = j.job_id
            )
            where unread_{child}_count is null
            """
        )


def _hash_recent_jobs(connection: Connection) -> None:
    """Give the jobs that the API may still list the hash of what is stored of them, so that none is taken for new."""
    for table in _TEMPORARY:
        connection.run_own(f"drop table if exists {table}")
    connection.execute(
        f"""
        create temp table recent_jobs as
        with newest as (
            select account, job_kind, max(created_at) as created_at
            from {RAW_SCHEMA}.{JOBS.name}
            group by account, job_kind
        )
        select j.*, row_number() over () as nth
        from {RAW_SCHEMA}.{JOBS.name} as j
        inner join newest on j.account = newest.account and j.job_kind = newest.job_kind
        where
            j.content_hash is null
            and j.created_at is not null
            and (j.expires_at is null or j.expires_at > newest.created_at)
        """
    )
    for child in ("job_errors", "job_linkages"):
        connection.execute(
            f"""
            create temp table recent_{child} as
            select c.*, r.nth
            from {RAW_SCHEMA}.{child} as c
            inner join recent_jobs as r on c.account = r.account and c.job_kind = r.job_kind and c.job_id = r.job_id
            """
        )
    [(count,)] = connection.execute("select count(*) from recent_jobs").fetchall()
    for start in range(1, count + 1, _JOBS_AT_ONCE):
        numbers = start, start + _JOBS_AT_ONCE - 1
        jobs = _jobs_of(connection, *numbers)
        hashes = pa.table({"nth": list(jobs), "content_hash": [content_hash(job) for job in jobs.values()]})
        with connection.put_rows("hashes", hashes):
            connection.execute(
                f"""
                update {RAW_SCHEMA}.{JOBS.name} as j
                set content_hash = hashes.content_hash
                from recent_jobs as r
                inner join hashes on r.nth = hashes.nth
                where r.account = j.account and r.job_kind = j.job_kind and r.job_id = j.job_id
                """
            )
    for table in _TEMPORARY:
        connection.run_own(f"drop table {table}")


def _jobs_of(connection: Connection, first: int, last: int) -> dict[int, Job]:
    """Return the recent jobs with these numbers as they are stored, by number."""
    jobs: dict[int, Job] = {}
    positions: defaultdict[int, list[int]] = defaultdict(list)
    found = connection.execute(
        """
        select
            nth, job_id, status, epoch_us(created_at), epoch_us(completed_at), epoch_us(expires_at),
            total_count, completed_count, failed_count, unread_error_count, unread_linkage_count, extra
        from recent_jobs
        where nth between ? and ?
        """,
        (first, last),
    ).fetchall()
    for nth, job_id, status, created, completed, expires, total, done, failed, errors, linkages, extra in found:
        jobs[nth] = Job(
            job_id,
            status,
            time_of(created),
            completed_at=None if completed is None else time_of(completed),
            expires_at=None if expires is None else time_of(expires),
            total_count=total,
            completed_count=done,
            failed_count=failed,
            unread_error_count=errors,
            unread_linkage_count=linkages,
            extra=extra,
        )
    for nth, *members in _children_of(connection, "job_errors", JobError.__struct_fields__, first, last):
        jobs[nth].errors.append(JobError(*members))
    for nth, position, related_type, related_id in _children_of(
        connection, "job_linkages", ("position", "related_type", "related_id"), first, last
    ):
        jobs[nth].linkages.append(Linkage(related_type, related_id))
        positions[nth].append(position)
    for nth, of_job in positions.items():
        jobs[nth].linkage_positions = of_job
    return jobs


def _children_of(
    connection: Connection, table: str, columns: tuple[str, ...], first: int, last: int
) -> list[tuple[Any, ...]]:
    return connection.execute(
        f"select nth, {', '.join(columns)} from recent_{table} where nth between ? and ? order by nth, position",
        (first, last),
    ).fetchall()
