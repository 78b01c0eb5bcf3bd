"""
The data dictionary: keys, an entity diagram, and for each view its columns and a question with its answer.

In:     a warehouse of the demo, whose comments say what everything means.
Out:    Markdown for docs/data.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import duckdb

from klaviyo_jobs.model.tables import ENTITY_TABLES, JOBS, TABLES

# For each view one question and its query, whose answer is the same in each warehouse of the demo, whenever it is asked.
QUESTIONS: Final[dict[str, tuple[str, str]]] = {
    "jobs": (
        "How did the jobs of each kind end?",
        "select job_kind, outcome, count(*) as jobs from klaviyo.jobs group by all order by all limit 5",
    ),
    "job_errors": (
        "What went wrong in the job that failed most?",
        """select job_id, related_id, fingerprint from klaviyo.job_errors
where job_id = (select job_id from klaviyo.jobs order by failed_count desc, job_id limit 1)
order by position limit 3""",
    ),
    "job_linkages": (
        "Which categories were created in how many jobs?",
        """select external_id, count(*) as jobs from klaviyo.job_linkages
where job_kind = 'category-create' and relationship = 'categories'
group by all order by jobs desc, external_id limit 3""",
    ),
    "job_observations": (
        "How many jobs were seen in which state?",
        "select status, count(*) as times from klaviyo.job_observations group by all order by all",
    ),
    "job_progress": (
        "How much got done between the looks at jobs of each kind?",
        """select job_kind, count(*) as looks, sum(operations_completed) as operations
from klaviyo.job_progress group by all order by all limit 3""",
    ),
    "job_throughput_hourly": (
        "Which were the busiest hours?",
        """select hour_utc, sum(jobs_finished) as jobs, sum(operations_completed) as operations
from klaviyo.job_throughput_hourly group by hour_utc order by jobs desc, hour_utc limit 3""",
    ),
    "job_throughput_daily": (
        "How much got done on each day?",
        """select day, sum(jobs_finished) as jobs, sum(operations_completed) as operations
from klaviyo.job_throughput_daily where day between '2026-11-18' and '2026-11-20' group by day order by day""",
    ),
    "job_failure_rates_daily": (
        "What share of the operations failed on each day?",
        """select day, sum(operations_failed) / nullif(sum(operations_total), 0) as failed_share
from klaviyo.job_failure_rates_daily where day between '2026-11-18' and '2026-11-20' group by day order by day""",
    ),
    "job_latency_daily": (
        "How long did jobs that create items take?",
        """select day, jobs_finished, p50_seconds, p95_seconds from klaviyo.job_latency_daily
where job_kind = 'item-create' and day between '2026-11-18' and '2026-11-20' order by day""",
    ),
    "job_backlog_hourly": (
        "When were most jobs of the account in progress?",
        """select hour_utc, max(account_most_in_progress) as jobs from klaviyo.job_backlog_hourly
where hour_utc < '2026-11-20 12:00' group by hour_utc order by jobs desc, hour_utc limit 3""",
    ),
    "error_ranking": (
        "Which errors are the most frequent?",
        """select job_kind, fingerprint, occurrences, jobs from klaviyo.error_ranking
order by occurrences desc, fingerprint limit 3""",
    ),
    "error_trend_daily": (
        "Which errors were new on the last day?",
        """select job_kind, fingerprint, occurrences from klaviyo.error_trend_daily
where is_new and day = '2026-11-20' order by all""",
    ),
    "failing_entities": (
        "What fails again and again, and was not repaired?",
        """select external_id, failures, last_failed_utc from klaviyo.failing_entities
where not is_repaired order by failures desc, external_id limit 3""",
    ),
    "entity_history": (
        "What happened to the item SKU-0002 last?",
        """select at_utc, job_kind, result from klaviyo.entity_history
where external_id = 'SKU-0002' order by at_utc desc limit 3""",
    ),
    "stuck_jobs": (
        "How many jobs should have ended long ago?",
        "select count(*) as jobs from klaviyo.stuck_jobs",
    ),
    "jobs_in_progress": (
        "How near is the account to Klaviyo's limit?",
        "select distinct account, account_jobs_in_progress, limit_count from klaviyo.jobs_in_progress",
    ),
    "listing_freshness": (
        "Which kinds were never read to their end?",
        "select count(*) as kinds from klaviyo.listing_freshness where last_complete_at_utc is null",
    ),
    "listing_coverage": (
        "Is every job of a day known? Of a week that nobody read while it lasted, no.",
        """select day, is_known from klaviyo.listing_coverage
where job_kind = 'item-create' and day = '2026-11-18'""",
    ),
    "listings": (
        "How many pages and calls did the last run need?",
        "select sum(page_count) as pages, sum(request_count) as calls from klaviyo.listings",
    ),
    "rejected_records": (
        "What could not be read?",
        "select count(*) as records from klaviyo.rejected_records",
    ),
    "reporting_settings": (
        "Which settings do the views use?",
        "select * from klaviyo.reporting_settings",
    ),
    "reporting_offsets": (
        "How far are the clocks of the reporting zone ahead of UTC?",
        "select distinct offset_seconds from klaviyo.reporting_offsets",
    ),
    "job_kinds": (
        "What do the jobs of each kind do, and to what?",
        "select job_kind, entity, operation from klaviyo.job_kinds order by all limit 3",
    ),
    "listing_periods": (
        "Since when is every job of a kind known?",
        """select job_kind, cast(min(known_from_utc) as date) < current_date as since_before_today
from klaviyo.listing_periods group by all order by all limit 3""",
    ),
    "known_days": (
        "Are there days of which it is known what happened?",
        "select count(*) > 0 as there_are from klaviyo.known_days",
    ),
    "known_hours": (
        "And hours?",
        "select count(*) > 0 as there_are from klaviyo.known_hours",
    ),
}

_TYPES: Final = {"string": "varchar", "int64": "bigint"}


def render_dictionary(warehouse: Path) -> str:
    """Return the generated part of docs/data.md."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        parts = [_diagram(), "## Tables\n", *_tables(connection), "## Views\n", *_views(connection)]
    return "\n".join(parts)


def _diagram() -> str:
    lines = ["## Keys\n", "```mermaid", "erDiagram"]
    lines += [
        f'    {JOBS.name} ||--o{{ {table.name} : "{", ".join(JOBS.key)}"'
        for table in TABLES.values()
        if table.has_tombstones or table.name == "job_observations"
    ]
    lines.append(f'    listings ||--o{{ {JOBS.name} : "account, job_kind, run_id"')
    lines += [f'    {name} |o--o{{ job_linkages : "account, related_id"' for name in ENTITY_TABLES]
    for table in TABLES.values():
        typed = [(_TYPES.get(str(table.schema.field(column).type), "timestamp"), column) for column in table.key]
        lines += [f"    {table.name} {{", *(f"        {kind} {column} PK" for kind, column in typed), "    }"]
    return "\n".join([*lines, "```\n"])


def _tables(connection: duckdb.DuckDBPyConnection) -> Iterable[str]:
    for table in TABLES.values():
        found = connection.execute(
            "select comment from duckdb_tables() where schema_name = 'klaviyo_raw' and table_name = ?", [table.name]
        ).fetchone()
        if found is not None:
            yield f"### `klaviyo_raw.{table.name}`\n\n{found[0]}\n\nKey: {', '.join(table.key)}.\n"
            yield _columns(connection, "klaviyo_raw", table.name)


def _views(connection: duckdb.DuckDBPyConnection) -> Iterable[str]:
    for name, comment in connection.execute(
        "select view_name, comment from duckdb_views() where schema_name = 'klaviyo' order by view_name"
    ).fetchall():
        question, query = QUESTIONS[name]
        yield f"### `klaviyo.{name}`\n\n{comment}\n\n*{question}*\n\n```sql\n{query}\n```\n"
        answer = connection.execute(query)
        yield _table([column[0] for column in answer.description], answer.fetchall())
        yield _columns(connection, "klaviyo", name)


def _columns(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> str:
    rows = connection.execute(
        """
        select column_name, lower(data_type), coalesce(comment, '') from duckdb_columns()
        where schema_name = ? and table_name = ? and column_name not like '\\_dlt%' escape '\\' order by column_index
        """,
        [schema, table],
    ).fetchall()
    return _table(["column", "type", "meaning"], [(f"`{name}`", kind, comment) for name, kind, comment in rows])


def _table(heading: list[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [heading, ["---"] * len(heading), *([_cell(value) for value in row] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|")
