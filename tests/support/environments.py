"""
Virtual environments for tests that need more than the one of `make test` has; uv makes them.

In:     a folder, and what is to be installed.
Out:    the environment's Python.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
UV = (sys.executable, "-m", "uv")


def environment_in(folder: Path, *installs: tuple[str | Path, ...]) -> Path:
    """
    Return the Python of the environment in *folder*, which is made unless it is there.

    Args:
        installs: The arguments of each `uv pip install`, one after the other.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([*UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    for arguments in installs:
        subprocess.run([*UV, "pip", "install", "--quiet", "--python", python, *arguments], check=True)
    return python


def checkout_in(folder: Path, *installs: tuple[str | Path, ...]) -> Path:
    """Return the Python of such an environment, which has the project, too; with what builds it among *installs*."""
    return environment_in(folder, *installs, ("--no-deps", "--no-build-isolation", "--editable", ROOT))
