"""A real browser on this machine, and pages for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from support.tools import absent, module

# The names of Debian's, of others', and of its sibling.
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, headless."""
    program = next(filter(None, map(shutil.which, _BROWSERS)), None) or absent("Chromium")
    playwright = module("playwright.sync_api")
    # As root, and in a container, it has no sandbox of its own; the last three keep it from calling its makers.
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    options += ["--disable-component-update", "--disable-sync"]
    with (
        playwright.sync_playwright() as driver,
        driver.chromium.launch(executable_path=program, args=options) as chromium,
    ):
        yield chromium
