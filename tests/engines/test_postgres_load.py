"""The source in a dlt pipeline of one's own, into Postgres: what it loads, and what it asks the second time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dlt
import pytest

from engines.conftest import Postgres
from engines.data import assert_same, tables_of
from klaviyo_jobs import klaviyo_jobs
from klaviyo_jobs.model.tables import JOBS, TABLES
from klaviyo_sandbox import JobError, Sandbox, related_id
from support.jobs import finished, under_way
from support.loads import NO_WAIT, NOW, Load, Warehouse

KINDS = ["all"]
INCLUDE = ["categories", "items", "lists", "coupon-codes", "variants"]
# Those of runs, of which each pipeline has its own.
OF_RUNS = {"run_id", "first_seen_at", "last_changed_at", "detail_read_at", "errors_read_at", "observed_at"}


@pytest.fixture
def world() -> Iterator[Sandbox]:
    """All kinds, some jobs under way."""
    with Sandbox("every-kind", clock=NOW, limits=NO_WAIT) as sandbox:
        yield sandbox


@pytest.fixture
def pipe(world: Sandbox, postgres: Postgres, tmp_path: Path) -> Callable[[], None]:
    """A run of the source into an empty Postgres, each in a working directory of its own."""
    postgres.rows("drop schema if exists klaviyo cascade; drop schema if exists klaviyo_raw cascade")
    runs = iter(range(100))

    def run() -> None:
        world.reset_requests()
        pipeline = dlt.pipeline(
            "klaviyo",
            pipelines_dir=str(tmp_path / f"run{next(runs)}"),
            destination=dlt.destinations.postgres(postgres.url),
            dataset_name="klaviyo_raw",
        )
        pipeline.run(klaviyo_jobs(api_key=world.key, base_url=world.base_url, kinds=KINDS, include=INCLUDE))

    return run


def endpoints(world: Sandbox) -> list[str]:
    """Which endpoints the last run asked, sorted."""
    return sorted(request.endpoint or "" for request in world.requests)


def test_the_tables_are_those_of_duckdb(
    world: Sandbox, pipe: Callable[[], None], postgres: Postgres, warehouse: Warehouse
) -> None:
    """Field by field, but for the times and ids of runs. An empty text is none there: dlt loads Postgres from CSV."""
    pipe()
    Load(world, warehouse)(kinds=KINDS, include=INCLUDE)

    for table, columns in tables_of(warehouse).items():
        if table in TABLES and table != "listings":
            compared = ", ".join(name for name in columns if name not in OF_RUNS)
            query = f"select {compared} from klaviyo_raw.{table}"
            ours = [tuple(None if each == "" else each for each in row) for row in warehouse.rows(query)]
            assert_same(postgres.rows(query), ours)


def test_a_quiet_run_reads_the_lists_and_writes_its_ledger_only(
    world: Sandbox, pipe: Callable[[], None], postgres: Postgres
) -> None:
    """A call for each list, none for details or errors, and no row of a job is written again."""
    pipe()
    before = postgres.rows("select job_id, run_id from klaviyo_raw.jobs order by 1, 2")

    pipe()

    assert endpoints(world) == ["list"] * 13
    assert postgres.rows("select job_id, run_id from klaviyo_raw.jobs order by 1, 2") == before
    assert postgres.rows("select count(distinct run_id) from klaviyo_raw.listings") == [(2,)]


def test_children_shrink_to_none(world: Sandbox, pipe: Callable[[], None], postgres: Postgres) -> None:
    """Errors and linkages of a job are those of its last read, and no row stays that it lists no more."""
    failed = [JobError("It does not exist.", related_id(name)) for name in "XYZ"]
    own = {"total_count": 6, "completed_count": 3, "failed_count": 3}
    world.world.add(under_way("item-create", "J", "A", "B", "C", errors=failed, **own))
    pipe()
    world.world.add(finished("item-create", "J", errors=[], total_count=6, completed_count=6, failed_count=0))

    pipe()

    for table in ("job_errors", "job_linkages"):
        assert postgres.rows(f"select count(*) from klaviyo_raw.{table} where job_id = 'J'") == [(0,)]


def test_a_job_that_vanishes_and_returns(world: Sandbox, pipe: Callable[[], None], postgres: Postgres) -> None:
    """It is marked while a complete listing does not show it."""
    query = "select vanished_at is null from klaviyo_raw.jobs where job_id = 'J'"
    job = under_way("item-create", "J", "A")
    world.world.add(job)
    marks = []
    for is_listed in (True, False, True):
        if is_listed:
            world.world.add(job)
        else:
            world.world.remove("item-create", "J")
        pipe()
        marks += postgres.rows(query)

    assert marks == [(True,), (False,), (True,)]


def test_the_columns_are_declared(pipe: Callable[[], None], postgres: Postgres) -> None:
    """Every column of `jobs`, be it empty in all rows."""
    pipe()

    found = postgres.rows(
        "select column_name from information_schema.columns where table_schema = 'klaviyo_raw' and table_name = 'jobs'"
    )
    assert {name for (name,) in found} == set(JOBS.schema.names)
