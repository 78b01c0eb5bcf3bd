"""
Read one listing: its pages, what is new or changed on them, the details of those jobs, and the listing's ledger row.

In:     a client of one account, a job kind, and what the warehouse knows of its jobs.
Out:    batches: Arrow tables by table name, each batch complete for the jobs in it; last of all, the ledger's row.
Rules:  a job that the warehouse knows unchanged is not written again, nor is its detail read. A job that has not
        finished and that a complete listing does not show has vanished. A failed listing keeps what it has read, says
        so in the ledger, and concludes nothing from absence.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import msgspec
import pendulum
import pyarrow as pa

from klaviyo_jobs.api.client import CONNECTIONS, Answer, Client
from klaviyo_jobs.api.paging import Page, iter_pages
from klaviyo_jobs.errors import (
    ClosedError,
    KeyRefusedError,
    KlaviyoJobsError,
    PagingError,
    StatusError,
    UnavailableError,
)
from klaviyo_jobs.extract.details import ErrorsRead, Rest, RestReader
from klaviyo_jobs.extract.known_jobs import KnownJobs, ListingKey
from klaviyo_jobs.extract.outcomes import ListingOutcome
from klaviyo_jobs.extract.pending import Change, Pending
from klaviyo_jobs.extract.questions import KnownJob
from klaviyo_jobs.extract.rows import (
    Row,
    RowContext,
    rank_of,
    row_of_listing,
    rows_of_jobs,
    rows_of_rejected,
    rows_of_resources,
    rows_of_vanished,
)
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.model.content import hash_of, record_hash
from klaviyo_jobs.model.kinds import JobKind
from klaviyo_jobs.model.parse import DetailBody, parse_detail, parse_page
from klaviyo_jobs.model.records import Fault, Job, Parsed, microseconds_of
from klaviyo_jobs.model.tables import ENTITY_TABLES, JOBS, LISTINGS, REJECTED_RECORDS

# The ledger's row is no Arrow table: to make one in a thread beside others takes a millisecond, like one of all rows.
Batch = dict[str, pa.Table | Row]

# From how many details on whose answers cannot be used no more are asked for.
_MOST_ODD_DETAILS: Final = 10
# Seconds that an answer may take before the threads that read details no longer fill the burst limit.
_ANSWER_SECONDS: Final = 0.35


@dataclass(frozen=True, slots=True)
class Listing:
    """
    What is to be read: all pages of one job kind of one account.

    Attributes:
        client: Reads the API for the account.
        kind: Which of the thirteen listings.
        includes: Whether the detail of each new or changed job is read, with its included resources.
        is_full: Whether every job is read again, known or not.
        keeps_payload: Whether what an import was sent is asked for with its errors, and kept: personal data.
        reporting_timezone: The zone whose days jobs are created and completed on.
    """

    client: Client
    kind: JobKind
    includes: bool
    is_full: bool = False
    keeps_payload: bool = False
    reporting_timezone: str = "UTC"

    @property
    def key(self) -> ListingKey:
        """The account's label and the kind's name, by which the warehouse knows the listing's jobs."""
        return self.client.account, self.kind.name


class ListingReader:
    """
    Reads one listing, once.

    Args:
        listing: What to read.
        context: The columns that all its rows share.
        known: What the warehouse knows of its jobs.
    """

    def __init__(self, listing: Listing, *, context: RowContext, known: KnownJobs) -> None:
        self._client = listing.client
        self._kind = listing.kind
        self._includes = listing.includes
        self._is_full = listing.is_full
        self._context = context
        self._known = known
        self._pending = Pending()
        # What was found new or changed and is not yet handed on, and the ids of what was.
        self._changes: dict[str, Change] = {}
        self._written_ids: set[str] = set()
        self._seen_ids: set[str] = set()
        self._rejected_hashes: set[str] = set()
        self._may_conclude_absence = True
        self._outage: KlaviyoJobsError | None = None
        self._odd_detail_count = 0
        # How far back a list in order has come, and what of that tells where it may be left.
        self._last: int | None = None
        self._oldest: int | None = None
        self._frontier = None if listing.is_full else known.frontier
        budget = listing.client.budget_of(listing.kind)
        self.outcome = ListingOutcome(account=listing.client.account, kind=listing.kind, budget=budget)
        self._rest = RestReader(
            listing.client,
            listing.kind,
            self.outcome,
            includes=listing.includes,
            keeps_payload=listing.keeps_payload,
        )

    def iter_batches(self) -> Generator[Batch]:
        """
        Yield the listing's batches, then its ledger row.

        An error of the API ends the listing, not the iteration: it stands in `outcome.error` and in the ledger.
        ClosedError is none, and is raised.
        """
        started_at = pendulum.now("UTC")
        try:
            if self._rest.reads_anything:
                yield from self._iter_with_details()
            else:
                yield from self._iter_listed()
            self.outcome.is_complete = True
        except ClosedError:
            raise
        except KlaviyoJobsError as error:
            # Why the listing is incomplete comes before what kept it from reading a detail.
            self.outcome.error = error
            if not isinstance(error, KeyRefusedError):  # the client has said so, once for all listings
                LOGGER.warning("%s: %s", self.outcome.name, error.headline)
        if self._pending.seen or self._pending.rejected:
            yield self._flush(is_last=True)
        if self.outcome.is_complete and self._may_conclude_absence:
            yield from self._iter_vanished()
        yield {LISTINGS.name: self._ledger_row(started_at)}

    def count_changes(self) -> None:
        """Read the pages only and count in `outcome` what a run would read and write; no detail is read."""
        try:
            for changes in self._iter_changes():
                self.outcome.detail_count += sum(self._rest.calls_for(change.job) for change in changes)
            self.outcome.is_complete = True
        except ClosedError:
            raise
        except KlaviyoJobsError as error:
            self.outcome.error = error

    def _iter_changes(self) -> Iterator[list[Change]]:
        """
        Yield what is new or changed, page by page.

        A list that comes in order is left after a page without news, if no job beyond it can have changed.
        """
        pages = iter_pages(self._client, self._kind, self.outcome, is_ahead=self._frontier is None)
        with closing(pages):
            for page in pages:
                changes = self._changes_on(page)
                yield changes
                if not changes and self._is_passed():
                    break
        self.outcome.listed_share = 1.0

    def _is_passed(self) -> bool:
        """Tell whether what lies beyond the page read last can be no news."""
        if self._frontier is None or self._oldest is None:
            return False
        return self._frontier.is_passed(self._oldest, self._seen_ids)

    def _iter_listed(self) -> Iterator[Batch]:
        for changes in self._iter_changes():
            for change in changes:
                self._add(change)
            if self._pending.is_full():
                yield self._flush()

    def _iter_with_details(self) -> Iterator[Batch]:
        """Read details while the listing goes on, a bounded number at once, and keep the order of the listing."""
        under_way: deque[tuple[Change, Future[Rest]]] = deque()
        threads = min(CONNECTIONS, 1 + int(self._client.budget_of(self._kind).limit.burst * _ANSWER_SECONDS))
        with ThreadPoolExecutor(threads, thread_name_prefix=f"details-{self._kind.name}") as pool:
            try:
                for changes in self._iter_changes():
                    self.outcome.wanted_count += sum(self._rest.calls_for(change.job) for change in changes)
                    for change in changes:
                        under_way.append((change, pool.submit(self._fetch_rest, change.job)))
                        if len(under_way) > 2 * threads:
                            self._finish(*under_way.popleft())
                        if self._pending.is_full():
                            yield self._flush()
            finally:
                # After a failed page as well: what the listing showed is kept, with its detail or without.
                while under_way:
                    self._finish(*under_way.popleft())

    def _changes_on(self, page: Page) -> list[Change]:
        """Return the jobs of *page* that are new to the warehouse or differ from what it knows."""
        new = [(index, raw) for index, raw in enumerate(page.data) if not self._is_kept(raw)]
        to_parse = [(index, self._client.blank(raw)) for index, raw in new]
        parsed = parse_page(self._kind, to_parse)
        # A record that cannot be read may be any job.
        is_whole = len(parsed.jobs) == len(to_parse)
        self._may_conclude_absence &= is_whole
        self._keep_order(parsed.jobs, is_whole=is_whole)
        if parsed.jobs:
            self.outcome.listed_share = _lived_share(parsed.jobs[-1])
        # The list may move while it is read, and show a job twice: the last counts.
        jobs = {job.job_id: job for job in parsed.jobs}
        known = self._known.find(list(jobs))
        changed = [job for job in jobs.values() if self._is_news(job, known.get(job.job_id))]
        # What cannot be read of a job that has not changed was rejected when it was read.
        to_write = {None, *(job.job_id for job in changed)}
        faults = [fault for fault in parsed.faults if fault.job_id in to_write]
        self._keep_faults(faults, f"{self._kind.list_path} (page {page.number})", parsed.unmodelled)
        self._seen_ids.update(jobs)
        self.outcome.page_count = page.number
        self.outcome.job_count = len(self._seen_ids)
        self.outcome.changed_count += sum(job.job_id not in self._changes for job in changed)
        # What the job's row says is not enough: a load that was cut off may have left a later observation.
        observations = {
            **{job_id: before.state.observation for job_id, before in known.items() if before.is_settled},
            **self._known.last_observations([job.job_id for job in changed]),
        }
        changes = {
            job.job_id: Change(
                job, page.received_at, known.get(job.job_id), observations.get(job.job_id), job.content_hash
            )
            for job in changed
        }
        self._changes |= changes
        return list(changes.values())

    def _keep_order(self, jobs: Sequence[Job], *, is_whole: bool) -> None:
        """Note how far back a list in order has come; one that is out of order is read to its end."""
        if self._frontier is None:
            return
        created = [] if self._last is None else [self._last]
        created += [microseconds_of(job.created_at) or 0 for job in jobs]
        if created != sorted(created, reverse=True):
            self._frontier = None
        self._last = created[-1] if created else None
        # Beside a record that cannot be read, nothing tells what is beyond.
        self._oldest = self._last if is_whole else None

    def _is_kept(self, raw: msgspec.Raw) -> bool:
        """Tell by its bytes whether the warehouse has the job as it is, and note that it was seen."""
        if self._is_full or not self._known.has_kept:
            return False
        job_id = self._known.find_kept(hash_of(raw), with_detail=self._includes)
        if job_id is None:
            return False
        self._seen_ids.add(job_id)
        return True

    def _is_news(self, job: Job, known: KnownJob | None) -> bool:
        """Tell whether the job is to be written: new or changed, be it since an earlier page."""
        if (before := self._changes.get(job.job_id)) is not None:
            return before.listed_as != job.content_hash
        # What is handed on cannot be taken back: the next run sees that it has changed since.
        return job.job_id not in self._written_ids and not self._is_unchanged(job, known)

    def _is_unchanged(self, job: Job, known: KnownJob | None) -> bool:
        """Tell whether the warehouse knows the job as it is, so that there is nothing to read or write."""
        if self._is_full or known is None or not known.is_settled or known.has_vanished:
            return False
        return known.is_same(job) and not self._rest.is_lacking(job, known)

    def _fetch_rest(self, job: Job) -> Rest:
        """Read the rest of one job, unless the API has gone away before: it is no better for the next."""
        if self._outage is not None:
            raise self._outage
        return self._rest.fetch(job)

    def _finish(self, change: Change, rest: Future[Rest]) -> None:
        """Take the detail's word for the job, or the listing's where the detail cannot be had, and its errors."""
        try:
            read = rest.result()
        except ClosedError:
            return  # nobody takes what is read any more
        except StatusError as error:
            # A 404 is a job that left between listing and detail: it keeps the row that the listing gave it.
            if error.status != 404:
                self.outcome.error = self.outcome.error or error
        except KlaviyoJobsError as error:
            # Of one job the answer may be odd, or its errors go round in a circle; of ten it is the API that is odd.
            self._odd_detail_count += 1
            is_odd = isinstance(error, PagingError) or (isinstance(error, UnavailableError) and error.is_of_the_answer)
            if not is_odd or self._odd_detail_count >= _MOST_ODD_DETAILS:
                self._outage = error
            self.outcome.error = self.outcome.error or error
        else:
            if read.detail is not None:
                self._take_detail(change, read.detail)
            self._take_errors(change, read.errors)
        self._add(change)

    def _take_detail(self, change: Change, answer: Answer[DetailBody]) -> None:
        job_id = change.job.job_id
        self.outcome.detail_count += 1
        parsed = parse_detail(self._kind, answer.body, change.job)
        if parsed.jobs and parsed.jobs[0].job_id != job_id:
            found = Fault("$.data.id", f"expected {job_id!r}, found {parsed.jobs[0].job_id!r}", bytes(answer.body.data))
            parsed = Parsed(faults=[found])
        else:
            change.detail_read_at = answer.received_at
        self._keep_faults(parsed.faults, self._rest.detail_path(job_id), parsed.unmodelled)
        if parsed.jobs:
            [job] = parsed.jobs
            # By the listing's bytes only if the listing showed what the detail says.
            job.listed_hash = change.job.listed_hash if job.content_hash == change.job.content_hash else None
            change.job, change.read_at = job, answer.received_at
        for resource in parsed.resources:
            self._pending.add_resource(job_id, resource)

    def _take_errors(self, change: Change, read: ErrorsRead | None) -> None:
        """Take the errors that are a list of their own; a job that none were read of has none."""
        job = change.job
        if read is not None:
            self.outcome.detail_count += read.page_count
            job.errors, job.unread_error_count = read.errors, len(read.faults)
            change.errors_read_at = read.read_at
            for endpoint, fault in read.faults:
                self._keep_faults([fault], endpoint)
        job.errors_are_known = True

    def _add(self, change: Change) -> None:
        """Take a change in, unless the job was handed on while the detail of its later state was read."""
        if change.job.job_id not in self._written_ids:
            self._pending.add(change.seen())

    def _keep_faults(self, faults: Iterable[Fault], endpoint: str, unmodelled: Iterable[str] = ()) -> None:
        self.outcome.unmodelled.update(unmodelled)
        for fault in faults:
            key = record_hash(fault)
            if key not in self._rejected_hashes:
                self._rejected_hashes.add(key)
                self._pending.rejected[key] = f"GET {endpoint}", fault
        self.outcome.rejected_count = len(self._rejected_hashes)

    def _flush(self, *, is_last: bool = False) -> Batch:
        pending = self._pending
        self._pending = Pending() if is_last else pending.keep_back()
        self._written_ids.update(pending.seen)
        for job_id in pending.seen:
            del self._changes[job_id]
        batch = rows_of_jobs(self._context, list(pending.seen.values()), pending.superseded)
        if pending.resources and (included := self._kind.included) is not None:
            table = ENTITY_TABLES[included.table_name]
            ranks = self._known.find_ranks(table, list(pending.resources))
            # Not behind what is stored: an older job's read must not undo a newer one's.
            newest = [
                read for resource_id, read in pending.resources.items() if rank_of(*read) >= ranks.get(resource_id, "")
            ]
            if newest:
                batch[table.name] = rows_of_resources(self._context, table, newest)
        if rejected := pending.rejected:
            before = self._known.find_rejected(list(rejected))
            batch[REJECTED_RECORDS.name] = rows_of_rejected(self._context, rejected, before, pendulum.now("UTC"))
        return {name: rows for name, rows in batch.items() if rows.num_rows}

    def _iter_vanished(self) -> Iterator[Batch]:
        """Mark the jobs that had not finished and that the complete listing does not show."""
        absent = self._known.absent(self._seen_ids)
        if absent.num_rows:
            yield {JOBS.name: rows_of_vanished(absent, self._context.run_id, pendulum.now("UTC"))}

    def _ledger_row(self, started_at: dt.datetime) -> Row:
        return row_of_listing(
            self._context, started_at=started_at, finished_at=pendulum.now("UTC"), **self.outcome.columns()
        )


def _lived_share(job: Job) -> float | None:
    """Return which share of its life *job* has behind it: so much of a list, newest first, is read; None if unknown."""
    if job.expires_at is None or job.expires_at <= job.created_at:
        return None
    share = (dt.datetime.now(dt.UTC) - job.created_at) / (job.expires_at - job.created_at)
    return min(max(share, 0.0), 1.0) or None
