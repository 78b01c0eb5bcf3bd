"""The views in Postgres, as `klaviyo-jobs views --dialect postgres --print` makes them, beside those of DuckDB."""

from __future__ import annotations

import duckdb
import pytest

from engines.conftest import Postgres
from engines.data import assert_same, fill, tables_of
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from klaviyo_jobs.warehouse.views import LAYERS, apply_views, find_sql, statements_of_views
from support.loads import Warehouse

VIEWS = [file.stem for layer in LAYERS for file in sorted((find_sql() / layer).glob("*.sql"))]
# Ages at the moment of the query.
MOVING = {("listing_freshness", "age_seconds"), ("stuck_jobs", "age_seconds")}


@pytest.fixture(scope="module", params=["UTC", "Europe/Berlin", "Asia/Kathmandu"])
def both(
    request: pytest.FixtureRequest, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Warehouse, Postgres]:
    """One warehouse in DuckDB, and its rows and views in Postgres."""
    folder = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.chdir(folder)
        warehouse = fill(folder / "warehouse.duckdb", request.param)
    with duckdb.connect(str(warehouse.path)) as connection:
        apply_views(DuckDBConnection(connection), reporting_timezone=request.param, stuck_after_seconds=3600)
    postgres.rows("drop schema if exists klaviyo cascade; drop schema if exists klaviyo_raw cascade")
    postgres.rows("create schema klaviyo_raw")
    copy_raw(warehouse, postgres)
    for statement in statements_of_views("postgres", reporting_timezone=request.param, stuck_after_seconds=3600):
        postgres.rows(statement)
    return warehouse, postgres


def copy_raw(warehouse: Warehouse, postgres: Postgres) -> None:
    """Make the raw tables in *postgres*, with the types that dlt has for them there, and put all rows in."""
    types = {
        "BIGINT": "bigint",
        "VARCHAR": "varchar",
        "BOOLEAN": "boolean",
        "DATE": "date",
        "DOUBLE": "double precision",
    }
    for table, columns in tables_of(warehouse).items():
        found = dict(
            warehouse.rows(
                "select column_name, data_type from duckdb_columns() "
                "where schema_name = 'klaviyo_raw' and table_name = ?",
                table,
            )
        )
        made = ", ".join(f"{name} {types.get(found[name], found[name])}" for name in columns)
        postgres.rows(f"create table klaviyo_raw.{table} ({made})")
        rows = warehouse.rows(f"select {', '.join(columns)} from klaviyo_raw.{table}")
        if rows:
            postgres.insert(f"klaviyo_raw.{table}", columns, rows)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_shows_what_it_shows_in_duckdb(both: tuple[Warehouse, Postgres], view: str) -> None:
    """Value by value, whatever the zone of either session, and the same columns in the same order."""
    warehouse, postgres = both
    columns = [
        name
        for (name,) in warehouse.rows(
            "select column_name from duckdb_columns() where schema_name = 'klaviyo' and table_name = ? "
            "order by column_index",
            view,
        )
    ]
    there = postgres.rows(
        "select column_name from information_schema.columns where table_schema = 'klaviyo' and table_name = %s "
        "order by ordinal_position",
        view,
    )
    compared = ", ".join(f'"{name}"' for name in columns if (view, name) not in MOVING)

    assert [name for (name,) in there] == columns
    rows = warehouse.rows(f"select {compared} from klaviyo.{view}")
    assert rows
    assert_same(postgres.rows(f"select {compared} from klaviyo.{view}"), rows)


def test_views_and_columns_say_what_they_are(both: tuple[Warehouse, Postgres]) -> None:
    """In the comments that SQL clients show."""
    _, postgres = both

    assert postgres.rows(
        "select obj_description('klaviyo.jobs'::regclass), col_description('klaviyo.jobs'::regclass, 1)"
    ) == [
        (
            "One row per bulk job: how it ended, or how far it has got.",
            "Label of the Klaviyo account in the settings.",
        )
    ]


def test_the_views_may_be_made_again(both: tuple[Warehouse, Postgres]) -> None:
    """With other settings, over those that are there."""
    _, postgres = both

    for statement in statements_of_views("postgres", stuck_after_seconds=60):
        postgres.rows(statement)

    assert postgres.rows("select stuck_after_seconds from klaviyo.reporting_settings") == [(60,)]
