"""A destination that is not tested with klaviyo-jobs, here SQLite through SQLAlchemy: it is loaded, and remembers."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from klaviyo_sandbox import Sandbox
from support.loads import NOW
from support.tools import module

COMMAND = str(Path(sys.executable).with_name("klaviyo-jobs"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose runs load into SQLite."""
    module("sqlalchemy")
    with Sandbox("demo", clock=NOW) as sandbox:
        monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__API_KEY", sandbox.key)
        monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BASE_URL", sandbox.base_url)
        monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{tmp_path}/other.db")
        yield tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run into it, with *arguments*."""
    return subprocess.run(
        [COMMAND, "run", "--destination", "sqlalchemy", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_is_loaded_with_a_warning(folder: Path) -> None:
    """Every job with its children; no word of a password or a view."""
    ended = run(folder)

    assert ended.returncode == 0, ended.stderr
    assert "is not tested with klaviyo-jobs" in ended.stderr
    with sqlite3.connect(folder / "other__klaviyo_raw.db") as connection:
        counts = [connection.execute(f"select count(*) from {table}").fetchone() for table in ("jobs", "job_linkages")]
    assert counts == [(332,), (6508,)]


def test_a_second_run_knows_what_the_first_loaded(folder: Path) -> None:
    """Times are texts there; nothing is read or written again, and a dry run says so."""
    run(folder)
    [plan, summary] = [json.loads(run(folder, *words, "--json").stdout) for words in (["--dry-run"], [])]

    assert plan["detail_calls"] == 0
    assert sum(listing["changed_count"] for listing in summary["listings"]) == 0
