"""
What all tests share: a sandbox on loopback, a DuckDB file, and a way to load one from the other.

The network is real HTTP to the sandbox, the warehouse a real file; nothing of ours is mocked.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import Settings
from klaviyo_sandbox import Sandbox
from support.loads import NOW, Load, Warehouse


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start every test in an empty folder, without settings of the machine, and with dlt's telemetry off."""
    for name in list(os.environ):
        if name.startswith("SOURCES__"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """An empty API whose clock stands still at NOW."""
    with Sandbox(clock=NOW) as running:
        yield running


@pytest.fixture(scope="session")
def without_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run that found no job leaves, without its ledger: to make that anew takes longer than most tests."""
    folder = tmp_path_factory.mktemp("without-rows")
    path = folder / "warehouse.duckdb"
    with pytest.MonkeyPatch.context() as environment, Sandbox(clock=NOW) as sandbox:
        environment.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        environment.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        run(Settings(base_url=sandbox.base_url, api_key=sandbox.key, kinds=["item-create"]), path)
    with duckdb.connect(str(path)) as connection:
        for table in ("listings", "_dlt_loads", "_dlt_version"):
            connection.execute(f"delete from klaviyo_raw.{table}")
    return path


@pytest.fixture
def warehouse(without_rows: Path, tmp_path: Path) -> Warehouse:
    """A warehouse with every table and view, and not a row."""
    path = tmp_path / "warehouse.duckdb"
    shutil.copy(without_rows, path)
    return Warehouse(path)


@pytest.fixture
def no_file(warehouse: Warehouse) -> None:
    """The warehouse does not exist yet."""
    warehouse.path.unlink()


@pytest.fixture
def load(sandbox: Sandbox, warehouse: Warehouse) -> Load:
    """Run the extractor once against the sandbox into the warehouse."""
    return Load(sandbox, warehouse)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are processors: a tenth of the suite waits, for locks, signals and time limits."""
    return (os.cpu_count() or 1) + 1
