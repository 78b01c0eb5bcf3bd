"""
Bring a warehouse that an earlier version made up to this version's contract, in place.

In:     an open warehouse whose tables are of an earlier contract, or none.
Out:    the same rows in tables that have every column; a column that is new is null in them.
When:   before the run asks what the warehouse holds. dlt adds missing columns too, but only while it loads, and by then
        a question about a column that is not there would have known no job.
"""

from __future__ import annotations

from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.model.tables import TABLES
from klaviyo_jobs.warehouse.engines.duckdb import RAW_SCHEMA, Connection, transaction


def add_missing_columns(connection: Connection) -> None:
    """Give every table that is there the columns that it lacks, all or none."""
    found = connection.execute(
        "select table_name, column_name from duckdb_columns() where schema_name = ?", (RAW_SCHEMA,)
    ).fetchall()
    present = set(found)
    with transaction(connection):
        for table in TABLES.values():
            if all(name != table.name for name, _ in present):
                continue
            rows = connection.from_arrow(table.schema.empty_table())
            for column, column_type in zip(rows.columns, rows.types, strict=True):
                if (table.name, column) not in present:
                    LOGGER.info("adding the column %s.%s to the warehouse", table.name, column)
                    connection.execute(f"alter table {RAW_SCHEMA}.{table.name} add column {column} {column_type}")
