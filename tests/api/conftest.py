"""Fixtures: a second server, beside the one that the settings name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from klaviyo_sandbox import Sandbox
from support.loads import NOW


@pytest.fixture
def other() -> Iterator[Sandbox]:
    """Another server than the configured one, which must never hear of the key."""
    with Sandbox(clock=NOW) as running:
        yield running
