"""
Keep the columns that follow a rule of ours, and not the API's word, true to the rule: days and fingerprints.

In:     an open warehouse; a transaction around it.
Out:    `jobs.created_on` and `completed_on`, days in the reporting time zone, and `job_errors.fingerprint`. Each is
        written with its row. Where the rule has changed since (another zone, newer rules of time zones, another way of
        making fingerprints) all rows get their values anew; a comment on the column says which rule they follow.
"""

from __future__ import annotations

import datetime as dt

from klaviyo_jobs.model.days import RULES, day_of, zone_of
from klaviyo_jobs.model.fingerprints import RULE, fingerprint_of
from klaviyo_jobs.model.records import time_of
from klaviyo_jobs.model.tables import JOB_ERRORS, JOBS, Table
from klaviyo_jobs.warehouse.engines.connection import Connection, Derivation


def mark_derived(connection: Connection, reporting_timezone: str) -> None:
    """Note that all rows follow the rules of now, as they do in tables that were made by the load before this."""
    for table, column, rule in _rules_of(reporting_timezone):
        connection.mark_column(table, column, rule)


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
    derive: Derivation,
) -> None:
    """Set *columns* of *table* to what *derive* makes of *sources*, where they are null or do not follow *rule*."""
    if not connection.has_table(table.name):
        return
    has_rule = connection.mark_of_column(table.name, columns[0]) == rule
    where = f"{columns[0]} is null" if has_rule else "true"
    types = {column: table.schema.field(column).type for column in columns}
    connection.rewrite(table.name, types, sources, where, derive)
    if not has_rule:
        connection.mark_column(table.name, columns[0], rule)
