"""What tests need that `make test` does not install."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import pytest


def tool(name: str) -> str:
    """Return the path of a program, the one of the running environment first."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    return found or absent(name)


def module(name: str) -> Any:
    """Import what is no dependency of the project."""
    try:
        # Where it puts its files when nobody tells.
        with warnings.catch_warnings(action="ignore"):
            return importlib.import_module(name)
    except ImportError:
        absent(name)


def absent(name: str) -> NoReturn:
    """Skip the test that needs *name*; where tests/run_checks.py runs it, fail."""
    if os.environ.get("KLAVIYO_JOBS_TOOLS") == "required":
        raise FileNotFoundError(f"{name} is not installed here")
    pytest.skip(f"{name} is not installed: tests/run_checks.py runs these tests")
