"""
Ask the warehouse which jobs it knows: the only memory from one run to the next.

In:     the destination of the running dlt pipeline, and the listings of one load.
Out:    `KnownJobs` for each listing: jobs by their ids, and the stored rows of those that had not finished.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Final, NamedTuple, Self

import pyarrow as pa
from dlt import Pipeline

from klaviyo_jobs.extract.questions import FINISHED, KnownJob, Questions, marks_of, portions_of, tuples_of
from klaviyo_jobs.model.records import Observation
from klaviyo_jobs.model.tables import JOB_OBSERVATIONS, JOBS, SEEN_RANK, Table

_OBSERVATION: Final = ", ".join(Observation._fields)
_MAY_MOVE: Final = "vanished_at is null and status not in ({})".format(", ".join(f"'{each}'" for each in FINISHED))

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
        self._recent: defaultdict[ListingKey, dict[str, KnownJob]] = defaultdict(dict)

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

    def has_table(self, table: Table) -> bool:
        """Tell whether the warehouse has *table* with all its columns, so that a load does not have to make it."""
        return self._questions.has(table)

    def _ask(self) -> None:
        """
        Read, in two questions, how much is stored of each listing, and the jobs that the API may still list.

        They are those that expire after the newest one was created, whatever the clocks say: a job that has expired is
        no longer listed, and the newest was created before now. Any other is looked up by its id in `find`.
        """
        kinds = sorted({kind for _, kind in self._listings})
        for accounts in portions_of(sorted({account for account, _ in self._listings})):
            jobs_of_listings = f"""
                from {self._questions.name(JOBS.name)}
                where account in ({marks_of(accounts)}) and job_kind in ({marks_of(kinds)})
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
            self._stored |= {(row.account, row.job_kind): row for row in map(_StoredListing._make, tuples_of(stored))}
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
        self, questions: Questions, listing: ListingKey, stored: _StoredListing | None, recent: dict[str, KnownJob]
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
            for some in portions_of([job_id for job_id in job_ids if job_id not in found]):
                stored = self._questions.ask_jobs(
                    f"j.account = %s and j.job_kind = %s and j.job_id in ({marks_of(some)})", *self._listing, *some
                )
                found |= {job.job_id: known for job in stored if (known := job.known())}
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
        if not self._has_others_that_move and not any(
            known.may_move for job_id, known in self._recent.items() if job_id not in seen_ids
        ):
            return _NO_JOBS
        found = self._questions.ask(
            f"""
            select {", ".join(JOBS.schema.names)}
            from {self._questions.name(JOBS.name)}
            where account = %s and job_kind = %s and {_MAY_MOVE}
            """,
            *self._listing,
        )
        if not found.num_rows:
            return _NO_JOBS
        stored = found.cast(JOBS.schema)
        return stored.filter(pa.array([job_id not in seen_ids for job_id in stored.column("job_id").to_pylist()]))
