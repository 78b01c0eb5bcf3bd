"""
One run, step by step: lock, recover, recall, extract, load, views, checks, ledger, publish, unlock.

In:     settings and an engine, such as a DuckDB file.
Out:    `RunSummary`.
"""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pendulum

from klaviyo_jobs.errors import KlaviyoJobsError, PartialError
from klaviyo_jobs.extract.outcomes import ListingOutcome
from klaviyo_jobs.extract.source import build_listings, build_source, tables_of
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.model.revisions import revision_problem
from klaviyo_jobs.model.tables import JOBS
from klaviyo_jobs.monitor.check import describe, run_sql_checks
from klaviyo_jobs.places import path_of
from klaviyo_jobs.runs.failures import failure_of
from klaviyo_jobs.runs.replay import Replayed, replay_rejected
from klaviyo_jobs.runs.signals import Stop, stoppable
from klaviyo_jobs.runs.steps import Step, tell_step
from klaviyo_jobs.settings import Settings, read_check_settings
from klaviyo_jobs.warehouse.derived import mark_derived
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA, Connection
from klaviyo_jobs.warehouse.engines.duckdb_engine import DuckDBFile
from klaviyo_jobs.warehouse.engines.engine import Engine
from klaviyo_jobs.warehouse.ledger import record_ended_runs
from klaviyo_jobs.warehouse.load import load
from klaviyo_jobs.warehouse.lock import RunLock, lock_of
from klaviyo_jobs.warehouse.migrations import is_of_earlier_contract
from klaviyo_jobs.warehouse.publish import check_targets, publish
from klaviyo_jobs.warehouse.views import apply_views

_WORKING_PREFIX: Final = "klaviyo-jobs-"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """
    How a run went.

    Attributes:
        run_id: The `run_id` of every row it wrote; a load id in `klaviyo_raw._dlt_loads`.
        place: Where the warehouse is: the DuckDB file, or a server and its database.
        outcomes: One for each listing.
        rows: Rows that the run left in each table, those that replaced others included.
        views: The views that were applied.
        started_at: When it started.
        seconds: From start to end.
        replayed: What reading the rejected records again brought, if it was asked for.
    """

    run_id: str
    place: str
    outcomes: list[ListingOutcome]
    rows: dict[str, int]
    views: list[str]
    started_at: dt.datetime
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
        return sum(outcome.request_count for outcome in self.outcomes)

    @property
    def retry_count(self) -> int:
        """Calls that repeated a failed one."""
        return sum(outcome.retry_count for outcome in self.outcomes)

    @property
    def error(self) -> KlaviyoJobsError | None:
        """What the run is to end with: the error common to all listings, PartialError if only some failed, or None."""
        if (failure := failure_of(self.outcomes)) is not None:
            return failure
        if self.rejected_count:
            return PartialError(
                f"{self.rejected_count} records could not be read.",
                data="they are kept in klaviyo_raw.rejected_records with reason and raw JSON; all else is loaded.",
                next_step=f"look at: select endpoint, json_path, reason from {RAW_SCHEMA}.rejected_records "
                f"where run_id = '{self.run_id}'.",
            )
        return None


def run(
    settings: Settings,
    warehouse: Path | Engine,
    *,
    labels: Sequence[str] | None = None,
    full_refresh: bool = False,
    replays: bool = False,
    lock_wait_seconds: float = 0.0,
    watch: Callable[[list[ListingOutcome]], None] | None = None,
) -> RunSummary:
    """
    Run once.

    Args:
        settings: What to read, and with which key.
        warehouse: The DuckDB file, which is made if it is not there, or another engine.
        labels: The accounts to read; all by default.
        full_refresh: Whether to read and write every listed job, known or not.
        replays: Whether to read rejected records again.
        lock_wait_seconds: How long to wait for another run of the same warehouse to end.
        watch: Called once, before reading starts, with the list that the outcomes of the listings appear in.
    Raises:
        SettingError: A setting is missing or cannot be used; nothing was read or written.
        LockedError: Another run holds the lock; nothing was read or written.
        WarehouseError: The warehouse cannot be opened or written.
        StoppedError: A signal ended the run.
    """
    started, started_at = time.monotonic(), pendulum.now("UTC")
    outcomes: list[ListingOutcome] = []
    memory = settings.memory
    listings = build_listings(settings, labels=labels, full_refresh=full_refresh)
    names = [(listing.client.account, listing.kind.name) for listing in listings]
    if problem := revision_problem(settings.revision, pendulum.now("UTC").date()):
        LOGGER.warning("%s", problem)
    engine = warehouse if isinstance(warehouse, Engine) else DuckDBFile(path_of(warehouse, "warehouse"), memory)
    file, target, page = engine.file, settings.copy_path, settings.page_path
    if target is not None:
        engine.refuse("bi_copy")
    if page is not None:
        # It brings what a run without a page has no use for.
        from klaviyo_jobs.monitor.page.contents import PAGE_DAYS, read_contents
        from klaviyo_jobs.monitor.page.html import check_page, write_page

        engine.refuse("report_page")
        check_page(page, file, target)
    if replays:
        engine.refuse("--replay-rejected")
    engine.check_place()
    if file is not None and target is not None:
        check_targets(file, target)
    memory.check_spill_directory()
    with stoppable() as stop:
        stop.raise_if_asked()
        tell_step(Step.LOCK)
        with (
            lock_of(engine, names, wait_seconds=lock_wait_seconds) as lock,
            stop.told(),
            engine.errors(),
            _working_directory(lock) as working_directory,
        ):
            enter = _Steps(stop, lock, outcomes).enter
            enter(Step.RECOVER)
            for note in lock.ended:
                LOGGER.warning("an earlier run did not come to its end: %s", note.ending)
            # Until the end: whoever opens the file in the middle is refused, instead of failing the load.
            with engine.kept(settings.warehouse_wait_seconds):
                is_new = _recover(engine, settings)
                if watch is not None:
                    watch(outcomes)
                accounts = {account for account, _ in names}
                replayed = replay_rejected(engine, working_directory, accounts) if replays else None
                enter(Step.RECALL)
                source = build_source(listings, outcomes, partial(enter, Step.EXTRACT))
                loaded = load(source, engine, working_directory / "load", on_load=partial(enter, Step.LOAD))
                views: list[str] = []
                if engine.has_views:
                    with engine.open() as connection:
                        enter(Step.VIEWS)
                        views = _keep_views(engine, connection, settings, is_new=is_new)
                        enter(Step.CHECKS)
                        if any(outcome.changed_count for outcome in outcomes):
                            _warn_of_contradictions(connection, started_at)
                        enter(Step.LEDGER)
                        if lock.ended:
                            with engine.writing():
                                record_ended_runs(connection, lock.ended)
                lock.forget_ended()
            if file is not None and target is not None:
                enter(Step.PUBLISH)
                publish(file, target, memory, with_tables=settings.bi_copy_tables)
            if page is not None:
                enter(Step.PAGE)
                with engine.open(read_only=True) as connection:
                    contents = read_contents(
                        connection,
                        PAGE_DAYS,
                        read_check_settings(),
                        kinds={kind for _, kind in names},
                        accounts=settings.labels,
                    )
                write_page(page, contents)
            enter(Step.UNLOCK)
    return RunSummary(
        run_id=loaded.run_id,
        place=engine.place,
        outcomes=outcomes,
        rows={table.name: loaded.rows.get(table.name, 0) for table in tables_of(listings)},
        views=views,
        started_at=started_at,
        seconds=time.monotonic() - started,
        replayed=replayed,
    )


def _recover(engine: Engine, settings: Settings) -> bool:
    """Bring tables of an earlier contract up to this one; tell whether there are none yet."""
    if not engine.has_views:
        return False
    with engine.open(wait_seconds=settings.warehouse_wait_seconds) as connection:
        is_new = not connection.has_table(JOBS.name)
        if is_of_earlier_contract(connection):
            # With the views: those of the earlier contract read columns that are gone then.
            with engine.writing(), engine.changing_tables():
                apply_views(connection, **settings.of_views)
    return is_new


def _keep_views(engine: Engine, connection: Connection, settings: Settings, *, is_new: bool) -> list[str]:
    """Note what the tables are that were loaded, and apply the views to them."""
    with engine.writing(), engine.changing_tables():
        connection.mark_contract()
        if is_new:
            mark_derived(connection, settings.reporting_timezone)
        engine.tend(connection)
        return apply_views(connection, **settings.of_views)


class _Steps:
    """Says how far the run has got, in the log and in the lock file; between steps, a signal may stop it."""

    def __init__(self, stop: Stop, lock: RunLock, outcomes: Sequence[ListingOutcome]) -> None:
        self._stop = stop
        self._lock = lock
        self._outcomes = outcomes

    def enter(self, step: Step, run_id: str = "") -> None:
        self._stop.raise_if_asked()
        self._lock.enter_step(step, run_id)
        tell_step(step, has_news=any(outcome.changed_count for outcome in self._outcomes))


@contextmanager
def _working_directory(lock: RunLock) -> Iterator[Path]:
    """Yield a new folder for dlt's files; delete those of the runs before that were killed and could not do so."""
    for note in lock.ended:
        if note.host == lock.note.host and Path(note.working_directory).name.startswith(_WORKING_PREFIX):
            shutil.rmtree(note.working_directory, ignore_errors=True)
    with TemporaryDirectory(prefix=_WORKING_PREFIX) as folder:
        lock.note.working_directory = folder
        yield Path(folder)


def _warn_of_contradictions(connection: Connection, since: dt.datetime) -> None:
    """
    Say which queries of `sql/checks/` and `sql/information/` found something in what was written *since* then.

    A finding is for people to look at and fails no run; nobody has to be warned of what Klaviyo says of itself.
    """
    for finding in run_sql_checks(connection, since):
        if finding.is_breached:
            LOGGER.warning("check %s; see sql/checks/%s.sql", describe(finding), finding.check)
    for finding in run_sql_checks(connection, since, is_information=True):
        if finding.value:
            LOGGER.info("Klaviyo contradicts itself: %s; see sql/information/%s.sql", describe(finding), finding.check)
