"""A real browser on this machine, and pages for it."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

# The names of Debian's, of others', and of its sibling.
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, headless; `run_page_checks.py` makes an environment that can drive it."""
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    try:
        playwright = importlib.import_module("playwright.sync_api")
        if program is None:
            raise ImportError("there is no Chromium")
    except ImportError as error:
        if os.environ.get("KLAVIYO_JOBS_BROWSER") == "required":
            raise
        pytest.skip(f"{error}: tests/page/run_page_checks.py runs these tests")
    # As root, and in a container, it has no sandbox of its own; the last three keep it from calling its makers.
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    options += ["--disable-component-update", "--disable-sync"]
    with (
        playwright.sync_playwright() as driver,
        driver.chromium.launch(executable_path=program, args=options) as chromium,
    ):
        yield chromium
