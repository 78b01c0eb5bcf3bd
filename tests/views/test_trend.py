"""The last two weeks at a glance."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from klaviyo_jobs.monitor.trend import read_trend, render_trend, sparkline, trend_objects
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from support.views import Warehouse


@pytest.fixture
def busy(warehouse: Warehouse) -> Warehouse:
    """Jobs of today, of three days ago, and of long before."""
    now = datetime.now(UTC)
    for number, (days, total, failed) in enumerate([(0, 10, 1), (0, 30, 1), (3, 8, 4), (3, 0, 0), (40, 5, 5)]):
        warehouse.jobs(
            {
                "job_id": f"J{number}",
                "status": "complete",
                "created_at": now - timedelta(days=days),
                "completed_at": now - timedelta(days=days),
                "total_count": total,
                "completed_count": total - failed,
                "failed_count": failed,
            }
        )
    return warehouse


def test_it_has_two_weeks_up_to_today(busy: Warehouse) -> None:
    """Each day once, with what ended on it; no share where there was no operation."""
    trend = read_trend(DuckDBConnection(busy.connection))
    today = datetime.now(UTC).date()

    assert [day.day for day in trend] == [today - timedelta(days=days) for days in range(13, -1, -1)]
    assert [(day.jobs_finished, day.failed_share) for day in trend[-4:]] == [(2, 0.5), (0, None), (0, None), (2, 0.05)]
    assert {(day.jobs_finished, day.failed_share) for day in trend[:-4]} == {(0, None)}
    assert trend_objects(trend)[-1] == {"day": str(today), "jobs_finished": 2, "failed_share": 0.05}


def test_it_is_drawn_in_three_lines(busy: Warehouse) -> None:
    """A bar a day, today's number, and the highest."""
    text = io.StringIO()
    trend = read_trend(DuckDBConnection(busy.connection))
    Console(file=text, width=80).print(render_trend(trend, "utf-8"))
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]

    assert lines[:2] == [
        "jobs finished ▁▁▁▁▁▁▁▁▁▁█▁▁█ 2 today 2 on the busiest day",
        "failed share ··········█··▂ 5.0% today 50.0% on the worst day",
    ]
    assert lines[2] == f"{trend[0].day:%b %d} – {trend[-1].day:%b %d}"


def test_an_empty_warehouse_has_flat_lines(warehouse: Warehouse) -> None:
    """And no share at all."""
    text = io.StringIO()
    Console(file=text, width=80).print(render_trend(read_trend(DuckDBConnection(warehouse.connection)), "utf-8"))
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()[:2]]

    assert lines == [
        "jobs finished ▁▁▁▁▁▁▁▁▁▁▁▁▁▁ 0 today 0 on the busiest day",
        "failed share ·············· none today",
    ]


@pytest.mark.parametrize(
    ("values", "encoding", "expected"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "utf-8", "▁▂▃▄▅▆▇█"),
        ([0, 0], "utf-8", "▁▁"),
        ([None, 5], "utf-8", "·█"),
        ([0, None, 7], "ascii", "0.7"),
        ([1, 2], "no such encoding", "47"),
    ],
)
def test_a_bar_is_as_high_as_its_value(values: list[float | None], encoding: str, expected: str) -> None:
    """Of the highest; in digits where the terminal has no bars."""
    assert sparkline(values, encoding) == expected
