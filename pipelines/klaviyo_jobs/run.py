"""
One run: check the warehouse, load what is new or changed, apply the views, and say how it went.

In:     settings and the path of a DuckDB file.
Out:    `RunSummary`.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pendulum

from klaviyo_jobs.errors import KeyRefusedError, KlaviyoJobsError, PartialError
from klaviyo_jobs.load import load
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.reading import ListingOutcome
from klaviyo_jobs.replay import Replayed, replay_rejected
from klaviyo_jobs.settings import Settings, revision_problem
from klaviyo_jobs.source import klaviyo_jobs
from klaviyo_jobs.views import apply_views
from klaviyo_jobs.warehouse import RAW_SCHEMA, open_warehouse


@dataclass(frozen=True, slots=True)
class RunSummary:
    """
    How a run went.

    Attributes:
        run_id: The `run_id` of every row it wrote; a load id in `klaviyo_raw._dlt_loads`.
        warehouse: The DuckDB file.
        outcomes: One for each listing.
        rows: Rows loaded into each table, rows that replaced others included.
        views: The views that were applied.
        seconds: From start to end.
        replayed: What reading the rejected records again brought, if it was asked for.
    """

    run_id: str
    warehouse: Path
    outcomes: list[ListingOutcome]
    rows: dict[str, int]
    views: list[str]
    seconds: float
    replayed: Replayed | None = None

    @property
    def job_count(self) -> int:
        """Jobs that the listings showed."""
        return sum(outcome.job_count for outcome in self.outcomes)

    @property
    def changed_count(self) -> int:
        """Jobs among them that were new or changed."""
        return sum(outcome.changed_count for outcome in self.outcomes)

    @property
    def rejected_count(self) -> int:
        """Records that could not be read."""
        return sum(outcome.rejected_count for outcome in self.outcomes)

    @property
    def unmodelled(self) -> dict[str, list[str]]:
        """Drift: the members that no column models, by job kind; their values are kept in the columns `extra`."""
        names: dict[str, set[str]] = defaultdict(set)
        for outcome in self.outcomes:
            if outcome.unmodelled:
                names[outcome.kind.name] |= outcome.unmodelled
        return {kind: sorted(of_kind) for kind, of_kind in names.items()}

    @property
    def request_count(self) -> int:
        """Calls to the API, repeats included."""
        return sum(outcome.meter.request_count for outcome in self.outcomes)

    @property
    def retry_count(self) -> int:
        """Calls that repeated a failed one."""
        return sum(outcome.meter.retry_count for outcome in self.outcomes)

    @property
    def error(self) -> KlaviyoJobsError | None:
        """What the run is to end with: the error common to all listings, PartialError if only some failed, or None."""
        failed = {outcome.name: outcome.error for outcome in self.outcomes if outcome.error}
        first = next(iter(failed.values()), None)
        if first is not None:
            exit_codes = {error.exit_code for error in failed.values()}
            if len(failed) == len(self.outcomes) and len(exit_codes) == 1:
                return first
            return PartialError(
                f"{len(failed)} of {len(self.outcomes)} listings failed ({self._failed_names()}). "
                f"First: {first.headline}",
                data=f"everything else is loaded; each failure stands in {RAW_SCHEMA}.listings, column error.",
                next_step=first.next_step
                if all(isinstance(error, KeyRefusedError) for error in failed.values())
                else "run again; what was read before is not read again.",
            )
        if self.rejected_count:
            return PartialError(
                f"{self.rejected_count} records could not be read.",
                data="they are kept in klaviyo_raw.rejected_records with reason and raw JSON; all else is loaded.",
                next_step=f"look at: select endpoint, json_path, reason from {RAW_SCHEMA}.rejected_records "
                f"where run_id = '{self.run_id}'.",
            )
        return None

    def _failed_names(self) -> str:
        """Name the failed listings, in one word those of an account of which all failed."""
        kinds: dict[str, list[str]] = defaultdict(list)
        for outcome in self.outcomes:
            kinds[outcome.account] += [outcome.kind.name] if outcome.error else []
        asked = Counter(outcome.account for outcome in self.outcomes)
        return ", ".join(
            f"{account}: {'all' if len(failed) == asked[account] else ', '.join(failed)}"
            for account, failed in kinds.items()
            if failed
        )


def run(
    settings: Settings,
    warehouse: Path,
    *,
    labels: Sequence[str] | None = None,
    full_refresh: bool = False,
    replays: bool = False,
    watch: Callable[[list[ListingOutcome]], None] | None = None,
) -> RunSummary:
    """
    Run once.

    Args:
        settings: What to read, and with which key.
        warehouse: The DuckDB file; made if it is not there.
        labels: The accounts to read; all by default.
        full_refresh: Whether to read and write every listed job, held or not.
        replays: Whether to read rejected records again.
        watch: Called once, before reading starts, with the list that the outcomes of the listings appear in.
    Raises:
        SettingError: A setting is missing or cannot be used; nothing was read or written.
        WarehouseError: The warehouse cannot be opened or written.
    """
    started = time.monotonic()
    outcomes: list[ListingOutcome] = []
    source = klaviyo_jobs(
        api_key=settings.api_key,
        accounts=settings.accounts,
        base_url=settings.base_url,
        revision=settings.revision,
        kinds=settings.kinds,
        include=settings.include,
        labels=labels,
        full_refresh=full_refresh,
        outcomes=outcomes,
    )
    if problem := revision_problem(settings.revision, pendulum.now("UTC").date()):
        LOGGER.warning("%s", problem)
    open_warehouse(warehouse).close()
    if watch is not None:
        watch(outcomes)
    replayed = replay_rejected(warehouse) if replays else None
    loaded = load(source, warehouse)
    with open_warehouse(warehouse) as connection:
        views = apply_views(connection)
    return RunSummary(
        run_id=loaded.run_id,
        warehouse=warehouse,
        outcomes=outcomes,
        rows=loaded.rows,
        views=views,
        seconds=time.monotonic() - started,
        replayed=replayed,
    )
