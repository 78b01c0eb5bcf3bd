"""A distributed engine reads what `publish --parquet --raw` wrote: Sail, two worker processes, over Spark Connect."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from engines.data import assert_same, fill
from engines.sail_reader import plain
from klaviyo_jobs.memory import DEFAULT_MEMORY
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from klaviyo_jobs.warehouse.lake import publish_raw
from klaviyo_jobs.warehouse.views import LAYERS, apply_views, find_sql, statements_of_views
from support.loads import Warehouse
from support.tools import module

VIEWS = [file.stem for layer in LAYERS for file in sorted((find_sql() / layer).glob("*.sql"))]
ZONE = "Europe/Berlin"
# Ages at the moment of the query.
MOVING = {("listing_freshness", "age_seconds")}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Warehouse, dict[str, Any]]:
    """A warehouse, and what the cluster answers for each view over its Parquet."""
    for name in ("pysail", "pyspark"):
        module(name)
    folder = tmp_path_factory.mktemp("sail")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.chdir(folder)
        warehouse = fill(folder / "warehouse.duckdb", ZONE)
    with duckdb.connect(str(warehouse.path)) as connection:
        apply_views(DuckDBConnection(connection), reporting_timezone=ZONE, stuck_after_seconds=3600)
    publish_raw(warehouse.path, folder / "lake", DEFAULT_MEMORY)
    statements = folder / "views.sql"
    statements.write_text(
        "".join(
            f"{each};\n\n" for each in statements_of_views("spark", reporting_timezone=ZONE, stuck_after_seconds=3600)
        )
    )
    ended = subprocess.run(
        [sys.executable, "-m", "engines.sail_reader", folder],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return warehouse, json.loads(ended.stdout)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_shows_what_it_shows_in_duckdb(answers: tuple[Warehouse, dict[str, Any]], view: str) -> None:
    """Value by value, and the same columns in the same order."""
    warehouse, told = answers
    there = told["answers"]
    with duckdb.connect(str(warehouse.path), read_only=True) as connection:
        found = connection.execute(f"select * from klaviyo.{view}")
        columns, rows = [each[0] for each in found.description or ()], found.fetchall()
    compared = [place for place, name in enumerate(columns) if (view, name) not in MOVING]

    assert there[view]["columns"] == columns
    assert rows
    ours = [tuple(plain(row[place]) for place in compared) for row in rows]
    assert_same([tuple(row[place] for place in compared) for row in there[view]["rows"]], ours)


def test_two_processes_answered(answers: tuple[Warehouse, dict[str, Any]]) -> None:
    """Beside the server."""
    assert answers[1]["workers"] == 2


def test_a_query_whose_worker_is_killed_fails_and_the_next_one_is_right(
    answers: tuple[Warehouse, dict[str, Any]],
) -> None:
    """With an error of Spark's, and no wrong number; as soon as the server misses the lost one, all is as before."""
    killed = answers[1]["killed"]

    assert killed["is_killed"]
    assert killed["error"]
    assert killed["after"] == killed["before"] == answers[0].count("jobs")
