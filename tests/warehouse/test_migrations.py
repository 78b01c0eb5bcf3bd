"""Warehouses made by earlier versions: upgraded in place, with their rows kept."""

from __future__ import annotations

import lzma
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.warehouse.engines.connection import CONTRACT_VERSION
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from klaviyo_jobs.warehouse.views import apply_views
from klaviyo_sandbox import Job, JobError, Sandbox, related_id
from support.contracts import put_back_to_contract_1
from support.jobs import finished, odd, raw_job, under_way
from support.loads import DAY, HOUR, NOW, Load, Warehouse

DATA = Path(__file__).parents[1] / "data"
KINDS = ["item-create", "category-create"]
CONTRACTS = [0, 1, 2]
# What an old view and a new one both show, and a reader may have asked for.
SHOWN = {
    "jobs": "account, job_kind, job_id, status, outcome, created_at_utc, completed_at_utc, failed_share, error_count, "
    "linkage_count, created_on, completed_on",
    "job_errors": "account, job_kind, job_id, position, error_id, code, title, detail, source_pointer, related_id, meta, "
    "run_id, status, created_at_utc",
    "job_linkages": "account, job_kind, job_id, position, relationship, related_type, related_id, external_id, run_id, "
    "status, created_at_utc",
    "job_observations": "account, job_kind, job_id, observed_at_utc, status, total_count, completed_count, failed_count, "
    "error_count, linkage_count, run_id",
    "listings": "*",
}


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


@pytest.mark.parametrize("table", ["categories", "job_observations", "listings"])
def test_old_rows_are_kept(upgraded: Upgraded, table: str) -> None:
    """What the old runs stored of jobs that have not changed, and what they told, stays as it was."""
    columns = upgraded.before.rows(
        "select column_name from duckdb_columns() where schema_name = 'klaviyo_raw' and table_name = ?", table
    )
    query = f"select {', '.join(name for (name,) in columns)} from klaviyo_raw.{table}"
    before, after = (each.rows(query) for each in (upgraded.before, upgraded.after))

    assert before
    assert [row for row in before if row not in after] == []


@pytest.mark.parametrize("view", SHOWN)
def test_views_show_what_they_showed(upgraded: Upgraded, view: str) -> None:
    """Of jobs that have not changed, column by column, whatever the tables behind them have become."""
    columns, where = SHOWN[view], "where job_id <> 'J2'" if view != "listings" else "where true"
    before, after = (
        each.rows(f"select {columns} from klaviyo.{view} {where}") for each in (upgraded.before, upgraded.after)
    )

    assert before
    assert [row for row in before if row not in after] == []


def test_nothing_is_kept_that_this_contract_derives(upgraded: Upgraded) -> None:
    """Not in the tables, nor in those that dlt fills before it merges."""
    assert (
        upgraded.after.rows(
            """
            select schema_name, column_name from duckdb_columns()
            where table_name = 'job_linkages' and column_name in ('relationship', 'external_id', 'run_id')
                and schema_name <> 'klaviyo'
            """
        )
        == []
    )


def test_what_is_new_is_filled_where_it_can_be_told(upgraded: Upgraded) -> None:
    """Days, fingerprints, what could not be read, and the content: of jobs that have not changed too."""
    assert upgraded.after.rows(
        """
        select job_id, created_on, completed_on, unread_error_count, unread_linkage_count, length(content_hash)
        from klaviyo_raw.jobs
        order by 1
        """
    ) == [
        ("C1", NOW.date(), NOW.date(), 0, 0, 32),
        ("J1", NOW.date(), NOW.date(), 0, 0, 32),
        ("J2", NOW.date(), NOW.date(), 0, 0, 32),
    ]
    assert upgraded.after.rows("select fingerprint from klaviyo_raw.job_errors") == [("Item not found.",)]


def test_the_contract_is_marked_afterwards(upgraded: Upgraded) -> None:
    """The next version knows what it finds."""
    comment = "select comment from duckdb_tables() where schema_name = 'klaviyo_raw' and table_name = 'jobs'"

    assert upgraded.after.value(comment).endswith(f" [klaviyo-jobs contract {CONTRACT_VERSION}]")


@pytest.mark.usefixtures("_world")
def test_a_change_of_content_is_seen_by_the_run_that_upgrades(old: Warehouse, sandbox: Sandbox, load: Load) -> None:
    """The old warehouse did not keep a hash: it is made of what it kept, so that a new text is a change at once."""
    sandbox.world.change("item-create", "J1", errors=[JobError("Item is gone.", related_id=related_id("A"))])

    load(kinds=KINDS)

    assert old.rows("select detail from klaviyo_raw.job_errors") == [("Item is gone.",)]
    assert old.rows("select job_id, count(*) from klaviyo_raw.job_observations group by 1 order by 1") == [
        ("C1", 1),
        ("J1", 1),
        ("J2", 2),
    ]


def test_the_views_command_upgrades_too(old: Warehouse) -> None:
    """Whoever applies the views to an old warehouse gets the tables that they read."""
    with duckdb.connect(str(old.path)) as connection:
        apply_views(DuckDBConnection(connection), reporting_timezone="Pacific/Kiritimati")

    assert old.rows("select job_id, created_on from klaviyo.jobs order by 1") == [
        ("C1", NOW.date()),
        ("J1", NOW.date() + DAY),
        ("J2", NOW.date() + DAY),
    ]


@pytest.fixture
def earlier(warehouse: Warehouse, sandbox: Sandbox, load: Load) -> Warehouse:
    """A warehouse of contract 1 with every sort of job, put back from one of today."""
    sandbox.world.add(
        finished("item-create", "PLAIN", "A", "B"),
        finished("item-create", "FAILED", total_count=1, failed_count=1, errors=[JobError("No.", related_id("C"))]),
        finished("item-create", "EXTRA", "D", extra_attributes={"level": {"b": 1.50, "a": None}}),
        under_way("item-create", "MOVING", "E"),
    )
    sandbox.world.add(
        raw_job(
            *("item-create", "PARTLY"),
            created_at=NOW.isoformat(),
            status="complete",
            errors=["odd", {"id": "E", "meta": {"id": 7, "a": [1]}}, None],
        )
    )
    load(kinds=["item-create"])
    put_back_to_contract_1(warehouse.path)
    return warehouse


def test_the_hash_of_a_stored_job_is_that_of_the_parsed_one(earlier: Warehouse, sandbox: Sandbox, load: Load) -> None:
    """So the first run after the upgrade finds no change, and writes its ledger row only."""
    before = earlier.rows("select job_id, run_id from klaviyo_raw.jobs order by 1")

    summary = load(kinds=["item-create"])

    assert (summary.job_count, summary.changed_count, summary.rejected_count) == (5, 0, 0)
    assert earlier.rows("select job_id, run_id from klaviyo_raw.jobs order by 1") == before
    assert earlier.rows("select unread_error_count from klaviyo_raw.jobs where job_id = 'PARTLY'") == [(2,)]


def test_rejected_records_that_many_runs_met_become_one(earlier: Warehouse) -> None:
    """The last run's words, and when the first and the last met it."""
    earlier.rows("delete from klaviyo_raw.rejected_records")
    for number, (run_id, raw, path) in enumerate(
        (("R1", "7", "a"), ("R2", "7", "b"), ("R2", "8", "c"), ("R3", "7", "d"))
    ):
        earlier.rows(
            "insert into klaviyo_raw.rejected_records values ('default', ?, ?, 'item-create', 'GET /', ?, 'odd', ?, ?)",
            *(run_id, number, path, raw, NOW + number * HOUR),
        )

    with duckdb.connect(str(earlier.path)) as connection:
        apply_views(DuckDBConnection(connection))

    assert earlier.rows(
        """
        select raw, json_path, times, first_rejected_at, last_rejected_at, run_id, length(record_hash)
        from klaviyo_raw.rejected_records
        order by raw
        """
    ) == [
        ("7", "d", 3, NOW, NOW + 3 * HOUR, "R3", 32),
        ("8", "c", 1, NOW + 2 * HOUR, NOW + 2 * HOUR, "R2", 32),
    ]


def test_a_record_of_the_old_contract_is_the_same_record(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The next run that meets it counts on."""
    sandbox.world.add(odd("item-create"))
    load(kinds=["item-create"])
    put_back_to_contract_1(warehouse.path)

    load(kinds=["item-create"])

    assert warehouse.rows("select times from klaviyo_raw.rejected_records") == [(2,)]


def test_an_upgrade_killed_at_any_instant_has_happened_or_has_not(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, tmp_path: Path
) -> None:
    """SIGKILL after more and more of it: the tables and views are those of the one contract or the other."""
    sandbox.world.add(*(finished("item-create", f"J{number:03}", *map(str, range(40))) for number in range(500)))
    load(kinds=["item-create"])
    put_back_to_contract_1(warehouse.path)
    old = warehouse.path.read_bytes()
    outcomes = []
    for number in range(30):
        path = tmp_path / f"killed{number}.duckdb"
        path.write_bytes(old)
        process = subprocess.Popen([sys.executable, "-c", UPGRADE, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.07 * number)
        process.kill()
        process.wait()
        process.stdout.close()
        outcomes.append(contract_by_its_tables(Warehouse(path)))
        if outcomes[-2:] == [2, 2]:
            break

    assert {1, 2} == set(outcomes)


# Says when it begins.
UPGRADE = """
import sys, duckdb
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from klaviyo_jobs.warehouse.views import apply_views
connection = DuckDBConnection(duckdb.connect(sys.argv[1]))
print("begins", flush=True)
apply_views(connection)
connection.execute("select 1")
"""


def contract_by_its_tables(warehouse: Warehouse) -> int:
    """Return which contract all marks and columns are of; 0 if they disagree."""
    [(marked, slim, once, hashed, views)] = warehouse.rows(
        """
        select
            (select comment from duckdb_tables() where schema_name = 'klaviyo_raw' and table_name = 'jobs'),
            not exists (from duckdb_columns() where schema_name = 'klaviyo_raw' and column_name = 'external_id'
                and table_name = 'job_linkages'),
            exists (from duckdb_columns() where schema_name = 'klaviyo_raw' and column_name = 'record_hash'),
            exists (from duckdb_columns() where schema_name = 'klaviyo_raw' and column_name = 'content_hash'),
            (select count(*) > 0 from duckdb_views() where schema_name = 'klaviyo')
        """
    )
    contract = int(marked.rstrip("]").rpartition(" ")[2])
    return contract if {slim, once, hashed, views} == {contract == 2} else 0


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
