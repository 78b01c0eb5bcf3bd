"""
Named worlds: what an account holds at the start. The same name, seed and time give the same jobs, to the byte.

A name may carry parameters: `bulk:20000x100`. Error texts beside "does not exist" are made up: none was recorded.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from klaviyo_sandbox.jobs import Entry, JobPlan, NumberedIds, related_id, ulid_at
from klaviyo_sandbox.kinds import CATALOG_KINDS, KINDS
from klaviyo_sandbox.world import World

_Builder = Callable[[str, Random, datetime], Iterator[Entry]]

WORLDS: dict[str, str] = {}
_BUILDERS: dict[str, _Builder] = {}

# The demo's catalog, and how many of its resources fail in every job they are part of.
_CATALOG_SIZES = {"item": 400, "variant": 900, "category": 60}
_PREFIXES = {"item": "SKU-", "variant": "VAR-", "category": "CAT-"}
_CHRONIC_COUNT = 5

# When the demo's week ended at first. Moved to another time it is the same week: its jobs keep their ids.
_DEMO_END = datetime(2026, 11, 20, 12, tzinfo=UTC)
_DEMO_COUNTS = {"item-create": 260, "category-create": 30}
_DEMO_OTHER_COUNT = 6
_DEMO_SPAN = timedelta(days=6, hours=12)
_DEMO_FUTURE = timedelta(days=2)
_DEMO_CANCELLED = ("item-create", "variant-update")
_DEMO_RUNNING = ("item-create", "item-create", "item-create", "item-update", "category-create")

_PARAMETRISED = ("bulk", "imports", "suppressions")
_LIST_IDS = ("YafG4m", "SXLisS", "Y6nRLr")
_EVERY_COUNT = 30

_FULL_COUNTS = {"item-create": 350, "category-create": 230}
_FULL_OTHER_COUNT = 40


def build_world(spec: str, *, seed: int, now: datetime) -> World:
    """
    Make a world from its spec: `NAME` or `NAME:PARAMETERS`.

    Args:
        spec: One of `WORLDS`.
        seed: Chooses among the worlds of one name.
        now: The time around which its jobs are placed.
    Raises:
        ValueError: There is no such world, or it does not take these parameters.
    """
    name, _, parameters = spec.partition(":")
    if name not in _BUILDERS:
        raise ValueError(f"there is no world {name!r}; known: {', '.join(WORLDS)}")
    if parameters and name not in _PARAMETRISED:
        raise ValueError(f"the world {name!r} takes no parameters")
    return World(_BUILDERS[name](parameters, Random(f"{name} {seed}"), now))


def _world(name: str) -> Callable[[_Builder], _Builder]:
    def register(builder: _Builder) -> _Builder:
        _BUILDERS[name] = builder
        WORLDS[name] = inspect.cleandoc(builder.__doc__ or "")
        return builder

    return register


@_world("empty")
def _empty(parameters: str, random: Random, now: datetime) -> Iterator[Entry]:
    """No jobs at all."""
    return iter(())


@_world("demo")
def _demo(parameters: str, random: Random, now: datetime) -> Iterator[Entry]:
    """A shop's last 6.5 days: mostly successes, failures that repeat, jobs under way, and more to come."""
    for plan in _demo_week(random, _DEMO_END):
        yield replace(plan, created_at=plan.created_at + (now - _DEMO_END))


def _demo_week(random: Random, now: datetime) -> Iterator[JobPlan]:
    for kind in CATALOG_KINDS:
        count = _DEMO_COUNTS.get(kind, _DEMO_OTHER_COUNT)
        for number in range(count - _DEMO_RUNNING.count(kind)):
            created_at = now - _DEMO_SPAN * random.random() - timedelta(minutes=10)
            is_cancelled = number == 0 and kind in _DEMO_CANCELLED
            yield _shop_job(kind, random, created_at, is_cancelled=is_cancelled)
        for _ in range(count // 4):
            yield _shop_job(kind, random, now + _DEMO_FUTURE * random.random())
    for number, kind in enumerate(_DEMO_RUNNING):
        runs_for = timedelta(seconds=random.randint(90, 240))
        queued_for = timedelta(seconds=60) if number == 0 else timedelta()
        started_at = now - runs_for * random.uniform(0.1, 0.9) if number else now - timedelta(seconds=5)
        yield _shop_job(kind, random, started_at, queued_for=queued_for, runs_for=runs_for)


@_world("full")
def _full(parameters: str, random: Random, now: datetime) -> Iterator[Entry]:
    """350 item-create, 230 category-create and 40 of each other kind, 20 resources each; all finished."""
    for kind in CATALOG_KINDS:
        for number in range(_FULL_COUNTS.get(kind, _FULL_OTHER_COUNT)):
            failed = 3 if kind == "category-create" else random.choice((0, 0, 1, 2, 5, 20))
            created_at = now - timedelta(hours=1) - timedelta(days=6) * random.random()
            ids = NumberedIds(f"{kind}-", number * 20, 20)
            yield _plan(kind, random, created_at, ids, random.sample(range(20), failed))


@_world("bulk")
def _bulk(parameters: str, random: Random, now: datetime) -> Iterator[Entry]:
    """bulk:JOBSxLINKAGES[xERRORS]: finished item-create jobs of so many linkages, and 3 errors on top."""
    match = re.fullmatch(r"(?P<jobs>\d+)x(?P<linkages>\d+)(?:x(?P<errors>\d+))?", parameters)
    if match is None:
        raise ValueError(f"bulk takes JOBSxLINKAGES[xERRORS], e.g. bulk:20000x100, not {parameters!r}")
    jobs, linkages, errors = int(match["jobs"]), int(match["linkages"]), int(match["errors"] or 3)
    for number in range(jobs):
        created_at = now - timedelta(hours=1) - timedelta(days=6) * (number / jobs)
        ids = NumberedIds("SKU-", number * linkages, linkages + errors)
        yield _plan("item-create", random, created_at, ids, range(linkages, linkages + errors))


@_world("every-kind")
def _every_kind(parameters: str, random: Random, now: datetime) -> Iterator[Entry]:
    """30 jobs of each of the thirteen kinds, 12 operations each; some under way."""
    for kind, facts in KINDS.items():
        for number in range(_EVERY_COUNT):
            created_at = now - timedelta(minutes=1) - timedelta(hours=5) * number
            ids = [
                f"10OFF-{number:03}{each:02}"
                if facts.entity == "coupon-code"
                else related_id(f"{kind}-{number}-{each}")
                for each in range(12)
            ]
            failing = range(random.choice((0, 0, 1, 5)))
            lists = random.sample(_LIST_IDS, random.randint(0, 2)) if facts.entity == "profile" else None
            yield _plan(kind, random, created_at, ids, failing, list_ids=lists or None)


@_world("imports")
def _imports(parameters: str, random: Random, now: datetime) -> Iterator[Entry]:
    """imports:JOBSxERRORS: finished imports of profiles, each with so many errors and ten profiles on top."""
    jobs, errors = _numbers_of(parameters, "imports", "JOBSxERRORS", "300x150")
    for number in range(jobs):
        created_at = now - timedelta(hours=1) - timedelta(days=6) * (number / jobs)
        ids = [f"customer-{number}-{each}" for each in range(errors + 10)]
        yield _plan("profile-import", random, created_at, ids, range(errors), list_ids=_LIST_IDS[:1])


@_world("suppressions")
def _suppressions(parameters: str, random: Random, now: datetime) -> Iterator[Entry]:
    """suppressions:JOBSxDAYS: finished suppressions of three profiles each, over so many days."""
    jobs, days = _numbers_of(parameters, "suppressions", "JOBSxDAYS", "20000x365")
    for number in range(jobs):
        created_at = now - timedelta(hours=1) - timedelta(days=days) * (number / jobs)
        ids = [f"customer-{number}-{each}" for each in range(3)]
        yield _plan("profile-suppress", random, created_at, ids, (), list_ids=_LIST_IDS[:1])


def _numbers_of(parameters: str, name: str, form: str, example: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", parameters)
    if match is None:
        raise ValueError(f"{name} takes {form}, e.g. {name}:{example}, not {parameters!r}")
    return int(match[1]), int(match[2])


def _shop_job(
    kind: str,
    random: Random,
    created_at: datetime,
    *,
    is_cancelled: bool = False,
    queued_for: timedelta = timedelta(),
    runs_for: timedelta | None = None,
) -> JobPlan:
    """One job of the demo: about 85 % succeed, the others fail whole or, over the chronic cases, in part."""
    entity = KINDS[kind].entity
    size, prefix = _CATALOG_SIZES[entity], _PREFIXES[entity]
    count = random.randint(2, min(40, size // 2))
    numbers = random.sample(range(_CHRONIC_COUNT, size), count)
    failing: Sequence[int] = ()
    chance = random.random()
    if chance > 0.96:
        failing = range(count)
    elif chance > 0.86:
        chronic = random.sample(range(_CHRONIC_COUNT), random.randint(1, min(3, count)))
        numbers[: len(chronic)] = chronic
        failing = range(min(count, len(chronic) + random.randint(0, 1)))
    return _plan(
        kind,
        random,
        created_at,
        [related_id(f"{prefix}{number:04}") for number in numbers],
        failing,
        queued_for=queued_for,
        runs_for=runs_for,
        cancelled_after=count // 2 if is_cancelled else None,
    )


def _plan(
    kind: str,
    random: Random,
    created_at: datetime,
    related_ids: Sequence[str],
    failing: Sequence[int],
    *,
    queued_for: timedelta = timedelta(),
    runs_for: timedelta | None = None,
    cancelled_after: int | None = None,
    list_ids: Sequence[str] | None = None,
) -> JobPlan:
    created_at += timedelta(microseconds=random.randrange(1000))
    return JobPlan(
        kind=kind,
        id=ulid_at(created_at, salt=f"{kind} {random.random()}"),
        created_at=created_at,
        related_ids=related_ids,
        failures={position: _failure(kind, related_ids[position], random) for position in failing},
        queued_for=queued_for,
        runs_for=runs_for or timedelta(seconds=random.uniform(7, 270)),
        cancelled_after=cancelled_after,
        list_ids=list_ids,
    )


def _failure(kind: str, related: str, random: Random) -> str:
    entity, operation = KINDS[kind].entity, KINDS[kind].operation
    article = "An" if entity == "item" else "A"
    if operation == "import":
        return f"'{related}@customers' is not a valid email address."
    if operation != "create":
        return f"{article} {entity} with the id `{related}` does not exist."
    return random.choice(
        (
            f"{article} {entity} with the id `{related}` already exists.",
            f"The name of the {entity} `{related}` must not be blank.",
            f"The description of `{related}` is longer than allowed.",
        )
    )
