"""
Ask the warehouse what it already knows: the only memory from one run to the next.

In:     the destination of the running dlt pipeline, whatever engine it is.
Out:    `KnownJob` by job id, and the stored rows of jobs that had not finished.
Rule:   a job counts as known for good only if it arrived in a load that completed (its `run_id` is a load id with
        status 0 in `_dlt_loads`); of a load that was cut off, the job may be there and its children not.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import pyarrow as pa
from dlt import Pipeline
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema.typing import LOADS_TABLE_NAME
from dlt.destinations.sql_client import SqlClientBase

from klaviyo_jobs.model.records import Observation, State
from klaviyo_jobs.model.tables import JOB_OBSERVATIONS, JOBS, SEEN_RANK, TIME, Table

# Statuses after which a job does not change any more; any other, known or not, may still move.
FINISHED: Final = ("complete", "cancelled")

# How many ids one question names: engines bound the length of a statement.
_LOOKUP_IDS: Final = 1000
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

_OBSERVATION: Final = ", ".join(Observation._fields)


class _JobRow(NamedTuple):
    """What is selected of a job; times in microseconds since 1970. The fields write the SELECT."""

    job_id: str
    status: str | None
    total_count: int | None
    completed_count: int | None
    failed_count: int | None
    error_count: int | None
    linkage_count: int | None
    created_at: int | None
    completed_at: int | None
    expires_at: int | None
    first_seen_at: int | None
    last_changed_at: int | None
    detail_read_at: int | None
    vanished_at: int | None


@dataclass(frozen=True, slots=True)
class KnownJob:
    """
    What the warehouse knows of one job.

    Attributes:
        state: As it was last written.
        first_seen_at: When a run first saw it.
        last_changed_at: When a run last saw its state changed.
        has_vanished: Whether it is marked as vanished.
        detail_read_at: When its detail with included resources was last read, if it was.
        is_settled: Whether it arrived in a load that completed.
    """

    state: State
    first_seen_at: dt.datetime
    last_changed_at: dt.datetime
    has_vanished: bool
    detail_read_at: dt.datetime | None
    is_settled: bool


class Destination:
    """
    One connection to the destination of a pipeline, for all listings of a load.

    dlt resolves its configuration for each client it opens, which takes a tenth of a second, and must do so in the
    thread that it extracts in. So one is opened there and shared: its users enter and leave it one inside the other or
    overlapping, the last one out closes it, and questions from several threads are asked one at a time.

    Args:
        pipeline: Whose destination and dataset are asked; None where a resource is read without one, and so nothing is
            known.
    """

    def __init__(self, pipeline: Pipeline | None) -> None:
        self._pipeline = pipeline
        self._client: SqlClientBase[Any] | None = None
        self._user_count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._pipeline is not None and self._client is None:
            client = self._pipeline.sql_client()
            client.open_connection()
            self._client = client
        self._user_count += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._user_count -= 1
        if self._client is not None and not self._user_count:
            client, self._client = self._client, None
            client.close_connection()

    def name_of(self, table: str) -> str:
        """Return the name of *table* as a query has to write it."""
        return self._client.make_qualified_table_name(table) if self._client else table

    def query(self, sql: str, *parameters: str) -> pa.Table:
        """Ask, and answer with no rows if there is no warehouse yet, or no such table in it."""
        if self._client is not None:
            try:
                with self._lock, self._client.execute_query(sql, *parameters) as cursor:
                    found = cursor.arrow()
                    return pa.table({}) if found is None else found
            except DestinationUndefinedEntity:
                pass
        return pa.table({})


class KnownJobs:
    """
    The warehouse's answer to "what do you know of these jobs?", for one account and job kind.

    Made in the thread that dlt extracts in, it asks at once for the jobs that the API may still list.

    Args:
        destination: What is asked; open as long as this is used.
        account: The account's label.
        kind: The job kind's name.
    """

    def __init__(self, destination: Destination, account: str, kind: str) -> None:
        self._destination = destination
        self._account = account
        self._kind = kind
        self._recent = self._recall()
        counted = self._query(
            f"select count(*) from {self._name(JOBS.name)} as j where j.account = %s and j.job_kind = %s", account, kind
        )
        self._has_others = any(count != len(self._recent) for (count,) in _tuples(counted))
        self._has_observations = not self.is_empty(JOB_OBSERVATIONS)

    def _recall(self) -> dict[str, KnownJob]:
        """
        Read, in one question, the jobs that the API may still list.

        They are those that expire after the newest one was created, whatever the clocks say: a job that has expired is
        no longer listed, and the newest was created before now. Any other is looked up by its id in `find`.
        """
        where = "j.account = %s and j.job_kind = %s"
        found = self._known(
            f"""
            {where} and (
                j.expires_at is null
                or j.expires_at > (
                    select max(j.created_at) from {self._name(JOBS.name)} as j where {where}
                )
            )
            """,
            *(self._account, self._kind) * 2,
        )
        return dict(found)

    def find(self, job_ids: Sequence[str]) -> dict[str, KnownJob]:
        """Return what is known of *job_ids*; those never stored are absent."""
        known = {job_id: job for job_id in job_ids if (job := self._recent.get(job_id))}
        if self._has_others:
            for some in _portions([job_id for job_id in job_ids if job_id not in known]):
                where = f"j.account = %s and j.job_kind = %s and j.job_id in ({_marks(some)})"
                known.update(self._known(where, self._account, self._kind, *some))
        return known

    def last_observations(self, job_ids: Sequence[str]) -> dict[str, Observation]:
        """Return the newest stored observation of each of *job_ids*, of whatever load it is."""
        observations = {}
        for some in _portions(job_ids if self._has_observations else ()):
            found = self._query(
                f"""
                with ranked as (
                    select
                        job_id,
                        {_OBSERVATION},
                        row_number() over (partition by job_id order by observed_at desc) as nth
                    from {self._name(JOB_OBSERVATIONS.name)}
                    where account = %s and job_kind = %s and job_id in ({_marks(some)})
                )
                select job_id, {_OBSERVATION} from ranked where nth = 1
                """,
                self._account,
                self._kind,
                *some,
            )
            observations.update({row[0]: Observation(*row[1:]) for row in _tuples(found)})
        return observations

    def find_ranks(self, table: Table, resource_ids: Sequence[str]) -> dict[str, str]:
        """Return the rank of those of *resource_ids* that the table of included resources holds."""
        ranks = {}
        for some in _portions(resource_ids):
            found = self._query(
                f"""
                select {table.key[-1]}, {SEEN_RANK}
                from {self._name(table.name)}
                where account = %s and {table.key[-1]} in ({_marks(some)})
                """,
                self._account,
                *some,
            )
            ranks.update({row[0]: row[1] or "" for row in _tuples(found)})
        return ranks

    def is_empty(self, table: Table) -> bool:
        """Tell whether *table* holds no row of the account, so that nothing in it need be looked up."""
        found = self._query(f"select 1 from {self._name(table.name)} where account = %s limit 1", self._account)
        return found.num_rows == 0

    def unfinished(self) -> pa.Table:
        """Return the stored rows of the jobs that may still move and have not vanished, in the columns of `jobs`."""
        found = self._query(
            f"""
            select {", ".join(JOBS.schema.names)}
            from {self._name(JOBS.name)}
            where account = %s and job_kind = %s and vanished_at is null
                and status not in ({", ".join(f"'{status}'" for status in FINISHED)})
            """,
            self._account,
            self._kind,
        )
        return found.cast(JOBS.schema) if found.num_rows else JOBS.schema.empty_table()

    def _known(self, where: str, *parameters: str) -> Iterator[tuple[str, KnownJob]]:
        found = self._query(
            f"""
            select
                {", ".join(f"j.{name}" for name in _JobRow._fields)},
                case when l.load_id is null then 0 else 1 end as is_settled
            from {self._name(JOBS.name)} as j
            left join {self._name(LOADS_TABLE_NAME)} as l on l.load_id = j.run_id and l.status = 0
            where {where}
            """,
            *parameters,
        )
        for *columns, is_settled in _tuples(found):
            row = _JobRow(*columns)
            if row.first_seen_at is None or row.last_changed_at is None:
                continue  # no run of ours wrote the row
            counts = (row.total_count, row.completed_count, row.failed_count, row.error_count, row.linkage_count)
            times = (row.created_at, row.completed_at, row.expires_at)
            yield (
                row.job_id,
                KnownJob(
                    state=State(Observation(row.status, *counts), times),
                    first_seen_at=_time(row.first_seen_at),
                    last_changed_at=_time(row.last_changed_at),
                    has_vanished=row.vanished_at is not None,
                    detail_read_at=None if row.detail_read_at is None else _time(row.detail_read_at),
                    is_settled=bool(is_settled),
                ),
            )

    def _name(self, table: str) -> str:
        return self._destination.name_of(table)

    def _query(self, sql: str, *parameters: str) -> pa.Table:
        return self._destination.query(sql, *parameters)


def _tuples(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of *table*, times as microseconds since 1970: a fifth of the cost of Python's own."""
    columns = [
        column.cast(TIME).cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        for column in table.itercolumns()
    ]
    return zip(*(column.to_pylist() for column in columns), strict=True)


def _time(microseconds: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=microseconds)


def _portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _LOOKUP_IDS] for start in range(0, len(ids), _LOOKUP_IDS))


def _marks(values: Sequence[str]) -> str:
    return ", ".join(["%s"] * len(values))
