"""What views, checks and the report say of a warehouse, wherever it is: what they say of the same rows in DuckDB."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from engines.data import assert_same
from engines.test_contract import ENGINES, Loads, exported, place_called
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.monitor.check import run_checks
from klaviyo_jobs.monitor.explain import Explained, explain
from klaviyo_jobs.monitor.measures import Finding
from klaviyo_jobs.monitor.page.contents import read_contents
from klaviyo_jobs.monitor.report import read_report
from klaviyo_jobs.monitor.trend import read_trend
from klaviyo_jobs.settings import CheckSettings
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from klaviyo_jobs.warehouse.views import LAYERS, apply_views, find_sql
from klaviyo_sandbox import Fault, Sandbox
from support.jobs import finished, odd, under_way
from support.loads import DAY, HOUR, NO_WAIT, Warehouse

VIEWS = [file.stem for layer in LAYERS for file in sorted((find_sql() / layer).glob("*.sql"))]
OF_DETAIL = "What went wrong, in particular; Klaviyo may word it differently at any time."
# Ages at the moment of the query.
MOVING = {("listing_freshness", "age_seconds"), ("stuck_jobs", "age_seconds")}


@pytest.fixture(scope="module", params=ENGINES)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loads, Warehouse]]:
    """Two accounts, three runs, each with something that views tell; and the same rows in DuckDB with its views."""
    folder = tmp_path_factory.mktemp("told")
    now = dt.datetime.now(dt.UTC)
    with pytest.MonkeyPatch.context() as patch, Sandbox("every-kind", clock=now, limits=NO_WAIT) as sandbox:
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.chdir(folder)
        place = place_called(request.param, request, folder)
        for name, value in place.environment.items():
            patch.setenv(name, value)
        place.clear()
        load = Loads(sandbox, place)
        shop = sandbox.add_account("shop", "demo")
        own: dict[str, Any] = {
            "accounts": {"default": sandbox.key, "shop": shop.key},
            "api_key": None,
            "reporting_timezone": "Europe/Berlin",
            "stuck_after_seconds": 3600,
        }
        load(**own)
        sandbox.world.add(
            under_way("item-create", "GONE", "A", created_at=now - HOUR),
            under_way("item-update", "STUCK", "B", created_at=now - DAY),
            finished("item-update", "REPAIR", "item-create-1-0", created_at=now - HOUR / 2, completed_at=now),
            odd("variant-create", created_at=now),
        )
        sandbox.faults.append(Fault("status", "400", kind="category-update", account="shop"))
        load(**own)
        sandbox.faults.clear()
        sandbox.world.remove("item-create", "GONE")
        load(**own)
        beside = exported(place, folder)
        with duckdb.connect(str(beside.path)) as connection:
            apply_views(DuckDBConnection(connection), reporting_timezone="Europe/Berlin", stuck_after_seconds=3600)
        yield load, beside
        place.clear()


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_shows_what_it_shows_in_duckdb(told: tuple[Loads, Warehouse], view: str) -> None:
    """Value by value, and the same columns in the same order."""
    load, beside = told
    columns = [
        name
        for (name,) in beside.rows(
            "select column_name from duckdb_columns() where schema_name = 'klaviyo' and table_name = ? "
            "order by column_index",
            view,
        )
    ]
    chosen = ", ".join(f'"{name}"' for name in columns if (view, name) not in MOVING)
    with load.place.engine().open(read_only=True) as connection:
        there = [column.name for column in connection.columns() if (column.schema, column.table) == ("klaviyo", view)]
        rows = connection.execute(f"select {chosen} from klaviyo.{view}").fetchall()

    assert there == columns
    assert_same(rows, beside.rows(f"select {chosen} from klaviyo.{view}"))


def test_check_finds_what_it_finds_in_duckdb(told: tuple[Loads, Warehouse]) -> None:
    """Every measure and every query of `sql/checks` and `sql/information`, of some accounts and kinds, and of all."""
    load, beside = told
    thresholds = CheckSettings(max_failed_share=0.01, min_operations=1)
    asked: list[dict[str, Any]] = [
        {},
        {"kinds": ["item-create", "item-update"], "accounts": ["shop"], "is_narrowed": True, "is_thorough": True},
    ]
    since = dt.datetime.now(dt.UTC) - dt.timedelta(days=3)
    for own in asked:
        with load.place.engine().open(read_only=True) as connection:
            there = run_checks(connection, thresholds, since=since, **own)
        with duckdb.connect(str(beside.path)) as native:
            ours = run_checks(DuckDBConnection(native), thresholds, since=since, **own)
        assert [comparable(finding) for finding in there] == [comparable(finding) for finding in ours]


def comparable(finding: Finding) -> tuple[Any, ...]:
    """A finding without an age, which is another when it is asked for again."""
    is_age = finding.check == "listing_age_seconds"
    value = None if is_age or finding.value is None else round(finding.value, 9)
    return finding.check, finding.account, finding.job_kind, value, finding.is_breached, finding.seen


def test_the_report_says_what_it_says_of_duckdb(told: tuple[Loads, Warehouse]) -> None:
    """Section by section, row by row."""
    load, beside = told
    with load.place.engine().open(read_only=True) as connection:
        there = read_report(connection, 30)
    with duckdb.connect(str(beside.path)) as native:
        ours = read_report(DuckDBConnection(native), 30)

    for name, rows in ours.items():
        moving = {"age_seconds"}
        assert_same(
            [tuple(value for column, value in row.items() if column not in moving) for row in there[name]],
            [tuple(value for column, value in row.items() if column not in moving) for row in rows],
        )


def test_the_page_shows_what_it_shows_of_duckdb(told: tuple[Loads, Warehouse]) -> None:
    """Every dataset of it, and the trend at the head of the report: row by row."""
    load, native_warehouse = told
    with load.place.engine().open(read_only=True) as connection:
        there = read_contents(connection, 30, CheckSettings(), kinds=KINDS), read_trend(connection)
    with duckdb.connect(str(native_warehouse.path), read_only=True) as native:
        ours = (
            read_contents(DuckDBConnection(native), 30, CheckSettings(), kinds=KINDS),
            read_trend(DuckDBConnection(native)),
        )
    # Ages, in words, and the moment itself.
    for contents, _ in (there, ours):
        del contents["made_at"], contents["checks"]

    assert len(ours[0]["errors"]["rows"]) > 10
    assert there == ours


@pytest.mark.parametrize(
    ("identifier", "names"),
    [
        ("STUCK", ["item-update job STUCK"]),
        ("REPAIR", ["item-update job REPAIR"]),
        ("$custom:::$default:::item-create-1-0", ["catalog-item item-create-1-0"]),
        ("item-create-1-0", ["catalog-item item-create-1-0"]),
        ("0", []),
        ("%", []),
    ],
)
def test_an_id_is_explained_as_in_duckdb(told: tuple[Loads, Warehouse], identifier: str, names: list[str]) -> None:
    """A job, and a resource by Klaviyo's id and by your own; not by a part of one, nor by a pattern."""
    load, beside = told
    with load.place.engine().open(read_only=True) as connection:
        there = explain(connection, identifier)
    with duckdb.connect(str(beside.path), read_only=True) as native:
        ours = explain(DuckDBConnection(native), identifier)

    assert [each.name for each in there] == names
    assert [plain(each) for each in there] == [plain(each) for each in ours]


def plain(explained: Explained) -> dict[str, Any]:
    """All but an age, which is another when it is asked for again."""
    found = explained.as_object()
    return {**found, "facts": {name: value for name, value in found["facts"].items() if name != "age_seconds"}}


def test_tables_and_views_say_what_they_are(told: tuple[Loads, Warehouse]) -> None:
    """In the comments that SQL clients show; columns of views where the engine has comments on them."""
    load, _ = told
    with load.place.engine().open(read_only=True) as connection:
        tables, views = connection.table_comments(), connection.view_comments()
        columns = {(each.schema, each.table, each.name): each.comment for each in connection.columns()}

    assert (tables["jobs"] or "").startswith("Bulk jobs as they were last read")
    assert views["jobs"] == "One row per bulk job: how it ended, or how far it has got."
    assert columns["klaviyo_raw", "jobs", "status"]
    assert columns["klaviyo_raw", "job_errors", "detail"] == OF_DETAIL
    assert columns["klaviyo", "job_errors", "detail"] == (OF_DETAIL if load.place.name != "ducklake" else None)


def test_nothing_of_what_is_asked_can_change_anything(told: tuple[Loads, Warehouse]) -> None:
    """A connection for reading refuses to write."""
    load, _ = told
    with load.place.engine().open(read_only=True) as connection, pytest.raises(connection.errors):
        connection.execute("delete from klaviyo_raw.jobs")
