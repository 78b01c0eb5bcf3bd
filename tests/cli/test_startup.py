"""What the command imports before it runs anything, and what it offers to the shell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Together they take a second to import.
HEAVY = ("dlt", "duckdb", "pyarrow", "pendulum", "requests", "msgspec", "pydantic")

# Runs the command, then says on stderr which of the modules named it has imported.
PROGRAM = f"""
import sys
sys.argv[0] = "klaviyo-jobs"
from klaviyo_jobs.cli.app import main
try:
    main()
finally:
    print("imported:", [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a new process."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env={"COLUMNS": "160", "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["--help"], 0),
        (["run", "--help"], 0),
        (["report", "--help"], 0),
        (["--version"], 0),
        (["--no-such-option"], 2),
        (["no-such-command"], 2),
        (["run", "--wait-lock", "soon"], 2),
        (["report", "--days", "0"], 2),
        (["prune"], 2),
    ],
)
def test_nothing_heavy_is_imported_before_a_command_runs(tmp_path: Path, arguments: list[str], exit_code: int) -> None:
    """Help, version and usage errors import none of the libraries that a run needs."""
    ended = start(tmp_path, *arguments)

    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (exit_code, "imported: []")


def test_a_shell_gets_a_script_of_completion(tmp_path: Path) -> None:
    """The script for bash calls the command back to complete what is typed."""
    ended = start(tmp_path, _KLAVIYO_JOBS_COMPLETE="source_bash")

    assert "complete " in ended.stdout
    assert "klaviyo-jobs" in ended.stdout


@pytest.mark.parametrize(
    ("typed", "word", "completed"),
    [("klaviyo-jobs pub", "1", "publish\n"), ("klaviyo-jobs run --full", "2", "--full-refresh\n")],
)
def test_what_is_typed_is_completed_without_delay(tmp_path: Path, typed: str, word: str, completed: str) -> None:
    """Commands and options are completed, and nothing heavy is imported for it."""
    ended = start(tmp_path, _KLAVIYO_JOBS_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=word)

    assert (ended.stdout, ended.stderr.splitlines()[-1]) == (completed, "imported: []")
