"""
Ask the warehouse which jobs it knows: the only memory from one run to the next.

In:     the destination of the running dlt pipeline, and the listings of one load.
Out:    `KnownJobs` for each listing: which of what it shows is kept as it is, what is known of the rest, and the stored
        rows of those that had not finished.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, NamedTuple, Self

import pyarrow as pa
from dlt import Pipeline
from dlt.common.schema.typing import LOADS_TABLE_NAME
from dlt.destinations.exceptions import DatabaseTerminalException

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.extract.questions import (
    MAY_MOVE,
    KnownJob,
    Questions,
    RecentJob,
    marks_of,
    portions_of,
    tuples_of,
)
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.model.records import Observation, time_of
from klaviyo_jobs.model.tables import JOB_OBSERVATIONS, JOBS, LISTINGS, REJECTED_RECORDS, SEEN_RANK, Table

_OBSERVATION: Final = ", ".join(Observation._fields)

# Made once: it is the answer of nearly every listing of a quiet run.
_NO_JOBS: Final = JOBS.schema.empty_table()

# An account's label and a job kind's name.
ListingKey = tuple[str, str]


class _StoredListing(NamedTuple):
    """How many jobs of an account and kind are stored, and how many of them had not finished and not vanished."""

    account: str
    job_kind: str
    job_count: int
    moving_count: int


@dataclass(slots=True)
class Frontier:
    """
    Up to where a list that comes sorted by creation, newest first, has to be read: beyond, nothing can be news.

    Attributes:
        known_until: Every job that was created until then is known, in microseconds since 1970; None of a list that was
            never read to its end.
        moving: When each known job that had not finished was created, by its id.
    """

    known_until: int | None = None
    moving: dict[str, int] = field(default_factory=dict)

    def is_passed(self, created_at: int, seen_ids: AbstractSet[str]) -> bool:
        """Tell whether all jobs that are not yet seen and were created at *created_at* or before are no news."""
        if self.known_until is None or created_at > self.known_until:
            return False
        return all(job_id in seen_ids for job_id, since in self.moving.items() if since <= created_at)


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
        self._questions = Questions(pipeline)
        self._listings = list(listings)
        self._has_asked = False
        self._stored: dict[ListingKey, _StoredListing] = {}
        self._recent: defaultdict[ListingKey, list[RecentJob]] = defaultdict(list)
        self._frontiers: defaultdict[ListingKey, Frontier] = defaultdict(Frontier)

    @property
    def is_open(self) -> bool:
        """Whether somebody reads."""
        return self._questions.is_open

    @property
    def has_one_user(self) -> bool:
        """Whether whoever reads is the only one."""
        return self._questions.user_count == 1

    def __enter__(self) -> Self:
        self._questions.enter()
        if not self._has_asked:
            try:
                self._ask()
            except DatabaseTerminalException as error:
                lacking = self._questions.columns_lacking(JOBS)
                self._questions.leave()
                if not lacking:
                    raise
                raise _of_earlier_version(lacking) from error
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
        frontier = self._frontiers[key] if KINDS[kind].sort else None
        return KnownJobs(self._questions, key, self._stored.get(key), self._recent.pop(key, []), frontier)

    def has_table(self, table: Table) -> bool:
        """Tell whether the warehouse has *table* with all its columns, so that a load does not have to make it."""
        return not self._questions.columns_lacking(table)

    def _ask(self) -> None:
        """
        Read, in two questions, how much is stored of each listing, and the jobs that the API may still list.

        They are those that expire after the newest one was created, whatever the clocks say: a job that has expired is
        no longer listed, and the newest was created before now. Any other is looked up by its id in `find`.

        Of a list that comes sorted only the jobs that may still move are read, and up to when all jobs are known: it is
        left where nothing else can have changed, and may be of any length.
        """
        kinds = sorted({kind for _, kind in self._listings})
        whole, in_order = (
            [kind for kind in kinds if (KINDS[kind].sort is None) == is_whole] for is_whole in (True, False)
        )
        for accounts in portions_of(sorted({account for account, _ in self._listings})):
            jobs_of_listings = f"""
                from {self._questions.name(JOBS.name)} as j
                where {_of(accounts, kinds)}
                group by account, job_kind
            """
            stored = self._questions.ask(
                f"""
                select account, job_kind, count(*) as job_count, count(case when {MAY_MOVE} then 1 end) as moving_count
                {jobs_of_listings}
                """,
                *accounts,
                *kinds,
            )
            self._stored |= {(row.account, row.job_kind): row for row in map(_StoredListing._make, tuples_of(stored))}
            if whole:
                self._ask_recent(accounts, whole)
            if in_order:
                self._ask_frontiers(accounts, in_order)

    def _ask_recent(self, accounts: Sequence[str], kinds: Sequence[str]) -> None:
        recent = self._questions.ask_recent(
            "j.expires_at is null or j.expires_at > n.created_at",
            *accounts,
            *kinds,
            join=f"""
            inner join (
                select account, job_kind, max(created_at) as created_at
                from {self._questions.name(JOBS.name)} as j
                where {_of(accounts, kinds)}
                group by account, job_kind
            ) as n
                on n.account = j.account and n.job_kind = j.job_kind
            """,
        )
        for job in recent:
            self._recent[job.account, job.job_kind].append(job)

    def _ask_frontiers(self, accounts: Sequence[str], kinds: Sequence[str]) -> None:
        """
        Read what tells how far the lists of *kinds* have to be read.

        All jobs are known that were created before the newest one that the last whole listing had seen; of one in which
        some record could not be read, that record is not.
        """
        listings = _of(accounts, kinds)
        known = self._questions.ask(
            f"""
            select j.account, j.job_kind, max(j.created_at) as known_until
            from {self._questions.name(JOBS.name)} as j
            inner join (
                select account, job_kind, max(finished_at) as finished_at
                from {self._questions.name(LISTINGS.name)} as s
                inner join {self._questions.name(LOADS_TABLE_NAME)} as l on l.load_id = s.run_id and l.status = 0
                where {listings} and is_complete and rejected_count = 0
                group by account, job_kind
            ) as n
                on n.account = j.account and n.job_kind = j.job_kind
            where j.first_seen_at <= n.finished_at
            group by j.account, j.job_kind
            """,
            *accounts,
            *kinds,
        )
        for account, kind, known_until in tuples_of(known):
            self._frontiers[account, kind].known_until = known_until
        moving = self._questions.ask(
            f"""
            select account, job_kind, job_id, created_at
            from {self._questions.name(JOBS.name)} as j
            where {listings} and {MAY_MOVE}
            """,
            *accounts,
            *kinds,
        )
        for account, kind, job_id, created_at in tuples_of(moving):
            self._frontiers[account, kind].moving[job_id] = created_at or 0


def _of(accounts: Sequence[str], kinds: Sequence[str]) -> str:
    """Return the condition on rows of *accounts* and *kinds*, which are its parameters in this order."""
    return f"account in ({marks_of(accounts)}) and job_kind in ({marks_of(kinds)})"


def _of_earlier_version(lacking: Sequence[str]) -> WarehouseError:
    return WarehouseError(
        f"the tables were filled by an earlier version of klaviyo-jobs: {JOBS.name} lacks {', '.join(lacking)}.",
        data="nothing was read or written.",
        next_step="`klaviyo-jobs views` changes a dataset called klaviyo_raw in place, in a DuckDB file (--warehouse), "
        "in Postgres or in a DuckLake (--destination); load any other into a new dataset.",
    )


class KnownJobs:
    """
    The warehouse's answer to "what do you know of these jobs?", for the jobs of one listing.

    Any thread may ask. `Recall.known_jobs` makes it.
    """

    def __init__(
        self,
        questions: Questions,
        listing: ListingKey,
        stored: _StoredListing | None,
        recent: list[RecentJob],
        frontier: Frontier | None = None,
    ) -> None:
        self._questions = questions
        self._listing = listing
        # Up to where the list has to be read; None if to its end.
        self.frontier = frontier
        self._is_new = stored is None
        # A job that was cut off while it was loaded, or has vanished since, is to be written again whatever it is.
        self._kept = {
            job.listed_hash: job for job in recent if job.listed_hash and job.is_settled and not job.has_vanished
        }
        self._moving_ids = {job.job_id for job in recent if job.may_move} | set(frontier.moving if frontier else ())
        self._has_others_that_move = stored is not None and stored.moving_count > len(self._moving_ids)

    @property
    def has_kept(self) -> bool:
        """Whether there is any job that `find_kept` could find."""
        return bool(self._kept)

    def find_kept(self, listed_hash: str, *, with_detail: bool) -> str | None:
        """
        Return the id of the job that a listing shows by bytes of this hash, if it is kept as it is; None if not.

        Args:
            with_detail: Whether its detail has to have been read too.
        """
        job = self._kept.get(listed_hash)
        return None if job is None or (with_detail and not job.has_detail) else job.job_id

    def find(self, job_ids: Sequence[str]) -> dict[str, KnownJob]:
        """Return what is known of *job_ids*; those never stored are absent."""
        found: dict[str, KnownJob] = {}
        if not self._is_new:
            for some in portions_of(job_ids):
                found |= self._questions.ask_known(
                    f"j.account = %s and j.job_kind = %s and j.job_id in ({marks_of(some)})", *self._listing, *some
                )
        return found

    def find_rejected(self, record_hashes: Sequence[str]) -> dict[str, tuple[dt.datetime, int]]:
        """Return of those of *record_hashes* that are stored when they were first rejected, and by how many runs."""
        account, kind = self._listing
        found: dict[str, tuple[dt.datetime, int]] = {}
        for some in portions_of(record_hashes):
            stored = self._questions.ask(
                f"""
                select record_hash, first_rejected_at, times
                from {self._questions.name(REJECTED_RECORDS.name)}
                where account = %s and job_kind = %s and record_hash in ({marks_of(some)})
                """,
                account,
                kind,
                *some,
            )
            found |= {record_hash: (time_of(first), times) for record_hash, first, times in tuples_of(stored)}
        return found

    def last_observations(self, job_ids: Sequence[str]) -> dict[str, Observation]:
        """Return the newest stored observation of each of *job_ids*, of whatever load it is."""
        observations: dict[str, Observation] = {}
        if not job_ids or self._questions.is_empty(JOB_OBSERVATIONS, self._listing[0]):
            return observations
        for some in portions_of(job_ids):
            found = self._questions.ask(
                f"""
                with ranked as (
                    select
                        job_id,
                        {_OBSERVATION},
                        row_number() over (partition by job_id order by observed_at desc) as nth
                    from {self._questions.name(JOB_OBSERVATIONS.name)}
                    where account = %s and job_kind = %s and job_id in ({marks_of(some)})
                )
                select job_id, {_OBSERVATION} from ranked where nth = 1
                """,
                *self._listing,
                *some,
            )
            observations |= {job_id: Observation(*columns) for job_id, *columns in tuples_of(found)}
        return observations

    def find_ranks(self, table: Table, resource_ids: Sequence[str]) -> dict[str, str]:
        """Return the rank of those of *resource_ids* that the table of included resources knows."""
        account, _ = self._listing
        ranks: dict[str, str] = {}
        # In a new warehouse there is nothing that a read could fall behind.
        if not resource_ids or self._questions.is_empty(table, account):
            return ranks
        for some in portions_of(resource_ids):
            found = self._questions.ask(
                f"""
                select {table.key[-1]}, {SEEN_RANK}
                from {self._questions.name(table.name)}
                where account = %s and {table.key[-1]} in ({marks_of(some)})
                """,
                account,
                *some,
            )
            ranks |= {resource_id: rank or "" for resource_id, rank in tuples_of(found)}
        return ranks

    def absent(self, seen_ids: AbstractSet[str]) -> pa.Table:
        """
        Return the jobs that had not finished, had not vanished and are not among *seen_ids*, in the columns of `jobs`.

        The warehouse is asked only if there can be any, which in a quiet run there cannot.
        """
        if not self._has_others_that_move and self._moving_ids <= seen_ids:
            return _NO_JOBS
        found = self._questions.ask(
            f"""
            select {", ".join(JOBS.schema.names)}
            from {self._questions.name(JOBS.name)} as j
            where account = %s and job_kind = %s and {MAY_MOVE}
            """,
            *self._listing,
        )
        if not found.num_rows:
            return _NO_JOBS
        stored = found.cast(JOBS.schema)
        return stored.filter(pa.array([job_id not in seen_ids for job_id in stored.column("job_id").to_pylist()]))
