"""
The dlt source: nine resources over nine listings; wiring only.

In:     settings of the section `sources.klaviyo_jobs`.
Out:    resources `item_create_jobs` ... `category_delete_jobs`. Each fills the tables of the schema `klaviyo_raw` with
        Arrow tables, so dlt's row normaliser never sees a row.
Merges: every table has natural keys and dlt's delete-insert merge, so a batch loaded twice is harmless. Children are
        replaced job by job; a tombstone row deletes the children of a job that has none any more.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, Final

import dlt
import pyarrow as pa
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.extract import DltResource
from dlt.extract.items import DataItemWithMeta

from klaviyo_jobs.background import in_background
from klaviyo_jobs.client import Client
from klaviyo_jobs.held import HeldJobs
from klaviyo_jobs.kinds import JobKind
from klaviyo_jobs.reading import Batch, Listing, ListingOutcome, ListingReader
from klaviyo_jobs.rows import ENTITY_TABLES, SEEN_RANK, TABLES, TOMBSTONE, Origin, Table
from klaviyo_jobs.settings import (
    DEFAULT_BASE_URL,
    DEFAULT_REVISION,
    Settings,
    check_base_url,
    check_revision,
    include_of,
    keys_of,
    kinds_of,
    read_network_settings,
)

SCHEMA_NAME: Final = "klaviyo_jobs"


@dlt.source(name=SCHEMA_NAME, section=SCHEMA_NAME, spec=Settings)
def klaviyo_jobs(
    api_key: str | None = None,
    accounts: Mapping[str, str] | None = None,
    base_url: str = DEFAULT_BASE_URL,
    revision: str = DEFAULT_REVISION,
    kinds: Sequence[str] | None = None,
    include: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    full_refresh: bool = False,
    outcomes: list[ListingOutcome] | None = None,
) -> Iterable[DltResource]:
    """
    Read a Klaviyo account's catalog bulk jobs, their errors, linkages and included resources.

    Args:
        api_key: Private API key with the scope `catalogs:read`.
        accounts: Label to API key, to read several accounts; instead of *api_key*.
        base_url: The API's address; https, or http on this machine.
        revision: The API revision to ask for.
        kinds: Job kinds to read, e.g. `["item-create"]`; all nine by default.
        include: Relationships whose resources are read from the details of new and changed create and update jobs:
            `categories` (the default), `items`, `variants`; an empty list reads no details.
        labels: Which of *accounts* to read; all by default.
        full_refresh: Read and write every job that is listed, whatever the warehouse holds; history is kept.
        outcomes: Collects how each listing went. A failed listing is then only recorded, here and in the table
            `listings`, and the others are loaded; without it the first failure is raised and nothing is loaded.
    Returns:
        A source whose resources fill `jobs`, `job_errors`, `job_linkages`, `job_observations`, `listings`,
        `rejected_records` and a table for each included relationship.
    Raises:
        SettingError: A setting is missing or cannot be used.
    """
    asked = Settings(
        api_key=api_key,
        accounts=None if accounts is None else dict(accounts),
        base_url=base_url,
        revision=revision,
        kinds=None if kinds is None else list(kinds),
        include=None if include is None else list(include),
    )
    yield from _resources_of(listings_of(asked, labels=labels, full_refresh=full_refresh), outcomes)


def listings_of(
    settings: Settings, *, labels: Sequence[str] | None = None, full_refresh: bool = False
) -> list[Listing]:
    """
    Return the listings that *settings* ask for, kind by kind.

    Args:
        labels: The accounts to read; all by default.
        full_refresh: Whether to read and write every job listed, held or not.
    Raises:
        SettingError: A setting is missing or cannot be used.
    """
    base_url, revision = check_base_url(settings.base_url), check_revision(settings.revision)
    included = include_of(settings.include)
    wanted = kinds_of(settings.kinds)
    network = read_network_settings()
    clients = [
        Client(label, key, base_url=base_url, revision=revision, network=network)
        for label, key in keys_of(settings.api_key, settings.accounts, labels).items()
    ]
    return [
        Listing(client, kind, kind.can_include and kind.entity.plural in included, full_refresh)
        for kind in wanted
        for client in clients
    ]


@dlt.source(name=SCHEMA_NAME, section=SCHEMA_NAME)
def source_of(
    listings: Sequence[Listing], outcomes: list[ListingOutcome], on_recalled: Callable[[str], None]
) -> Iterable[DltResource]:
    """
    Return the source of *listings* as the command reads them: failures go into *outcomes* and are not raised.

    Args:
        on_recalled: Called with the run id when the first listing knows what the warehouse holds, and reading begins.
    """
    yield from _resources_of(listings, outcomes, on_recalled)


def _resources_of(
    listings: Sequence[Listing],
    outcomes: list[ListingOutcome] | None,
    on_recalled: Callable[[str], None] | None = None,
) -> Iterator[DltResource]:
    by_kind: dict[JobKind, list[Listing]] = defaultdict(list)
    for listing in listings:
        by_kind[listing.kind].append(listing)
    # The table of categories always: that a kind does not include them now says nothing of the views on them.
    included = {"categories"} | {kind.entity.plural for kind, [first, *_] in by_kind.items() if first.includes}
    loads = _Loads(
        [table for name, table in TABLES.items() if name not in ENTITY_TABLES or name in included],
        outcomes,
        on_recalled,
    )

    @dlt.transformer
    def with_details(listing: Listing) -> Iterator[DataItemWithMeta | None]:
        yield from loads.iter_rows([listing])

    @dlt.resource
    def listed(listings: Sequence[Listing]) -> Iterator[DataItemWithMeta | None]:
        yield from loads.iter_rows(listings)

    for kind, of_accounts in by_kind.items():
        if of_accounts[0].includes:
            parent = dlt.resource(of_accounts, name=kind.listing_name, selected=False)
            yield parent
            yield parent | with_details.with_name(kind.resource_name)
        else:
            yield listed.with_name(kind.resource_name)(of_accounts)


class _Load:
    """What the listings of one load share: its id, and the numbers of its rejected records."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.positions: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
        self.has_begun = False


class _Loads:
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
        Read *listings* side by side and yield their rows, each Arrow table marked with the table it belongs to.

        None is yielded while nothing is ready: dlt goes on with another resource then.
        """
        load, pipeline = self._running_load()
        is_first, load.has_begun = not load.has_begun, True
        if is_first:
            for table in self._tables:
                yield mark_rows(table, table.schema.empty_table())
        with ExitStack() as stack:
            readers = []
            for listing in listings:
                account, kind = listing.client.account, listing.kind
                reader = ListingReader(
                    listing,
                    origin=Origin(account, kind, load.run_id, listing.client.revision),
                    held=stack.enter_context(HeldJobs(pipeline, account, kind.name)),
                    positions=load.positions[account],
                )
                readers.append(reader)
                if self._outcomes is not None:
                    self._outcomes.append(reader.outcome)
            if is_first and self._on_recalled is not None:
                self._on_recalled(load.run_id)
            for batch in _side_by_side(readers, stack):
                if batch is None:
                    yield None
                    continue
                for name, rows in batch.items():
                    yield mark_rows(TABLES[name], rows)
        for reader in readers:
            if self._outcomes is None and reader.outcome.error is not None:
                raise reader.outcome.error

    def _running_load(self) -> tuple[_Load, dlt.Pipeline | None]:
        """Return the load that reads the source, and its pipeline; without one where someone iterates by hand."""
        try:
            load_id, pipeline = dlt.current.load_package_state()["load_id"], dlt.current.pipeline()
        except CurrentLoadPackageStateNotAvailable:
            load_id, pipeline = self._id_without_pipeline, None
        return self._loads.setdefault(load_id, _Load(load_id)), pipeline


def _side_by_side(readers: Iterable[ListingReader], stack: ExitStack) -> Iterator[Batch | None]:
    """Yield the batches of all *readers* as they come, and None while none is ready; *stack* ends their threads."""
    under_way = deque(
        stack.enter_context(closing(in_background(reader.iter_batches(), reader.outcome.name))) for reader in readers
    )
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


def mark_rows(table: Table, rows: pa.Table) -> DataItemWithMeta:
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
