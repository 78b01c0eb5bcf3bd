"""The demo, run once for all documents that show or use what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.documents import run_demo


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The warehouse that the demo has left, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    return folder / "demo.duckdb", run_demo(folder)
