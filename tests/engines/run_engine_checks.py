"""
Run the tests of other engines in an environment of their own, with the engines themselves.

    python tests/engines/run_engine_checks.py FOLDER

The environment is made in FOLDER at the first run and used again later: the pinned set of the project, that of
`engines.txt`, made from `engines.in` by
`python -m uv pip compile --universal --python-version 3.11 --no-header --no-annotate engines.in --output-file engines.txt`,
and `lake.txt`: the version of DuckDB that packages have extensions for, and these.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def main(folder: Path) -> int:
    """The exit code of the tests."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-r", ROOT / "requirements.txt", "-r", HERE / "engines.txt"], check=True)
    subprocess.run([*install, "--no-deps", "-r", HERE / "lake.txt"], check=True)
    subprocess.run([*install, "--no-deps", "--no-build-isolation", "--editable", ROOT], check=True)
    # Here a missing engine is a failure, and no reason to skip.
    environment = {**os.environ, "KLAVIYO_JOBS_ENGINES": "required"}
    command: list[str | Path] = [python, "-m", "pytest", "--numprocesses", "2", "--dist", "loadfile", "tests/engines"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit((__doc__ or "").strip())
    sys.exit(main(Path(sys.argv[1])))
