"""
A warehouse with the raw tables, empty: rows go in as dicts, the views' answers come out as plain values.

Times are written as text, in UTC, on the way in (`at`) and on the way out (`Warehouse.rows`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from klaviyo_jobs.model.fingerprints import fingerprint_of
from klaviyo_jobs.model.tables import TABLES, TOMBSTONE
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from klaviyo_jobs.warehouse.views import apply_views

_DEFAULTS: dict[str, dict[str, Any]] = {
    "jobs": {"status": "complete"},
    "job_errors": {"position": 0, "code": "invalid", "title": "Invalid input"},
    "job_linkages": {"position": 0, "related_type": "catalog-item"},
    "listings": {"is_complete": True},
    "rejected_records": {"times": 1},
}


def _derived(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return *row* with the columns that a load derives from others: days, in UTC, and the fingerprint."""
    if table == "jobs":
        created, completed = row.get("created_at"), row.get("completed_at")
        days = {"created_on": created and created.date(), "completed_on": completed and completed.date()}
        return {**days, **row}
    if table == "job_errors":
        members = (row.get(name) for name in ("detail", "title", "code", "related_id"))
        return {"fingerprint": fingerprint_of(*members), **row}
    return row


def at(text: str) -> datetime:
    """Return the moment that *text* names in UTC, e.g. `2026-07-15 10:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def make_warehouse(path: Path) -> None:
    """Make a DuckDB file with every raw table, empty, and every view."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema klaviyo_raw")
        connection.execute("create table klaviyo_raw._dlt_loads (load_id text, status bigint, inserted_at timestamptz)")
        for table in TABLES.values():
            connection.register("empty", table.schema.empty_table())
            connection.execute(f"create table klaviyo_raw.{table.name} as select * from empty")
            connection.unregister("empty")
        apply_views(DuckDBConnection(connection))


class Warehouse:
    """A DuckDB file with the tables of `klaviyo_raw` and the views of `klaviyo`, open."""

    def __init__(self, path: Path) -> None:
        self.connection = duckdb.connect(str(path))

    def apply(self, **settings: Any) -> None:
        """Apply the views again, with *settings*."""
        apply_views(DuckDBConnection(self.connection), **settings)

    def insert(self, table: str, *rows: dict[str, Any]) -> None:
        """Add *rows*: a column that a row lacks gets a usual value, or null."""
        schema = TABLES[table].schema
        usual = {"account": "default", "job_kind": "item-create", "run_id": "R1", **_DEFAULTS.get(table, {})}
        for row in rows:
            assert set(row) <= set(schema.names) - {TOMBSTONE}
        filled = pa.Table.from_pylist([_derived(table, {**usual, **row}) for row in rows], schema=schema)
        self.connection.register("filled", filled)
        self.connection.execute(f"insert into klaviyo_raw.{table} select * from filled")
        self.connection.unregister("filled")

    def jobs(self, *rows: dict[str, Any]) -> None:
        """Add jobs; all were created on 2026-07-15 at 10:00 and have not expired, unless they say otherwise."""
        usual = {"created_at": at("2026-07-15 10:00"), "expires_at": at("2100-01-01 00:00")}
        self.insert("jobs", *({**usual, **row} for row in rows))

    def listed(self, *times: str, **columns: Any) -> None:
        """Say that the listing was read to its end at each of *times*, in a moment."""
        self.insert(
            "listings",
            *({"run_id": f"R {time}", "started_at": at(time), "finished_at": at(time), **columns} for time in times),
        )

    def loaded(self, run_id: str, at: datetime) -> None:
        """Say that the load of the run *run_id* completed *at* that time."""
        self.connection.execute("insert into klaviyo_raw._dlt_loads values (?, 0, ?)", [run_id, at])

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return what *sql* answers, with times and dates as text."""
        return [
            tuple(str(value) if isinstance(value, date) else value for value in row)
            for row in self.connection.execute(sql, parameters or None).fetchall()
        ]

    def value(self, sql: str) -> Any:
        """Return the one value that *sql* answers."""
        [(value,)] = self.rows(sql)
        return value
