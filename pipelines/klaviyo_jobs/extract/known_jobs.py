"""
Ask the warehouse which jobs it knows: the only memory from one run to the next.

In:     the destination of the running dlt pipeline, whatever engine it is, and the listings of one load.
Out:    `KnownJobs` for each listing: jobs by their ids, and the stored rows of those that had not finished.
Never:  a job taken for settled that did not arrive in a load that completed (its `run_id` is a load id with status 0 in
        `_dlt_loads`): of a load that was cut off, the job may be there and its children not.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
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

# How many values one question names: engines bound the length of a statement.
_VALUES_AT_ONCE: Final = 1000
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

_OBSERVATION: Final = ", ".join(Observation._fields)
_MAY_MOVE: Final = "vanished_at is null and status not in ({})".format(", ".join(f"'{each}'" for each in FINISHED))

# An account's label and a job kind's name.
ListingKey = tuple[str, str]


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

    @property
    def may_move(self) -> bool:
        """Whether a complete listing that does not show the job tells something: it had not finished or vanished."""
        status = self.state.observation.status
        return not self.has_vanished and status is not None and status not in FINISHED


class _StoredJob(NamedTuple):
    """A job as the warehouse answers: its fields write the SELECT. Times are microseconds since 1970."""

    account: str
    job_kind: str
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
    has_vanished: int
    is_settled: int

    def known(self) -> KnownJob | None:
        """Return what is known of the job; None if no run of ours can have written its row."""
        if self.first_seen_at is None or self.last_changed_at is None:
            return None
        return KnownJob(
            State(
                Observation(
                    status=self.status,
                    total_count=self.total_count,
                    completed_count=self.completed_count,
                    failed_count=self.failed_count,
                    error_count=self.error_count,
                    linkage_count=self.linkage_count,
                ),
                (self.created_at, self.completed_at, self.expires_at),
            ),
            first_seen_at=_time(self.first_seen_at),
            last_changed_at=_time(self.last_changed_at),
            has_vanished=bool(self.has_vanished),
            detail_read_at=None if self.detail_read_at is None else _time(self.detail_read_at),
            is_settled=bool(self.is_settled),
        )


# What the fields of `_StoredJob` stand for that are not columns of `jobs`: whole numbers, which every engine has.
_STORED_AS: Final = {
    "has_vanished": "case when j.vanished_at is null then 0 else 1 end",
    "is_settled": "case when l.load_id is null then 0 else 1 end",
}
_STORED_JOB: Final = ", ".join(f"{_STORED_AS.get(name, f'j.{name}')} as {name}" for name in _StoredJob._fields)


class _StoredListing(NamedTuple):
    """How many jobs of an account and kind are stored, and how many of them had not finished and not vanished."""

    account: str
    job_kind: str
    job_count: int
    moving_count: int


class _Questions:
    """
    Asks the destination of *pipeline*: one question at a time over one connection, whichever threads ask.

    Entered and left in the thread that dlt extracts in, as often as there are listings to be read: what opens a
    connection resolves dlt's configuration, which no other thread may do, and takes a tenth of a second. It opens
    with the first that enters, and closes with the last that leaves.
    """

    def __init__(self, pipeline: Pipeline | None) -> None:
        self._pipeline = pipeline
        self._client: SqlClientBase[Any] | None = None
        self._user_count = 0
        self._lock = threading.Lock()
        self._is_empty: dict[tuple[str, str], bool] = {}

    @property
    def is_open(self) -> bool:
        return self._user_count > 0

    def enter(self) -> None:
        if self._client is None and self._pipeline is not None:
            client = self._pipeline.sql_client()
            client.open_connection()
            self._client = client
        self._user_count += 1

    def leave(self) -> None:
        self._user_count -= 1
        if not self.is_open and self._client is not None:
            client, self._client = self._client, None
            client.close_connection()

    def name(self, table: str) -> str:
        return self._client.make_qualified_table_name(table) if self._client else table

    def ask(self, sql: str, *parameters: str) -> pa.Table:
        """Answer with no rows if there is no warehouse yet, or no such table in it."""
        if self._client is not None:
            try:
                # An answer is taken before the next question: some engines have one answer a connection.
                with self._lock, self._client.execute_query(sql, *parameters) as cursor:
                    found = cursor.arrow()
                    return pa.table({}) if found is None else found
            except DestinationUndefinedEntity:
                pass
        return pa.table({})

    def ask_jobs(self, where: str, *parameters: str, join: str = "") -> Iterator[_StoredJob]:
        """Answer with the rows of `jobs`, called j, for which *where* holds; *join* may bring other tables in."""
        found = self.ask(
            f"""
            select {_STORED_JOB}
            from {self.name(JOBS.name)} as j
            {join}
            left join {self.name(LOADS_TABLE_NAME)} as l on l.load_id = j.run_id and l.status = 0
            where {where}
            """,
            *parameters,
        )
        return map(_StoredJob._make, _tuples(found))

    def is_empty(self, table: Table, account: str) -> bool:
        """Tell whether *table* had no row of *account* when this was first asked, so that there is nothing to find."""
        key = table.name, account
        if key not in self._is_empty:
            found = self.ask(f"select 1 from {self.name(table.name)} where account = %s limit 1", account)
            self._is_empty[key] = found.num_rows == 0
        return self._is_empty[key]


class Recall:
    """
    What the warehouse knows when a load begins: asked once, for all its listings, over one connection.

    A context that may be entered several times, by each that reads some of the listings: the connection lasts from the
    first to the last of them.

    Args:
        pipeline: The running pipeline, whose destination and dataset are asked; None where a resource is read without
            one, and so nothing is known.
        listings: The account and kind of every listing that may be read.
    """

    def __init__(self, pipeline: Pipeline | None, listings: Iterable[ListingKey]) -> None:
        self._questions = _Questions(pipeline)
        self._listings = list(listings)
        self._has_asked = False
        self._stored: dict[ListingKey, _StoredListing] = {}
        self._recent: defaultdict[ListingKey, dict[str, KnownJob]] = defaultdict(dict)

    @property
    def is_open(self) -> bool:
        """Whether somebody reads."""
        return self._questions.is_open

    def __enter__(self) -> Self:
        self._questions.enter()
        if not self._has_asked:
            try:
                self._ask()
            except BaseException:
                self._questions.leave()
                raise
            self._has_asked = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._questions.leave()

    def known_jobs(self, account: str, kind: str) -> KnownJobs:
        """Hand over what is known of one listing's jobs, to be used while the recall is open."""
        key = account, kind
        return KnownJobs(self._questions, key, self._stored.get(key), self._recent.pop(key, {}))

    def _ask(self) -> None:
        """
        Read, in two questions, how much is stored of each listing, and the jobs that the API may still list.

        They are those that expire after the newest one was created, whatever the clocks say: a job that has expired is
        no longer listed, and the newest was created before now. Any other is looked up by its id in `find`.
        """
        kinds = sorted({kind for _, kind in self._listings})
        for accounts in _portions(sorted({account for account, _ in self._listings})):
            jobs_of_listings = f"""
                from {self._questions.name(JOBS.name)}
                where account in ({_marks(accounts)}) and job_kind in ({_marks(kinds)})
                group by account, job_kind
            """
            stored = self._questions.ask(
                f"""
                select account, job_kind, count(*) as job_count, count(case when {_MAY_MOVE} then 1 end) as moving_count
                {jobs_of_listings}
                """,
                *accounts,
                *kinds,
            )
            self._stored |= {(row.account, row.job_kind): row for row in map(_StoredListing._make, _tuples(stored))}
            recent = self._questions.ask_jobs(
                "j.expires_at is null or j.expires_at > n.created_at",
                *accounts,
                *kinds,
                join=f"""
                inner join (select account, job_kind, max(created_at) as created_at {jobs_of_listings}) as n
                    on n.account = j.account and n.job_kind = j.job_kind
                """,
            )
            for job in recent:
                if (known := job.known()) is not None:
                    self._recent[job.account, job.job_kind][job.job_id] = known


class KnownJobs:
    """
    The warehouse's answer to "what do you know of these jobs?", for the jobs of one listing.

    Any thread may ask. `Recall.known_jobs` makes it.
    """

    def __init__(
        self, questions: _Questions, listing: ListingKey, stored: _StoredListing | None, recent: dict[str, KnownJob]
    ) -> None:
        self._questions = questions
        self._listing = listing
        self._recent = recent
        self._has_others = stored is not None and stored.job_count > len(recent)
        moving_count = sum(known.may_move for known in recent.values())
        self._has_others_that_move = stored is not None and stored.moving_count > moving_count

    def find(self, job_ids: Sequence[str]) -> dict[str, KnownJob]:
        """Return what is known of *job_ids*; those never stored are absent."""
        found = {job_id: known for job_id in job_ids if (known := self._recent.get(job_id))}
        if self._has_others:
            for some in _portions([job_id for job_id in job_ids if job_id not in found]):
                stored = self._questions.ask_jobs(
                    f"j.account = %s and j.job_kind = %s and j.job_id in ({_marks(some)})", *self._listing, *some
                )
                found |= {job.job_id: known for job in stored if (known := job.known())}
        return found

    def last_observations(self, job_ids: Sequence[str]) -> dict[str, Observation]:
        """Return the newest stored observation of each of *job_ids*, of whatever load it is."""
        observations: dict[str, Observation] = {}
        if not job_ids or self._questions.is_empty(JOB_OBSERVATIONS, self._listing[0]):
            return observations
        for some in _portions(job_ids):
            found = self._questions.ask(
                f"""
                with ranked as (
                    select
                        job_id,
                        {_OBSERVATION},
                        row_number() over (partition by job_id order by observed_at desc) as nth
                    from {self._questions.name(JOB_OBSERVATIONS.name)}
                    where account = %s and job_kind = %s and job_id in ({_marks(some)})
                )
                select job_id, {_OBSERVATION} from ranked where nth = 1
                """,
                *self._listing,
                *some,
            )
            observations |= {job_id: Observation(*columns) for job_id, *columns in _tuples(found)}
        return observations

    def find_ranks(self, table: Table, resource_ids: Sequence[str]) -> dict[str, str]:
        """Return the rank of those of *resource_ids* that the table of included resources knows."""
        account, _ = self._listing
        ranks: dict[str, str] = {}
        # In a new warehouse there is nothing that a read could fall behind.
        if not resource_ids or self._questions.is_empty(table, account):
            return ranks
        for some in _portions(resource_ids):
            found = self._questions.ask(
                f"""
                select {table.key[-1]}, {SEEN_RANK}
                from {self._questions.name(table.name)}
                where account = %s and {table.key[-1]} in ({_marks(some)})
                """,
                account,
                *some,
            )
            ranks |= {resource_id: rank or "" for resource_id, rank in _tuples(found)}
        return ranks

    def absent(self, seen_ids: AbstractSet[str]) -> pa.Table:
        """
        Return the jobs that had not finished, had not vanished and are not among *seen_ids*, in the columns of `jobs`.

        The warehouse is asked only if there can be any, which in a quiet run there cannot.
        """
        if not self._has_others_that_move and not any(
            known.may_move for job_id, known in self._recent.items() if job_id not in seen_ids
        ):
            return JOBS.schema.empty_table()
        found = self._questions.ask(
            f"""
            select {", ".join(JOBS.schema.names)}
            from {self._questions.name(JOBS.name)}
            where account = %s and job_kind = %s and {_MAY_MOVE}
            """,
            *self._listing,
        )
        if not found.num_rows:
            return JOBS.schema.empty_table()
        stored = found.cast(JOBS.schema)
        return stored.filter(pa.array([job_id not in seen_ids for job_id in stored.column("job_id").to_pylist()]))


def _tuples(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of *table*, times as microseconds since 1970: a fifth of the cost of Python's own."""
    columns = [
        column.cast(TIME).cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        for column in table.itercolumns()
    ]
    return zip(*(column.to_pylist() for column in columns), strict=True)


def _time(microseconds: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=microseconds)


def _portions(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[start : start + _VALUES_AT_ONCE] for start in range(0, len(values), _VALUES_AT_ONCE))


def _marks(values: Sequence[str]) -> str:
    return ", ".join(["%s"] * len(values))
