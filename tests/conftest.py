"""
What all tests share: a sandbox on loopback, a DuckDB file, and a way to load one from the other.

The network is real HTTP to the sandbox, the warehouse a real file; nothing of ours is mocked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A path for a warehouse that does not exist yet."""
    return Warehouse(tmp_path / "warehouse.duckdb")


@pytest.fixture
def load(sandbox: Sandbox, warehouse: Warehouse) -> Load:
    """Run the extractor once against the sandbox into the warehouse."""
    return Load(sandbox, warehouse)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are processors: a tenth of the suite waits, for locks, signals and time limits."""
    return (os.cpu_count() or 1) + 1
