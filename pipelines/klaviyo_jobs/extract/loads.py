"""
Turn listings into the rows of one load, several of them in turn, each Arrow table marked for dlt.

In:     the listings of one resource, and the pipeline that runs.
Out:    Arrow tables with the table they belong to and the merge they want; None while nothing is ready.
Merges: every table has natural keys and dlt's delete-insert merge, so a batch loaded twice is harmless. Children are
        replaced job by job; a tombstone row deletes the children of a job that has none any more.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.extract.items import DataItemWithMeta

from klaviyo_jobs.extract.known_jobs import Destination, KnownJobs
from klaviyo_jobs.extract.listing import Batch, Listing, ListingOutcome, ListingReader
from klaviyo_jobs.extract.prefetch import prefetch
from klaviyo_jobs.extract.rows import RowContext
from klaviyo_jobs.model.tables import SEEN_RANK, TABLES, TOMBSTONE, Table


class _Load:
    """What the listings of one load share: its id, its destination, and the numbers of its rejected records."""

    def __init__(self, run_id: str, pipeline: dlt.Pipeline | None) -> None:
        self.run_id = run_id
        self.destination = Destination(pipeline)
        self.positions: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
        self.has_begun = False


class Loads:
    """
    Turns listings into rows, each load with an id of its own: the load id of dlt, which is our run id.

    Args:
        tables: Every table that a load makes, even an empty one.
        outcomes: Collects how each listing went, or None to raise the first failure.
        on_recalled: Called with the id of each load, when its first listing knows what the warehouse holds.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        outcomes: list[ListingOutcome] | None,
        on_recalled: Callable[[str], None] | None,
    ) -> None:
        self._tables = tables
        self._outcomes = outcomes
        self._on_recalled = on_recalled
        self._loads: dict[str, _Load] = {}
        self._id_without_pipeline = f"{time.time()}"

    def iter_rows(self, listings: Sequence[Listing]) -> Iterator[DataItemWithMeta | None]:
        """
        Read *listings* in turn and yield their rows, each Arrow table marked with the table it belongs to.

        None is yielded while nothing is ready: dlt goes on with another resource then.
        """
        load = self._running_load()
        is_first, load.has_begun = not load.has_begun, True
        if is_first:
            for table in self._tables:
                yield with_merge_hints(table, table.schema.empty_table())
        with ExitStack() as stack:
            destination = stack.enter_context(load.destination)
            readers = []
            clients = []
            for listing in listings:
                # Closed on its own: the other listings of the account go on when this one is left off.
                clients.append(listing.client.branch())
                listing = replace(listing, client=clients[-1])
                account, kind = listing.client.account, listing.kind
                reader = ListingReader(
                    listing,
                    context=RowContext(account, kind, load.run_id, listing.client.revision),
                    known_jobs=KnownJobs(destination, account, kind.name),
                    positions=load.positions[account],
                )
                readers.append(reader)
                if self._outcomes is not None:
                    self._outcomes.append(reader.outcome)
            if is_first and self._on_recalled is not None:
                self._on_recalled(load.run_id)
            feeds = [stack.enter_context(closing(prefetch(each.iter_batches(), each.outcome.name))) for each in readers]
            # Before the threads are joined: whoever leaves off in the middle does not wait for what they wait for.
            for client in clients:
                stack.callback(client.close)
            for batch in _round_robin(feeds):
                if batch is None:
                    yield None
                    continue
                for name, rows in batch.items():
                    yield with_merge_hints(TABLES[name], rows)
        for reader in readers:
            if self._outcomes is None and reader.outcome.error is not None:
                raise reader.outcome.error

    def _running_load(self) -> _Load:
        """Return the load that reads the source; one without a pipeline where someone iterates by hand."""
        try:
            load_id = dlt.current.load_package_state()["load_id"]
        except CurrentLoadPackageStateNotAvailable:
            return self._loads.setdefault(self._id_without_pipeline, _Load(self._id_without_pipeline, None))
        if load_id not in self._loads:
            # Asked once a load: dlt resolves its configuration for the answer.
            self._loads[load_id] = _Load(load_id, dlt.current.pipeline())
        return self._loads[load_id]


def _round_robin(feeds: Iterable[Iterator[Batch | None]]) -> Iterator[Batch | None]:
    """Yield the batches of all *feeds* as they come, and None while none is ready."""
    under_way = deque(feeds)
    while under_way:
        for _ in range(len(under_way)):
            batches = under_way.popleft()
            try:
                batch = next(batches)
            except StopIteration:
                continue
            under_way.append(batches)
            if batch is not None:
                yield batch
                break
        else:
            yield None


def with_merge_hints(table: Table, rows: pa.Table) -> DataItemWithMeta:
    """Return *rows* marked for dlt: which table they belong to, and how they are merged into it."""
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
