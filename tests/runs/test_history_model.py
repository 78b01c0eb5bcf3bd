"""
Random histories of the API against a model of the rules: after each run every table holds what the rules say.

The model is a second opinion. It is written from the words of the design, shares no code with what it checks, and is
told only what the API showed and which details it answered. Times in rows are compared by the run they fall into.

Two histories of each sort run by default, the same ones every time; those marked slow play more of them, and
`HYPOTHESIS_PROFILE=long` plays many that are new each time and shrinks failures.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import DEFAULT_REVISION, Settings
from klaviyo_sandbox import Fault, Job, JobError, RawJob, Sandbox, related_id
from support.loads import NOW, Load, Warehouse

ACCOUNTS: Final = ("default", "second")
# Each kind with its relationship: two that are read with details, one that is on request, one that never is.
KINDS: Final = {
    "category-create": "categories",
    "category-update": "categories",
    "item-create": "items",
    "variant-delete": "variants",
}
FINISHED: Final = ("complete", "cancelled")
STATUSES: Final = ("queued", "processing", "complete", "cancelled", "paused")
LETTERS: Final = "ABCD"
HOUR: Final = dt.timedelta(hours=1)
WEEK: Final = dt.timedelta(days=7)
UPDATED: Final = (NOW, NOW - HOUR, None, "soon")

JobKey = tuple[str, str, str]
Row = tuple[Any, ...]

# Two jobs of each kind and account. Accounts and most kinds share ids; jobs that show the same categories have their own.
KEYS: Final[list[JobKey]] = [
    (account, kind, f"{'U' if kind == 'category-update' else 'J'}{nth}")
    for account in ACCOUNTS
    for kind in KINDS
    for nth in (1, 2)
]


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BACKOFF_SECONDS", "0")


# ---------------------------------------------------------------------------------------------------------------------
# The API: what it shows, and what happens to it
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """
    A job as the API shows it.

    Attributes:
        error_count, linkage_count: How many can be read; which they are follows from the number.
        level: An attribute that no column models.
        has_bad_error: Whether its errors begin with one more, which cannot be read.
        is_readable: Whether the job's own record can be read.
    """

    created_at: dt.datetime
    expires_at: dt.datetime
    status: str = "queued"
    total_count: int = 3
    completed_count: int = 0
    failed_count: int = 0
    error_count: int = 0
    linkage_count: int = 0
    completed_at: dt.datetime | None = None
    level: int | None = None
    has_bad_error: bool = False
    is_readable: bool = True
    is_listed: bool = True

    @property
    def observation(self) -> Row:
        """Status and counts: what an observation records."""
        errors = self.error_count + self.has_bad_error
        return (self.status, self.total_count, self.completed_count, self.failed_count, errors, self.linkage_count)

    @property
    def times(self) -> Row:
        """The times that the API gives it."""
        return tuple(time and _microseconds(time) for time in (self.created_at, self.completed_at, self.expires_at))

    @property
    def letters(self) -> list[str]:
        """The entities of its linkages, others for each number of them."""
        return [LETTERS[(self.linkage_count + place) % len(LETTERS)] for place in range(self.linkage_count)]

    @property
    def error_details(self) -> list[str]:
        """The texts of its errors, others for each number of them."""
        return [f"Error {place} of {self.error_count}." for place in range(self.error_count)]


@dataclass(frozen=True)
class Entity:
    """What the API shows of an item or category; its time may be missing, or a text that is no time."""

    name: str
    updated_at: dt.datetime | str | None


WHAT_HAPPENS: Final = (
    *("advance", "advance", "advance", "advance"),
    *("nothing", "nothing", "jump", "jump", "shrink", "remove"),
    *("spoil", "spoil an error", "add an attribute"),
)


@dataclass(frozen=True)
class Change:
    """Something that happens to a job, to an entity of its account, or to the clock; *size* tells how much."""

    what: str
    key: JobKey
    size: int


class Api:
    """The sandbox, and what it shows in the model's terms."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.jobs: dict[JobKey, Shown] = {}
        self.entities: dict[tuple[str, str], Entity] = {}
        self._names = itertools.count()
        for account in ACCOUNTS:
            if account not in sandbox.accounts:
                sandbox.add_account(account)
            for relationship in ("categories", "items"):
                for letter in LETTERS:
                    self._rename(account, _entity_id(relationship, letter), NOW)

    def apply(self, change: Change) -> None:
        """Let *change* happen; one that makes no sense now does nothing."""
        account, kind, job_id = change.key
        if change.what == "wait":
            self.sandbox.clock.advance((0, 1, 24, 180)[change.size] * HOUR)
        elif change.what == "rename":
            self._rename(account, _entity_id(KINDS[kind], LETTERS[int(job_id[-1])]), UPDATED[change.size])
        elif (shown := self._changed(change, self.jobs.get(change.key))) is not None:
            self.jobs[change.key] = shown
            self._serve(change.key, shown)

    def listed(self) -> dict[JobKey, Shown]:
        """Return what the listings show now; a record that cannot be read does not expire."""
        now = self.sandbox.clock.now()
        return {
            key: shown
            for key, shown in self.jobs.items()
            if shown.is_listed and (now < shown.expires_at or not shown.is_readable)
        }

    @contextmanager
    def frozen_listings(self) -> Iterator[None]:
        """Answer listings as they are answered now, as if what happens meanwhile happened after they were read."""
        for account in ACCOUNTS:
            for kind in KINDS:
                url = f"{self.sandbox.base_url}/api/catalog-{kind.replace('-', '-bulk-')}-jobs"
                headers = self.sandbox.headers(account, revision=DEFAULT_REVISION)
                with urlopen(Request(url, headers=headers)) as answer:  # noqa: S310 - the sandbox's own address
                    self.sandbox.accounts[account].world.replay_list(kind, answer.read())
        yield
        for account in ACCOUNTS:
            for kind in KINDS:
                self.sandbox.accounts[account].world.replay_list(kind, None)

    def _changed(self, change: Change, shown: Shown | None) -> Shown | None:
        now, size = self.sandbox.clock.now(), change.size
        if shown is None:
            created_at = now - size * 30 * HOUR
            new = Shown(created_at, created_at + WEEK)
            return new if change.what == "advance" else self._changed(change, new) if change.what == "jump" else None
        completed, failed = shown.completed_count, shown.failed_count
        match change.what:
            case "advance" if not shown.is_listed:  # it comes back
                return replace(shown, is_listed=True)
            case "advance" if shown.expires_at <= now:  # it comes back
                return replace(shown, expires_at=now + WEEK)
            case "advance" if shown.status == "queued":
                return replace(shown, status="processing")
            case "advance" if shown.status != "processing":
                return None
            case "advance" if completed + failed >= shown.total_count:
                return replace(shown, status="complete", completed_at=now)
            case "advance" if size % 2:
                return replace(shown, failed_count=failed + 1, error_count=min(shown.error_count + 1, 3))
            case "advance":
                return replace(shown, completed_count=completed + 1, linkage_count=min(shown.linkage_count + 1, 3))
            case "jump":
                status = STATUSES[(STATUSES.index(shown.status) + size) % len(STATUSES)]
                ended_at = now if status in FINISHED else None
                return replace(shown, status=status, error_count=size, linkage_count=3 - size, completed_at=ended_at)
            case "shrink":
                errors, linkages = min(shown.error_count, size // 2), min(shown.linkage_count, size % 2)
                return replace(shown, error_count=errors, linkage_count=linkages)
            case "remove":
                return replace(shown, is_listed=False)
            case "spoil":
                return replace(shown, is_readable=not shown.is_readable)
            case "spoil an error" if change.key[1] == "variant-delete":  # a detail would tell of it once more
                return replace(shown, has_bad_error=not shown.has_bad_error, total_count=shown.total_count + 1)
            case "add an attribute":
                return replace(shown, level=shown.total_count, total_count=shown.total_count + 1)
        return None

    def _serve(self, key: JobKey, shown: Shown) -> None:
        account, kind, job_id = key
        world = self.sandbox.accounts[account].world
        errors: list[JobError | dict[str, Any]] = [JobError(text, related_id("E")) for text in shown.error_details]
        if shown.has_bad_error:
            errors.insert(0, {"id": f"error of {job_id}", "detail": ["not", "a", "text"]})
        world.add(
            Job(
                kind,
                job_id,
                shown.created_at,
                status=shown.status,
                total_count=shown.total_count,
                completed_count=shown.completed_count,
                failed_count=shown.failed_count,
                completed_at=shown.completed_at,
                errors=errors,
                related_ids=[_entity_id(KINDS[kind], letter) for letter in shown.letters],
                expires_at=shown.expires_at,
                extra_attributes={} if shown.level is None else {"level": shown.level},
            )
        )
        if not shown.is_readable:
            world.add(RawJob(kind, {"id": job_id, "attributes": {"status": "queued"}}))
        if not shown.is_listed:
            world.remove(kind, job_id)

    def _rename(self, account: str, entity_id: str, updated_at: dt.datetime | str | None) -> None:
        entity = Entity(f"Name {next(self._names)}", updated_at)
        self.entities[account, entity_id] = entity
        updated = updated_at.isoformat() if isinstance(updated_at, dt.datetime) else updated_at
        world = self.sandbox.accounts[account].world
        world.describe(entity_id, name=entity.name, title=entity.name, updated=updated)


def _entity_id(relationship: str, letter: str) -> str:
    return related_id(f"{relationship}-{letter}")


def _microseconds(time: dt.datetime) -> int:
    return (time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


# ---------------------------------------------------------------------------------------------------------------------
# The model: what the warehouse has to hold
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """
    What one run saw of one listing.

    Attributes:
        listed: The jobs on the pages that came, by id; none if no page came.
        is_complete: Whether the last page came.
        has_failed: Whether the listing, or a detail, was given up.
        details: The jobs whose details were answered, as those showed them.
        includes: Whether the run reads details of this kind.
        is_full: Whether it was told to read all again.
        calls: The paths that were asked for, repeats included.
    """

    account: str
    kind: str
    listed: Mapping[str, Shown]
    is_complete: bool
    has_failed: bool
    details: Mapping[str, Shown]
    entities: Mapping[tuple[str, str], Entity]
    includes: bool
    is_full: bool
    calls: list[str]


@dataclass
class Kept:
    """What is kept of a job: how it was last read, and the runs in which things happened to it."""

    shown: Shown
    first_seen: int
    last_changed: int
    read: int
    written: int
    vanished: int | None = None
    has_detail: bool = False


@dataclass
class Model:
    """The rules of the design. Runs are numbers."""

    jobs: dict[JobKey, Kept] = field(default_factory=dict)
    observations: dict[JobKey, list[Row]] = field(default_factory=lambda: defaultdict(list))
    entities: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    listings: list[Row] = field(default_factory=list)
    rejected: list[Row] = field(default_factory=list)

    def read(self, number: int, seen: Seen) -> set[str]:
        """Take in what run *number* saw of a listing, and return the ids of the jobs that were new or changed to it."""
        readable = {job_id: shown for job_id, shown in seen.listed.items() if shown.is_readable}
        taken = {job_id for job_id, shown in readable.items() if seen.is_full or self._is_news(seen, job_id, shown)}
        for job_id in taken:
            self._take(number, seen, job_id)
        if seen.is_complete and len(readable) == len(seen.listed):
            for key, kept in self.jobs.items():
                is_open = kept.shown.status not in FINISHED and kept.vanished is None
                if key[:2] == (seen.account, seen.kind) and key[2] not in readable and is_open:
                    kept.vanished = kept.written = number
        rejected = [*self._rejections(seen, taken)]
        self.rejected += [(seen.account, seen.kind, *each, True, number) for each in rejected]
        counts = (len(readable), len(taken), len(seen.details), len(rejected))
        requests = (len(seen.calls), len(seen.calls) - len(set(seen.calls)))
        self.listings.append(
            (seen.account, seen.kind, seen.is_complete, seen.has_failed, *counts, *requests, number, number, number)
        )
        return taken

    def _is_news(self, seen: Seen, job_id: str, shown: Shown) -> bool:
        """Tell whether a listed job is new, changed, back again, or lacks its detail."""
        kept = self.jobs.get((seen.account, seen.kind, job_id))
        return (
            kept is None
            or kept.vanished is not None
            or (kept.shown.observation, kept.shown.times) != (shown.observation, shown.times)
            or (seen.includes and not kept.has_detail)
        )

    def _take(self, number: int, seen: Seen, job_id: str) -> None:
        key = (seen.account, seen.kind, job_id)
        shown, kept = seen.details.get(job_id, seen.listed[job_id]), self.jobs.get(key)
        has_changed = not kept or (kept.shown.observation, kept.shown.times) != (shown.observation, shown.times)
        self.jobs[key] = Kept(
            shown,
            first_seen=kept.first_seen if kept else number,
            last_changed=kept.last_changed if kept and not has_changed else number,
            read=number,
            written=number,
            has_detail=job_id in seen.details
            # A run that reads no details does not forget that an unchanged job's was read.
            or bool(kept and kept.has_detail and not has_changed and not seen.includes),
        )
        history = self.observations[key]
        if not history or history[-1][:-2] != shown.observation:
            history.append((*shown.observation, number, number))
        if job_id in seen.details:
            self._include(number, seen, job_id)

    def _include(self, number: int, seen: Seen, job_id: str) -> None:
        for letter in seen.details[job_id].letters:
            entity_id = _entity_id(KINDS[seen.kind], letter)
            entity = seen.entities[seen.account, entity_id]
            if not isinstance(entity.updated_at, str):
                key = (KINDS[seen.kind], seen.account, entity_id)
                updated_at = entity.updated_at and _microseconds(entity.updated_at)
                held_updated_at, held_job_id = self.entities[key][1:3] if key in self.entities else (None, "")
                # The newest read stays: by the time of the update, then by the job it came with.
                if (updated_at or 0, job_id) >= (held_updated_at or 0, held_job_id):
                    self.entities[key] = (entity.name, updated_at, job_id, number)

    def _rejections(self, seen: Seen, taken: set[str]) -> Iterator[Row]:
        """Yield where each record stands that cannot be read, and its id; an unchanged job is not looked into."""
        for job_id, shown in seen.listed.items():
            if not shown.is_readable:
                yield ("page", job_id)
            elif shown.has_bad_error and job_id in taken:
                yield ("page", f"error of {job_id}")
        for job_id, shown in seen.details.items():
            for letter in shown.letters:
                entity_id = _entity_id(KINDS[seen.kind], letter)
                if isinstance(seen.entities[seen.account, entity_id].updated_at, str):
                    yield (job_id, entity_id)

    def tables(self) -> dict[str, list[Row]]:
        """Return the rows of every table, in the form of `stored_tables`."""
        rows: dict[str, list[Row]] = {name: [] for name in QUERIES}
        for key, kept in self.jobs.items():
            shown, relationship = kept.shown, KINDS[key[1]]
            extra = None if shown.level is None else json.dumps({"level": shown.level}, separators=(",", ":"))
            runs = (kept.written, kept.first_seen, kept.last_changed, kept.vanished)
            rows["jobs"].append((*key, *shown.observation, *shown.times, extra, *runs))
            for position, text in enumerate(shown.error_details, start=int(shown.has_bad_error)):
                rows["job_errors"].append((*key, position, "invalid", text, related_id("E"), kept.read))
            for position, letter in enumerate(shown.letters):
                external_id = f"{relationship}-{letter}"
                linkage = (relationship, _entity_id(relationship, letter), external_id)
                rows["job_linkages"].append((*key, position, *linkage, kept.read))
        for key, history in self.observations.items():
            rows["job_observations"] += [(*key, place, *each) for place, each in enumerate(history, start=1)]
        for (relationship, *entity_key), row in self.entities.items():
            rows[relationship].append((*entity_key, *row))
        rows["listings"], rows["rejected_records"] = self.listings, self.rejected
        return {name: sorted(of_table, key=repr) for name, of_table in rows.items()}


# ---------------------------------------------------------------------------------------------------------------------
# The warehouse: what it does hold
# ---------------------------------------------------------------------------------------------------------------------

JOB: Final = "account, job_kind, job_id"
COUNTS: Final = "total_count, completed_count, failed_count, error_count, linkage_count"
# The columns that are compared as they are, and after `run_id` the times that are compared by their run.
QUERIES: Final[dict[str, tuple[str, list[str]]]] = {
    "jobs": (
        f"{JOB}, status, {COUNTS}, epoch_us(created_at), epoch_us(completed_at), epoch_us(expires_at), extra",
        ["first_seen_at", "last_changed_at", "vanished_at"],
    ),
    "job_errors": (f"{JOB}, position, code, detail, related_id", []),
    "job_linkages": (f"{JOB}, position, relationship, related_id, external_id", []),
    "job_observations": (
        f"{JOB}, row_number() over (partition by {JOB} order by observed_at), status, {COUNTS}",
        ["observed_at"],
    ),
    "categories": ("account, category_id, name, epoch_us(updated_at), seen_in_job_id", []),
    "items": ("account, item_id, title, epoch_us(updated_at), seen_in_job_id", []),
    "listings": (
        "account, job_kind, is_complete, error is not null, "
        "job_count, changed_count, detail_count, rejected_count, request_count, retry_count",
        ["started_at", "finished_at"],
    ),
    "rejected_records": (
        "account, job_kind, if(endpoint like '%-jobs (page 1)', 'page', parse_filename(endpoint)), raw ->> 'id', "
        "position + 1 = row_number() over (partition by account, run_id order by position)",
        [],
    ),
}


@dataclass
class Runs:
    """The runs so far: when each began and ended, and what it is called in rows."""

    spans: list[tuple[int, int, int]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def number_at(self, microseconds: int | None) -> int | None:
        """Return the number of the run that was under way; -1 if none was."""
        if microseconds is None:
            return None
        return next((number for begin, end, number in self.spans if begin <= microseconds <= end), -1)


def stored_tables(warehouse: Path, runs: Runs) -> dict[str, list[Row]]:
    """Return the rows of every table: columns, then the number of the run that wrote it, then the runs of its times."""
    tables = {}
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        names = {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}
        for name, (columns, times) in QUERIES.items():
            query = f"select {', '.join([columns, 'run_id', *(f'epoch_us({time})' for time in times)])}"
            found = connection.execute(f"{query} from klaviyo_raw.{name}").fetchall() if name in names else []
            width = len(times)
            tables[name] = sorted(
                (
                    (
                        *row[: -1 - width],
                        runs.numbers.get(row[-1 - width], row[-1 - width]),
                        *(runs.number_at(time) for time in row[len(row) - width :]),
                    )
                    for row in found
                ),
                key=repr,
            )
    return tables


# ---------------------------------------------------------------------------------------------------------------------
# A history: changes of the API, runs, comparisons
# ---------------------------------------------------------------------------------------------------------------------

# What can go wrong for one listing in one run: the sandbox's fault, its argument, the endpoint and how often.
TROUBLES: Final[dict[str, tuple[str, str, str, int | None]]] = {
    "the listing fails": ("status", "500", "list", None),
    "the listing fails twice": ("status", "503", "list", 2),
    "the listing does not end": ("repeat-link", "", "list", None),
    "the details are gone": ("expired-job", "", "detail", None),
    "the details fail": ("status", "500", "detail", None),
    "a detail fails": ("status", "500", "detail", None),
}
KEY_IS_REFUSED: Final = "the second key is refused"


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong in one run: with a listing, with the detail of one job, or with a key."""

    what: str
    key: JobKey

    def faults(self) -> list[Fault]:
        """Return the sandbox's faults that make it so."""
        if self.what == KEY_IS_REFUSED:
            return []
        account, kind, job_id = self.key
        name, argument, endpoint, times = TROUBLES[self.what]
        path = f"/{job_id}" if self.what == "a detail fails" else None
        return [Fault(name, argument, kind, endpoint, account, path, times=times)]


@dataclass(frozen=True)
class Step:
    """
    What happens to the API, and how the run after it goes.

    Attributes:
        is_late: Whether the changes come while the run is under way: after its listings, before its details.
    """

    changes: Sequence[Change]
    troubles: Sequence[Trouble] = ()
    labels: Sequence[str] = ACCOUNTS
    kinds: Sequence[str] = tuple(KINDS)
    include: Sequence[str] | None = None
    is_full: bool = False
    is_late: bool = False


class History:
    """One warehouse that is loaded from one sandbox, and the model of what it has to hold."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.api = Api(sandbox)
        self.model = Model()
        self.runs = Runs()
        self.number = 0
        self.warehouse = folder / "warehouse.duckdb"
        self._earlier = folder / "earlier.duckdb"

    def play(self, step: Step, *, cut: Mapping[str, str] | None = None) -> None:
        """
        Let the changes of *step* happen, run, and compare every table with the model.

        Args:
            step: What happens.
            cut: What a first run left in each table when it was killed; the run that is compared comes after it.
        """
        self.number += 1
        if step.is_late:
            listed = self.api.listed()
            with self.api.frozen_listings():
                for change in step.changes:
                    if change.what != "spoil":  # what counts when only the detail cannot be read is left open
                        self.api.apply(change)
                self._run(step)
        else:
            for change in step.changes:
                self.api.apply(change)
            listed = self.api.listed()
            if cut:
                self._run_and_cut(step, cut)
            self._run(step)
        for account in step.labels:
            for kind in step.kinds:
                self._read(step, account, kind, listed)
        for name, rows in (("listings", self.model.listings), ("rejected_records", self.model.rejected)):
            if cut and cut[name] == "new":  # the killed run saw what the next one saw
                rows += [row for row in rows if row[-1] == self.number]
        expected, actual = self.model.tables(), stored_tables(self.warehouse, self.runs)
        for name in QUERIES:
            assert actual[name] == expected[name], name

    def _run(self, step: Step) -> str:
        sandbox = self.api.sandbox
        keys = {label: sandbox.accounts[label].key for label in ACCOUNTS}
        if any(trouble.what == KEY_IS_REFUSED for trouble in step.troubles):
            keys["second"] = "pk_wrong"
        sandbox.faults[:] = [fault for trouble in step.troubles for fault in trouble.faults()]
        sandbox.reset_requests()
        begin = dt.datetime.now(dt.UTC)
        summary = run(
            Settings(
                base_url=sandbox.base_url,
                accounts=keys,
                kinds=[*step.kinds],
                include=None if step.include is None else [*step.include],
            ),
            self.warehouse,
            labels=step.labels,
            full_refresh=step.is_full,
        )
        end = dt.datetime.now(dt.UTC)
        sandbox.faults.clear()
        self.runs.spans.append((_microseconds(begin), _microseconds(end), self.number))
        self.runs.numbers[summary.run_id] = self.number
        return summary.run_id

    def _read(self, step: Step, account: str, kind: str, listed: Mapping[JobKey, Shown]) -> None:
        """Tell the model what the run saw of a listing, and check that it asked for the details it had to."""
        is_refused = account == "second" and any(trouble.what == KEY_IS_REFUSED for trouble in step.troubles)
        troubles = {each.what for each in step.troubles if each.key[:2] == (account, kind)}
        has_pages = not is_refused and "the listing fails" not in troubles
        is_complete = has_pages and "the listing does not end" not in troubles
        label = None if is_refused else account
        calls = [call for call in self.api.sandbox.requests if (call.account, call.kind) == (label, kind)]
        statuses: dict[str, set[int]] = defaultdict(set)
        for call in calls:
            if call.job_id:
                statuses[call.job_id].add(call.status)
        seen = Seen(
            account,
            kind,
            listed={key[2]: shown for key, shown in listed.items() if key[:2] == (account, kind)} if has_pages else {},
            is_complete=is_complete,
            has_failed=not is_complete or {500} in statuses.values(),
            details={job_id: self.api.jobs[account, kind, job_id] for job_id in statuses if 200 in statuses[job_id]},
            entities=self.api.entities,
            includes=KINDS[kind] in (["categories"] if step.include is None else step.include),
            is_full=step.is_full,
            calls=[f"{call.path}?{call.raw_query}" for call in calls],
        )
        taken = self.model.read(self.number, seen)
        wanted = taken if seen.includes else set()
        # After one detail was given up, no more need be asked for.
        assert statuses.keys() <= wanted if {500} in statuses.values() else statuses.keys() == wanted, (account, kind)

    def _run_and_cut(self, step: Step, cut: Mapping[str, str]) -> None:
        """
        Run, and leave what a kill would: each table as after the run, as before it, or with the old rows gone only.

        The last is what a kill leaves where a merge deletes and inserts in two transactions.
        """
        has_earlier = self.warehouse.exists()
        if has_earlier:
            shutil.copy(self.warehouse, self._earlier)
        run_id = self._run(step)
        with duckdb.connect(str(self.warehouse)) as connection:
            if has_earlier:
                connection.execute(f"attach '{self._earlier}' as earlier (read_only)")
            taken = f"select {JOB} from klaviyo_raw.jobs where run_id = '{run_id}' and vanished_at is null"
            connection.execute(f"create temp table taken as {taken}")
            for name, fate in cut.items():
                if fate == "new":
                    continue
                kept = f"from earlier.klaviyo_raw.{name}" if has_earlier else f"from klaviyo_raw.{name} limit 0"
                if has_earlier and fate == "gone" and name in ("job_errors", "job_linkages"):
                    kept += f" where ({JOB}) not in (from taken)"
                elif has_earlier and fate == "gone" and name == "categories":
                    written = f"select account, category_id from klaviyo_raw.categories where run_id = '{run_id}'"
                    kept += f" where (account, category_id) not in ({written})"
                connection.execute(f"create or replace temp table kept as {kept}")
                connection.execute(f"delete from klaviyo_raw.{name}")
                connection.execute(f"insert into klaviyo_raw.{name} by name from kept")
            connection.execute("delete from klaviyo_raw._dlt_loads where load_id = ?", [run_id])


# ---------------------------------------------------------------------------------------------------------------------
# Random histories
# ---------------------------------------------------------------------------------------------------------------------

_SIZES: Final = st.integers(0, 3)
# In each step time passes, two entities get a new name, and something happens to every job.
_CHANGES: Final = st.tuples(
    st.builds(Change, st.just("wait"), st.just(KEYS[0]), _SIZES),
    *[st.builds(Change, st.just("rename"), st.sampled_from(KEYS), _SIZES)] * 2,
    *(st.builds(Change, st.sampled_from(WHAT_HAPPENS), st.just(key), _SIZES) for key in KEYS),
)
_TROUBLES: Final = st.builds(Trouble, st.sampled_from([*TROUBLES, KEY_IS_REFUSED]), st.sampled_from(KEYS))
_STEPS: Final = st.builds(
    Step,
    changes=_CHANGES,
    troubles=st.lists(_TROUBLES, max_size=2),
    labels=st.sampled_from([ACCOUNTS] * 4 + [ACCOUNTS[:1]]),
    kinds=st.sampled_from([tuple(KINDS)] * 3 + [("category-create", "variant-delete")]),
    include=st.sampled_from([None, None, None, (), ("categories", "items")]),
    is_full=st.sampled_from([False] * 4 + [True]),
    is_late=st.sampled_from([False] * 3 + [True]),
)
_PLAIN_STEPS: Final = st.builds(Step, changes=_CHANGES, is_full=st.sampled_from([False] * 4 + [True]))
# dlt merges one table after the other, in any order: a kill finds some merged, and one on the way.
_MERGED: Final = ("job_observations", *(name for name in QUERIES if name not in ("job_observations", "items")))
_CUTS: Final = st.builds(
    lambda order, count: dict(zip(order, ["new"] * count + ["gone"] + ["old"] * len(order), strict=False)),
    order=st.permutations(_MERGED),
    count=st.integers(1, len(_MERGED)),
)


def _histories(count: int) -> settings:
    """Return how many histories to play: *count*, always the same, or many that are new and shrunk if they fail."""
    common = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    if os.environ.get("HYPOTHESIS_PROFILE") == "long":
        return settings(common, max_examples=6 * count)
    return settings(common, max_examples=count, derandomize=True, phases=[Phase.generate])


def _play(*steps: Step, cut: Mapping[str, str] | None = None) -> None:
    """Play *steps* against a new sandbox into a new warehouse; before the run of the second, one is killed if *cut*."""
    with Sandbox(clock=NOW) as sandbox, tempfile.TemporaryDirectory() as folder:
        history = History(sandbox, Path(folder))
        for number, step in enumerate(steps):
            history.play(step, cut=cut if number == 1 else None)


_ANY_HISTORY: Final = given(steps=st.lists(_STEPS, min_size=4, max_size=4))
_KILLED_HISTORY: Final = given(first=_PLAIN_STEPS, second=_PLAIN_STEPS, cut=_CUTS)


# Of two examples the first is the plainest: nothing happens to any job.
@_histories(2)
@_ANY_HISTORY
def test_tables_follow_the_rules_through_a_history(steps: list[Step]) -> None:
    """Whatever the API shows and refuses from run to run, every row of every table is as the model says."""
    _play(*steps)


@pytest.mark.slow
@_histories(8)
@_ANY_HISTORY
def test_tables_follow_the_rules_through_many_histories(steps: list[Step]) -> None:
    """The same, for more histories."""
    _play(*steps)


@_histories(2)
@_KILLED_HISTORY
def test_the_run_after_a_killed_one_ends_like_an_undisturbed_one(
    first: Step, second: Step, cut: dict[str, str]
) -> None:
    """Whichever tables a killed run has merged, the next one leaves what it would have left, and then all is quiet."""
    _play(first, second, Step(()), cut=cut)


@pytest.mark.slow
@_histories(6)
@_KILLED_HISTORY
def test_runs_after_killed_ones_end_like_undisturbed_ones(first: Step, second: Step, cut: dict[str, str]) -> None:
    """The same, for more histories."""
    _play(first, second, Step(()), cut=cut)


# ---------------------------------------------------------------------------------------------------------------------
# Histories written out
# ---------------------------------------------------------------------------------------------------------------------

OBSERVATIONS: Final = f"select status, {COUNTS} from klaviyo_raw.job_observations order by observed_at"
ERRORS: Final = "select position, detail from klaviyo_raw.job_errors order by position"


@pytest.mark.parametrize("runs_a_state", [1, 2])
def test_a_followed_job_leaves_one_observation_a_state(
    runs_a_state: int, sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Queued, processing twice with growing counts, complete: four observations, and its categories when they appear."""
    categories = [related_id("A"), related_id("B")]
    sandbox.world.add(Job("category-create", "C1", NOW, status="queued", total_count=3))
    states: list[dict[str, Any]] = [
        {},
        {"status": "processing", "completed_count": 1, "related_ids": categories[:1]},
        {"completed_count": 2, "related_ids": categories},
        {"status": "complete", "failed_count": 1, "errors": [JobError("No.")], "completed_at": NOW + HOUR},
    ]
    category_counts = []
    for state in states:
        sandbox.world.change("category-create", "C1", **state)
        for _ in range(runs_a_state):
            load(kinds=["category-create"])
        category_counts.append(warehouse.count("categories"))

    assert warehouse.rows(OBSERVATIONS) == [
        ("queued", 3, 0, 0, 0, 0),
        ("processing", 3, 1, 0, 0, 1),
        ("processing", 3, 2, 0, 0, 2),
        ("complete", 3, 2, 1, 1, 2),
    ]
    assert category_counts == [0, 1, 2, 2]


def test_a_job_of_a_half_done_load_is_read_again(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A job whose load did not complete is read anew: its children are complete, and its state is observed once."""
    load(kinds=["category-create"])
    counts: dict[str, Any] = {"total_count": 2, "completed_count": 1, "failed_count": 1}
    stored: dict[str, Any] = {"account": "default", "job_kind": "category-create", "job_id": "C1", "status": "complete"}
    stored |= {**counts, "error_count": 1, "linkage_count": 1, "run_id": "half done"}
    times = {"created_at": NOW, "completed_at": NOW, "expires_at": NOW + WEEK}
    times |= {"first_seen_at": NOW, "last_changed_at": NOW, "detail_read_at": NOW}
    for table, row in {"jobs": stored | times, "job_observations": stored | {"observed_at": NOW}}.items():
        marks = ", ".join(["?"] * len(row))
        warehouse.rows(f"insert into klaviyo_raw.{table} ({', '.join(row)}) values ({marks})", *row.values())
    errors, related_ids = [JobError("No.")], [related_id("A")]
    sandbox.world.add(
        Job("category-create", "C1", NOW, completed_at=NOW, errors=errors, related_ids=related_ids, **counts)
    )
    sandbox.reset_requests()

    summary = load(kinds=["category-create"])

    assert [call.endpoint for call in sandbox.requests] == ["list", "detail"]
    assert warehouse.rows("select job_id, status, run_id from klaviyo_raw.jobs") == [("C1", "complete", summary.run_id)]
    assert warehouse.rows(ERRORS) == [(0, "No.")]
    assert warehouse.rows("select position, external_id from klaviyo_raw.job_linkages") == [(0, "A")]
    assert warehouse.rows("select external_id from klaviyo_raw.categories") == [("A",)]
    assert warehouse.rows(OBSERVATIONS) == [("complete", 2, 1, 1, 1, 1)]


def test_details_that_were_read_are_not_read_again(sandbox: Sandbox, load: Load) -> None:
    """A full refresh without details does not forget that they were read: nothing changed, so none is asked for."""
    # A refresh that set `detail_read_at` to null would make the next run read every detail again.
    sandbox.world.add(Job("category-create", "C1", NOW, completed_at=NOW, related_ids=[related_id("A")]))
    load(kinds=["category-create"])
    load.refresh(kinds=["category-create"], include=[])
    sandbox.reset_requests()

    load(kinds=["category-create"])

    assert [call.endpoint for call in sandbox.requests] == ["list"]


def test_an_observation_that_outlived_a_kill_is_not_repeated(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """A kill may leave the observation of a state without the job in that state; the next run does not observe it again."""
    # The job's own row, though a completed load wrote it, does not tell what was observed last.
    sandbox.world.add(Job("item-create", "J1", NOW, status="queued", total_count=1))
    load(kinds=["item-create"])
    warehouse.rows(
        """
        insert into klaviyo_raw.job_observations
        select * replace ('processing' as status, observed_at + interval 1 second as observed_at, 'killed' as run_id)
        from klaviyo_raw.job_observations
        """
    )
    sandbox.world.change("item-create", "J1", status="processing")

    load(kinds=["item-create"])

    assert warehouse.rows(OBSERVATIONS) == [("queued", 1, 0, 0, 0, 0), ("processing", 1, 0, 0, 0, 0)]


def test_observations_that_outlived_a_kill_are_known_job_by_job(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Each of two jobs is compared with the last observation of its own."""
    states = {"J1": "processing", "J2": "paused"}
    for job_id in states:
        sandbox.world.add(Job("item-create", job_id, NOW, status="queued", total_count=1))
    load(kinds=["item-create"])
    warehouse.rows(
        """
        insert into klaviyo_raw.job_observations
        select * replace (
            if(job_id = 'J1', 'processing', 'paused') as status,
            observed_at + interval 1 second as observed_at,
            'killed' as run_id
        )
        from klaviyo_raw.job_observations
        """
    )
    for job_id, status in states.items():
        sandbox.world.change("item-create", job_id, status=status)

    load(kinds=["item-create"])

    assert warehouse.rows("select job_id, status from klaviyo_raw.job_observations order by job_id, observed_at") == [
        ("J1", "queued"),
        ("J1", "processing"),
        ("J2", "queued"),
        ("J2", "paused"),
    ]


def test_errors_that_outlived_a_kill_go_with_the_next_read(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A kill may leave errors of a job whose row has none; when the job is read next, without errors, they go."""
    # The job's own row, though a completed load wrote it, does not tell which errors are stored.
    sandbox.world.add(Job("item-create", "J1", NOW, status="queued", total_count=1))
    load(kinds=["item-create"])
    warehouse.rows(
        """
        insert into klaviyo_raw.job_errors by name
        select account, job_kind, job_id, 0 as position, 'No.' as detail, 'killed' as run_id from klaviyo_raw.jobs
        """
    )
    sandbox.world.change("item-create", "J1", status="complete", completed_count=1, completed_at=NOW)

    load(kinds=["item-create"])

    assert warehouse.rows(ERRORS) == []


# Runs like the command, slow to merge `jobs`, and is gone once the errors it replaces are deleted.
KILLED_RUN: Final = """
import os, sys, time
from pathlib import Path
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import Settings

execute_query = DuckDbSqlClient.execute_query

def execute_until_errors_are_deleted(self, query, *arguments, **options):
    if query.startswith('DELETE FROM "klaviyo_raw"."jobs"'):
        time.sleep(30)
    if query.startswith('DELETE FROM "klaviyo_raw"."job_errors"'):
        with execute_query(self, query.split(";")[0]):
            os._exit(9)
    return execute_query(self, query, *arguments, **options)

DuckDbSqlClient.execute_query = execute_until_errors_are_deleted
run(Settings(base_url=sys.argv[1], api_key=sys.argv[2], kinds=["item-create"]), Path(sys.argv[3]), full_refresh=True)
"""


def test_a_kill_between_delete_and_insert_loses_nothing(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A full refresh that is killed while it replaces the errors of a held job leaves them, or the next run reads them."""
    # dlt deletes and inserts in DuckDB without a transaction unless it is told that DuckDB has them.
    sandbox.world.add(Job("item-create", "J1", NOW, completed_at=NOW, failed_count=1, errors=[JobError("No.")]))
    load(kinds=["item-create"])

    arguments = [sandbox.base_url, sandbox.key, str(warehouse.path)]
    killed = subprocess.run([sys.executable, "-c", KILLED_RUN, *arguments], check=False)
    load(kinds=["item-create"])

    assert killed.returncode == 9
    assert warehouse.rows(ERRORS) == [(0, "No.")]
