"""Named worlds: their content, and that it depends on name, seed and time only."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from klaviyo_sandbox import CATALOG_KINDS, KINDS, WORLDS, Job, Sandbox, World, build_world
from support.loads import NOW
from support.sandbox_client import ITEMS, Client, path_of

EXAMPLES = ["empty", "demo", "full", "bulk:250x3"]


def jobs_of(world: World) -> list[Job]:
    """Every job that a world holds at `NOW`."""
    return [job for kind in KINDS for job in world.jobs(kind, NOW)]


def outcome(job: Job) -> str:
    """How a job ended, in one word."""
    if job.status != "complete":
        return job.status
    return "succeeded" if not job.failed_count else "partly failed" if job.completed_count else "failed"


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_world_depends_on_its_seed_and_time_only(name: str) -> None:
    """Two sandboxes with the same name, seed and clock send the same bytes."""
    bodies = []
    for _ in range(2):
        with Sandbox(name, seed=3, clock=NOW) as sandbox:
            client = Client(sandbox)
            body = client.get(ITEMS, headers={"Host": "localhost"}).content
            expected = sandbox.expected("category-create")[:3]
            details = [
                client.get(
                    path_of("category-create", job.id), params={"include": "categories"}, headers={"Host": "localhost"}
                ).content
                for job in expected
            ]
            bodies.append([body, *details])

    assert bodies[0] == bodies[1]


def test_another_seed_is_another_world() -> None:
    """The seed changes the jobs, and every seed makes a world."""
    worlds = [jobs_of(build_world("demo", seed=seed, now=NOW)) for seed in range(30)]

    assert len({tuple(job.id for job in world) for world in worlds}) == 30


@pytest.mark.parametrize("name", EXAMPLES)
def test_expected_jobs_are_what_is_served(name: str) -> None:
    """`expected` agrees with the API on ids, order, status, counts, errors and linkages, for every kind."""
    with Sandbox(name, clock=NOW) as sandbox:
        client = Client(sandbox)
        for kind in KINDS:
            served = [
                (
                    each["id"],
                    each["attributes"]["status"],
                    each["attributes"]["completed_count"],
                    each["attributes"]["failed_count"],
                    len(each["attributes"]["errors"]),
                    [linkage["id"] for linkage in each["relationships"][KINDS[kind].relationship]["data"]]
                    if "relationships" in each
                    else None,
                )
                for page in client.pages(path_of(kind))
                for each in page["data"]
            ]

            assert served == [
                (
                    job.id,
                    job.status,
                    job.completed_count,
                    job.failed_count,
                    len(job.errors or ()),
                    None if job.related_ids is None else list(job.related_ids),
                )
                for job in sandbox.expected(kind)
            ]


def test_the_demo_has_every_catalog_kind_and_every_outcome() -> None:
    """260 item-create, 30 category-create and some of each other kind; mostly successes, all outcomes present."""
    world = build_world("demo", seed=1, now=NOW)
    outcomes = Counter(outcome(job) for job in jobs_of(world))

    counts = world.counts(NOW)
    assert (counts["item-create"], counts["category-create"]) == (260, 30)
    assert min(counts[kind] for kind in CATALOG_KINDS) >= 3
    assert {counts[kind] for kind in counts.keys() - CATALOG_KINDS} == {0}
    assert set(outcomes) == {"succeeded", "partly failed", "failed", "cancelled", "processing", "queued"}
    assert 0.8 < outcomes["succeeded"] / outcomes.total() < 0.92
    assert outcomes["cancelled"] == 2
    assert outcomes["processing"] + outcomes["queued"] >= 4


@pytest.mark.parametrize("seed", range(5))
def test_the_demo_has_resources_that_fail_again_and_again(seed: int) -> None:
    """Some items fail in at least five jobs, whatever the seed."""
    world = build_world("demo", seed=seed, now=NOW)
    failures = Counter(
        error.related_id
        for job in world.jobs("item-create", NOW)
        for error in job.errors or ()
        if not isinstance(error, dict)
    )

    assert sum(count >= 5 for count in failures.values()) >= 3


def test_the_demo_goes_on_living(sandbox: Sandbox) -> None:
    """A day later, jobs under way have ended and new ones have come."""
    later = NOW + timedelta(days=1)
    world = build_world("demo", seed=1, now=NOW)
    running = [job for job in world.jobs("item-create", NOW) if job.status in ("queued", "processing")]

    assert {world.job("item-create", job.id, later).status for job in running} <= {"complete", "cancelled"}
    assert any(job.created_at > NOW for job in world.jobs("item-create", later))


def test_the_full_world_is_finished_and_large() -> None:
    """350, 230 and 40 jobs of 20 resources; category-create jobs have three errors each."""
    world = build_world("full", seed=1, now=NOW)
    jobs = jobs_of(world)

    counts = Counter(job.kind for job in jobs)
    assert (counts["item-create"], counts["category-create"], counts["variant-delete"]) == (350, 230, 40)
    assert {job.status for job in jobs} == {"complete"}
    assert {job.total_count for job in jobs} == {20}
    assert {len(job.errors or ()) for job in jobs if job.kind == "category-create"} == {3}


def test_a_bulk_world_is_as_large_as_asked() -> None:
    """`bulk:1200x40x2`: so many jobs, linkages and errors."""
    world = build_world("bulk:1200x40x2", seed=1, now=NOW)
    jobs = world.jobs("item-create", NOW)

    assert len(jobs) == len({job.id for job in jobs}) == 1200
    assert {(len(job.related_ids or ()), len(job.errors or ())) for job in jobs} == {(40, 2)}


@pytest.mark.parametrize("name", ["nowhere", "bulk", "bulk:many", "demo:7", "empty:1"])
def test_an_unknown_world_is_refused(name: str) -> None:
    """A wrong name or parameter is an error that names what is known."""
    with pytest.raises(ValueError, match=r"known: |takes (JOBS|no parameters)"):
        build_world(name, seed=1, now=NOW)


def test_a_world_knows_the_thirteen_kinds_only(sandbox: Sandbox) -> None:
    """A mistyped kind is an error, not an empty answer."""
    with pytest.raises(KeyError):
        sandbox.expected("item_create")
    with pytest.raises(ValueError, match="the kinds are"):
        sandbox.world.replay_list("items", {})


def test_every_world_says_what_it_is() -> None:
    """`--help` has a sentence for each."""
    assert set(WORLDS) == {"empty", "demo", "full", "bulk", "every-kind", "imports", "suppressions"}
    assert all(text.endswith(".") for text in WORLDS.values())
