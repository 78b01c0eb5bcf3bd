"""
The short form of the chaos harness; `make chaos` plays the long one.

The harness runs as a process of its own: it mounts the disk that it fills, and forks.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chaos.comparison import Comparison
from chaos.report import Ended
from chaos.story import KINDS, START, Story
from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import Settings
from klaviyo_sandbox import Sandbox

SEED = 20261122
TESTS = Path(__file__).parents[1]


def play(*arguments: str) -> str:
    """Run the harness; its report."""
    command = [sys.executable, "-m", "chaos", "--seed", str(SEED), *arguments]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ kills, 0 differences$", done.stdout, re.MULTILINE), done.stdout
    return done.stdout


def test_a_killed_run_is_made_good_by_the_next() -> None:
    """SIGKILL at an instant of the first run of an account, then of those after it, until one goes through."""
    play("--episodes", "1", "--rounds", "1", "--only", "plain", "--kill-only")


@pytest.mark.slow
def test_a_run_killed_at_any_step_is_made_good_by_the_next() -> None:
    """SIGKILL at the beginning of each step, one to three in a row, from the first run of an account on."""
    report = play("--steps", "--kills", "10", "--rounds", "10", "--only", "plain")

    steps = ("lock", "recover", "recall", "extract", "load", "views", "checks", "ledger", "publish", "unlock")
    assert f"kills aimed at: {', '.join(f'{step} 1' for step in steps)}" in report


@pytest.mark.slow
@pytest.mark.parametrize(
    "variants", [("faults", "pairs", "large", "upgrades"), ("leavers", "lost-directory", "full-disk")]
)
def test_it_holds_in_other_circumstances(variants: tuple[str, ...]) -> None:
    """An API that fails, two runs at once, long loads, an older contract, jobs that leave, no working directory, no disk."""
    play("--episodes", str(len(variants)), "--rounds", "1", *(f"--only={name}" for name in variants))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Story, str]:
    """Two warehouses of the same runs, what the API told, and the run id of the last run."""
    folder = tmp_path_factory.mktemp("pair")
    with pytest.MonkeyPatch.context() as patch, Sandbox(clock=START) as sandbox:
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.chdir(folder)
        settings = Settings(base_url=sandbox.base_url, api_key=sandbox.key, kinds=list(KINDS))
        story = Story(sandbox, random.Random(SEED), kinds=KINDS, is_large=False, may_leave=False)
        story.begin_round()
        run_id = run(settings, folder / "killed.duckdb").run_id
        run(settings, folder / "undisturbed.duckdb")
    return folder, story, run_id


@pytest.fixture
def compare(pair: tuple[Path, Story, str], tmp_path: Path) -> Callable[[str], list[str]]:
    """Change the one warehouse by a statement and compare it with the other."""
    folder, story, run_id = pair

    def differences(statement: str) -> list[str]:
        (tmp_path / "killed.duckdb").write_bytes((folder / "killed.duckdb").read_bytes())
        with duckdb.connect(str(tmp_path / "killed.duckdb")) as connection:
            connection.execute(statement)
        with Comparison(tmp_path / "killed.duckdb", folder / "undisturbed.duckdb", story, set(), set()) as comparison:
            comparison.compare([run_id], Ended())
            return comparison.differences

    return differences


def test_the_comparison_finds_nothing_where_nothing_is_wrong(compare: Callable[[str], list[str]]) -> None:
    """Two undisturbed warehouses are equal though their runs, and the times of their runs, are not."""
    assert compare("select 1") == []


@pytest.mark.parametrize(
    "statement",
    [
        "delete from jobs where job_id = (select max(job_id) from jobs)",
        "delete from job_errors where job_id = (select max(job_id) from job_errors)",
        "delete from job_linkages where position = 0",
        "insert into job_errors by name select * replace ('gone' as job_id) from job_errors limit 1",
        "delete from job_observations where job_id = (select max(job_id) from job_observations)",
        "insert into job_observations select * replace (observed_at + interval '1 second' as observed_at) from job_observations",
        "insert into job_observations select * replace (observed_at - interval '1 second' as observed_at, 'odd' as status) "
        "from job_observations limit 1",
        "update jobs set completed_count = completed_count + 1 where job_id = (select max(job_id) from jobs)",
        "update jobs set vanished_at = now() where job_id = (select max(job_id) from jobs)",
        "update jobs set first_seen_at = now() + interval '1 minute', last_changed_at = now() + interval '1 minute'",
        "update jobs set detail_read_at = null",
        "update categories set name = 'Other' where category_id = (select max(category_id) from categories)",
        "delete from listings where job_kind = 'item-create'",
        "update listings set is_complete = false, error = 'interrupted: by nobody'",
        "insert into listings by name select * replace ('other' as run_id) from listings",
        "insert into jobs select * from jobs limit 1",
    ],
)
def test_the_comparison_sees_what_is_wrong(compare: Callable[[str], list[str]], statement: str) -> None:
    """A harness that finds nothing must be able to find something."""
    assert compare(f"use klaviyo_raw; {statement}") != []
