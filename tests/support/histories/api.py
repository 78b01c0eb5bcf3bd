"""What the API shows, in the words of the model, and what may happen to it."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.request import Request, urlopen

from klaviyo_jobs.model.revisions import DEFAULT_REVISION
from klaviyo_sandbox import Job, JobError, RawJob, Sandbox, related_id
from support.loads import HOUR, NOW, WEEK

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


@dataclass(frozen=True)
class Shown:
    """
    A job as the API shows it.

    Attributes:
        error_count, linkage_count: How many can be read; which they are follows from the number.
        wording, swap: How often an error's text, or a linkage's id, became another, with every count as it was.
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
    wording: int = 0
    swap: int = 0
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
    def content(self) -> Row:
        """All that the API says of the job: what differs in it has changed."""
        children = (tuple(self.letters), tuple(self.error_details), self.has_bad_error)
        return (self.observation, self.times, *children, self.level)

    @property
    def times(self) -> Row:
        """The times that the API gives it."""
        return tuple(time and microseconds(time) for time in (self.created_at, self.completed_at, self.expires_at))

    @property
    def letters(self) -> list[str]:
        """The entities of its linkages, others for each number of them and each swap."""
        first = self.linkage_count + self.swap
        return [LETTERS[(first + place) % len(LETTERS)] for place in range(self.linkage_count)]

    @property
    def error_details(self) -> list[str]:
        """The texts of its errors, others for each number of them and each wording."""
        return [f"Error {place} of {self.error_count}, wording {self.wording}." for place in range(self.error_count)]


@dataclass(frozen=True)
class Entity:
    """What the API shows of an item or category; its time may be missing, or a text that is no time."""

    name: str
    updated_at: dt.datetime | str | None


WHAT_HAPPENS: Final = (
    *("advance", "advance", "advance", "advance"),
    *("nothing", "nothing", "jump", "jump", "shrink", "remove"),
    *("spoil", "spoil an error", "add an attribute", "reword", "swap"),
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
                    self._rename(account, entity_id_of(relationship, letter), NOW)

    def apply(self, change: Change) -> None:
        """Let *change* happen; one that makes no sense now does nothing."""
        account, kind, job_id = change.key
        if change.what == "wait":
            self.sandbox.clock.advance((0, 1, 24, 180)[change.size] * HOUR)
        elif change.what == "rename":
            self._rename(account, entity_id_of(KINDS[kind], LETTERS[int(job_id[-1])]), UPDATED[change.size])
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
                return replace(shown, has_bad_error=not shown.has_bad_error)
            case "add an attribute":
                return replace(shown, level=(shown.level or 0) + 1)
            case "reword":
                return replace(shown, wording=shown.wording + 1)
            case "swap":
                return replace(shown, swap=shown.swap + 1)
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
                related_ids=[entity_id_of(KINDS[kind], letter) for letter in shown.letters],
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


def entity_id_of(relationship: str, letter: str) -> str:
    """Return the id of the entity of *letter*."""
    return related_id(f"{relationship}-{letter}")


def microseconds(time: dt.datetime) -> int:
    """Return the microseconds from the epoch to *time*, as `epoch_us` of DuckDB does."""
    return (time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
