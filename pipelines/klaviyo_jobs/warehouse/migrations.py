"""
Bring a warehouse that an earlier version made up to this version's contract, in place.

In:     an open warehouse whose tables are of an earlier contract, or none.
Out:    the same rows in tables that have every column; a column that is new is null in them.
When:   before the run asks what the warehouse holds. dlt adds missing columns too, but only while it loads, and by then
        a question about a column that is not there would have known no job.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.model.tables import TABLES, Table
from klaviyo_jobs.warehouse.engines.duckdb import RAW_SCHEMA, Connection, transaction


def add_missing_columns(connection: Connection) -> None:
    """Give every table that is there the columns that it lacks, all or none."""
    found = connection.execute(
        "select table_name, column_name from duckdb_columns() where schema_name = ?", (RAW_SCHEMA,)
    ).fetchall()
    present: dict[str, set[str]] = defaultdict(set)
    for name, column in found:
        present[name].add(column)
    with transaction(connection):
        for table in TABLES.values():
            lacking = set(table.schema.names) - present.get(table.name, set(table.schema.names))
            # Only where something is to be added: DuckDB's way from an Arrow type to its own imports `pyarrow.dataset`.
            for column, column_type in _types_of(connection, table) if lacking else ():
                if column in lacking:
                    LOGGER.info("adding the column %s.%s to the warehouse", table.name, column)
                    connection.execute(f"alter table {RAW_SCHEMA}.{table.name} add column {column} {column_type}")


def _types_of(connection: Connection, table: Table) -> Iterator[tuple[str, str]]:
    """Return each column of *table* with the type that the database has for it."""
    rows = connection.from_arrow(table.schema.empty_table())
    return zip(rows.columns, map(str, rows.types), strict=True)
