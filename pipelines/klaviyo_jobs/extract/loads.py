"""
Turn listings into the rows of one load, round robin, each Arrow table marked for dlt.

In:     the listings of one resource, and the pipeline that runs, whose destination is asked what it knows.
Out:    Arrow tables with the table they belong to and the merge they want; None while nothing is ready.
Merges: every table has natural keys and dlt's delete-insert merge, so a batch loaded twice is harmless. Children are
        replaced job by job; a tombstone row deletes the children of a job that has none any more.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any, Final

import dlt
import pyarrow as pa
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.extract.items import DataItemWithMeta

from klaviyo_jobs.extract.known_jobs import Recall
from klaviyo_jobs.extract.listing import Batch, Listing, ListingReader
from klaviyo_jobs.extract.outcomes import ListingOutcome
from klaviyo_jobs.extract.prefetch import FEEDS_AT_ONCE, prefetch, round_robin
from klaviyo_jobs.extract.rows import Row, RowContext, rows_of_listings
from klaviyo_jobs.model.tables import LISTINGS, SEEN_RANK, TABLES, TOMBSTONE, Table

# What an Arrow table costs dlt does not depend on its rows, so few are made of many.
_ROWS_AT_ONCE: Final = 50_000


class _Gathered:
    """Rows of all listings, table by table, until they are worth handing on."""

    def __init__(self) -> None:
        self._tables: defaultdict[str, list[pa.Table]] = defaultdict(list)
        self._ledger: list[Row] = []
        self._row_count = 0

    def add(self, batch: Batch) -> None:
        """Take the rows of *batch*."""
        for name, rows in batch.items():
            if isinstance(rows, dict):
                self._ledger.append(rows)
            else:
                self._tables[name].append(rows)
                self._row_count += rows.num_rows

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to be handed on."""
        return not self._tables and not self._ledger

    @property
    def is_full(self) -> bool:
        """Whether what is gathered is to be handed on before there is more."""
        return self._row_count >= _ROWS_AT_ONCE

    def hand_on(self, marks: TableMarks) -> Iterator[DataItemWithMeta]:
        """Yield what is gathered, one Arrow table for each table of the warehouse."""
        tables, ledger = self._tables, self._ledger
        self._tables, self._ledger, self._row_count = defaultdict(list), [], 0
        for name, rows in tables.items():
            yield marks.mark(TABLES[name], pa.concat_tables(rows))
        if ledger:
            yield marks.mark(LISTINGS, rows_of_listings(ledger))


class _Load:
    """What the listings of one load share: its id, what the warehouse knows, and rows not handed on yet."""

    def __init__(self, run_id: str, recall: Recall) -> None:
        self.run_id = run_id
        self.recall = recall
        self.gathered = _Gathered()
        self.has_begun = False


class Loads:
    """
    Turns listings into rows, each load with an id of its own: the load id of dlt, which is our run id.

    Args:
        listings: All that a load may read, so that the warehouse is asked once for all of them.
        tables: Every table that a load makes where it is missing, even an empty one.
        outcomes: Collects how each listing went, or None to raise the first failure.
        on_recalled: Called with the id of each load, when it is known what the warehouse knows.
    """

    def __init__(
        self,
        listings: Sequence[Listing],
        tables: Sequence[Table],
        outcomes: list[ListingOutcome] | None,
        on_recalled: Callable[[str], None] | None,
    ) -> None:
        self._keys = [listing.key for listing in listings]
        self._tables = tables
        self._outcomes = outcomes
        self._on_recalled = on_recalled
        self._loads: dict[str, _Load] = {}
        self._id_without_pipeline = f"{time.time()}"

    def iter_rows(self, listings: Sequence[Listing]) -> Iterator[DataItemWithMeta | None]:
        """
        Read *listings* round robin and yield their rows, each Arrow table marked with the table it belongs to.

        None is yielded while nothing is ready: dlt goes on with another resource then.
        """
        load, marks = self._running_load(), TableMarks()
        with load.recall, ExitStack() as stack:
            if not load.has_begun:
                load.has_begun = True
                if self._on_recalled is not None:
                    self._on_recalled(load.run_id)
                for table in self._tables:
                    if not load.recall.has_table(table):
                        yield marks.mark(table, table.schema.empty_table())
            # Closed on their own: the other listings of an account go on when these are left off.
            listings = [replace(listing, client=listing.client.branch()) for listing in listings]
            readers = [self._reader_of(listing, load) for listing in listings]
            pool = stack.enter_context(ThreadPoolExecutor(FEEDS_AT_ONCE))
            feeds = [
                stack.enter_context(closing(prefetch(each.iter_batches(), each.outcome.name, pool))) for each in readers
            ]
            # Before the threads are joined: whoever leaves off in the middle does not wait for what they wait for.
            for listing in listings:
                stack.callback(listing.client.close)
            for batch in round_robin(feeds):
                if batch is None:
                    yield None
                    continue
                load.gathered.add(batch)
                if load.gathered.is_full:
                    yield from load.gathered.hand_on(marks)
            # The last to end hands on what the others have left, so that listings by the hundred cost as one. Others
            # may begin and end between two items of it, and leave theirs as long as this one is here.
            while load.recall.has_one_user and not load.gathered.is_empty:
                yield from load.gathered.hand_on(marks)
        for reader in readers:
            if self._outcomes is None and reader.outcome.error is not None:
                raise reader.outcome.error

    def _reader_of(self, listing: Listing, load: _Load) -> ListingReader:
        account, revision = listing.client.account, listing.client.revision
        reader = ListingReader(
            listing,
            context=RowContext(account, listing.kind, load.run_id, revision, listing.reporting_timezone),
            known=load.recall.known_jobs(*listing.key),
        )
        if self._outcomes is not None:
            self._outcomes.append(reader.outcome)
        return reader

    def _running_load(self) -> _Load:
        """Return the load that reads the source; one without a pipeline where someone iterates by hand."""
        pipeline = None
        try:
            load_id = dlt.current.load_package_state()["load_id"]
            if load_id not in self._loads:
                pipeline = dlt.current.pipeline()
        except CurrentLoadPackageStateNotAvailable:
            load_id = self._id_without_pipeline
        if load_id not in self._loads:
            # A source may be loaded again and again: what earlier loads knew is no longer true.
            self._loads = {other_id: load for other_id, load in self._loads.items() if load.recall.is_open}
            self._loads[load_id] = _Load(load_id, Recall(pipeline, self._keys))
        return self._loads[load_id]


class TableMarks:
    """Marks the rows of one resource for dlt: with their table and, the first time, how they are merged into it."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def mark(self, table: Table, rows: pa.Table) -> DataItemWithMeta:
        """Return *rows*, which are of *table*."""
        # What a table is costs dlt twenty milliseconds to take in, each time it is told.
        if table.name in self._known:
            return dlt.mark.with_table_name(rows, table.name)
        self._known.add(table.name)
        return _with_merge_hints(table, rows)


def _with_merge_hints(table: Table, rows: pa.Table) -> DataItemWithMeta:
    columns: dict[str, Any] | None = None
    if table.has_tombstones:
        columns = {TOMBSTONE: {"data_type": "bool", "hard_delete": True}}
    elif SEEN_RANK in table.schema.names:
        columns = {SEEN_RANK: {"data_type": "text", "dedup_sort": "desc"}}
    hints = dlt.mark.make_hints(
        table_name=table.name,
        write_disposition="merge",
        # A table variant takes its keys from the resource unless told otherwise, and both keys would be used.
        primary_key=[] if table.has_tombstones else table.key,
        merge_key=table.replaced_by if table.has_tombstones else [],
        columns=columns,
    )
    return dlt.mark.with_hints(rows, hints, create_table_variant=True)
