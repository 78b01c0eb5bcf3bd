"""A fixture: a warehouse in memory with every raw table and every view."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from klaviyo_jobs.warehouse.views import apply_views
from support.views import Warehouse


@pytest.fixture
def warehouse() -> Iterator[Warehouse]:
    """An empty warehouse with every raw table and every view."""
    warehouse = Warehouse()
    apply_views(warehouse.connection)
    yield warehouse
    warehouse.connection.close()
