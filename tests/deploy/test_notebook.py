"""The notebook of examples/, run and exported by marimo itself, on a published copy."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import duckdb
import pytest

from klaviyo_sandbox import Sandbox
from support.documents import ROOT
from support.processes import command, settings
from support.tools import tool

NOTEBOOK = ROOT / "examples" / "notebook.py"
# What its cells have made, as a program sees it.
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from notebook import app
_, values = app.run()
print(json.dumps({name: values[name] for name in ("days", "failing")}, default=str))
print(values["chart"].to_json(indent=None))
"""


@pytest.fixture
def copy(shop: Sandbox, tmp_path: Path) -> Path:
    """The copy of a warehouse with a week of jobs."""
    ended = command(tmp_path, "run", **settings(shop), SOURCES__KLAVIYO_JOBS__BI_COPY="copy.duckdb")
    assert ended.returncode == 0, ended.stderr
    return tmp_path / "copy.duckdb"


def test_its_numbers_are_those_of_sql(copy: Path, environment: dict[str, str]) -> None:
    """Each day with its operations and failures, and the resources that failed most; the chart is made of these days."""
    marimo = Path(tool("marimo"))
    ended = subprocess.run(
        [marimo.with_name("python"), "-W", "error::DeprecationWarning:notebook", "-c", PROGRAM, NOTEBOOK.parent],
        env={**environment, "KLAVIYO_COPY": str(copy)},
        capture_output=True,
        text=True,
        check=True,
    )
    values, chart = map(json.loads, ended.stdout.splitlines())
    with duckdb.connect(str(copy), read_only=True) as connection:
        days = connection.execute(
            """
            select cast(day as varchar), sum(operations_total)::int, sum(operations_failed)::int
            from klaviyo.job_failure_rates_daily group by day order by day
            """
        ).fetchall()
        failing = connection.execute(
            "select external_id, failures from klaviyo.failing_entities where not is_repaired "
            "order by failures desc, last_failed_utc desc limit 20"
        ).fetchall()

    assert [(row["day"], row["operations"], row["failed"]) for row in values["days"]] == days
    assert [row["failures"] for row in values["failing"]] == [failures for _, failures in failing]
    assert sum(len(rows) for rows in chart["datasets"].values()) == len(days) > 6


def test_it_becomes_a_page(copy: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """As cron would make one; no cell has failed."""
    page = tmp_path / "notebook.html"
    # marimo writes beside the notebook, too.
    notebook = shutil.copy(NOTEBOOK, tmp_path)
    subprocess.run(
        [tool("marimo"), "export", "html", notebook, "--output", page],
        env={**environment, "KLAVIYO_COPY": str(copy)},
        capture_output=True,
        check=True,
    )

    assert "What fails again and again" in page.read_text()
    assert "vegalite" in page.read_text()
