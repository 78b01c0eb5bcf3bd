"""What the report asks of the tables for speed is what the view says."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from klaviyo_jobs.monitor.report import read_report, render_report
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from support.views import Warehouse

KINDS = ("item-create", "item-update", "item-delete", "variant-create")
STATUSES = ("complete", "complete", "complete", "cancelled", "processing")
# What the view says of those that failed and were not repaired.
OF_THE_VIEW = """
    select
        account,
        replace(related_type, 'catalog-', '') as entity,
        coalesce(external_id, related_id) as id,
        failures,
        strftime(last_failed_utc, '%Y-%m-%d') as "last on",
        last_detail
    from klaviyo.failing_entities
    where not is_repaired
    order by all
"""
BEFORE = """
    job_id in (
        select job_id from klaviyo.jobs where created_at_utc <= (current_timestamp at time zone 'UTC') - to_days($days)
    )
"""


@pytest.fixture(scope="module", params=range(4))
def history(
    request: pytest.FixtureRequest, pristine: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Warehouse]:
    """Jobs of twenty days that failed on some entities and succeeded with others, by chance."""
    path = tmp_path_factory.mktemp("history") / "history.duckdb"
    path.write_bytes(pristine.read_bytes())
    warehouse, chance, now = Warehouse(path), random.Random(request.param), datetime.now(UTC)
    jobs: list[dict[str, Any]] = []
    children: dict[str, list[dict[str, Any]]] = {"job_errors": [], "job_linkages": []}
    for number in range(60):
        of_job = {
            "account": chance.choice(("eu", "us")),
            "job_kind": chance.choice(KINDS),
            "job_id": f"J{number:02}",
        }
        entities = chance.sample("ABC", 3)
        failed = chance.randint(0, 2)
        created_at = now - timedelta(hours=chance.randint(1, 480), seconds=number)
        counts = {"total_count": 3, "completed_count": 3 - failed, "failed_count": failed}
        jobs.append({**of_job, "status": chance.choice(STATUSES), "created_at": created_at, **counts})
        for position, entity in enumerate(entities):
            related_id = f"$custom:::$default:::{entity}" if entity != "C" else "plain"
            child = {**of_job, "position": position, "related_id": related_id}
            if position < failed:
                children["job_errors"].append({**child, "detail": chance.choice((None, f"No {number}."))})
            else:
                children["job_linkages"].append(child)
    warehouse.insert("jobs", *jobs)
    for table, rows in children.items():
        warehouse.insert(table, *rows)
    yield warehouse
    warehouse.connection.close()


@pytest.mark.parametrize("days", [1, 4, 12, 400])
def test_the_failing_entities_are_those_of_the_view(history: Warehouse, days: int) -> None:
    """Row by row, whatever the window, as if no other failure were known."""
    history.connection.begin()
    history.rows(f"delete from klaviyo_raw.job_errors where {BEFORE}", days=days)
    expected = history.rows(OF_THE_VIEW)
    history.connection.rollback()

    found = [tuple(row.values()) for row in read_report(DuckDBConnection(history.connection), days)["failing_entities"]]

    assert len(expected) <= 10, "the report would cut them"
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_errors_are_counted_in_the_days_of_the_report(warehouse: Warehouse) -> None:
    """One this week of a sort that came 500 times last year, and forty of another: forty, then one."""
    now = datetime.now(UTC)
    for job_id, days, texts in (
        ("OLD", 300, ["Too dear."] * 500),
        ("NEW", 2, ["Too dear."] + ["No item."] * 40),
    ):
        warehouse.jobs({"job_id": job_id, "created_at": now - timedelta(days=days)})
        warehouse.insert(
            "job_errors", *({"job_id": job_id, "position": place, "detail": text} for place, text in enumerate(texts))
        )

    rows = read_report(DuckDBConnection(warehouse.connection), 7)["errors"]
    assert [(row["fingerprint"], row["times"], row["jobs"]) for row in rows] == [
        ("No item.", 40, 1),
        ("Too dear.", 1, 1),
    ]


def wide(warehouse: Warehouse) -> None:
    """Store jobs of two accounts with large numbers and long texts."""
    now = datetime.now(UTC)
    for number, account in enumerate(("a-shop-with-a-long-name", "another-shop-with-a-long-name")):
        for day in range(3):
            job = {"account": account, "job_id": f"J{number}{day}", "total_count": 2_000, "failed_count": 1_234}
            at = now - timedelta(days=day, hours=1)
            times = {"created_at": at, "completed_at": at + timedelta(minutes=1), "completed_count": 766}
            warehouse.jobs({**job, **times})
            warehouse.insert("job_errors", {"account": account, "job_id": job["job_id"], "detail": "Long text. " * 20})


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_table_cuts_a_number(warehouse: Warehouse, width: int) -> None:
    """However narrow the terminal: texts are folded, numbers and days never."""
    wide(warehouse)
    console = Console(width=width, force_terminal=True, no_color=True, record=True, file=io.StringIO())

    console.print(*render_report(DuckDBConnection(warehouse.connection), 7), crop=False)

    words = re.findall(r"[\d,.]+%?", console.export_text())
    assert words.count("6,000") == 2  # the operations of each account
    assert {"61.7%"} <= set(words)
    assert not [word for word in words if re.fullmatch(r"\d,|,\d+|\d,\d\d?", word)]


def test_the_account_is_shown_wherever_there_are_two(warehouse: Warehouse) -> None:
    """Also in a table whose rows are all of one."""
    wide(warehouse)
    warehouse.insert("listings", *({"account": name, "run_id": name} for name in ("eu", "us")))

    tables = [each for each in render_report(DuckDBConnection(warehouse.connection), 1) if isinstance(each, Table)]

    grouped = [table for table in tables if "day" not in {column.header for column in table.columns}]
    assert {str(table.columns[0].header) for table in grouped} == {"account"}


def test_of_many_accounts_the_worst_are_shown(warehouse: Warehouse) -> None:
    """Of each ranking 25 rows, which begin with the worst; the title tells how many there are."""
    at = datetime.now(UTC) - timedelta(hours=1)
    for number in range(30):
        account = f"a{number:02}"
        warehouse.insert(
            "listings", {"account": account, "run_id": account, "finished_at": at - timedelta(minutes=number)}
        )
        times = {"created_at": at, "completed_at": at + timedelta(seconds=number)}
        warehouse.jobs({"account": account, "total_count": 100, "failed_count": number, **times})

    tables = [each for each in render_report(DuckDBConnection(warehouse.connection), 7) if isinstance(each, Table)]

    ranked = [table for table in tables if "worst of 30 (--json has all)" in str(table.title)]
    firsts = [next(iter(table.columns[0].cells)) for table in ranked]
    assert [table.row_count for table in ranked] == [25, 25, 25]
    assert firsts == ["a29", "a29", "a29"]


def test_jobs_that_failed_without_counts_are_no_better_than_others(warehouse: Warehouse) -> None:
    """Without a number of operations there is no share of them, and the share of jobs tells which is worse."""
    at = datetime.now(UTC) - timedelta(hours=1)
    times = {"created_at": at, "completed_at": at, "first_seen_at": at}
    warehouse.jobs({"account": "well", "job_id": "A", "total_count": 100, "completed_count": 100, **times})
    warehouse.jobs(
        {"account": "worse", "job_id": "B", "total_count": None, "failed_count": 7, "completed_count": 0, **times}
    )

    rows = read_report(DuckDBConnection(warehouse.connection), 7)["failure_rates"]

    assert [(row["account"], row["failed"], row["failed_share"]) for row in rows] == [
        ("worse", 1, None),
        ("well", 0, 0),
    ]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles", "Asia/Kolkata"])
def test_days_are_the_hours_that_check_looks_at(warehouse: Warehouse, zone: str) -> None:
    """Two days are 48 hours up to now, in whatever zone the days of the tables are."""
    now = datetime.now(UTC)
    for hours in (1, 23, 47, 49, 71):
        at = now - timedelta(hours=hours)
        warehouse.jobs({"job_id": f"J{hours}", "created_at": at, "completed_at": at + timedelta(seconds=9)})
    warehouse.apply(reporting_timezone=zone)

    report = read_report(DuckDBConnection(warehouse.connection), 2)

    assert sum(row["created"] for row in report["throughput"]) in (3, 4)  # the hour that is cut is whole
    assert [row["jobs"] for row in report["failure_rates"]] == [3]
    assert [row["jobs"] for row in report["latency"]] == [3]
