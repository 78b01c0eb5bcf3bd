"""
What the sandbox holds: accounts with their keys, worlds and rate limits; the clock, the faults, the recorded requests.

In:     what a caller sets at the start, and changes while the server runs.
Out:    the same, to whoever answers: the API, the control paths, a test that compares.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from klaviyo_sandbox.clock import Clock
from klaviyo_sandbox.exchange import RequestRecord
from klaviyo_sandbox.faults import Fault
from klaviyo_sandbox.jobs import Job
from klaviyo_sandbox.kinds import SCOPES
from klaviyo_sandbox.limits import Meter, RateLimits
from klaviyo_sandbox.revisions import REVISIONS
from klaviyo_sandbox.world import World
from klaviyo_sandbox.worlds import build_world


@dataclass(slots=True)
class Account:
    """
    One account of the sandbox.

    Attributes:
        label: What tests and records call it.
        key: Its private key; fake by its very form.
        world: Its jobs.
        meter: Counts its requests against the rate limits.
        scopes: What its key may read, e.g. `catalogs:read`; all by default.
    """

    label: str
    key: str
    world: World
    meter: Meter
    scopes: frozenset[str] = SCOPES


class SandboxState:
    """
    What a sandbox holds, whether or not its server runs. Safe to change while it does.

    Attributes:
        seed: Chose the worlds' content and which requests a `one_in` fault is applied to.
        clock: Set or advance it at will.
        accounts: By label; `default` is always there.
        faults: Append to it, clear it; each fault counts the requests it was applied to.
        latency_seconds: Waited before every answer.
    """

    def __init__(
        self,
        world: str | World,
        *,
        seed: int,
        clock: Clock | datetime | None,
        limits: bool | RateLimits,
        latency_seconds: float,
        faults: Iterable[Fault],
    ) -> None:
        """See `Sandbox`, which gives each a default."""
        self.seed = seed
        self.clock = clock if isinstance(clock, Clock) else Clock(clock)
        self.accounts: dict[str, Account] = {}
        self.faults = list(faults)
        self.latency_seconds = latency_seconds
        self._limits = limits if isinstance(limits, RateLimits) else RateLimits(is_enforced=limits)
        self._records: list[RequestRecord] = []
        self.add_account("default", world)

    @property
    def world(self) -> World:
        """The world of the default account."""
        return self.accounts["default"].world

    @property
    def key(self) -> str:
        """The key of the default account."""
        return self.accounts["default"].key

    @property
    def requests(self) -> list[RequestRecord]:
        """Every API request answered so far, in the order the answers ended."""
        return list(self._records)

    @property
    def throttled_count(self) -> int:
        """How many requests were over a rate limit; 429s made by a fault are not among them."""
        return sum(account.meter.throttled_count for account in self.accounts.values())

    def add_account(self, label: str, world: str | World = "empty", *, scopes: Collection[str] = SCOPES) -> Account:
        """
        Add an account with jobs and rate limits of its own; its key is `pk_sandbox_<label>`.

        Args:
            label: What to call it.
            world: As for the sandbox itself.
            scopes: Those of its key: a request for a kind that needs another is a 403.
        """
        if isinstance(world, str):
            world = build_world(world, seed=self.seed, now=self.clock.now())
        self.accounts[label] = Account(label, f"pk_sandbox_{label}", world, Meter(self._limits), frozenset(scopes))
        return self.accounts[label]

    def expected(self, kind: str, *, account: str = "default") -> list[Job]:
        """The jobs of *kind* that the API holds right now, newest first, for comparing field by field."""
        return self.accounts[account].world.jobs(kind, self.clock.now())

    def headers(self, account: str = "default", *, revision: str = REVISIONS[-1].isoformat()) -> dict[str, str]:
        """The two headers that every API request needs."""
        return {"Authorization": f"Klaviyo-API-Key {self.accounts[account].key}", "revision": revision}

    def reset_requests(self) -> None:
        """Forget every request so far."""
        self._records.clear()

    def record(self, request: RequestRecord) -> None:
        """Remember one more API request."""
        self._records.append(request)
