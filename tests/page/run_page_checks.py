"""
Open the page in a real browser, with what drives it in an environment of its own.

    python tests/page/run_page_checks.py FOLDER

The environment is made in FOLDER at the first run and used again later: the pinned set of the project, and that of
`page.txt`, made from `page.in` by
`python -m uv pip compile --universal --python-version 3.11 --no-header --no-annotate page.in --output-file page.txt`.
The browser is Chromium, from the packages of the operating system.
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
    subprocess.run([*install, "-r", ROOT / "requirements.txt", "-r", HERE / "page.txt"], check=True)
    subprocess.run([*install, "--no-deps", "--no-build-isolation", "--editable", ROOT], check=True)
    # Here a missing browser is a failure, and no reason to skip.
    environment = {**os.environ, "KLAVIYO_JOBS_BROWSER": "required"}
    command: list[str | Path] = [python, "-m", "pytest", "--numprocesses", "2", "tests/page"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit((__doc__ or "").strip())
    sys.exit(main(Path(sys.argv[1])))
