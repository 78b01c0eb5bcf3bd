"""For which days and hours a view says zero: those of which a complete listing knows the jobs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.views import Warehouse, at

NOW = datetime.now(UTC).replace(microsecond=0)
TODAY = NOW.date()


def ago(**span: float) -> datetime:
    """Return the moment that lies *span* before now."""
    return NOW - timedelta(**span)


def list_at(warehouse: Warehouse, *times: datetime, **columns: Any) -> None:
    """Say that the listing was read to its end at each of *times*."""
    warehouse.insert(
        "listings",
        *({"run_id": f"R{time}", "started_at": time, "finished_at": time, **columns} for time in times),
    )


def days_of(rows: list[tuple[Any, ...]]) -> list[int]:
    """Return how many days ago each day in the first column is."""
    return [(TODAY - datetime.fromisoformat(row[0]).date()).days for row in rows]


def test_zero_is_known_up_to_the_last_complete_listing(warehouse: Warehouse) -> None:
    """A sync that died nine days ago: the views run until today, so that an alert on no jobs can fire."""
    warehouse.jobs({"job_id": "J1", "created_at": ago(days=10)}, {"job_id": "J2", "created_at": ago(days=9)})
    list_at(warehouse, *(ago(days=number, minutes=1) for number in range(11)))
    daily = "select day, jobs_created from klaviyo.job_throughput_daily order by day desc"

    assert days_of(warehouse.rows(daily)) == list(range(11))
    assert [row[1] for row in warehouse.rows(daily)] == [0] * 9 + [1, 1]
    assert warehouse.value("select max(hour_utc) from klaviyo.job_throughput_hourly") == str(
        ago(minutes=1).replace(minute=0, second=0, tzinfo=None)
    )


def test_kinds_that_are_listed_together_are_known_for_the_same_days(warehouse: Warehouse) -> None:
    """Two jobs in ten days are two jobs in ten days, whenever the last one was."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": ago(days=10)},
        {"job_id": "J2", "created_at": ago(days=9)},
        {"job_id": "J1", "created_at": ago(days=10), "job_kind": "item-delete"},
        {"job_id": "J2", "created_at": ago(hours=1), "job_kind": "item-delete"},
    )
    for kind in ("item-create", "item-delete", "item-update"):
        list_at(warehouse, *(ago(days=number, minutes=1) for number in range(11)), job_kind=kind)

    assert warehouse.rows(
        "select job_kind, count(*), avg(jobs_created) from klaviyo.job_throughput_daily group by 1 order by 1"
    ) == [("item-create", 11, 2 / 11), ("item-delete", 11, 2 / 11), ("item-update", 11, 0.0)]


def test_a_day_that_no_listing_knows_is_no_zero(warehouse: Warehouse) -> None:
    """Runs stopped 23 days ago and went on two days ago: of what was created between, only seven days are known."""
    list_at(warehouse, *(ago(days=number) for number in (24, 23, 2, 1, 0)))
    known = [*range(10), 23, 24]

    assert days_of(warehouse.rows("select day from klaviyo.job_throughput_daily order by day desc")) == known
    assert days_of(warehouse.rows("select day from klaviyo.listing_coverage where is_known order by day desc")) == known
    assert days_of(
        warehouse.rows("select day from klaviyo.listing_coverage where not is_known order by day desc")
    ) == list(range(10, 23))


def test_a_job_of_a_day_that_no_listing_knows_is_counted(warehouse: Warehouse) -> None:
    """What is there is there; only zeros are left out."""
    warehouse.jobs({"job_id": "J1", "created_at": ago(days=15)})
    list_at(warehouse, ago(days=24), ago(days=0))

    rows = warehouse.rows("select day, jobs_created from klaviyo.job_throughput_daily order by day desc")
    assert days_of(rows) == [*range(8), 15, 24]
    assert [row[1] for row in rows] == [0] * 8 + [1, 0]


def test_days_begin_with_the_first_job_or_the_first_listing(warehouse: Warehouse) -> None:
    """The first listing knows seven days; of a kind without jobs they are not shown."""
    warehouse.jobs({"job_id": "J1", "created_at": ago(days=3)})
    list_at(warehouse, ago(days=0))
    list_at(warehouse, ago(days=0), job_kind="item-delete")

    assert warehouse.rows(
        "select job_kind, count(*), sum(jobs_created) from klaviyo.job_throughput_daily group by 1 order by 1"
    ) == [("item-create", 4, 1), ("item-delete", 1, 0)]


def test_an_incomplete_listing_knows_nothing(warehouse: Warehouse) -> None:
    """It says nothing of jobs that it does not show."""
    list_at(warehouse, ago(days=1), is_complete=False)

    assert warehouse.rows("select * from klaviyo.job_throughput_daily") == []
    assert warehouse.rows("select * from klaviyo.listing_coverage") == []


def test_hours_and_days_know_the_same_in_a_zone_far_away(warehouse: Warehouse) -> None:
    """In Auckland the last listing of the UTC day is one of the next day."""
    warehouse.listed("2026-07-15 11:30", "2026-07-15 13:30")
    warehouse.apply(reporting_timezone="Pacific/Auckland")

    assert warehouse.rows("select day from klaviyo.job_throughput_daily order by day") == [
        ("2026-07-15",),
        ("2026-07-16",),
    ]
    assert warehouse.rows("select day, hour from klaviyo.job_throughput_hourly order by hour_utc") == [
        ("2026-07-15", 23),
        ("2026-07-16", 0),
        ("2026-07-16", 1),
    ]


@pytest.mark.parametrize(
    "view", ["job_throughput_daily", "job_throughput_hourly", "job_failure_rates_daily", "job_latency_daily"]
)
def test_a_filter_on_the_day_reaches_the_table(warehouse: Warehouse, tmp_path: Path, view: str) -> None:
    """Of 60,000 jobs those leave the scan that were created or have ended on the day, and no more."""
    warehouse.connection.execute(
        """
        insert into klaviyo_raw.jobs by name
        select 'default' as account, 'item-create' as job_kind, 'J' || n as job_id, 'complete' as status,
            timestamptz '2026-01-01 00:00:00+00' + n * interval '5 minutes' as created_at, created_at as completed_at,
            created_at::date as created_on, created_at::date as completed_on
        from range(60000) as numbers (n)
        """
    )
    list_at(warehouse, *(at("2026-01-01 12:00") + timedelta(days=day) for day in range(200)))
    profile = tmp_path / "profile.json"
    warehouse.connection.execute("set threads = 1")
    warehouse.connection.execute("set enable_profiling = 'json'")
    warehouse.connection.execute("set profiling_output = ?", [str(profile)])

    rows = warehouse.rows(f"select * from klaviyo.{view} where account = 'default' and day = date '2026-05-05'")
    warehouse.connection.execute("pragma disable_profiling")

    assert rows
    # DuckDB looks at one portion of 2,048 rows before it sees that no day before the first listing is asked for.
    assert _rows_of_scans(json.loads(profile.read_text()), "jobs") <= 2 * 288 + 2048


def _rows_of_scans(node: dict[str, Any], table: str) -> int:
    """Return how many rows left the scans of *table* below *node*."""
    name = node.get("extra_info", {}).get("Table", "") if node.get("operator_type") == "TABLE_SCAN" else ""
    own = node["operator_cardinality"] if name.split(".")[-1] == table else 0
    return int(own) + sum(_rows_of_scans(child, table) for child in node.get("children", []))
