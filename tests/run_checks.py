"""
Run the tests that need more than `make test` has, in environments of their own.

    python tests/run_checks.py CHECK FOLDER

The environments are made in FOLDER at the first run and used again later, each from files of pins. Those of a folder of
tests are made in it, from the `.in` file beside them, by
`python -m uv pip compile --universal --python-version 3.11 --no-header --no-annotate NAME.in --output-file NAME.txt`.
In deploy ../../pyproject.toml stands behind NAME.in; and for the oldest versions that the project takes, oldest.txt,
`../../pyproject.toml --extra report --resolution lowest-direct` does.

Browsers, cron and systemd are those of the operating system.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.environments import ROOT, checkout_in

TESTS = Path(__file__).parent
PINS = ROOT / "requirements.txt"


@dataclass(frozen=True)
class Environment:
    """What is installed into one, pins by pins; and what pytest runs in it, if anything."""

    name: str
    pins: tuple[tuple[str | Path, ...], ...]
    tests: tuple[str, ...] = ()


def _pinned(*files: Path) -> tuple[str | Path, ...]:
    return tuple(argument for file in files for argument in ("-r", file))


CHECKS = {
    "page": [Environment("page", (_pinned(PINS, TESTS / "page/page.txt"),), ("--numprocesses", "2", "tests/page"))],
    "engines": [
        Environment(
            "engines",
            # The version of DuckDB that packages have extensions for, and these.
            (_pinned(PINS, TESTS / "engines/engines.txt"), ("--no-deps", *_pinned(TESTS / "engines/lake.txt"))),
            # What `make test` runs on DuckDB is left to it. A file at a time, for what its tests share; those that take
            # longest first, so that none is left for the end.
            (
                *("-k", "not [duckdb", "--numprocesses", "3", "--dist", "loadfile", "--no-loadscope-reorder"),
                *("tests/engines/test_contract.py", "tests/engines/test_side_by_side.py", "tests/engines"),
            ),
        )
    ],
    "deploy": [
        Environment("airflow", (_pinned(TESTS / "deploy/airflow.txt"),)),
        Environment("tools", (_pinned(TESTS / "deploy/tools.txt"),), ("tests/deploy",)),
    ],
    "install": [
        Environment("tools", (_pinned(PINS, TESTS / "install/tools.txt"),), ("tests/install",)),
        Environment(
            "oldest",
            (_pinned(TESTS / "install/oldest.txt"),),
            # What is merged into a warehouse, which rests on others' versions most.
            ("tests/runs/test_content.py",),
        ),
    ],
}


def main(check: str, folder: Path) -> int:
    """The exit code of the tests; the first that is not 0."""
    environments = CHECKS[check]
    for environment in environments:
        checkout_in(folder / environment.name, *environment.pins)
    # The programs of all of them are found by each; and what is missing is a failure, and no reason to skip.
    programs = [str((folder / environment.name / "bin").absolute()) for environment in environments]
    variables = {
        **os.environ,
        "KLAVIYO_JOBS_TOOLS": "required",
        "PATH": os.pathsep.join([os.environ["PATH"], *programs]),
    }
    for environment in environments:
        if environment.tests:
            command: list[str | Path] = [folder / environment.name / "bin" / "python", "-m", "pytest"]
            code = subprocess.run([*command, *environment.tests], cwd=ROOT, env=variables, check=False).returncode
            if code:
                return code
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in CHECKS:
        sys.exit((__doc__ or "").strip())
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
