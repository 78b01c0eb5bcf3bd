"""
Any DuckDB driver: every view of the copy runs to its last row, counts, and is described.

Run with two drivers over one copy, it must tell the same. Rows are told as a digest, but for what counts up to the
moment of the query.
"""

from __future__ import annotations

import hashlib
from typing import Any

import duckdb
import reader  # type: ignore[import-not-found, unused-ignore]

CHANGING = ("age_seconds",)


def describe(connection: duckdb.DuckDBPyConnection) -> list[list[Any]]:
    """A row for each view: name, rows, digest of the rows, digest of its description and its columns'."""
    views = connection.execute(
        "select view_name, comment from duckdb_views() where schema_name = 'klaviyo' order by view_name"
    ).fetchall()
    columns = connection.execute(
        "select table_name, column_name, data_type, comment from duckdb_columns() where schema_name = 'klaviyo' order by all"
    ).fetchall()
    told = []
    for view, comment in views:
        of_view = [column[1:] for column in columns if column[0] == view]
        assert comment, view
        assert of_view, view
        for name, data_type, column_comment in of_view:
            assert column_comment, (view, name)
            assert "WITH TIME ZONE" not in data_type, (view, name, data_type)
        cursor = connection.execute(f"select * from klaviyo.{view}")
        names = [column[0] for column in cursor.description or []]
        rows = cursor.fetchall()
        [(count,)] = connection.execute(f"select count(*) from klaviyo.{view}").fetchall()
        assert count == len(rows), view
        steady = [index for index, name in enumerate(names) if name not in CHANGING]
        told.append(
            [view, count, _digest([[row[index] for index in steady] for row in rows]), _digest([comment, *of_view])]
        )
    return told


def _digest(values: list[Any]) -> str:
    # A sum of doubles may differ in its last digit, by the order of the rows.
    lines = sorted(repr([f"{each:.9g}" if isinstance(each, float) else each for each in value]) for value in values)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def count(connection: duckdb.DuckDBPyConnection) -> Any:
    """How many jobs *connection* sees."""
    [(jobs,)] = connection.execute("select count(*) from klaviyo.jobs").fetchall()
    return jobs


def main() -> None:
    """Read everything, hold the copy open, open the next one."""
    # Attached to another database, the views find their tables after `use`.
    with duckdb.connect() as other:
        other.execute("attach 'bi.duckdb' as bi (read_only)")
        other.execute("use bi")
        assert count(other)
    copy = duckdb.connect("bi.duckdb", read_only=True)
    reader.hold(describe(copy), lambda: count(copy))
    copy.close()
    with duckdb.connect("bi.duckdb", read_only=True) as newer:
        describe(newer)
        reader.tell(count(newer))


if __name__ == "__main__":
    main()
