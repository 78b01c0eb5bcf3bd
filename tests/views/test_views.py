from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from klaviyo_jobs.errors import SettingError, WarehouseError
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from klaviyo_jobs.warehouse.views import LAYERS, apply_views, find_sql
from support.views import Warehouse

VIEWS = """
    select view_name from duckdb_views()
    where database_name = current_database() and schema_name = 'klaviyo' order by view_name
"""
MARTS = sorted(file.stem for file in (find_sql() / "marts").glob("*.sql"))


def write_layers(folder: Path, **files: str) -> Path:
    """Make a folder of layers whose marts are *files*, by name."""
    for layer in LAYERS:
        (folder / layer).mkdir(parents=True)
    for name, sql in files.items():
        (folder / "marts" / f"{name}.sql").write_text(sql)
    return folder


def test_the_folder_is_found_in_a_checkout(tmp_path: Path) -> None:
    """In a checkout `sql/` is at the top of the repository, two levels above the package."""
    write_layers(tmp_path / "sql")

    assert find_sql(tmp_path / "pipelines" / "klaviyo_jobs") == tmp_path / "sql"


def test_the_folder_is_found_inside_an_installed_package(tmp_path: Path) -> None:
    """A wheel takes `sql/` along inside the package, whatever else is called `sql` above it."""
    write_layers(tmp_path / "sql")
    write_layers(tmp_path / "site-packages" / "klaviyo_jobs" / "sql")
    package = tmp_path / "site-packages" / "klaviyo_jobs"

    assert find_sql(package) == package / "sql"


def test_a_missing_folder_is_told_with_the_places_looked_at(tmp_path: Path) -> None:
    """An installation without `sql/` is broken, and says where it looked."""
    with pytest.raises(WarehouseError, match=r"neither .*klaviyo_jobs/sql nor .*/sql holds them"):
        find_sql(tmp_path / "pipelines" / "klaviyo_jobs")


def test_every_file_is_the_view_of_its_name(warehouse: Warehouse) -> None:
    """What is applied is what is there, and each name is a file's."""
    names = apply_views(DuckDBConnection(warehouse.connection))

    assert sorted(names) == sorted(file.stem for layer in LAYERS for file in (find_sql() / layer).glob("*.sql"))
    assert [(name,) for name in sorted(names)] == warehouse.rows(VIEWS)


def test_applying_twice_changes_nothing(warehouse: Warehouse) -> None:
    """The second time ends with the same views, columns and comments."""
    columns = "select table_name, column_name, data_type, comment from duckdb_columns() where schema_name = 'klaviyo'"
    before = warehouse.rows(f"{columns} order by all")
    apply_views(DuckDBConnection(warehouse.connection))

    assert warehouse.rows(f"{columns} order by all") == before


def ids_of_views(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """Return DuckDB's own number of every view; one that is made anew gets another."""
    return warehouse.rows("select view_name, view_oid from duckdb_views() where schema_name = 'klaviyo' order by all")


def test_views_that_are_as_they_should_be_are_left_alone(warehouse: Warehouse) -> None:
    """A run in which nothing changed does not make them anew."""
    before = ids_of_views(warehouse)
    apply_views(DuckDBConnection(warehouse.connection))

    assert ids_of_views(warehouse) == before


@pytest.mark.parametrize(
    "change",
    [
        "create or replace view klaviyo.jobs as select 1 as answer",
        "drop view klaviyo.stuck_jobs",
        "comment on view klaviyo.jobs is null",
        "comment on column klaviyo.jobs.status is 'Other words.'",
        "comment on table klaviyo_raw.listings is null",
    ],
)
def test_what_somebody_changed_is_put_right(warehouse: Warehouse, change: str) -> None:
    """Views and their words are looked at each time."""
    words = (
        "select view_name, comment from duckdb_views() where schema_name = 'klaviyo' order by all",
        "select table_name, column_name, comment from duckdb_columns() where schema_name = 'klaviyo' order by all",
    )
    before = [warehouse.rows(question) for question in words]
    ids = ids_of_views(warehouse)
    warehouse.connection.execute(change)

    apply_views(DuckDBConnection(warehouse.connection))

    assert [warehouse.rows(question) for question in words] == before
    assert not set(ids) & set(ids_of_views(warehouse))


def test_a_column_that_somebody_dropped_is_missed(warehouse: Warehouse) -> None:
    """The table gets it back, without the values that were in it, and the views work again."""
    warehouse.connection.execute("alter table klaviyo_raw.job_observations drop column total_count")

    apply_views(DuckDBConnection(warehouse.connection))

    assert warehouse.rows("select total_count from klaviyo.job_observations") == []


def test_another_file_is_applied(warehouse: Warehouse, tmp_path: Path) -> None:
    """A view whose file has changed, with a new release, is made anew."""
    folder = write_layers(tmp_path, answer="create or replace view klaviyo.answer as select 1 as answer")
    apply_views(DuckDBConnection(warehouse.connection), folder=folder)
    (folder / "marts" / "answer.sql").write_text("create or replace view klaviyo.answer as select 2 as answer")
    apply_views(DuckDBConnection(warehouse.connection), folder=folder)

    assert warehouse.rows("from klaviyo.answer") == [(2,)]


def test_a_view_that_no_file_defines_any_more_is_dropped(warehouse: Warehouse, tmp_path: Path) -> None:
    """A renamed or removed view does not linger with old answers; one of its name that is gone already is no matter."""
    old = {name: f"create or replace view klaviyo.{name} as select 1 as answer" for name in ("old_one", "old_two")}
    apply_views(DuckDBConnection(warehouse.connection), folder=write_layers(tmp_path, **old))
    warehouse.connection.execute("drop view klaviyo.old_two")
    names = apply_views(DuckDBConnection(warehouse.connection))

    assert [(name,) for name in sorted(names)] == warehouse.rows(VIEWS)


def test_a_view_that_somebody_else_made_stays(warehouse: Warehouse) -> None:
    """Applied again for another setting, or for none, and with a view of theirs that reads one of ours."""
    warehouse.connection.execute("create view klaviyo.mine as select count(*) as jobs from klaviyo.jobs")
    for zone in (None, "Europe/Berlin", None):
        names = apply_views(DuckDBConnection(warehouse.connection), reporting_timezone=zone)

    assert warehouse.rows(VIEWS) == [(name,) for name in sorted([*names, "mine"])]
    assert warehouse.rows("from klaviyo.mine") == [(0,)]


def test_a_broken_file_is_named_and_leaves_the_views_as_they_were(warehouse: Warehouse, tmp_path: Path) -> None:
    """Views come all or none: those of the files before the broken one are taken back."""
    before = warehouse.rows(VIEWS)
    folder = write_layers(
        tmp_path,
        a_good_one="create or replace view klaviyo.a_good_one as select 1 as answer",
        broken="create or replace view klaviyo.broken as select no_such_column from klaviyo_raw.jobs",
    )

    with pytest.raises(WarehouseError, match=r"klaviyo\.broken cannot be made from .*broken\.sql: .*no_such_column"):
        apply_views(DuckDBConnection(warehouse.connection), folder=folder)
    assert warehouse.rows(VIEWS) == before


def test_a_warehouse_without_tables_is_told_to_load_first() -> None:
    """Before the first load there is nothing to read; the message says how to get there."""
    with duckdb.connect() as connection, pytest.raises(WarehouseError, match="klaviyo-jobs run"):
        apply_views(DuckDBConnection(connection))


def test_the_tables_of_included_resources_may_be_missing(warehouse: Warehouse) -> None:
    """Items, variants and categories exist only where they are included; no view needs them."""
    for table in ("items", "variants", "categories"):
        warehouse.connection.execute(f"drop table klaviyo_raw.{table}")

    assert "jobs" in apply_views(DuckDBConnection(warehouse.connection))


def test_settings_are_written_into_the_view_of_settings(warehouse: Warehouse) -> None:
    """What is given replaces the default of the file; what is not given stays."""
    settings = "select reporting_timezone, stuck_after_seconds, jobs_in_progress_limit from klaviyo.reporting_settings"
    assert warehouse.rows(settings) == [("UTC", 21600, 500)]

    warehouse.apply(reporting_timezone="Europe/Berlin", stuck_after_seconds=60)
    assert warehouse.rows(settings) == [("Europe/Berlin", 60, 500)]

    warehouse.apply(jobs_in_progress_limit=700)
    assert warehouse.rows(settings) == [("UTC", 21600, 700)]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "UTC' as x, 'UTC"])
def test_a_zone_the_database_does_not_know_is_refused(warehouse: Warehouse, zone: str) -> None:
    """A typing error is a setting's fault, told before any view is touched."""
    with pytest.raises(SettingError, match="reporting_timezone"):
        warehouse.apply(reporting_timezone=zone)


def test_every_view_and_column_is_described(warehouse: Warehouse) -> None:
    """Readers find the meaning beside the data: nothing in the schema goes without a comment."""
    undescribed = """
        select view_name, null from duckdb_views() where schema_name = 'klaviyo' and comment is null
        union all
        select table_name, column_name from duckdb_columns() where schema_name = 'klaviyo' and comment is null
    """
    assert warehouse.rows(undescribed) == []


def test_no_column_is_zoned(warehouse: Warehouse) -> None:
    """BI drivers shift zoned times or cannot read them; huge integers they read as decimals or not at all."""
    types = "select distinct data_type from duckdb_columns() where schema_name = 'klaviyo' order by all"

    assert warehouse.rows(types) == [
        ("BIGINT",),
        ("BOOLEAN",),
        ("DATE",),
        ("DOUBLE",),
        ("INTEGER",),
        ("TIMESTAMP",),
        ("VARCHAR",),
    ]


@pytest.mark.parametrize("view", MARTS)
def test_an_empty_account_has_empty_views(warehouse: Warehouse, view: str) -> None:
    """Without a single job every view answers, with no rows."""
    assert warehouse.rows(f"select * from klaviyo.{view}") == []


def test_a_table_that_somebody_made_in_the_place_of_a_view_is_left_alone(warehouse: Warehouse) -> None:
    """It is in the way, and is told as such; its rows are nobody's to drop."""
    warehouse.connection.execute("drop view klaviyo.job_latency_daily")
    warehouse.connection.execute("create table klaviyo.job_latency_daily as select 1 as mine")

    with pytest.raises(WarehouseError, match=r"klaviyo\.job_latency_daily cannot be made"):
        apply_views(DuckDBConnection(warehouse.connection))

    assert warehouse.rows("from klaviyo.job_latency_daily") == [(1,)]
