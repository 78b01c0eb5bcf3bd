"""
Try the files of deploy/ with the tools that they are for, in environments of their own.

    python tests/deploy/run_deploy_checks.py FOLDER

The environments are made in FOLDER at the first run and used again later: one of linters and of Dagster, and one of
Airflow, each with the pinned set of its own file, made from its `.in` file and the project's dependencies by
`python -m uv pip compile --universal --python-version 3.11 --no-header --no-annotate tools.in ../../pyproject.toml
--output-file tools.txt`, and the same for airflow. `crontab` and `systemd-analyze` are those of the operating system.
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
    for name in ("tools", "airflow"):
        python = folder / name / "bin" / "python"
        if not python.exists():
            venv.create(folder / name, with_pip=True)
        install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", HERE / f"{name}.txt"], check=True)
        subprocess.run([*install, "--no-deps", "--no-build-isolation", "--editable", ROOT], check=True)
    # Here a missing tool is a failure, and no reason to skip.
    path = os.pathsep.join([str((folder / "airflow" / "bin").absolute()), os.environ["PATH"]])
    environment = {**os.environ, "KLAVIYO_JOBS_DEPLOY": "required", "PATH": path}
    tests: list[str | Path] = [folder / "tools" / "bin" / "python", "-m", "pytest", "tests/deploy"]
    return subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit((__doc__ or "").strip())
    sys.exit(main(Path(sys.argv[1])))
