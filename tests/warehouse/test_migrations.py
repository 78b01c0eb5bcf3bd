"""Warehouses made by earlier versions: upgraded in place, with their rows kept."""

from __future__ import annotations

import datetime as dt
import lzma
from dataclasses import dataclass
from pathlib import Path

import pytest

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.warehouse.engines.duckdb import CONTRACT_VERSION
from klaviyo_sandbox import Job, JobError, Sandbox, related_id
from support.loads import NOW, Load, Warehouse

DATA = Path(__file__).parents[1] / "data"
HOUR = dt.timedelta(hours=1)
KINDS = ["item-create", "category-create"]
CONTRACTS = [0, 1]


def unpack(contract: int, path: Path) -> Warehouse:
    """Put the warehouse of *contract* at *path*."""
    path.write_bytes(lzma.decompress((DATA / f"warehouse_contract_{contract}.duckdb.xz").read_bytes()))
    return Warehouse(path)


@pytest.fixture(params=CONTRACTS)
def old(request: pytest.FixtureRequest, warehouse: Warehouse) -> Warehouse:
    """A warehouse of each contract there has been."""
    return unpack(request.param, warehouse.path)


def add_jobs(sandbox: Sandbox) -> None:
    """Add the jobs that the old warehouses hold; J2 has finished since."""
    a, b, c = (related_id(letter) for letter in "ABC")
    sandbox.world.add(
        Job(
            *("item-create", "J1", NOW - 2 * HOUR),
            completed_at=NOW - HOUR,
            total_count=3,
            completed_count=2,
            failed_count=1,
            errors=[JobError("Item not found.", related_id=a)],
            related_ids=[a, b, c],
        ),
        Job("item-create", "J2", NOW - HOUR, completed_at=NOW, total_count=5, completed_count=5),
        Job(
            *("category-create", "C1", NOW - 3 * HOUR),
            completed_at=NOW - 2 * HOUR,
            total_count=1,
            completed_count=1,
            related_ids=[related_id("SHOES")],
        ),
    )


@pytest.fixture
def _world(sandbox: Sandbox) -> None:
    add_jobs(sandbox)


@dataclass(frozen=True)
class Upgraded:
    """A warehouse of an old contract before and after the run that upgraded it."""

    before: Warehouse
    after: Warehouse
    run_id: str
    endpoints: list[str | None]


@pytest.fixture(scope="module", params=CONTRACTS)
def upgraded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Upgraded:
    """A warehouse of each contract there has been, and the same after a run."""
    folder = tmp_path_factory.mktemp("upgraded")
    before = unpack(request.param, folder / "before.duckdb")
    after = unpack(request.param, folder / "after.duckdb")
    with Sandbox(clock=NOW) as sandbox:
        add_jobs(sandbox)
        summary = Load(sandbox, after)(kinds=KINDS)
        endpoints = [record.endpoint for record in sandbox.requests]
    return Upgraded(before, after, summary.run_id, endpoints)


def test_there_is_a_warehouse_of_every_contract() -> None:
    """Whoever counts the contract up keeps a warehouse of it."""
    assert CONTRACTS[-1] == CONTRACT_VERSION


def test_what_an_old_warehouse_holds_is_not_read_again(upgraded: Upgraded) -> None:
    """Only the job that has changed since is written, and no detail is read."""
    [(before,)] = upgraded.before.rows("select distinct run_id from klaviyo_raw.jobs")

    assert upgraded.after.rows("select job_id, status, run_id from klaviyo_raw.jobs order by 1") == [
        ("C1", "complete", before),
        ("J1", "complete", before),
        ("J2", "complete", upgraded.run_id),
    ]
    assert upgraded.endpoints == ["list", "list"]


@pytest.mark.parametrize("table", ["job_errors", "categories", "job_linkages", "job_observations", "listings"])
def test_old_rows_are_kept(upgraded: Upgraded, table: str) -> None:
    """What the old runs stored of jobs that have not changed, and what they told, stays as it was."""
    before, after = (each.rows(f"from klaviyo_raw.{table}") for each in (upgraded.before, upgraded.after))

    assert before
    assert [row for row in before if row not in after] == []


def test_the_contract_is_marked_afterwards(upgraded: Upgraded) -> None:
    """The next version knows what it finds."""
    comment = "select comment from duckdb_tables() where schema_name = 'klaviyo_raw' and table_name = 'jobs'"

    assert upgraded.after.value(comment) == "klaviyo-jobs contract 1"


@pytest.mark.usefixtures("_world")
def test_a_table_without_a_new_column_gets_it_before_anything_is_asked(
    old: Warehouse, sandbox: Sandbox, load: Load
) -> None:
    """What an earlier version stored stays held: the run knows when each job was first seen."""
    first_seen = old.rows("select job_id, first_seen_at from klaviyo_raw.jobs order by 1")
    old.rows("drop schema klaviyo cascade")
    old.rows("alter table klaviyo_raw.jobs drop column detail_read_at")
    old.rows("alter table klaviyo_raw.categories drop column seen_rank")

    load(kinds=KINDS)

    assert old.rows("select job_id, first_seen_at from klaviyo_raw.jobs order by 1") == first_seen
    assert old.rows("select category_id, seen_rank is null from klaviyo_raw.categories") == [
        ("$custom:::$default:::SHOES", False)
    ]
    assert sorted(str(record.endpoint) for record in sandbox.requests) == ["detail", "list", "list"]


@pytest.mark.usefixtures("_world")
def test_an_upgrade_that_fails_changes_nothing(old: Warehouse, sandbox: Sandbox, load: Load) -> None:
    """Where one table cannot get its columns none does, and nothing is read."""
    old.rows("drop schema klaviyo cascade")
    old.rows("alter table klaviyo_raw.jobs drop column detail_read_at")
    old.rows("drop table klaviyo_raw.listings")
    old.rows("create view klaviyo_raw.listings as select 'default' as account")
    before = old.rows("select table_name, column_name from duckdb_columns() where schema_name = 'klaviyo_raw'")

    with pytest.raises(WarehouseError, match="cannot be opened or written"):
        load(kinds=["item-create"])

    assert old.rows("select table_name, column_name from duckdb_columns() where schema_name = 'klaviyo_raw'") == before
    assert list(sandbox.requests) == []
