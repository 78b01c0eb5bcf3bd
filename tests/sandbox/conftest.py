"""Fixtures: a plain client of the sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from klaviyo_sandbox import Sandbox
from support.sandbox_client import Client


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    """A client of the sandbox, with one connection."""
    client = Client(sandbox)
    with client.session:
        yield client
