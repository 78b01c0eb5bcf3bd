"""
Kill real runs at any instant, against an API whose jobs move on meanwhile, and compare with a warehouse never disturbed.

    PYTHONPATH=tests python -m chaos --kills 200 --seed 5
    PYTHONPATH=tests python -m chaos --kills 60 --faults --pairs --lose-working-directory --full-disk
    PYTHONPATH=tests python -m chaos --kills 60 --destination postgres

In:     nothing but the command `klaviyo-jobs run`, its exit codes and its log lines `step NAME` on stderr. No hook in it.
Out:    `N kills, M differences`; for each difference the seed, the episode, what was done, both warehouses, all logs.

An episode is one account from its first run on, in one variant. It is a row of rounds; in each
    1. one to three runs are killed (or stopped by SIGTERM or SIGINT, or starved of disk); jobs move on before each,
    2. one good run goes through, and must end with 0: whatever was left behind, it is never blocked,
    3. the twin runs: another warehouse, read at the same instant of the API; it sees only the instants of good runs,
    4. the two are compared, and the first also with what the API tells,
    5. in half of the rounds a quiet run follows: it must make no detail call and change nothing but the ledger.
In every second episode runs publish a copy for readers, which must hold what the warehouse holds.

What is equal, row by row: `jobs`, `job_errors`, `job_linkages`, `categories` and `rejected_records`, without what tells of
runs (`run_id`, `times`, `listed_hash`); columns
that tell when a run saw something are compared by being null, and the killed side never saw it later than the twin.
`job_observations` may hold more than the twin's: each of the twin's is there in order, none stands twice in a row, and
each is a state that the API showed, in the order it showed them. `listings` has a complete row for each kind and good
run, `interrupted` rows for killed ones, `skipped` rows for those that found the lock taken. No query of `sql/checks/`
returns a row.

One exception, and why: a job that only killed runs can have seen in a state, because it left the API before the good run.
The twin cannot know that state. Such a job's row is a state that the API did show, and its children are those of
that state; categories that it named are left out, for good: should it come back, only the twin reads them again. Only episodes of the variant `leavers` have such jobs.

In episodes of the variant `upgrades` the killed side is put back to contract 1 before each round, so that the first run of
the round changes it to today's, or is killed while it does. Of the jobs that contract 1 kept and that have expired
since, nothing makes the hash of their content again: `content_hash` is not compared there.

With --destination the killed runs load into a Postgres that is started for it, or into a DuckLake whose catalog is
there; the twin stays a DuckDB file. What they left is copied into a file before it is compared.

Schedules follow from the seed; where exactly a kill lands depends on timing too.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from chaos.disk import Disk, can_unshare
from chaos.episode import Episode
from chaos.report import VARIANTS, Report, say
from chaos.run import Runs
from chaos.schedule import Schedule
from support.places import InFile, InLake, InPostgres, Place, postgres_server

# More of them say nothing new.
MOST_DIFFERENCES: Final = 10


def play(
    kills: int,
    seed: int,
    variants: Sequence[str],
    *,
    rounds: int = 4,
    episodes: Sequence[int] = (),
    is_exact: bool = False,
    is_kill_only: bool = False,
    destination: str = "duckdb",
) -> Report:
    """Play episodes, *variants* in turn, until *kills* runs have been killed, or those of the numbers *episodes*."""
    report = Report(seed)
    schedule = Schedule(is_exact=is_exact, is_kill_only=is_kill_only)
    if destination != "duckdb":
        # Other packages are there where its engines are, and a process that has started threads cannot be forked.
        os.environ |= {"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)))
        (folder / "runs").mkdir()
        runs = Runs(folder / "runs")
        stack.callback(runs.close)
        server = stack.enter_context(postgres_server(folder)) if destination != "duckdb" else ""
        disk = None
        if "full-disk" in variants:
            disk = Disk(folder)
            stack.callback(disk.close)
            say(f"full disk: {'a tmpfs' if disk.is_mounted else 'no tmpfs can be mounted; RLIMIT_FSIZE instead'}")
        for number in episodes or itertools.count(1):
            if report.kills >= kills or len(report.differences) >= MOST_DIFFERENCES:
                break
            variant = variants[(number - 1) % len(variants)]
            place_of = partial(_place_of, destination, server, f"episode_{number}")
            episode = Episode(runs, folder / f"episode-{number}", report, number, variant, schedule, disk, place_of)
            episode.play(rounds, kills)
            shutil.rmtree(folder / f"episode-{number}", ignore_errors=True)
            shutil.rmtree(episode.killed.parent, ignore_errors=True)
            say(f"episode {number} ({variant}): {report.kills} kills so far, {len(report.differences)} differences")
    return report


def _place_of(destination: str, server: str, name: str, killed: Path) -> Place:
    """Return where the killed runs of an episode load to."""
    if destination == "duckdb":
        return InFile(killed)
    database = InPostgres(server, name)
    place = database if destination == "postgres" else InLake(database.url, killed.parent / "files")
    # Read by whoever looks at what is there, as by the command.
    os.environ.update(place.environment)
    return place


def main() -> NoReturn:
    """Parse the arguments, play, print the report."""
    parser = argparse.ArgumentParser("chaos", description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="how many runs to kill")
    parser.add_argument("--seed", type=int, help="schedules follow from it; random by default")
    parser.add_argument("--rounds", type=int, default=4, help="rounds in an episode")
    parser.add_argument("--episodes", type=int, help="play so many, however few runs are killed")
    parser.add_argument("--episode", type=int, help="play only the one of this number")
    parser.add_argument("--steps", action="store_true", help="kill at the beginning of each step in turn, nowhere else")
    parser.add_argument("--only", action="append", choices=VARIANTS, help="play only episodes of this variant")
    parser.add_argument("--kill-only", action="store_true", help="SIGKILL alone, no SIGTERM and no SIGINT")
    parser.add_argument("--faults", action="store_true", help="also with one request in five failing")
    parser.add_argument("--pairs", action="store_true", help="also with two runs started together")
    parser.add_argument("--lose-working-directory", action="store_true", help="also with it deleted between runs")
    parser.add_argument("--full-disk", action="store_true", help="also with the disk full")
    parser.add_argument(
        "--destination", default="duckdb", choices=["duckdb", "postgres", "ducklake"], help="where killed runs load to"
    )
    options = parser.parse_args()
    asked = {
        "faults": options.faults,
        "pairs": options.pairs,
        "lost-directory": options.lose_working_directory,
        "full-disk": options.full_disk,
    }
    variants = options.only or [
        "plain",
        "large",
        "leavers",
        "upgrades",
        *(name for name, is_asked in asked.items() if is_asked),
    ]
    if "full-disk" in variants and "CHAOS_HAS_NAMESPACE" not in os.environ and can_unshare():
        os.environ["CHAOS_HAS_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-rm", sys.executable, "-m", "chaos", *sys.argv[1:]])  # noqa: S606
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    say(f"seed {seed}: {options.kills} kills; {', '.join(variants)}")
    episodes = [options.episode] if options.episode else range(1, (options.episodes or 0) + 1)
    report = play(
        options.kills,
        seed,
        variants,
        rounds=options.rounds,
        episodes=episodes,
        is_exact=options.steps,
        is_kill_only=options.kill_only,
        destination=options.destination,
    )
    say(report.render())
    sys.exit(1 if report.differences else 0)


if __name__ == "__main__":
    main()
