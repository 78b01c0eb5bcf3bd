"""A warehouse that tests load into and ask, and the way to load one from the sandbox."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from klaviyo_jobs.runs.run import RunSummary, run
from klaviyo_jobs.settings import Settings
from klaviyo_sandbox import RateLimits, Sandbox

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
WEEK = dt.timedelta(days=7)
# For tests that are about other things than waiting: errors of imports may be asked for ten times a second.
NO_WAIT = RateLimits(narrow=(1000, 60_000), wide=(1000, 60_000), slow=(1000, 60_000), is_enforced=False)
# Every table but the ledger, to which each run adds.
_TABLES = ("jobs", "job_errors", "job_linkages", "job_observations", "categories", "rejected_records")


@dataclass(frozen=True)
class Warehouse:
    """A DuckDB file that a test loads into and asks."""

    path: Path

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of *query*."""
        with duckdb.connect(str(self.path)) as connection:
            return connection.execute(query, parameters).fetchall()

    def value(self, query: str, *parameters: Any) -> Any:
        """Return the one value that *query* gives."""
        [(value,)] = self.rows(query, *parameters)
        return value

    def count(self, table: str) -> int:
        """Return how many rows *table* of the schema `klaviyo_raw` has."""
        count: int = self.value(f"select count(*) from klaviyo_raw.{table}")
        return count

    def contents(self) -> dict[str, list[str]]:
        """Return every row of every table but the ledger, as text, in a fixed order."""
        return {table: sorted(map(repr, self.rows(f"from klaviyo_raw.{table}"))) for table in _TABLES}


class Load:
    """Runs the extractor against the sandbox, as the command does."""

    def __init__(self, sandbox: Sandbox, warehouse: Warehouse) -> None:
        self._sandbox = sandbox
        self._warehouse = warehouse

    def __call__(self, **settings: Any) -> RunSummary:
        """Run once; *settings* are added to the sandbox's address and key."""
        return run(self.settings(**settings), self._warehouse.path)

    def refresh(self, **settings: Any) -> RunSummary:
        """Run once with --full-refresh."""
        return run(self.settings(**settings), self._warehouse.path, full_refresh=True)

    def replay(self, **settings: Any) -> RunSummary:
        """Run once with --replay-rejected."""
        return run(self.settings(**settings), self._warehouse.path, replays=True)

    def settings(self, **settings: Any) -> Settings:
        """The sandbox's address and key, and *settings*."""
        return Settings(**{"base_url": self._sandbox.base_url, "api_key": self._sandbox.key, **settings})
