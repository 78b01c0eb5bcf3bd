"""What holds for a warehouse wherever it is: the same tests on a DuckDB file, in Postgres, and in a DuckLake."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.conftest import Postgres
from engines.data import assert_same, tables_of
from klaviyo_jobs.errors import PartialError
from klaviyo_jobs.extract.source import build_listings
from klaviyo_jobs.model.tables import TABLES
from klaviyo_jobs.runs.plan import plan_run
from klaviyo_jobs.runs.run import RunSummary, run
from klaviyo_jobs.settings import Settings
from klaviyo_jobs.warehouse.alarms import Alarm, read_alarms, write_alarms
from klaviyo_jobs.warehouse.alarms import Place as AlarmPlace
from klaviyo_jobs.warehouse.engines.engine import RunNote
from klaviyo_jobs.warehouse.ledger import record_ended_runs
from klaviyo_jobs.warehouse.prune import prune
from klaviyo_sandbox import Fault, JobError, RawJob, Sandbox, related_id
from support.jobs import finished, under_way
from support.loads import HOUR, NO_WAIT, NOW, Warehouse
from support.places import InFile, InLake, InPostgres, Place, emptied, put_back_to_contract_1
from support.tools import module

ENGINES = ["duckdb", "postgres", "ducklake"]
OWN: dict[str, Any] = {"kinds": ["all"], "include": ["categories", "items", "lists", "coupon-codes", "variants"]}
# Those of runs, of which each side has its own.
OF_RUNS = {"run_id", "first_seen_at", "last_changed_at", "detail_read_at", "errors_read_at", "observed_at"}


def place_called(name: str, request: pytest.FixtureRequest, folder: Path) -> Place:
    """An empty place for a warehouse; the test is skipped, loudly, where its engine is not."""
    if name == "duckdb":
        return InFile(folder / "warehouse.duckdb")
    if name == "ducklake":
        module("duckdb_extension_ducklake")
    server: Postgres = request.getfixturevalue("postgres")
    return InPostgres(server.url) if name == "postgres" else InLake(server.url, folder)


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Each engine in turn."""
    with emptied(place_called(request.param, request, tmp_path), monkeypatch) as found:
        yield found


@pytest.fixture
def world() -> Iterator[Sandbox]:
    """All kinds, some jobs under way."""
    with Sandbox("every-kind", clock=NOW, limits=NO_WAIT) as sandbox:
        yield sandbox


class Loads:
    """Runs into one place."""

    def __init__(self, sandbox: Sandbox, place: Place) -> None:
        self.sandbox = sandbox
        self.place = place

    def settings(self, **own: Any) -> Settings:
        return Settings(**{"base_url": self.sandbox.base_url, "api_key": self.sandbox.key, **OWN, **own})

    def __call__(self, *, full_refresh: bool = False, replays: bool = False, **own: Any) -> RunSummary:
        self.sandbox.reset_requests()
        return run(self.settings(**own), self.place.engine(), full_refresh=full_refresh, replays=replays)

    def endpoints(self) -> list[str]:
        """Which endpoints the last run asked, sorted."""
        return sorted(request.endpoint or "" for request in self.sandbox.requests)


@pytest.fixture
def load(world: Sandbox, place: Place) -> Loads:
    return Loads(world, place)


def exported(place: Place, folder: Path, name: str = "exported.duckdb") -> Warehouse:
    """The rows of *place* in a DuckDB file."""
    path = folder / name
    path.unlink(missing_ok=True)
    place.export(path)
    return Warehouse(path)


def compared(warehouse: Warehouse, table: str, ignored: set[str] = OF_RUNS) -> list[tuple[Any, ...]]:
    columns = ", ".join(name for name in tables_of(warehouse)[table] if name not in ignored)
    return warehouse.rows(f"select {columns} from klaviyo_raw.{table}")


def test_the_tables_are_those_of_duckdb(world: Sandbox, load: Loads, place: Place, tmp_path: Path) -> None:
    """Field by field, but for the times and ids of runs; empty texts, quotes, line ends and far characters included."""
    detail = 'It\'s "quoted", with\nline ends, a comma\t, \\N, 100 %, {braces}, \N{SNOWMAN} and \N{GRINNING FACE}'
    errors = [JobError(detail, related_id("")), JobError("", related_id("X"))]
    world.world.add(under_way("item-create", "ODD", "A", errors=errors, failed_count=2))
    load()
    theirs = exported(place, tmp_path)
    run(load.settings(), tmp_path / "ours.duckdb")
    ours = Warehouse(tmp_path / "ours.duckdb")

    assert theirs.value("select detail from klaviyo_raw.job_errors where job_id = 'ODD' and position = 1") == ""
    for table in tables_of(ours):
        if table in TABLES and table != "listings":
            assert tables_of(theirs)[table] == tables_of(ours)[table]
            assert_same(compared(theirs, table), compared(ours, table))


def test_a_quiet_run_reads_the_lists_and_writes_its_ledger_only(load: Loads, place: Place, tmp_path: Path) -> None:
    """A call for each list, none for details or errors, and no row but those of the ledger is written again."""
    load()
    before = exported(place, tmp_path).contents()

    load()

    assert load.endpoints() == ["list"] * 13
    after = exported(place, tmp_path)
    assert after.contents() == before
    assert after.value("select count(distinct run_id) from klaviyo_raw.listings") == 2


def test_children_shrink_to_none(load: Loads, place: Place, tmp_path: Path) -> None:
    """Errors and linkages of a job are those of its last read, and no row stays that it lists no more."""
    failed = [JobError("It does not exist.", related_id(name)) for name in "XYZ"]
    own = {"total_count": 6, "completed_count": 3, "failed_count": 3}
    load.sandbox.world.add(under_way("item-create", "J", "A", "B", "C", errors=failed, **own))
    load()
    load.sandbox.world.add(finished("item-create", "J", errors=[], total_count=6, completed_count=6, failed_count=0))

    load()

    warehouse = exported(place, tmp_path)
    for table in ("job_errors", "job_linkages"):
        assert warehouse.value(f"select count(*) from klaviyo_raw.{table} where job_id = 'J'") == 0


def test_content_changes_though_no_count_does(load: Loads, place: Place, tmp_path: Path) -> None:
    """An error's text and a linkage's id are told from those before."""
    own = {"total_count": 2, "completed_count": 1, "failed_count": 1}
    for text, item in (("Before.", "A"), ("After.", "B")):
        error = [JobError(text, related_id("X"))]
        load.sandbox.world.add(under_way("item-create", "J", item, errors=error, **own))
        load()

    warehouse = exported(place, tmp_path)
    assert warehouse.rows("select detail from klaviyo_raw.job_errors where job_id = 'J'") == [("After.",)]
    assert warehouse.rows("select related_id from klaviyo_raw.job_linkages where job_id = 'J'") == [(related_id("B"),)]


def test_a_job_that_vanishes_and_returns(load: Loads, place: Place, tmp_path: Path) -> None:
    """It is marked while a complete listing does not show it."""
    job = under_way("item-create", "J", "A")
    marks = []
    for is_listed in (True, False, True):
        if is_listed:
            load.sandbox.world.add(job)
        else:
            load.sandbox.world.remove("item-create", "J")
        load()
        marks += exported(place, tmp_path).rows("select vanished_at is null from klaviyo_raw.jobs where job_id = 'J'")

    assert marks == [(True,), (False,), (True,)]


def test_a_full_refresh_writes_everything_and_changes_nothing(load: Loads, place: Place, tmp_path: Path) -> None:
    """Every job has the refresh's run id; what the API says of it is as it was."""
    load()
    before = exported(place, tmp_path)
    kept = {table: sorted(map(repr, compared(before, table))) for table in ("jobs", "job_errors", "job_linkages")}

    summary = load(full_refresh=True)

    after = exported(place, tmp_path)
    assert {table: sorted(map(repr, compared(after, table))) for table in kept} == kept
    assert after.rows("select distinct run_id from klaviyo_raw.jobs where job_kind not like 'profile-%s'") in (
        [(summary.run_id,)],
        [],
    )


def test_a_failed_listing_is_in_the_ledger(load: Loads, place: Place, tmp_path: Path) -> None:
    """The other kinds are loaded."""
    load.sandbox.faults.append(Fault("status", "400", kind="item-create"))

    load()

    warehouse = exported(place, tmp_path)
    [(is_complete, error)] = warehouse.rows(
        "select is_complete, error from klaviyo_raw.listings where job_kind = 'item-create'"
    )
    assert (is_complete, "400" in error) == (False, True)
    assert warehouse.value("select count(*) from klaviyo_raw.listings where is_complete") == 12


def test_runs_that_did_not_come_to_their_end_are_in_the_ledger(load: Loads, place: Place, tmp_path: Path) -> None:
    """Told twice, they are there once; a listing whose load was not complete is not complete."""
    load()
    note = RunNote(7, "far", NOW.isoformat(), "klaviyo-jobs run", [("default", "item-create")], "load")
    for _ in range(2):
        with load.place.engine().open() as connection:
            record_ended_runs(connection, [note])

    assert exported(place, tmp_path).rows(
        "select account, job_kind, is_complete, error from klaviyo_raw.listings where error is not null"
    ) == [("default", "item-create", False, "interrupted: process 7 on far ended at step load.")]


def test_a_rejected_record_is_kept_once_and_read_again(load: Loads, place: Place, tmp_path: Path) -> None:
    """With its reason; once it can be read, the job is there and the record is not."""
    attributes = {"status": "complete", "created_at": "yesterday", "total_count": 1}
    raw = {"type": "catalog-item-bulk-create-job", "id": "J", "attributes": attributes, "links": {"self": "x"}}
    load.sandbox.world.add(RawJob("item-create", raw, id="J", created_at=NOW))
    for _ in range(2):
        assert isinstance(load().error, PartialError)
    [(times, reason)] = exported(place, tmp_path).rows("select times, reason from klaviyo_raw.rejected_records")
    load.sandbox.world.remove("item-create", "J")
    # As if this version had learnt to read it.
    place.rows("update klaviyo_raw.rejected_records set raw = replace(raw, 'yesterday', '2026-11-19T12:00:00+00:00')")

    summary = load(replays=True)

    warehouse = exported(place, tmp_path)
    assert (times, "time" in reason) == (2, True)
    assert summary.replayed is not None
    assert (summary.replayed.job_count, summary.replayed.left_count) == (1, 0)
    assert warehouse.value("select count(*) from klaviyo_raw.rejected_records") == 0
    assert warehouse.value("select status from klaviyo_raw.jobs where job_id = 'J'") == "complete"


def test_old_history_is_pruned(load: Loads, place: Place, tmp_path: Path) -> None:
    """A dry run counts what a run deletes; with jobs, all that belongs to them goes."""
    load()
    place.rows(
        "update klaviyo_raw.jobs set created_at = created_at - interval '30 days' where job_kind = 'item-create'"
    )
    place.rows("update klaviyo_raw.listings set started_at = started_at - interval '30 days'")
    counted: list[dict[str, int]] = []
    for is_dry_run in (True, False):
        with load.place.engine().open() as connection:
            counted.append(prune(connection, dt.timedelta(days=20), with_jobs=True, is_dry_run=is_dry_run))

    warehouse = exported(place, tmp_path)
    assert counted[0] == counted[1]
    assert counted[0]["listings"] == 13
    assert counted[0]["jobs"] > 0
    assert warehouse.value("select count(*) from klaviyo_raw.jobs where job_kind = 'item-create'") == 0
    assert warehouse.value("select count(*) from klaviyo_raw.job_linkages where job_kind = 'item-create'") == 0


def test_what_was_told_is_remembered(load: Loads) -> None:
    """Alarms as they were noted last, and no others."""
    load()
    place = AlarmPlace("stuck_jobs", "default", "item-create")
    alarm = Alarm(place, 2.0, "a'b", NOW, NOW + HOUR)
    for alarms in ([alarm._replace(place=AlarmPlace("silence", None, None)), alarm], [alarm]):
        with load.place.engine().open() as connection:
            write_alarms(connection, alarms)

    with load.place.engine().open(read_only=True) as connection:
        assert read_alarms(connection) == {place: alarm}


def test_a_dry_run_counts_and_writes_nothing(load: Loads, place: Place, tmp_path: Path) -> None:
    """What the warehouse knows is known to it too."""
    first = plan_run(build_listings(load.settings()), load.place.engine())
    load()
    before = exported(place, tmp_path).contents()
    load.sandbox.world.add(finished("category-create", "NEW", "A", created_at=NOW))

    second = plan_run(build_listings(load.settings()), load.place.engine())

    assert sum(outcome.changed_count for outcome in first) == sum(outcome.job_count for outcome in first) > 0
    assert sum(outcome.changed_count for outcome in second) == 1
    assert exported(place, tmp_path).contents() == before


def test_tables_of_contract_1_are_changed_in_place(load: Loads, place: Place, tmp_path: Path) -> None:
    """No row is lost, the hash of what the API still lists is made, and nothing is taken for changed."""
    # Without those that come with an hour's news: what contract 1 had no place for is lost.
    own: dict[str, Any] = {"kinds": ["item-create", "item-update", "category-create"], "include": []}
    load(**own)
    before = exported(place, tmp_path)
    query = "select job_kind, job_id, content_hash, created_on, completed_on from klaviyo_raw.jobs order by all"
    kept = before.rows(query), before.rows("from klaviyo_raw.job_linkages order by all")
    put_back_to_contract_1(place)

    summary = load(**own)

    after = exported(place, tmp_path)
    assert summary.changed_count == 0
    assert (after.rows(query), after.rows("from klaviyo_raw.job_linkages order by all")) == kept
    assert after.value("select count(*) from klaviyo_raw.job_errors where fingerprint is null") == 0


def test_days_follow_the_reporting_time_zone(load: Loads, place: Place, tmp_path: Path) -> None:
    """When it changes, days are written anew."""
    load()
    load(reporting_timezone="Pacific/Kiritimati")

    warehouse = exported(place, tmp_path)
    assert (
        warehouse.value(
            "select count(*) from klaviyo_raw.jobs "
            "where created_on is distinct from cast(created_at at time zone 'Pacific/Kiritimati' as date)"
        )
        == 0
    )
