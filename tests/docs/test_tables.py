"""docs/tables.md names every view and table, with its grain, key and merge, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from klaviyo_jobs.model.tables import ENTITY_TABLES, TABLES
from klaviyo_jobs.warehouse.views import LAYERS
from support.documents import DOCS, ROOT, table_below

PAGE = DOCS / "tables.md"


def test_every_table_and_view_is_described_and_no_other(demo: tuple[Path, str]) -> None:
    """Its two tables name the demo's tables and views, and beyond them only what `include` may add."""
    warehouse, _ = demo
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        present = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_name not like '\\_dlt%' escape '\\'"
        ).fetchall()

    assert {cells[0] for cells in table_below(PAGE, "## Views in `klaviyo`")} == {
        f"`{name}`" for schema, name in present if schema == "klaviyo"
    }
    assert {cells[0] for cells in table_below(PAGE, "## Tables in `klaviyo_raw`")} == {
        f"`{name}`" for schema, name in present if schema == "klaviyo_raw"
    } | {f"`{name}`" for name in ENTITY_TABLES}


def test_keys_and_merges_are_those_declared() -> None:
    """Key and merge of each table are those that `model/tables.py` declares."""
    assert {(cells[0], cells[1], cells[2]) for cells in table_below(PAGE, "## Tables in `klaviyo_raw`")} == {
        (f"`{table.name}`", ", ".join(table.key), "by job" if table.has_tombstones else "by row")
        for table in TABLES.values()
    }


def test_grains_are_those_of_the_sql_files() -> None:
    """The grain of each view is the one in the header of its file."""
    headers = {}
    for layer in LAYERS:
        for file in (ROOT / "sql" / layer).glob("*.sql"):
            grain = re.search(r"^-- Grain: +one row per \(([^)]*)\)", file.read_text(encoding="utf-8"), re.MULTILINE)
            headers[f"`{file.stem}`"] = grain[1] if grain else "one row in all"

    assert {cells[0]: cells[1] for cells in table_below(PAGE, "## Views in `klaviyo`")} == headers
