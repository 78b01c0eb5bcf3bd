"""
Read the views and draw them for people.

In:     an open warehouse whose views are applied.
Out:    tables for a terminal; nothing is printed here.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

import duckdb
from rich.box import SIMPLE_HEAD
from rich.table import Table

THROUGHPUT: Final = """
    select
        day,
        sum(jobs_created) as created,
        sum(jobs_finished) as finished,
        sum(operations_completed) as "operations done",
        sum(operations_failed) as "operations failed"
    from klaviyo.job_throughput_daily
    group by day
    order by day
"""
FAILURE_RATES: Final = """
    select
        job_kind as kind,
        sum(jobs_complete) as jobs,
        sum(jobs_failed) as failed,
        sum(jobs_partly_failed) as partly,
        sum(jobs_cancelled) as cancelled,
        sum(operations_total) as operations,
        sum(operations_failed) / nullif(sum(operations_total), 0) as failed_share
    from klaviyo.job_failure_rates_daily
    group by job_kind
    order by job_kind
"""


def plain_table(title: str) -> Table:
    """Return an empty table in the style of all of ours: a title, a heading, a rule, and no boxes."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )


def render_query(connection: duckdb.DuckDBPyConnection, title: str, query: str) -> Table:
    """Return the rows of *query* as a table; a column called `*_share` is shown in percent."""
    result = connection.execute(query)
    names = [column[0] for column in result.description]
    table = plain_table(title)
    rows = result.fetchall()
    for index, name in enumerate(names):
        is_number = any(isinstance(row[index], int | float | Decimal) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_shown(name, value) for name, value in zip(names, row, strict=True)))
    return table


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name.endswith("_share"):
        return f"{value:.1%}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int | Decimal):
        return f"{value:,}"
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return str(value)
