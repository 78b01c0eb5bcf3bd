"""A shop for what is deployed."""

from __future__ import annotations

import os
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
