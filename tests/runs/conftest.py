"""Fixture: a warehouse that has its tables and views, and not a row."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import Settings
from klaviyo_sandbox import Sandbox
from support.loads import NOW, Warehouse


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
