"""
Live through a year in five minutes, and hold what `check` told against what went wrong.

    python tests/simulation/run_year.py FOLDER [DAYS]

Every breach has to be one that a trouble of `year.py` accounts for, every trouble told on its first day, and none after
its last. The clock of the process is set by libfaketime, which is put into FOLDER; Linux only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import duckdb

from simulation.year import FIRST, TROUBLES, faketime_of

FAKETIME = "libfaketime==3.0.1"
ROOT = Path(__file__).parents[2]


def library_in(folder: Path) -> Path:
    """Return libfaketime's library, put into *folder* unless it is there."""
    name = "**/libfaketime.so.1"
    if not list(folder.glob(name)):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--target", folder, FAKETIME], check=True)
    return next(folder.glob(name)).resolve()


def main(folder: Path, days: int = 365) -> int:
    """The exit code: 1 if anything was told that did not happen, or not told that did; 2 if the clock failed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in ("year.duckdb", "year.duckdb.wal", "year.duckdb.lock"):
        (folder / old).unlink(missing_ok=True)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SOURCES__")},
        "PYTHONPATH": str(ROOT / "tests"),
        "LD_PRELOAD": str(library_in(folder / "faketime")),
        # Not a file: while one thread reads that, libfaketime gives the machine's time to the others.
        "FAKETIME": faketime_of(FIRST),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "TZ": "UTC",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "simulation.year", str(folder.resolve()), str(days)]
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=folder, check=True)
    if leaks := leaks_of(folder / "year.duckdb"):
        sys.stdout.write(
            f"{leaks} times are the machine's own, which libfaketime lets through now and then: run it again\n"
        )
        return 2
    lived = [json.loads(line) for line in ended.stdout.splitlines()]
    problems = problems_of(lived, days)
    verdict = f"{len(lived)} days: every breach was a trouble, and every trouble was told in time"
    sys.stdout.write("\n".join([*problems, "" if problems else verdict]) + "\n")
    return 1 if problems else 0


def leaks_of(warehouse: Path) -> int:
    """Return how many times in *warehouse* are none of the half hour around noon in which all runs are."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        [(leaks,)] = connection.execute(
            """
            select count(*)
            from (
                select unnest([started_at, finished_at]) at time zone 'UTC' as at_utc from klaviyo_raw.listings
                union all
                select observed_at at time zone 'UTC' from klaviyo_raw.job_observations
            )
            where abs(date_diff('minute', at_utc::date + interval '12 hours', at_utc)) > 30
            """
        ).fetchall()
    return int(leaks)


def problems_of(lived: list[dict[str, object]], days: int) -> list[str]:
    """Return what is wrong with what the checks of *lived* days told."""
    problems = [] if len(lived) == days else [f"{len(lived)} of {days} days were lived"]
    told: defaultdict[tuple[str, str | None], set[int]] = defaultdict(set)
    for each in lived:
        assert isinstance(each["breaches"], list)
        assert isinstance(each["day"], int)
        for check, kind in each["breaches"]:
            told[check, kind].add(each["day"])
        if each["check"] != (8 if each["breaches"] else 0):
            problems.append(f"day {each['day']}: check ended with {each['check']}")
    problems += [
        f"{trouble} was not told on its first day"
        for trouble in TROUBLES
        if trouble.first < days and trouble.first not in told[trouble.check, trouble.kind]
    ]
    for (check, kind), on_days in told.items():
        may = {
            day
            for each in TROUBLES
            if (each.check, each.kind) == (check, kind)
            for day in range(each.first, each.last + 1)
        }
        problems += [f"day {day}: {check} of {kind} was told for no reason" for day in sorted(on_days - may)]
    return problems


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit((__doc__ or "").strip())
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
