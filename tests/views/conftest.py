"""Fixture: a warehouse with every raw table and every view."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.views import Warehouse, make_warehouse


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every raw table, empty, and every view, to be copied: to make the views takes longer than a test."""
    path = tmp_path_factory.mktemp("views") / "pristine.duckdb"
    make_warehouse(path)
    return path


@pytest.fixture
def warehouse(pristine: Path, tmp_path: Path) -> Iterator[Warehouse]:
    """An empty warehouse with every raw table and every view."""
    shutil.copy(pristine, tmp_path / "warehouse.duckdb")
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    yield warehouse
    warehouse.connection.close()
