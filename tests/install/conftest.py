"""Wheels of the project, an index that offers them, and empty folders to install them into."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.environments import ROOT, UV
from support.processes import ENVIRONMENT
from support.tools import absent, tool

BUILD = (*UV, "build", "--quiet", "--no-build-isolation", "--python", sys.executable)
# No installation may take longer, on a slow network.
PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Shelf:
    """The project's two wheels, and the environment in which installers find them, and the pinned set of the rest."""

    folder: Path
    version: str
    environment: dict[str, str]


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """Wheels built as a release is, which installers find by their names."""
    # `make test` has uv, too, but no time for this.
    if not Path(sys.executable).with_name("pipx").exists():
        absent("pipx")
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, ROOT / "distributions" / "klaviyo-jobs-source"):
        subprocess.run([*BUILD, "--wheel", "--out-dir", folder, project], check=True)
    [version] = {path.name.split("-")[1] for path in folder.glob("*.whl")}
    constraints = folder / "constraints.txt"
    ours = f"klaviyo-jobs=={version}\nklaviyo-jobs-source=={version}\n"
    constraints.write_text((ROOT / "requirements.txt").read_text() + ours)
    return Shelf(
        folder,
        version,
        {
            **ENVIRONMENT,
            # Beside what the machine may have of its own.
            "PIP_FIND_LINKS": f"{os.environ.get('PIP_FIND_LINKS', '')} {folder}".strip(),
            "PIP_CONSTRAINT": str(constraints),
            "UV_FIND_LINKS": str(folder),
            "UV_CONSTRAINT": str(constraints),
            "UV_PYTHON_DOWNLOADS": "never",
            **_all_of_pyenv(),
            "PATH": os.pathsep.join([str(Path(tool("uv")).parent), os.environ["PATH"]]),
        },
    )


def _all_of_pyenv() -> dict[str, str]:
    """Where pyenv has several interpreters it offers one, until it is told to offer all."""
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return {}
    named = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=True).stdout.split()
    return {"PYENV_VERSION": ":".join(reversed(named))}


def run(folder: Path, *words: str | Path, environment: dict[str, str]) -> str:
    """Run a program in *folder*, fail with what it says, and return what it prints."""
    ended = subprocess.run(
        words,
        cwd=folder,
        env=environment | {"DLT_DATA_DIR": str(folder / "dlt")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
