"""A warehouse in DuckDB with something of everything that views tell, and the same rows in another engine."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import Settings
from klaviyo_sandbox import Fault, Sandbox
from support.jobs import finished, odd, under_way
from support.loads import DAY, HOUR, NO_WAIT, Warehouse


def fill(path: Path, reporting_timezone: str = "UTC") -> Warehouse:
    """
    Fill a warehouse at *path*: two accounts, all kinds, three runs, each with something that views tell.

    Jobs of all outcomes, failures that are repaired and that are not, one that vanished, one that is stuck, a record that
    cannot be read, a listing that failed, and days that no listing knows of. The clock is the machine's, as it is for
    whoever asks the views what is in progress.
    """
    now = dt.datetime.now(dt.UTC)
    with Sandbox("every-kind", clock=now, limits=NO_WAIT) as sandbox:
        shop = sandbox.add_account("shop", "demo")
        accounts = {"default": sandbox.key, "shop": shop.key}
        own: dict[str, Any] = {"kinds": ["all"], "include": ["categories", "items", "lists"]}
        settings = Settings(base_url=sandbox.base_url, accounts=accounts, reporting_timezone=reporting_timezone, **own)
        run(settings, path)
        sandbox.world.add(
            under_way("item-create", "GONE", "A", created_at=now - HOUR),
            under_way("item-update", "STUCK", "B", created_at=now - DAY),
            finished(
                *("item-update", "REPAIR", "item-create-1-0", "item-create-3-0"),
                created_at=now - HOUR / 2,
                completed_at=now,
            ),
            odd("variant-create", created_at=now),
        )
        sandbox.faults.append(Fault("status", "400", kind="category-update", account="shop"))
        run(settings, path)
        sandbox.faults.clear()
        sandbox.world.remove("item-create", "GONE")
        run(settings, path)
    warehouse = Warehouse(path)
    # Three weeks before, so that there are days of which nothing is known.
    warehouse.rows(
        """
        insert into klaviyo_raw.listings by name
        select * replace (
            run_id || '.early' as run_id,
            started_at - interval '20 days' as started_at,
            finished_at - interval '20 days' as finished_at
        )
        from klaviyo_raw.listings where run_id = (select max(run_id) from klaviyo_raw.listings) returning 1
        """
    )
    return warehouse


def tables_of(warehouse: Warehouse) -> dict[str, list[str]]:
    """The raw tables and their columns, without those of dlt."""
    found = warehouse.rows(
        "select table_name, column_name from duckdb_columns() where schema_name = 'klaviyo_raw' "
        "and table_name not like '\\_dlt%' escape '\\' and column_name not like '\\_dlt%' escape '\\' "
        "order by table_name, column_index"
    )
    tables: dict[str, list[str]] = {}
    for table, column in found:
        tables.setdefault(table, []).append(column)
    return tables


def assert_same(ours: list[tuple[Any, ...]], theirs: list[tuple[Any, ...]]) -> None:
    """Both hold the same rows, in any order: times in UTC, decimals as numbers, and these to a millionth."""
    assert len(ours) == len(theirs)
    for one, other in zip(_in_order(ours), _in_order(theirs), strict=True):
        assert [each for each in one if not isinstance(each, float)] == [
            each for each in other if not isinstance(each, float)
        ]
        assert [each for each in one if isinstance(each, float)] == pytest.approx(
            [each for each in other if isinstance(each, float)], rel=1e-6
        )


def _in_order(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(
        (tuple(map(_comparable, row)) for row in rows),
        key=lambda row: repr([round(each, 3) if isinstance(each, float) else each for each in row]),
    )


def _comparable(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC).replace(tzinfo=None)
    return value
