"""A shop for what is deployed, and the tools that read its files."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from klaviyo_sandbox import Sandbox


@pytest.fixture
def shop() -> Iterator[Sandbox]:
    """A shop with a week of jobs, which ends now."""
    with Sandbox("demo", clock=datetime.now(UTC)) as sandbox:
        yield sandbox


@pytest.fixture
def environment(shop: Sandbox, tmp_path: Path) -> dict[str, str]:
    """What a deployed run has: a key, the address of the API, and a path for the warehouse."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("SOURCES__")},
        "SOURCES__KLAVIYO_JOBS__API_KEY": shop.key,
        "SOURCES__KLAVIYO_JOBS__BASE_URL": shop.base_url,
        "KLAVIYO_WAREHOUSE": str(tmp_path / "warehouse.duckdb"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DLT_DATA_DIR": str(tmp_path / "dlt"),
        "DO_NOT_TRACK": "1",
    }


def tool(name: str) -> str:
    """Return the path of a program; a test that needs it is skipped where it is not, unless all have to be there."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        message = f"{name} is not installed: tests/deploy/run_deploy_checks.py runs these tests"
        if os.environ.get("KLAVIYO_JOBS_DEPLOY") == "required":
            raise FileNotFoundError(message)
        pytest.skip(message)
    return found
