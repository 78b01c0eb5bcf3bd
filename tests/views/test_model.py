"""Every daily and hourly view agrees with the independent model, row by row, on whatever jobs there may be."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from klaviyo_jobs.model.days import zone_of
from support.views import Warehouse, at
from views.model import Model, Row

ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "America/St_Johns"),
    *("Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Auckland"),
]
# Days before clocks change: in New York, in Berlin, in Auckland and on Lord Howe, in Berlin and New York again.
STARTS = [at("2026-03-06 12:00"), at("2026-03-27 12:00"), at("2026-04-03 12:00"), at("2026-10-23 12:00")]
MINUTES = 10 * 24 * 60
FOR_EVER = at("2100-01-01 00:00")
TABLES = ("jobs", "job_errors", "job_observations", "listings")

COUNTS = st.none() | st.integers(-2, 3)
STATUSES = st.sampled_from(["complete"] * 4 + ["cancelled", "queued", "processing", "paused"])


@st.composite
def moments(draw: st.DrawFn, start: dt.datetime, first: int = 0, last: int = MINUTES) -> dt.datetime:
    """A moment so many minutes after *start*, now and then with a microsecond."""
    return start + dt.timedelta(minutes=draw(st.integers(first, last)), microseconds=draw(st.sampled_from([0, 0, 1])))


@st.composite
def jobs(draw: st.DrawFn, start: dt.datetime, number: int) -> tuple[Row, list[Row], list[Row]]:
    """A job with its observations and errors, which may contradict each other."""
    place = {
        "account": draw(st.sampled_from(["eu", "us"])),
        "job_kind": draw(st.sampled_from(["item-create", "item-delete"])),
        "job_id": f"J{number}",
    }
    created = draw(moments(start))
    nearby = moments(created, -60, 3 * 24 * 60)
    job = {
        **place,
        "status": draw(STATUSES),
        "created_at": created,
        "completed_at": draw(st.none() | nearby | st.just(created)),
        "expires_at": draw(st.sampled_from([created + dt.timedelta(days=7), None, FOR_EVER])),
        "total_count": draw(COUNTS),
        "completed_count": draw(COUNTS),
        "failed_count": draw(COUNTS),
        "error_count": draw(st.none() | st.integers(0, 3)),
        "first_seen_at": draw(st.none() | nearby),
        "last_changed_at": draw(st.none() | nearby),
        "vanished_at": draw(st.none() | st.none() | nearby),
    }
    observed = draw(st.lists(st.tuples(STATUSES, nearby), max_size=2, unique_by=lambda each: each[1]))
    errors = draw(st.lists(st.sampled_from(["Too dear.", "No item."]), max_size=2))
    return (
        job,
        [{**place, "status": status, "observed_at": time} for status, time in observed],
        [{**place, "position": position, "fingerprint": text} for position, text in enumerate(errors)],
    )


@st.composite
def histories(draw: st.DrawFn) -> dict[str, list[Row]]:
    """What a warehouse may hold: up to eight jobs, and listings that are days or weeks apart."""
    start = draw(st.sampled_from(STARTS))
    found = [draw(jobs(start, number)) for number in range(draw(st.integers(0, 8)))]
    listings = [
        {
            "account": draw(st.sampled_from(["eu", "us"])),
            "job_kind": draw(st.sampled_from(["item-create", "item-delete", "item-update"])),
            "run_id": f"R{number}",
            "started_at": time,
            "finished_at": time,
            "is_complete": draw(st.sampled_from([True, True, True, False])),
        }
        for number in range(draw(st.integers(0, 5)))
        for time in (draw(moments(start, -10 * 24 * 60, 2 * MINUTES)),)
    ]
    return {
        "jobs": [job for job, _, _ in found],
        "job_observations": [row for _, rows, _ in found for row in rows],
        "job_errors": [row for _, _, rows in found for row in rows],
        "listings": listings,
    }


@pytest.fixture(scope="module", params=ZONES)
def of_zone(
    request: pytest.FixtureRequest, pristine: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Warehouse, str]]:
    """A warehouse whose views are those of a zone."""
    path = tmp_path_factory.mktemp("model") / "warehouse.duckdb"
    shutil.copy(pristine, path)
    warehouse = Warehouse(path)
    warehouse.apply(reporting_timezone=request.param)
    yield warehouse, request.param
    warehouse.connection.close()


def _told(warehouse: Warehouse, view: str, columns: str) -> set[tuple[Any, ...]]:
    rows = warehouse.connection.execute(f"select {columns} from klaviyo.{view}").fetchall()
    assert len(set(rows)) == len(rows)
    return set(rows)


def _compare(warehouse: Warehouse, name: str, tables: dict[str, list[Row]]) -> None:
    zone = zone_of(name)
    for table in TABLES:
        warehouse.connection.execute(f"delete from klaviyo_raw.{table}")
        if table == "jobs":
            days = [
                {f"{verb}_on": job[f"{verb}_at"] and job[f"{verb}_at"].astimezone(zone).date() for verb in VERBS}
                for job in tables[table]
            ]
            warehouse.insert(table, *({**job, **of_job} for job, of_job in zip(tables[table], days, strict=True)))
        else:
            warehouse.insert(table, *tables[table])
    model = Model(tables, zone, dt.datetime.now(dt.UTC))
    measures = ", ".join(Model.MEASURES)
    place = "account, job_kind"

    assert _told(warehouse, "job_throughput_daily", f"{place}, day, {measures}") == model.throughput(hourly=False)
    assert _told(warehouse, "job_throughput_hourly", f"{place}, hour_utc, day, hour, {measures}") == model.throughput(
        hourly=True
    )
    assert (
        _told(
            warehouse,
            "job_failure_rates_daily",
            f"{place}, day, jobs_complete, jobs_cancelled, jobs_failed, jobs_partly_failed, jobs_incomplete, "
            "jobs_vanished, operations_total, operations_failed, failed_share",
        )
        == model.failure_rates()
    )
    quantiles = ", ".join(f"round({name}_seconds, 3)" for name in ("p50", "p95", "p99", "max"))
    assert _told(warehouse, "job_latency_daily", f"{place}, day, jobs_finished, {quantiles}") == model.latencies()
    assert _told(warehouse, "listing_coverage", f"{place}, day, is_known") == model.coverage()
    trend = f"{place}, fingerprint, day, occurrences, jobs, is_new"
    assert _told(warehouse, "error_trend_daily", trend) == model.error_trend()
    backlog = f"{place}, hour_utc, jobs_in_progress, most_in_progress, account_most_in_progress"
    assert _told(warehouse, "job_backlog_hourly", backlog) == model.backlog()


VERBS = ("created", "completed")
# The same histories each time: what a random one finds belongs to whoever looks for it, not to whoever lands a change.
_QUICK = settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@_QUICK
@given(tables=histories())
def test_the_views_agree_with_the_model(of_zone: tuple[Warehouse, str], tables: dict[str, list[Row]]) -> None:
    """Nulls, negative counts, unknown statuses, cancelled and vanished jobs, clocks that go back, in eight zones."""
    _compare(*of_zone, tables)


@pytest.mark.slow
@settings(_QUICK, max_examples=100)
@given(tables=histories())
def test_the_views_agree_with_the_model_in_many_histories(
    of_zone: tuple[Warehouse, str], tables: dict[str, list[Row]]
) -> None:
    """Eight hundred of them."""
    _compare(*of_zone, tables)
