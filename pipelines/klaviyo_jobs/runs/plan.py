"""
What a run would do: its calls, and the least time that the rate limits leave for them. Nothing is written.

In:     the listings of the settings, and an engine whose warehouse may not exist yet.
Out:    one outcome a listing, in which `detail_count` counts the detail calls that a run would make.
Calls:  the listings are read, since nothing else tells what is new; no detail is.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import dlt

from klaviyo_jobs.api.pacing import least_seconds
from klaviyo_jobs.extract.known_jobs import Recall
from klaviyo_jobs.extract.listing import Listing, ListingReader
from klaviyo_jobs.extract.outcomes import ListingOutcome
from klaviyo_jobs.extract.rows import RowContext
from klaviyo_jobs.extract.source import SCHEMA_NAME
from klaviyo_jobs.model.kinds import RateLimit
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA
from klaviyo_jobs.warehouse.engines.engine import Engine

_LISTINGS_AT_ONCE: Final = 16


def plan_run(
    listings: Sequence[Listing],
    engine: Engine,
    *,
    watch: Callable[[list[ListingOutcome]], None] | None = None,
) -> list[ListingOutcome]:
    """
    Read *listings*, compare them with the warehouse of *engine* and count what a run would do.

    Args:
        watch: Called before reading starts with the outcomes, which fill while it goes on.

    Raises:
        WarehouseError: There is a warehouse, and it cannot be read.
    """
    with ExitStack() as stack:
        pipeline = None
        if engine.exists():
            if engine.has_views:
                with engine.open(read_only=True):
                    pass
            pipeline = dlt.pipeline(
                SCHEMA_NAME,
                pipelines_dir=stack.enter_context(tempfile.TemporaryDirectory(prefix="klaviyo-jobs-")),
                destination=stack.enter_context(engine.destination(read_only=True)),
                dataset_name=RAW_SCHEMA,
            )
        recall = stack.enter_context(Recall(pipeline, [listing.key for listing in listings]))
        # Closed before the threads are joined: whoever leaves off does not wait for what they wait for.
        branches = {listing.client: listing.client.branch() for listing in listings}
        readers = [
            ListingReader(
                replace(listing, client=branches[listing.client]),
                context=RowContext(listing.client.account, listing.kind, "", listing.client.revision),
                known=recall.known_jobs(*listing.key),
            )
            for listing in listings
        ]
        if watch is not None:
            watch([reader.outcome for reader in readers])
        with ThreadPoolExecutor(_LISTINGS_AT_ONCE, thread_name_prefix="plan") as pool, ExitStack() as closing:
            for client in branches.values():
                closing.enter_context(client)
            list(pool.map(ListingReader.count_changes, readers))
    return [reader.outcome for reader in readers]


def least_seconds_of(outcomes: Iterable[ListingOutcome]) -> float:
    """
    Return the least time that Klaviyo's rate limits leave for the calls that *outcomes* plan.

    Accounts and rate classes have budgets of their own and run at the same time, so the slowest of them counts.
    """
    calls: Counter[tuple[str, RateLimit]] = Counter()
    for outcome in outcomes:
        calls[outcome.account, outcome.kind.rate_limit] += outcome.page_count + outcome.detail_count
    return max((least_seconds(limit, count) for (_, limit), count in calls.items()), default=0.0)
