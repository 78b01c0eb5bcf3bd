"""
Live through a year of a shop, one run and one check a day, in a process whose clock is set.

    python -m simulation.year FOLDER DAYS < nothing

The clock is that of libfaketime, which the process is started with and which reads FAKETIME each time it is asked:
Python, DuckDB and the sandbox all have it. Prints one JSON object a day: its number, the exit codes of run and check,
and the breaches by check and kind.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from klaviyo_jobs.cli.app import main as command
from klaviyo_sandbox import Fault, Job, JobError, RawJob, Sandbox, related_id

FIRST = dt.datetime(2026, 8, 1, 12, tzinfo=dt.UTC)
KINDS = ("item-create", "category-create", "item-update")
KNOWN, NEW = "Title must not be blank.", "The currency of the shop is not known."


@dataclass(frozen=True)
class Trouble:
    """
    Something that goes wrong.

    Attributes:
        check: The check that has to tell of it.
        kind: The kind it is of; None for all kinds together.
        first: The first day on which it has to be told.
        last: The last day on which it may be.
    """

    check: str
    kind: str | None
    first: int
    last: int


# A day's check sees what the run of the day has read; what is in a window of a day is gone from it on the day after.
TROUBLES = [
    Trouble("stuck_jobs", "item-create", 41, 47),  # it is under way from day 40 on, until Klaviyo forgets it
    Trouble("vanished_jobs", "item-create", 47, 48),
    *(Trouble("listing_age_seconds", kind, 82, 83) for kind in KINDS),  # no answer on days 81 to 83
    Trouble("failed_share", "item-create", 120, 120),
    Trouble("new_errors", "item-create", 150, 150),
    Trouble("silence", "item-create", 182, 186),  # the last job is of day 180, the next of day 186
    Trouble("rejected_records", "item-create", 220, 226),  # as long as it is listed
    Trouble("vanished_jobs", "item-create", 261, 261),
    Trouble("limit_share", "item-create", 300, 300),
    Trouble("limit_share", None, 300, 300),
]


def a_job(
    kind: str, at: dt.datetime, name: str, *, total: int = 20, failed: int = 0, text: str = KNOWN, **changes: object
) -> Job:
    """Return a job of *total* operations that took three minutes."""
    ids = [related_id(f"{name}-{number}") for number in range(total)]
    job = {
        "completed_at": at + dt.timedelta(minutes=3),
        "total_count": total,
        "completed_count": total - failed,
        "failed_count": failed,
        "errors": [JobError(text, each) for each in ids[:failed]],
        "related_ids": ids[failed:],
    }
    return Job(kind, name, at, **(job | changes))  # type: ignore[arg-type]


def live(sandbox: Sandbox, day: int, now: dt.datetime, chance: random.Random) -> None:
    """Put into the API what the shop did in the day before *now*, and what went wrong."""
    world = sandbox.world
    sandbox.faults[:] = [Fault("status", "503")] if 81 <= day <= 83 else []
    morning = now - dt.timedelta(hours=12)
    if not 180 < day < 186:
        for hour in range(1, 12, 2):
            failed = 14 if day == 120 else chance.choice([0, 0, 0, 1])
            world.add(a_job("item-create", morning + dt.timedelta(hours=hour), f"D{day:03}H{hour:02}", failed=failed))
    if day % 7 == 0:
        world.add(a_job("category-create", morning + dt.timedelta(hours=3), f"C{day:03}"))
    under_way: dict[str, object] = {
        "status": "processing",
        "completed_at": None,
        "completed_count": 0,
        "related_ids": [],
        "total": 5,
    }
    if day == 40:
        world.add(a_job("item-create", now - dt.timedelta(hours=2), "STUCK", **under_way))  # type: ignore[arg-type]
    if day == 150:
        for number in range(50):
            at = now - dt.timedelta(minutes=30, seconds=number)
            world.add(a_job("item-create", at, f"NEW{number}", failed=1, text=NEW))
    if day == 220:
        broken = {"type": "catalog-item-bulk-create-job", "id": "BROKEN", "attributes": {"status": 7}}
        world.add(RawJob("item-create", broken, created_at=now - dt.timedelta(hours=1)))
    if day == 227:
        world.remove("item-create", "BROKEN")
    if day == 260:
        for number in range(10):
            world.add(a_job("item-create", now - dt.timedelta(minutes=5), f"GONE{number}", **under_way))  # type: ignore[arg-type]
    if day == 261:
        for number in range(10):
            world.remove("item-create", f"GONE{number}")
    if day == 300:
        for number in range(480):
            world.add(a_job("item-create", now - dt.timedelta(minutes=9), f"MANY{number}", **under_way))  # type: ignore[arg-type]
    if day == 301:
        for number in range(480):
            world.add(a_job("item-create", now - dt.timedelta(hours=24, minutes=9), f"MANY{number}", total=5))
    if day == 330:
        odd = {"completed_at": now - dt.timedelta(days=2), "failed_count": 3, "completed_count": 30}
        world.add(a_job("item-create", now - dt.timedelta(hours=1), "ODD", total=40, **odd))  # type: ignore[arg-type]


def called(*arguments: str) -> tuple[int, str]:
    """Run the command in this process; return its exit code and what it printed."""
    sys.argv = ["klaviyo-jobs", *arguments]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        try:
            command()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, printed.getvalue()


def main(folder: Path, days: int) -> None:
    """Live *days* days, and tell of each."""
    chance = random.Random(1)
    with Sandbox() as sandbox:
        prefix = "SOURCES__KLAVIYO_JOBS__"
        settings = {"BASE_URL": sandbox.base_url, "API_KEY": sandbox.key, "WAREHOUSE": str(folder / "year.duckdb")}
        settings |= {"KINDS": json.dumps(KINDS), "MAX_ATTEMPTS": "1", "INCLUDE": "[]"}
        os.environ.update({f"{prefix}{name}": value for name, value in settings.items()})
        for day in range(days):
            now = FIRST + dt.timedelta(days=day)
            os.environ["FAKETIME"] = faketime_of(now)
            live(sandbox, day, now, chance)
            of_run, _ = called("run")
            # What the run of the day before has seen is a day ago by now, however long each of them took.
            os.environ["FAKETIME"] = faketime_of(now + dt.timedelta(minutes=30))
            of_check, printed = called("check", "--json")
            findings = json.loads(printed)["findings"] if printed else None
            breaches = [(each["check"], each["job_kind"]) for each in findings or () if each["is_breached"]]
            told = {"day": day, "run": of_run, "check": of_check, "breaches": breaches}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


def faketime_of(now: dt.datetime) -> str:
    """Return what libfaketime takes for "it is *now*, and time goes on"."""
    return f"@{now:%Y-%m-%d %H:%M:%S}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
