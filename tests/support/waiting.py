"""Waiting for what another thread brings about, and bounds on how long something may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def wait_until(is_so: Callable[[], object], *, seconds: float = 10) -> None:
    """Wait until *is_so* says so; a test that waits longer than *seconds* has failed."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer than *seconds*."""
    started_at = time.monotonic()
    yield
    assert time.monotonic() - started_at < seconds
