"""
Keep the columns that follow a rule of ours, and not the API's word, true to the rule: days and fingerprints.

In:     an open warehouse; a transaction around it.
Out:    `jobs.created_on` and `completed_on`, days in the reporting time zone, and `job_errors.fingerprint`. Each is
        written with its row. Where the rule has changed since (another zone, newer rules of time zones, another way of
        making fingerprints) all rows get their values anew; a comment on the column says which rule they follow.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

from klaviyo_jobs.model.days import RULES, day_of, zone_of
from klaviyo_jobs.model.fingerprints import RULE, fingerprint_of
from klaviyo_jobs.model.records import time_of
from klaviyo_jobs.model.tables import JOB_ERRORS, JOBS, Table
from klaviyo_jobs.warehouse.engines.duckdb import RAW_SCHEMA, Connection, has_table, mark_column, mark_of_column

_ROWS_AT_ONCE: Final = 50_000


def mark_derived(connection: Connection, reporting_timezone: str) -> None:
    """Note that all rows follow the rules of now, as they do in tables that were made by the load before this."""
    for table, column, rule in _rules_of(reporting_timezone):
        mark_column(connection, table, column, rule)


def _rules_of(reporting_timezone: str) -> list[tuple[str, str, str]]:
    """Return the columns that are marked, each with its table and its rule."""
    return [
        (JOBS.name, "created_on", f"days in {reporting_timezone} by the rules of {RULES}"),
        (JOB_ERRORS.name, "fingerprint", f"rule {RULE}"),
    ]


def keep_derived(connection: Connection, reporting_timezone: str) -> None:
    """Give the columns their values where they follow another rule, or none; *connection* is inside a transaction."""
    zone = zone_of(reporting_timezone)
    (_, _, of_days), (_, _, of_fingerprints) = _rules_of(reporting_timezone)

    def days_of(*times: int | None) -> tuple[dt.date | None, ...]:
        return tuple(None if time is None else day_of(time_of(time), zone) for time in times)

    _keep(
        connection,
        JOBS,
        ("created_on", "completed_on"),
        of_days,
        ("epoch_us(created_at)", "epoch_us(completed_at)"),
        days_of,
    )
    _keep(
        connection,
        JOB_ERRORS,
        ("fingerprint",),
        of_fingerprints,
        ("detail", "title", "code", "related_id"),
        lambda *members: (fingerprint_of(*members),),
    )


def _keep(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    rule: str,
    sources: tuple[str, ...],
    derive: Callable[..., tuple[Any, ...]],
) -> None:
    """Set *columns* of *table* to what *derive* makes of *sources*, where they are null or do not follow *rule*."""
    if not has_table(connection, table.name):
        return
    name = f"{RAW_SCHEMA}.{table.name}"
    has_rule = mark_of_column(connection, table.name, columns[0]) == rule
    where = f"{columns[0]} is null" if has_rule else "true"
    [(first, last)] = connection.execute(f"select min(rowid), max(rowid) from {name} where {where}").fetchall()
    for start in () if first is None else range(first, last + 1, _ROWS_AT_ONCE):
        rows = connection.execute(
            f"select rowid, {', '.join(sources)} from {name} where {where} and rowid >= ? and rowid < ?",
            (start, start + _ROWS_AT_ONCE),
        ).fetchall()
        values = [derive(*row[1:]) for row in rows]
        derived = {"nth": pa.array([row[0] for row in rows])} | {
            column: pa.array([value[index] for value in values], table.schema.field(column).type)
            for index, column in enumerate(columns)
        }
        connection.register("derived", pa.table(derived))
        setters = ", ".join(f"{column} = derived.{column}" for column in columns)
        connection.execute(f"update {name} set {setters} from derived where {table.name}.rowid = derived.nth")
        connection.unregister("derived")
    if not has_rule:
        mark_column(connection, table.name, columns[0], rule)
