"""
Ask the destination of the running pipeline, whatever engine it is, over one connection a load.

In:     SQL that every engine understands, with `%s` for each parameter.
Out:    Arrow tables, or the stored jobs as they are known; no rows where there is no warehouse yet.
Never:  a job taken for settled that did not arrive in a load that completed (its `run_id` is a load id with status 0 in
        `_dlt_loads`): of a load that was cut off, the job may be there and its children not.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import pyarrow as pa
from dlt import Pipeline
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema.typing import LOADS_TABLE_NAME
from dlt.destinations.sql_client import SqlClientBase

from klaviyo_jobs.model.records import Job, Observation, State, time_of
from klaviyo_jobs.model.tables import JOBS, TIME, Table

# Statuses after which a job does not change any more; any other, known or not, may still move.
FINISHED: Final = ("complete", "cancelled")
# Of a job, called j: a complete listing that does not show it tells that it has vanished.
MAY_MOVE: Final = "j.vanished_at is null and j.status not in ({})".format(", ".join(f"'{each}'" for each in FINISHED))

# How many values one question names: engines bound the length of a statement.
_VALUES_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class KnownJob:
    """
    What the warehouse knows of one job.

    Attributes:
        content_hash: The hash of what was last written; None of a job that was written before there was one.
        state: As it was last written.
        first_seen_at: When a run first saw it.
        last_changed_at: When a run last saw its state changed.
        has_vanished: Whether it is marked as vanished.
        detail_read_at: When its detail with included resources was last read, if it was.
        errors_read_at: When the errors that are a list of their own were last read to the end, if they were.
        unread_error_count: Errors among those counted that have no row.
        is_settled: Whether it arrived in a load that completed.
    """

    content_hash: str | None
    state: State
    first_seen_at: dt.datetime
    last_changed_at: dt.datetime
    has_vanished: bool
    detail_read_at: dt.datetime | None
    is_settled: bool
    errors_read_at: dt.datetime | None = None
    unread_error_count: int = 0

    def is_same(self, job: Job) -> bool:
        """Tell whether *job* is as it was last written."""
        if self.content_hash is None:
            return self.state == job.state
        return self.content_hash == job.content_hash


class _StoredJob(NamedTuple):
    """A job as the warehouse answers: its fields write the SELECT. Times are microseconds since 1970."""

    job_id: str
    content_hash: str | None
    status: str | None
    total_count: int | None
    completed_count: int | None
    failed_count: int | None
    skipped_count: int | None
    error_count: int | None
    unread_error_count: int | None
    linkage_count: int | None
    created_at: int | None
    completed_at: int | None
    expires_at: int | None
    first_seen_at: int | None
    last_changed_at: int | None
    detail_read_at: int | None
    errors_read_at: int | None
    has_vanished: int
    is_settled: int

    def known(self) -> KnownJob | None:
        """Return what is known of the job; None if no run of ours can have written its row."""
        if self.first_seen_at is None or self.last_changed_at is None:
            return None
        return KnownJob(
            self.content_hash,
            State(
                Observation(
                    status=self.status,
                    total_count=self.total_count,
                    completed_count=self.completed_count,
                    failed_count=self.failed_count,
                    error_count=self.error_count,
                    linkage_count=self.linkage_count,
                    skipped_count=self.skipped_count,
                ),
                (self.created_at, self.completed_at, self.expires_at),
            ),
            first_seen_at=time_of(self.first_seen_at),
            last_changed_at=time_of(self.last_changed_at),
            has_vanished=bool(self.has_vanished),
            detail_read_at=None if self.detail_read_at is None else time_of(self.detail_read_at),
            is_settled=bool(self.is_settled),
            errors_read_at=None if self.errors_read_at is None else time_of(self.errors_read_at),
            unread_error_count=self.unread_error_count or 0,
        )


class RecentJob(NamedTuple):
    """
    A job that the API may still list, as far as tells that it need not be looked at again; its fields write the SELECT.

    Attributes:
        listed_hash: The hash of the bytes by which a listing showed it as it is stored.
        may_move: Whether a complete listing that lacks the job tells something: it had not finished or vanished.
    """

    account: str
    job_kind: str
    job_id: str
    listed_hash: str | None
    may_move: int
    has_vanished: int
    has_detail: int
    is_settled: int


# What the fields stand for that are not columns of `jobs`: whole numbers, which every engine has.
_STORED_AS: Final = {
    "may_move": f"case when {MAY_MOVE} then 1 else 0 end",
    "has_detail": "case when j.detail_read_at is null then 0 else 1 end",
    "has_vanished": "case when j.vanished_at is null then 0 else 1 end",
    # No run of ours left a row without these times.
    "is_settled": """
        case when l.load_id is null or j.first_seen_at is null or j.last_changed_at is null then 0 else 1 end
    """,
}

_J = TypeVar("_J", _StoredJob, RecentJob)


class Questions:
    """
    Asks the destination of *pipeline*: one question at a time over one connection, whichever threads ask.

    Entered and left in the thread that dlt extracts in, as often as there are listings to be read: what opens a
    connection resolves dlt's configuration, which no other thread may do, and takes a tenth of a second. It opens
    with the first that enters, and closes with the last that leaves.
    """

    def __init__(self, pipeline: Pipeline | None) -> None:
        self._pipeline = pipeline
        self._client: SqlClientBase[Any] | None = None
        self.user_count = 0
        self._lock = threading.Lock()
        self._is_empty: dict[tuple[str, str], bool] = {}

    @property
    def is_open(self) -> bool:
        """Whether somebody reads."""
        return self.user_count > 0

    def enter(self) -> None:
        """Open the connection, unless it is open."""
        if self._client is None and self._pipeline is not None:
            client = self._pipeline.sql_client()
            client.open_connection()
            self._client = client
        self.user_count += 1

    def leave(self) -> None:
        """Close the connection, unless others still read."""
        self.user_count -= 1
        if not self.is_open and self._client is not None:
            client, self._client = self._client, None
            client.close_connection()

    def name(self, table: str) -> str:
        """Return the name of *table* with its dataset, quoted."""
        return self._client.make_qualified_table_name(table) if self._client else table

    def ask(self, sql: str, *parameters: str) -> pa.Table:
        """Answer with no rows if there is no warehouse yet, or no such table in it."""
        if self._client is not None:
            try:
                # An answer is taken before the next question: some engines have one answer a connection.
                with self._lock, self._client.execute_query(sql, *parameters) as cursor:
                    found = cursor.arrow()
                    return pa.table({}) if found is None else _with_times(found)
            except DestinationUndefinedEntity:
                pass
        return pa.table({})

    def ask_recent(self, where: str, *parameters: str, join: str) -> Iterator[RecentJob]:
        """Answer with the jobs, called j, for which *where* holds; *join* brings other tables in."""
        return self._ask_jobs(RecentJob, where, *parameters, join=join)

    def ask_known(self, where: str, *parameters: str) -> dict[str, KnownJob]:
        """Answer with what is known of the jobs, called j, for which *where* holds, by their ids."""
        found = self._ask_jobs(_StoredJob, where, *parameters)
        return {job.job_id: known for job in found if (known := job.known())}

    def _ask_jobs(self, answer: type[_J], where: str, *parameters: str, join: str = "") -> Iterator[_J]:
        columns = ", ".join(f"{_STORED_AS.get(name, f'j.{name}')} as {name}" for name in answer._fields)
        found = self.ask(
            f"""
            select {columns}
            from {self.name(JOBS.name)} as j
            {join}
            left join {self.name(LOADS_TABLE_NAME)} as l on l.load_id = j.run_id and l.status = 0
            where {where}
            """,
            *parameters,
        )
        return map(answer._make, tuples_of(found))

    def is_empty(self, table: Table, account: str) -> bool:
        """Tell whether *table* had no row of *account* when this was first asked, so that there is nothing to find."""
        key = table.name, account
        if key not in self._is_empty:
            found = self.ask(f"select 1 from {self.name(table.name)} where account = %s limit 1", account)
            self._is_empty[key] = found.num_rows == 0
        return self._is_empty[key]

    def columns_lacking(self, table: Table) -> list[str]:
        """Return the columns of *table* that the warehouse lacks: all of them where it has no such table."""
        found = self.ask(f"select * from {self.name(table.name)} where 1 = 0")
        return [name for name in table.schema.names if name not in found.column_names]


def _with_times(table: pa.Table) -> pa.Table:
    """Return *table* with times where an engine that has none, such as SQLite, answers with texts, which are UTC."""
    for place, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        if name.endswith("_at") and pa.types.is_string(column.type):
            table = table.set_column(place, name, column.cast(pa.timestamp("us")).cast(TIME))
    return table


def tuples_of(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of *table*, times as microseconds since 1970: a fifth of the cost of Python's own."""
    columns = [
        column.cast(TIME).cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        for column in table.itercolumns()
    ]
    return zip(*(column.to_pylist() for column in columns), strict=True)


def portions_of(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield *values* in portions of as many as one question may name."""
    return (values[start : start + _VALUES_AT_ONCE] for start in range(0, len(values), _VALUES_AT_ONCE))


def marks_of(values: Sequence[str]) -> str:
    """Return a placeholder for each of *values*."""
    return ", ".join(["%s"] * len(values))
