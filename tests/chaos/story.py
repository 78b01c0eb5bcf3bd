"""The API: jobs that are created, work, finish, fail, vanish, come back and expire, and what it showed when."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Sequence
from typing import Any, Final

from klaviyo_sandbox import Job, JobPlan, Sandbox, related_id, ulid_at
from support.loads import MINUTE

# One of each sort: without details, with them, with errors that are a list of their own, without expiry.
KINDS: Final = ("item-create", "category-create", "profile-import", "profile-suppress")
# Those that there were when contract 1 was.
KINDS_OF_CONTRACT_1: Final = KINDS[:2]
START: Final = dt.datetime(2026, 8, 1, 6, tzinfo=dt.UTC)

JobKey = tuple[str, str]
Row = tuple[Any, ...]


class Story:
    """What happens in one account. All times are the sandbox's; its clock stands still between calls of `go_on`."""

    def __init__(
        self, sandbox: Sandbox, rng: random.Random, *, kinds: Sequence[str], is_large: bool, may_leave: bool
    ) -> None:
        self._sandbox = sandbox
        self._rng = rng
        self.kinds = kinds
        self._is_large = is_large
        self._may_leave = may_leave
        self.plans: dict[JobKey, JobPlan] = {}
        self._added_at: dict[JobKey, dt.datetime] = {}
        self._hidden: set[JobKey] = set()
        # Every instant at which a run may have read the API, and the jobs taken out of it then.
        self._instants: list[tuple[dt.datetime, frozenset[JobKey]]] = []
        self._numbers = itertools.count(1)
        for _ in range(rng.randint(8, 20)):
            self._add_job(within=dt.timedelta(days=6))
        if is_large:
            for _ in range(240):
                self._add_job("item-create", within=dt.timedelta(days=3), size=rng.randint(100, 300))

    def begin_round(self) -> None:
        """Let what may make jobs leave happen, before any run of the round."""
        rng = self._rng
        # Rarely long enough for jobs to expire while nobody looks.
        self._sandbox.clock.advance(MINUTE * rng.choice((1, 30, 240, 1440, 4000 if rng.random() < 0.3 else 90)))
        self._leave_or_return()
        for number in rng.sample(range(12), 2):
            name, now = f"Category {number} at {self._sandbox.clock.now()}", self._sandbox.clock.now()
            self._sandbox.world.describe(related_id(f"CAT-{number}"), name=name, updated=now.isoformat())
        self.go_on()

    def go_on(self) -> None:
        """Let some time pass: jobs are created and work."""
        rng = self._rng
        self._sandbox.clock.advance(MINUTE * rng.uniform(0, 90))
        for _ in range(rng.choice((0, 1, 2, 4))):
            self._add_job(within=dt.timedelta(hours=1))
        if self._is_large and rng.random() < 0.5:
            for _ in range(60):
                self._add_job("item-create", within=dt.timedelta(hours=3), size=rng.randint(100, 300))
        if self._may_leave:
            self._leave_or_return()
        self._remember()

    def listed(self) -> dict[JobKey, Job]:
        """Return what the listings show now."""
        return self._shown_at(*self._instants[-1])

    def states_of(self, key: JobKey) -> list[Job]:
        """Return the states in which the API showed a job, in their order."""
        plan = self.plans[key]
        return [plan.at(now) for now, hidden in self._instants if key not in hidden and self._is_listed(key, now)]

    def mark(self) -> int:
        """Return a name for this instant."""
        return len(self._instants) - 1

    def seen_only_since(self, mark: int) -> set[JobKey]:
        """Return the jobs of which the API showed a new state after *mark* but no longer shows any."""
        then, now = self._shown_at(*self._instants[mark]) if mark >= 0 else {}, self.listed()
        between = [self._shown_at(*instant) for instant in self._instants[mark + 1 :]]
        return {
            key
            for shown in between
            for key, job in shown.items()
            if key not in now and (key not in then or state_of(then[key]) != state_of(job))
        }

    def _shown_at(self, now: dt.datetime, hidden: frozenset[JobKey]) -> dict[JobKey, Job]:
        return {
            key: plan.at(now) for key, plan in self.plans.items() if key not in hidden and self._is_listed(key, now)
        }

    def _is_listed(self, key: JobKey, now: dt.datetime) -> bool:
        """Tell whether the API listed a job then; one may be said to be created before it first came up."""
        return now >= self._added_at[key] and self.plans[key].is_listed(now)

    def _remember(self) -> None:
        self._instants.append((self._sandbox.clock.now(), frozenset(self._hidden)))

    def _add_job(self, kind: str | None = None, *, within: dt.timedelta, size: int = 0) -> None:
        rng = self._rng
        kind = kind or rng.choice(self.kinds)
        number = next(self._numbers)
        # A job's times differ from every instant, and from each other.
        created_at = self._sandbox.clock.now() - within * rng.random() - dt.timedelta(microseconds=number)
        if kind == "category-create":
            related = [related_id(f"CAT-{letter}") for letter in rng.sample(range(12), rng.randint(0, 6))]
        else:
            related = [related_id(f"ITEM-{number}-{place}") for place in range(size or rng.randint(0, 9))]
        is_of_profiles = kind.startswith("profile-")
        failures = {place: f"Operation {place} failed." for place in range(len(related)) if rng.random() < 0.25}
        if rng.random() < 0.1:
            failures = dict.fromkeys(range(len(related)), "Nothing worked.")
        plan = JobPlan(
            kind,
            ulid_at(created_at, str(number)),
            created_at,
            related,
            failures,
            queued_for=MINUTE * rng.choice((0, 10, 60)),
            runs_for=MINUTE * rng.choice((1, 60, 300, 900)),
            cancelled_after=rng.randint(0, len(related)) if rng.random() < 0.1 else None,
            list_ids=[f"LIST-{letter}" for letter in rng.sample(range(4), rng.randint(0, 2))]
            if is_of_profiles
            else None,
        )
        self.plans[kind, plan.id] = plan
        self._added_at[kind, plan.id] = self._sandbox.clock.now()
        self._sandbox.world.add(plan)

    def _leave_or_return(self) -> None:
        rng = self._rng
        shown = self._shown_at(self._sandbox.clock.now(), frozenset(self._hidden))
        leaving = sorted(key for key, job in shown.items() if rng.random() < (0.5 if job.status != "complete" else 0.1))
        for key in leaving[: rng.choice((0, 1, 2))]:
            self._sandbox.world.remove(*key)
            self._hidden.add(key)
        for key in sorted(self._hidden):
            if rng.random() < 0.3:
                self._sandbox.world.add(self.plans[key])
                self._hidden.discard(key)


def state_of(job: Job) -> Row:
    """Return status and counts as an observation has them."""
    served = job.attributes()
    counts = [served.get(f"{name}_count") for name in ("total", "completed", "failed", "skipped")]
    return (job.status, *counts, len(errors_of(job)), len(job.related_ids or ()))


def errors_of(job: Job) -> list[str]:
    """Return the ids of the errors that the API shows of a job, be they in it or below it."""
    has_errors = job.kind != "profile-suppress"
    return [error.id for error in job.errors or () if has_errors and not isinstance(error, dict)]
