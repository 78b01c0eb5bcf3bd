"""Fixtures: an empty sandbox whose clock stands still, and a client for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from klaviyo_sandbox import Sandbox

from .client import NOW, Client


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """An empty sandbox at `NOW`."""
    with Sandbox(clock=NOW) as sandbox:
        yield sandbox


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    """A client of that sandbox."""
    client = Client(sandbox)
    with client.session:
        yield client
