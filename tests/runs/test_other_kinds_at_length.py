"""Coupon codes, imports and suppressions of profiles in numbers that take minutes: long lists, and the slow limit."""

from __future__ import annotations

import time

import pytest

from klaviyo_jobs.extract.source import build_listings
from klaviyo_jobs.runs.plan import least_seconds_of, plan_run
from klaviyo_jobs.warehouse.engines.duckdb_engine import DuckDBFile
from klaviyo_sandbox import RateLimits, Sandbox
from support.expected import assert_loaded
from support.loads import NOW, Load, Warehouse

pytestmark = pytest.mark.slow


def test_a_quiet_run_over_twenty_thousand_suppressions_reads_a_page(warehouse: Warehouse) -> None:
    """They are known and have ended, over a year; the first run reads all 200 pages."""
    with Sandbox("suppressions:20000x365", clock=NOW) as sandbox:
        load = Load(sandbox, warehouse)
        load(kinds=["profile-suppress"])
        assert (warehouse.count("jobs"), len(sandbox.requests)) == (20_000, 200)
        sandbox.reset_requests()

        load(kinds=["profile-suppress"])

        assert len(sandbox.requests) == 1


def test_imports_keep_the_slow_limit_and_hold_up_no_others(warehouse: Warehouse) -> None:
    """
    160 calls for errors, at 10 a second and 150 a minute: every error is held, none is refused, a dry run tells the time
    within a tenth, and the other kinds are read within seconds.
    """
    with Sandbox("imports:80x150", clock=NOW, limits=RateLimits()) as sandbox:
        load = Load(sandbox, warehouse)
        kinds = ["item-create", "profile-*"]
        planned = least_seconds_of(plan_run(build_listings(load.settings(kinds=kinds)), DuckDBFile(warehouse.path)))
        # What the plan asked for is out of the minute's window again.
        time.sleep(61)
        began = time.monotonic()

        summary = load(kinds=kinds)

        took = time.monotonic() - began
        assert summary.error is None
        assert_loaded(sandbox, warehouse, "profile-import")
        assert warehouse.count("job_errors") == 80 * 150
        assert sandbox.throttled_count == 0
        assert 60 < planned < took < planned * 1.1
        ended = warehouse.rows(
            "select job_kind, date_diff('second', started_at, finished_at) < 10 from klaviyo_raw.listings order by 1"
        )
        assert ended == [
            ("item-create", True),
            ("profile-import", False),
            ("profile-suppress", True),
            ("profile-unsuppress", True),
        ]
