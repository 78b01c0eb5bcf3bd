"""
Kill real runs at any instant, against an API whose jobs move on meanwhile, and compare with a warehouse never disturbed.

    python tests/chaos/harness.py --kills 200 --seed 5
    python tests/chaos/harness.py --kills 60 --faults --pairs --lose-working-directory --full-disk

In:     nothing but the command `klaviyo-jobs run`, its exit codes and its log lines `step NAME` on stderr. No hook in it.
Out:    `N kills, M differences`; for each difference the seed, the episode, what was done, both warehouses, all logs.

An episode is one account from its first run on, in one variant. It is a row of rounds; in each
    1. one to three runs are killed (or stopped by SIGTERM or SIGINT, or starved of disk); jobs move on before each,
    2. one good run goes through, and must end with 0: whatever was left behind, it is never blocked,
    3. the twin runs: another warehouse, read at the same instant of the API; it sees only the instants of good runs,
    4. the two are compared, and the first also with what the API tells,
    5. in half of the rounds a quiet run follows: it must make no detail call and change nothing but the ledger.
In every second episode runs publish a copy for readers, which must hold what the warehouse holds.

What is equal, row by row: `jobs`, `job_errors`, `job_linkages`, `categories` and `rejected_records`, without `run_id`; columns
that tell when a run saw something are compared by being null, and the killed side never saw it later than the twin.
`job_observations` may hold more than the twin's: each of the twin's is there in order, none stands twice in a row, and
each is a state that the API showed, in the order it showed them. `listings` has a complete row for each kind and good
run, `interrupted` rows for killed ones, `skipped` rows for those that found the lock taken. No query of `sql/checks/`
returns a row.

One exception, and why: a job that only killed runs can have seen in a state, because it left the API before the good run.
The twin cannot know that state. Such a job's row is a state that the API did show, and its children are those of
that state; categories that it named are left out, for good: should it come back, only the twin reads them again. Only episodes of the variant `leavers` have such jobs.

Schedules follow from the seed; where exactly a kill lands depends on timing too.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib
import itertools
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, Self

import duckdb

from klaviyo_sandbox import Fault, Job, JobPlan, Sandbox, related_id, ulid_at

KINDS: Final = ("item-create", "category-create")
STEPS: Final = ("lock", "recover", "recall", "extract", "load", "views", "checks", "ledger", "publish", "unlock")
VARIANTS: Final = ("plain", "large", "leavers", "faults", "pairs", "lost-directory", "full-disk")
FINISHED: Final = ("complete", "cancelled")
START: Final = dt.datetime(2026, 8, 1, 6, tzinfo=dt.UTC)
MINUTE: Final = dt.timedelta(minutes=1)

# A run takes one to three seconds; on a machine that is busy with other things, ten times that.
STUCK_SECONDS: Final = 120.0
STOP_SECONDS: Final = 5.0
# More of them say nothing new.
MOST_DIFFERENCES: Final = 10
DISK_BYTES: Final = 96 * 2**20
CHECKS: Final = Path(__file__).resolve().parents[2] / "sql" / "checks"

JobKey = tuple[str, str]
Row = tuple[Any, ...]

# What dlt imports only in the middle of a run.
_IMPORTED_LATE: Final = (
    "dlt.common.libs.pyarrow",
    "dlt.destinations.impl.duckdb.duck",
    "pyarrow.compute",
    "pyarrow.parquet",
    "pydantic",
)
_TIMES_OF_RUNS: Final = ("first_seen_at", "last_changed_at", "vanished_at", "detail_read_at", "rejected_at")
_COMPARED: Final = ("jobs", "job_errors", "job_linkages", "categories", "rejected_records")
_OBSERVATION: Final = "status, total_count, completed_count, failed_count, error_count, linkage_count"
_STEP_LINE: Final = re.compile(r"\bstep ([a-z]+)\s*$")


def say(text: str) -> None:
    """Print *text* at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


# ---------------------------------------------------------------------------------------------------------------------
# Processes: forked from one that has imported everything, so that a run that is killed costs no two seconds of imports
# ---------------------------------------------------------------------------------------------------------------------


def serve_forks(channel: socket.socket) -> None:
    """
    Fork a run for each request on *channel* until it is closed.

    Between this process and each run stands one that waits for it and tells its end, so that this one never waits.
    """
    from klaviyo_jobs.cli import app as cli

    for name in _IMPORTED_LATE:
        importlib.import_module(name)

    # Importing DuckDB starts a thread for the connection that nobody uses; a fork would lose the thread.
    duckdb.default_connection().close()
    threads = [Path(path, "comm").read_text().strip() for path in Path("/proc/self/task").glob("*")]
    if [name for name in threads[1:] if not name.startswith("jemalloc")]:
        raise RuntimeError(f"forking a process with threads: {threads}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel.sendall(b"!")
    while True:
        text, descriptors, _, _ = socket.recv_fds(channel, 2**16, 3)
        if not text:
            return
        request = json.loads(text)
        if os.fork() == 0:
            channel.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            status_pipe = descriptors[2]
            pid = os.fork()
            if pid == 0:
                os.setpgid(0, 0)
                os.close(status_pipe)
                _become_run(request, descriptors)
                cli.main()
                sys.exit(0)
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            for descriptor in descriptors[:2]:
                os.close(descriptor)
            with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
                os.write(status_pipe, struct.pack("i", pid))
                # Not reaped before its end is known: no other process can get its id and be killed in its place.
                end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                assert end is not None
                code = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
                os.write(status_pipe, struct.pack("i", code))
                poll = select.poll()
                poll.register(status_pipe, 0)
                poll.poll()
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def _become_run(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Turn this process into the run of *request*; one that asks for a fresh interpreter does not come back."""
    os.dup2(descriptors[0], 1)
    os.dup2(descriptors[1], 2)
    for descriptor in descriptors[:2]:
        os.close(descriptor)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["file_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"], resource.RLIM_INFINITY))
    if request["is_fresh"]:
        os.execv(sys.executable, [sys.executable, "-m", "klaviyo_jobs", *request["arguments"]])  # noqa: S606
    tempfile.tempdir = None
    sys.argv = ["klaviyo-jobs", *request["arguments"]]


class Run:
    """A run under way or ended: a process group of its own, its log lines as they come, its end."""

    def __init__(self, status_pipe: int, stderr_pipe: int, stdout_path: Path, words: str) -> None:
        self.started = time.monotonic()
        self.ended = 0.0
        self.words = words
        self.lines: list[str] = []
        self.steps: list[tuple[str, float]] = []
        self._news = threading.Condition()
        self._stdout_path = stdout_path
        self._status_pipe = status_pipe
        self._status: int | None = None
        self.pid: int = self._read_number(STUCK_SECONDS)
        self._reader = threading.Thread(target=self._read_log, args=(stderr_pipe,), daemon=True)
        self._is_reading = True
        self._reader.start()

    @property
    def last_step(self) -> str:
        """The step it is in, or was in when it ended; `start` before the first."""
        return self.steps[-1][0] if self.steps else "start"

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started

    @property
    def run_id(self) -> str:
        """The id of a run that has printed its summary."""
        return str(json.loads(self._stdout_path.read_text())["run_id"])

    def wait_for_step(self, step: str) -> bool:
        """Return True as soon as *step* begins, False if the process ends first."""
        deadline = time.monotonic() + STUCK_SECONDS
        with self._news:
            while all(name != step for name, _ in self.steps):
                if not self._is_reading or time.monotonic() > deadline:
                    return False
                self._news.wait(0.5)
        return True

    def send(self, number: int) -> None:
        """Send a signal to the process and its children, unless its end is known: its id may be another's by now."""
        if self._status is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, seconds: float = STUCK_SECONDS) -> int | None:
        """Return the exit code, negative for a signal that ended it, or None if it is still running after *seconds*."""
        if self._status is None:
            with contextlib.suppress(TimeoutError):
                self._status = self._read_number(seconds)
                self.ended = time.monotonic()
                os.close(self._status_pipe)
                self._reader.join(10)
        return self._status

    def _read_number(self, seconds: float) -> int:
        if not select.select([self._status_pipe], [], [], seconds)[0]:
            raise TimeoutError
        number: int = struct.unpack("i", os.read(self._status_pipe, 4))[0]
        return number

    def _read_log(self, pipe: int) -> None:
        with open(pipe, encoding="utf-8", errors="replace") as log:
            for line in log:
                with self._news:
                    self.lines.append(line.rstrip())
                    if found := _STEP_LINE.search(line):
                        self.steps.append((found[1], time.monotonic()))
                    self._news.notify_all()
        with self._news:
            self._is_reading = False
            self._news.notify_all()


class Runs:
    """Starts runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = itertools.count()
        ours, theirs = socket.socketpair()
        self._channel = ours
        # Settings of this machine must not reach it, nor dlt's of this project.
        environment = {name: value for name, value in os.environ.items() if "__" not in name}
        self._server = subprocess.Popen(
            [sys.executable, __file__, "--serve-forks", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=folder,
            env=environment,
        )
        theirs.close()
        if ours.recv(1) != b"!":
            raise RuntimeError("the process that forks runs did not start")

    def start(
        self,
        arguments: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        is_fresh: bool = False,
        file_bytes: int = 0,
    ) -> Run:
        """Start `klaviyo-jobs` with *arguments*; a fresh one is a new interpreter instead of a fork."""
        stdout_path = self._folder / f"{next(self._count)}.stdout"
        stderr_reads, stderr_writes = os.pipe()
        status_reads, status_writes = os.pipe()
        stdout = os.open(stdout_path, os.O_CREAT | os.O_WRONLY)
        request = {
            "arguments": list(arguments),
            "directory": str(directory),
            "environment": dict(environment),
            "is_fresh": is_fresh,
            "file_bytes": file_bytes,
        }
        writes = [stdout, stderr_writes, status_writes]
        socket.send_fds(self._channel, [json.dumps(request).encode()], writes)
        for descriptor in writes:
            os.close(descriptor)
        return Run(status_reads, stderr_reads, stdout_path, " ".join(arguments))

    def close(self) -> None:
        """End the process that forks."""
        self._channel.close()
        self._server.wait()


# ---------------------------------------------------------------------------------------------------------------------
# The API: jobs that are created, work, finish, fail, vanish, come back and expire, and what it showed when
# ---------------------------------------------------------------------------------------------------------------------


class Story:
    """What happens in one account. All times are the sandbox's; its clock stands still between calls of `go_on`."""

    def __init__(self, sandbox: Sandbox, rng: random.Random, *, is_large: bool, may_leave: bool) -> None:
        self._sandbox = sandbox
        self._rng = rng
        self._is_large = is_large
        self._may_leave = may_leave
        self.plans: dict[JobKey, JobPlan] = {}
        self._added_at: dict[JobKey, dt.datetime] = {}
        self._hidden: set[JobKey] = set()
        # Every instant at which a run may have read the API, and the jobs taken out of it then.
        self._instants: list[tuple[dt.datetime, frozenset[JobKey]]] = []
        self._numbers = itertools.count(1)
        for _ in range(rng.randint(8, 20)):
            self._add_job(within=dt.timedelta(days=6))
        if is_large:
            for _ in range(240):
                self._add_job("item-create", within=dt.timedelta(days=3), size=rng.randint(100, 300))

    def begin_round(self) -> None:
        """Let what may make jobs leave happen, before any run of the round."""
        rng = self._rng
        # Rarely long enough for jobs to expire while nobody looks.
        self._sandbox.clock.advance(MINUTE * rng.choice((1, 30, 240, 1440, 4000 if rng.random() < 0.3 else 90)))
        self._leave_or_return()
        for number in rng.sample(range(12), 2):
            name, now = f"Category {number} at {self._sandbox.clock.now()}", self._sandbox.clock.now()
            self._sandbox.world.describe(related_id(f"CAT-{number}"), name=name, updated=now.isoformat())
        self.go_on()

    def go_on(self) -> None:
        """Let some time pass: jobs are created and work."""
        rng = self._rng
        self._sandbox.clock.advance(MINUTE * rng.uniform(0, 90))
        for _ in range(rng.choice((0, 1, 2, 4))):
            self._add_job(within=dt.timedelta(hours=1))
        if self._is_large and rng.random() < 0.5:
            for _ in range(60):
                self._add_job("item-create", within=dt.timedelta(hours=3), size=rng.randint(100, 300))
        if self._may_leave:
            self._leave_or_return()
        self._remember()

    def listed(self) -> dict[JobKey, Job]:
        """Return what the listings show now."""
        return self._shown_at(*self._instants[-1])

    def states_of(self, key: JobKey) -> list[Job]:
        """Return the states in which the API showed a job, in their order."""
        plan = self.plans[key]
        return [plan.at(now) for now, hidden in self._instants if key not in hidden and self._is_listed(key, now)]

    def mark(self) -> int:
        """Return a name for this instant."""
        return len(self._instants) - 1

    def seen_only_since(self, mark: int) -> set[JobKey]:
        """Return the jobs of which the API showed a new state after *mark* but no longer shows any."""
        then, now = self._shown_at(*self._instants[mark]) if mark >= 0 else {}, self.listed()
        between = [self._shown_at(*instant) for instant in self._instants[mark + 1 :]]
        return {
            key
            for shown in between
            for key, job in shown.items()
            if key not in now and (key not in then or state_of(then[key]) != state_of(job))
        }

    def _shown_at(self, now: dt.datetime, hidden: frozenset[JobKey]) -> dict[JobKey, Job]:
        return {
            key: plan.at(now) for key, plan in self.plans.items() if key not in hidden and self._is_listed(key, now)
        }

    def _is_listed(self, key: JobKey, now: dt.datetime) -> bool:
        """Tell whether the API listed a job then; one may be said to be created before it first came up."""
        return now >= self._added_at[key] and self.plans[key].is_listed(now)

    def _remember(self) -> None:
        self._instants.append((self._sandbox.clock.now(), frozenset(self._hidden)))

    def _add_job(self, kind: str | None = None, *, within: dt.timedelta, size: int = 0) -> None:
        rng = self._rng
        kind = kind or rng.choice(KINDS)
        number = next(self._numbers)
        # A job's times differ from every instant, and from each other.
        created_at = self._sandbox.clock.now() - within * rng.random() - dt.timedelta(microseconds=number)
        if kind == "category-create":
            related = [related_id(f"CAT-{letter}") for letter in rng.sample(range(12), rng.randint(0, 6))]
        else:
            related = [related_id(f"ITEM-{number}-{place}") for place in range(size or rng.randint(0, 9))]
        failures = {place: f"Operation {place} failed." for place in range(len(related)) if rng.random() < 0.25}
        if rng.random() < 0.1:
            failures = dict.fromkeys(range(len(related)), "Nothing worked.")
        plan = JobPlan(
            kind,
            ulid_at(created_at, str(number)),
            created_at,
            related,
            failures,
            queued_for=MINUTE * rng.choice((0, 10, 60)),
            runs_for=MINUTE * rng.choice((1, 60, 300, 900)),
            cancelled_after=rng.randint(0, len(related)) if rng.random() < 0.1 else None,
        )
        self.plans[kind, plan.id] = plan
        self._added_at[kind, plan.id] = self._sandbox.clock.now()
        self._sandbox.world.add(plan)

    def _leave_or_return(self) -> None:
        rng = self._rng
        shown = self._shown_at(self._sandbox.clock.now(), frozenset(self._hidden))
        leaving = sorted(key for key, job in shown.items() if rng.random() < (0.5 if job.status != "complete" else 0.1))
        for key in leaving[: rng.choice((0, 1, 2))]:
            self._sandbox.world.remove(*key)
            self._hidden.add(key)
        for key in sorted(self._hidden):
            if rng.random() < 0.3:
                self._sandbox.world.add(self.plans[key])
                self._hidden.discard(key)


def state_of(job: Job) -> Row:
    """Return status and counts as an observation has them."""
    errors, linkages = job.errors or (), job.related_ids or ()
    return (job.status, job.total_count, job.completed_count, job.failed_count, len(errors), len(linkages))


# ---------------------------------------------------------------------------------------------------------------------
# The comparison
# ---------------------------------------------------------------------------------------------------------------------


class Comparison:
    """Two warehouses side by side, each opened for reading only; `differences` says in words what is not as it must be."""

    def __init__(self, killed: Path, twin: Path, story: Story, gone: set[JobKey], ever_gone: set[JobKey]) -> None:
        self.differences: list[str] = []
        self._story = story
        self._gone = gone
        self._connection = duckdb.connect(str(killed), read_only=True)
        self._connection.execute("set timezone = 'UTC'")
        self._connection.execute(f"attach '{twin}' as twin (read_only)")
        self._killed = f'"{killed.stem}".klaviyo_raw'
        self._twin = "twin.klaviyo_raw"
        self._connection.execute("create temp table gone (job_kind text, job_id text)")
        self._connection.execute("create temp table gone_categories (category_id text)")
        if gone:
            self._connection.executemany("insert into gone values (?, ?)", sorted(gone))
        if ever_gone:
            touched = sorted({related for key in ever_gone for related in story.plans[key].related_ids})
            self._connection.execute("insert into gone_categories select unnest(?)", [touched])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def compare(self, good: Sequence[str], ended: Ended) -> None:
        """Compare all; *good* are the ids of the runs that ended well."""
        self.compare_tables()
        self.compare_with_api()
        self.compare_observations()
        self.compare_ledger(good, ended)
        self.run_checks()

    def rows(self, query: str) -> list[Row]:
        """Return the rows of *query*."""
        return self._connection.execute(query).fetchall()

    def compare_tables(self) -> None:
        """The tables hold the same rows."""
        for table in _COMPARED:
            columns = self._columns(self._killed, table)
            if columns != self._columns(self._twin, table):
                self.differences.append(f"{table} has other columns than the twin's: {columns}")
                continue
            chosen = ", ".join(
                f"{name} is null as {name}_is_null" if name in _TIMES_OF_RUNS else name
                for name in columns
                if name not in ("run_id", "_dlt_id", "_dlt_load_id")
            )
            where = ""
            if "job_id" in columns:
                where = "where (job_kind, job_id) not in (from gone)"
            elif table == "categories":
                where = "where category_id not in (from gone_categories)"
            ours, theirs = (f"select {chosen} from {schema}.{table} {where}" for schema in (self._killed, self._twin))
            for what, query in (
                ("more than the twin", f"({ours}) except all ({theirs})"),
                ("less than the twin", f"({theirs}) except all ({ours})"),
            ):
                if found := self.rows(f"select * from ({query}) order by all limit 4"):
                    self.differences.append(f"{table}: {what}: {found}")
        self._find(
            "jobs seen or changed later than in the twin, or changed before they were seen",
            f"""
            select k.job_kind, k.job_id, k.first_seen_at, t.first_seen_at, k.last_changed_at, t.last_changed_at
            from {self._killed}.jobs as k join {self._twin}.jobs as t using (account, job_kind, job_id)
            where (job_kind, job_id) not in (from gone) and (
                k.first_seen_at > t.first_seen_at or k.last_changed_at > t.last_changed_at
                or k.first_seen_at > k.last_changed_at or k.detail_read_at < k.first_seen_at
            )
            """,
        )
        for view in ("job_throughput_daily", "job_failure_rates_daily") if not self._gone else ():
            ours, theirs = f"from klaviyo.{view}", f"from twin.klaviyo.{view}"
            self._find(f"view {view}", f"(({ours}) except all ({theirs})) union all (({theirs}) except all ({ours}))")

    def compare_with_api(self) -> None:
        """Every job is as the API shows it, or as it showed it last before it left; its children are those of that state."""
        listed = self._story.listed()
        children: dict[str, dict[JobKey, list[str]]] = {
            "job_errors": defaultdict(list),
            "job_linkages": defaultdict(list),
        }
        for table, of_jobs in children.items():
            for kind, job_id, related in self.rows(
                f"select job_kind, job_id, related_id from {self._killed}.{table} order by job_kind, job_id, position"
            ):
                of_jobs[kind, job_id].append(related)
        missing = set(listed)
        for kind, job_id, has_vanished, *state in self.rows(
            f"select job_kind, job_id, vanished_at is not null, {_OBSERVATION} from {self._killed}.jobs"
        ):
            key = (kind, job_id)
            missing.discard(key)
            states = [listed[key]] if key in listed else self._story.states_of(key)
            true = [job for job in states if state_of(job) == tuple(state)]
            if not true:
                self.differences.append(
                    f"jobs: {key} is {state}, which the API {'does' if key in listed else 'did'} not show"
                )
                continue
            if has_vanished != (key not in listed and state[0] not in FINISHED):
                self.differences.append(f"jobs: {key} ({state[0]}) has vanished: {has_vanished}")
            errors = [[error.related_id for error in job.errors or () if not isinstance(error, dict)] for job in true]
            if children["job_errors"][key] not in errors:
                self.differences.append(f"job_errors of {key}: {children['job_errors'][key]}, not {errors[0]}")
            if children["job_linkages"][key] not in [list(job.related_ids or ()) for job in true]:
                self.differences.append(
                    f"job_linkages of {key}, {state}: {len(children['job_linkages'][key])} other rows"
                )
        if missing:
            self.differences.append(f"jobs: missing: {sorted(missing)[:4]}")

    def compare_observations(self) -> None:
        """All of the twin's are there, none twice in a row, and each is true, in the order in which the API showed them."""
        ours, theirs = self._observations(self._killed), self._observations(self._twin)
        for key in sorted(set(ours) | set(theirs)):
            mine = ours.get(key, [])
            if lost := _not_within(theirs.get(key, []), mine):
                self.differences.append(f"job_observations of {key}: {lost} is lost; there are {mine}")
            if any(one == other for one, other in itertools.pairwise(mine)):
                self.differences.append(f"job_observations of {key}: one stands twice in a row: {mine}")
            if invented := _not_within(mine, [state_of(job) for job in self._story.states_of(key)], may_repeat=True):
                self.differences.append(f"job_observations of {key}: {invented} was not shown then: {mine}")
        self._find(
            "jobs whose last observation is another state than their row",
            f"""
            with last as (
                select *, row_number() over (partition by account, job_kind, job_id order by observed_at desc) as nth
                from {self._killed}.job_observations
            )
            select job_kind, job_id, {", ".join(f"(j.{name}, l.{name})" for name in _OBSERVATION.split(", "))}
            from {self._killed}.jobs as j
            left join (from last where nth = 1) as l using (account, job_kind, job_id)
            where row({", ".join(f"j.{name}" for name in _OBSERVATION.split(", "))})
                is distinct from row({", ".join(f"l.{name}" for name in _OBSERVATION.split(", "))})
            """,
        )

    def run_checks(self) -> None:
        """The project's own checks find nothing."""
        for path in sorted(CHECKS.glob("*.sql")):
            query = path.read_text().strip().rstrip(";")
            self._find(f"sql/checks/{path.name}", query)

    def compare_ledger(self, good: Sequence[str], ended: Ended) -> None:
        """Every good run has its rows, every other row tells of a run that was killed, skipped or failed."""
        listings = self.rows(f"select run_id, job_kind, is_complete, coalesce(error, '') from {self._killed}.listings")
        complete = Counter(run_id for run_id, _, is_complete, error in listings if is_complete and not error)
        for run_id in good:
            if complete[run_id] != len(KINDS):
                self.differences.append(f"listings: {complete[run_id]} complete rows of the good run {run_id}")
        others = {run_id for run_id in complete if run_id not in good}
        if len(others) > ended.maybe_loaded:
            self.differences.append(
                f"listings: complete rows of {others}, but {ended.maybe_loaded} killed runs can have loaded"
            )
        for word, least, most in (
            ("interrupted", ended.surely_interrupted, ended.maybe_interrupted),
            ("skipped", ended.surely_skipped, ended.skipped),
        ):
            for kind in KINDS:
                count = sum(row[1] == kind and row[3].startswith(word) for row in listings)
                if not least <= count <= most:
                    self.differences.append(f"listings: {count} rows of {kind} say {word}, not {least} to {most}")
        told = ("interrupted", "skipped")
        if odd := [row for row in listings if row[3] and not row[3].startswith(told) and not ended.failed]:
            self.differences.append(f"listings: {odd[:4]}")
        twin = self.rows(
            f"select job_kind, job_count, page_count from {self._twin}.listings order by started_at desc limit 2"
        )
        last = self.rows(
            f"select job_kind, job_count, page_count from {self._killed}.listings where run_id = '{good[-1]}'"
        )
        if sorted(twin) != sorted(last):
            self.differences.append(f"listings: the good run read {sorted(last)}, the twin {sorted(twin)}")

    def _find(self, what: str, query: str) -> None:
        if found := self.rows(f"select * from ({query}) limit 4"):
            self.differences.append(f"{what}: {found}")

    def _columns(self, schema: str, table: str) -> list[str]:
        catalog, name = schema.replace('"', "").split(".")
        found = self._connection.execute(
            "select column_name from duckdb_columns() where database_name = ? and schema_name = ? and table_name = ? "
            "order by column_name",
            (catalog, name, table),
        )
        return [column for (column,) in found.fetchall()]

    def _observations(self, schema: str) -> dict[JobKey, list[Row]]:
        observations = defaultdict(list)
        for kind, job_id, *state in self.rows(
            f"select job_kind, job_id, {_OBSERVATION} from {schema}.job_observations order by job_kind, job_id, observed_at"
        ):
            observations[kind, job_id].append(tuple(state))
        return observations


def _not_within(wanted: Sequence[Row], states: Sequence[Row], *, may_repeat: bool = False) -> Row | None:
    """Return the first of *wanted* that is not among *states* behind those before it, or None; repeats count as one."""
    place = 0
    for state in wanted:
        while place < len(states) and states[place] != state:
            place += 1
        if place == len(states):
            return state
        place += not may_repeat
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Episodes
# ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Ended:
    """
    How many runs of an episode did not end well, and what the ledger is to say of them.

    Attributes:
        surely_interrupted: Killed while they held the lock, before they could tell the ledger themselves.
        maybe_interrupted: Killed at all.
        maybe_loaded: Killed when their load may have been complete.
        skipped: Ended with 6.
        surely_skipped: Those among them before the last good run, which told the ledger.
        failed: Ended otherwise: the API gave up, the disk was full, or a signal asked it to.
    """

    surely_interrupted: int = 0
    maybe_interrupted: int = 0
    maybe_loaded: int = 0
    skipped: int = 0
    surely_skipped: int = 0
    failed: int = 0


@dataclass
class Report:
    """What was done, and what came of it."""

    seed: int
    kills: int = 0
    stops: int = 0
    rounds: int = 0
    left_wal: int = 0
    left_behind: int = 0
    starved: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    aimed: Counter[str] = field(default_factory=Counter)
    by_step: Counter[str] = field(default_factory=Counter)
    by_variant: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    stop_seconds: list[float] = field(default_factory=list)
    skip_seconds: list[float] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def render(self) -> str:
        """Return the summary, the verdict last."""

        def counts(counter: Counter[str], order: Iterable[str] = ()) -> str:
            names = [*(name for name in order if name in counter), *(name for name in counter if name not in order)]
            return ", ".join(f"{name} {counter[name]}" for name in names)

        lines = [
            f"seed {self.seed}: {self.rounds} rounds in {(time.monotonic() - self.started) / 60:.1f} minutes",
            f"kills aimed at: {counts(self.aimed, (*STEPS, 'anywhere'))}",
            f"kills by step: {counts(self.by_step, ('start', *STEPS))}",
            f"kills by variant: {counts(self.by_variant, VARIANTS)}",
            f"kills that left a .wal: {self.left_wal}",
            f"temporary files and folders found after good runs, counted at each: {self.left_behind}",
        ]
        if self.stops:
            lines.append(
                f"stopped by SIGTERM or SIGINT: {self.stops}, longest {max(self.stop_seconds, default=0):.1f} s"
            )
        if self.starved:
            lines.append(f"runs on a full disk by exit code: {counts(self.starved)}")
        if self.pairs:
            lines.append(
                f"pairs by exit codes: {counts(self.pairs)}; "
                f"the loser knew after {max(self.skip_seconds, default=0):.1f} s at the most"
            )
        return "\n".join([*lines, f"{self.kills} kills, {len(self.differences)} differences"])


class DifferenceError(Exception):
    """Something is not as it must be."""


class Disk:
    """
    A place for warehouses that can be made full.

    A tmpfs of its own where one can be mounted, else a bound on the size of files (`RLIMIT_FSIZE`), which is told.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "disk"
        self.folder.mkdir()
        self.is_mounted = False
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(self.folder)]
            subprocess.run(command, check=True, capture_output=True)
            self.is_mounted = True
        self._filler = self.folder / "filler"

    def fill(self, left_bytes: int) -> None:
        """Leave only *left_bytes* free."""
        if self.is_mounted:
            free = shutil.disk_usage(self.folder).free
            with self._filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(free - left_bytes, 1))

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the disk back."""
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class Episode:
    """One account, one variant, and the two warehouses."""

    def __init__(
        self, runs: Runs, folder: Path, report: Report, number: int, variant: str, schedule: Schedule, disk: Disk | None
    ) -> None:
        self.rng = random.Random(f"{report.seed}/{number}/{variant}")
        # Their own, so that the story of an episode stays the same wherever kills land.
        self._moments = random.Random(f"{report.seed}/{number}/moments")
        self._turn = 5 * number
        self._runs = runs
        self._report = report
        self._schedule = schedule
        self._variant = variant
        self._number = number
        self._disk = disk if variant == "full-disk" else None
        self._folder = folder
        self._folder.mkdir(parents=True)
        base = self._disk.folder / f"episode-{number}" if self._disk else self._folder
        base.mkdir(exist_ok=True)
        self.killed, self.twin = base / "killed.duckdb", self._folder / "undisturbed.duckdb"
        # In every second episode runs publish a copy for readers.
        self._copy = base / "copy.duckdb" if number % 2 else None
        self._work = base / "work"
        self._gone: set[JobKey] = set()
        # One that came back unchanged is not read again by the runs that have it, but is by the twin.
        self._ever_gone: set[JobKey] = set()
        self._good: list[str] = []
        self._ended = Ended()
        self._last_good = -1
        self._history: list[str] = []
        self._all: list[Run] = []
        self._sandbox = Sandbox(clock=START)
        self.story: Story

    def play(self, rounds: int, kills: int) -> None:
        """Play at most *rounds* rounds, until *kills* kills have been made in all; differences go to the report."""
        try:
            with self._sandbox:
                self.story = Story(
                    self._sandbox,
                    self.rng,
                    is_large=self._variant == "large",
                    may_leave=self._variant == "leavers",
                )
                for _ in range(rounds):
                    if self._report.kills >= kills:
                        break
                    self._play_round(kills)
        except DifferenceError as difference:
            self._tell(str(difference))
        except Exception:
            self._tell(f"the harness failed:\n{traceback.format_exc()}")
        finally:
            for run in self._all:
                run.send(signal.SIGKILL)

    def _play_round(self, kills: int) -> None:
        rng, story = self.rng, self.story
        self._report.rounds += 1
        self._history.append(f"round {self._report.rounds}")
        story.begin_round()
        self._sandbox.faults[:] = _faults(rng) if self._variant == "faults" else []
        for nth in range(3 if self._schedule.is_exact else rng.choice((1, 2, 2, 3))):
            if nth:
                story.go_on()
            if self._report.kills < kills:
                self._disturb()
        if rng.random() < 0.6:
            story.go_on()
        if self._disk:
            self._disk.free()
        self._gone |= story.seen_only_since(self._last_good)
        self._ever_gone |= self._gone
        self._gone -= set(story.listed())
        if self._variant == "pairs":
            self._run_pair()
        else:
            self._run_good("good run")
        self._last_good = story.mark()
        faults, self._sandbox.faults[:] = list(self._sandbox.faults), []
        self._expect(self._run(self.twin, is_disturbed=False), {0}, "the twin")
        self._compare("after the good run")
        if rng.random() < 0.5:
            self._run_quiet(faults)

    def _run_quiet(self, faults: list[Fault]) -> None:
        """Run once more at the same instant: it reads no detail and writes to the ledger only."""
        self._sandbox.faults[:] = faults
        self._sandbox.reset_requests()
        before = self._count_rows()
        self._run_good("quiet run")
        if details := [record.path for record in self._sandbox.requests if record.endpoint == "detail"]:
            raise DifferenceError(f"a quiet run reads details: {details[:4]}")
        if (after := self._count_rows()) != before:
            raise DifferenceError(f"a quiet run writes: {before} rows became {after}")
        self._compare("after the quiet run")

    # -- runs that do not end well --

    def _next_moment(self) -> Moment:
        self._turn += 1
        return self._schedule.moment(self._turn, self._moments, publishes=self._copy is not None)

    def _disturb(self) -> None:
        """Start a run and end it early, in the way that is due."""
        rng = self.rng
        if self._disk and rng.random() < 0.6:
            self._starve()
            return
        number = rng.choice((signal.SIGKILL,) * 5 + (signal.SIGTERM, signal.SIGINT))
        if self._schedule.is_exact or self._schedule.is_kill_only:
            number = signal.SIGKILL
        moment = self._next_moment()
        is_starved = self._disk is not None and rng.random() < 0.3
        if self._disk and is_starved:
            self._disk.fill(rng.randrange(0, 6 * 2**20))
        run = self._start(self.killed, is_fresh=rng.random() < 0.05)
        self._end(run, number, moment, is_starved=is_starved)
        if self._disk:
            self._disk.free()

    def _end(self, run: Run, number: signal.Signals, moment: Moment, *, is_starved: bool = False) -> None:
        if moment.step:
            run.wait_for_step(moment.step)
        time.sleep(moment.seconds)
        sent = time.monotonic()
        step = run.last_step
        run.send(number)
        code = run.wait()
        step = run.last_step if number == signal.SIGKILL else step
        self._history.append(f"  {number.name} at {step} ({moment}): exit {code}, last step {run.last_step}")
        if code is None:
            raise DifferenceError(f"{number.name} does not end a run at step {step}")
        if code == -signal.SIGKILL:
            self._report.kills += 1
            self._report.by_step[step] += 1
            self._report.aimed[moment.step or "anywhere"] += 1
            self._report.by_variant[self._variant] += 1
            self._report.left_wal += self.killed.with_name(f"{self.killed.name}.wal").exists()
            self._ended.maybe_interrupted += 1
            # On a full disk it may have been unable to note that it held the lock.
            self._ended.surely_interrupted += (
                step not in ("start", "lock", "ledger", "publish", "unlock") and self._disk is None
            )
            self._ended.maybe_loaded += step not in ("start", "lock", "recover", "recall", "extract")
            return
        if is_starved and code == 7:
            self._count_failed()
            return
        if number != signal.SIGKILL and (code != 0 or step not in ("ledger", "publish", "unlock")):
            self._report.stops += 1
            self._report.stop_seconds.append(time.monotonic() - sent)
            self._count_failed()
            # Before the first step Python's own handlers are in place, and after the last.
            is_outside = step == "start" or run.last_step == "unlock"
            allowed = {128 + number, -number, 1} if is_outside else {128 + number}
            self._expect(run, allowed, f"a run stopped by {number.name} at {step}")
            if time.monotonic() - sent > STOP_SECONDS:
                raise DifferenceError(f"{number.name} at {step}: the run ended after {time.monotonic() - sent:.1f} s")
            return
        if moment.step and all(name != moment.step for name, _ in run.steps):
            raise DifferenceError(f"a run ends with {code} and never says `step {moment.step}`")
        # It was done before the signal came: one good run more, which the twin did not have.
        self._expect_good(run, "a run that was too quick to be killed")

    def _starve(self) -> None:
        """Run with too little room on the disk, somewhere between none and enough."""
        assert self._disk is not None
        left = int(self.rng.choice((0, 4096, 2**16, 2**18, 2**20, 3 * 2**20, 8 * 2**20)) * self.rng.uniform(0.5, 1.5))
        self._disk.fill(left)
        limit = 0
        if not self._disk.is_mounted:
            limit = (self.killed.stat().st_size if self.killed.exists() else 4096) + left
        run = self._start(self.killed, file_bytes=limit)
        code = run.wait()
        self._disk.free()
        self._history.append(f"  {left} bytes left on the disk: exit {code}, last step {run.last_step}")
        self._report.starved[str(code)] += 1
        if code == 0:
            self._expect_good(run, "a run on a nearly full disk")
            return
        self._count_failed()
        self._expect(run, {7}, "a run on a full disk")

    def _count_failed(self) -> None:
        """Count a run that failed: the ledger may say so, and its load may have been complete before."""
        self._ended.failed += 1
        self._ended.maybe_interrupted += 1
        self._ended.maybe_loaded += 1

    # -- runs that end well --

    def _run_good(self, what: str) -> None:
        """Run until a run ends with 0: at once, unless the API fails one time in five and may have failed too often."""
        self._ended.surely_skipped = self._ended.skipped
        for _ in range(6):
            run = self._run(self.killed)
            self._history.append(f"  {what}: exit {run.wait()}, {run.seconds:.1f} s")
            if self._variant == "faults" and run.wait() in (4, 5):
                self._ended.failed += 1
                continue
            break
        self._expect_good(run, what)

    def _run_pair(self) -> None:
        """Start two runs together; one of them does the work, and the other waits, goes away, or comes in time."""
        way = self.rng.choice(("both at once", "both wait", "holder killed"))
        wait = [] if way == "both at once" else ["--wait-lock", "60"]
        first, second = self._start(self.killed, *wait), self._start(self.killed, *wait)
        if way == "holder killed":
            holder = self._holder_of(first, second)
            waiter = second if holder is first else first
            if holder is not None:
                self._end(holder, signal.SIGKILL, self._next_moment())
                self._expect_good(waiter, "a run that waited for one that was killed")
                self._report.pairs["killed and 0"] += 1
                return
        codes = [run.wait() for run in (first, second)]
        self._history.append(f"  {way}: exit {codes}")
        self._report.pairs[" and ".join(sorted(map(str, codes)))] += 1
        losers = [run for run in (first, second) if run.wait() == 6]
        for run in (first, second):
            if run in losers and way == "both at once" and len(losers) == 1:
                self._ended.skipped += 1
                self._report.skip_seconds.append(run.seconds)
                other = second if run is first else first
                if str(other.pid) not in "\n".join(run.lines):
                    raise DifferenceError(f"the loser does not name the holder's pid {other.pid}: {run.lines[-4:]}")
            else:
                self._expect_good(run, f"one of two runs ({way})")

    def _holder_of(self, *runs: Run) -> Run | None:
        """Return the run that gets the lock; None if one is done before the other comes."""
        deadline = time.monotonic() + STUCK_SECONDS
        while time.monotonic() < deadline:
            for run in runs:
                if run.last_step not in ("start", "lock"):
                    return run if run.wait(0) is None else None
            time.sleep(0.005)
        return None

    def _run(self, warehouse: Path, *, is_disturbed: bool = True) -> Run:
        run = self._start(warehouse, is_disturbed=is_disturbed)
        if run.wait() is None:
            raise DifferenceError(f"stuck: {run.words} runs for {STUCK_SECONDS:.0f} s, step {run.last_step}")
        return run

    def _start(
        self, warehouse: Path, *arguments: str, is_fresh: bool = False, is_disturbed: bool = True, file_bytes: int = 0
    ) -> Run:
        work = self._work if is_disturbed else self._folder / "work-of-the-twin"
        if self._variant == "lost-directory":
            shutil.rmtree(work, ignore_errors=True)
        for name in ("cwd", "tmp", "dlt"):
            (work / name).mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "HOME": str(work),
            "TMPDIR": str(work / "tmp"),
            "DLT_DATA_DIR": str(work / "dlt"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "SOURCES__KLAVIYO_JOBS__API_KEY": self._sandbox.key,
            "SOURCES__KLAVIYO_JOBS__BASE_URL": self._sandbox.base_url,
            "SOURCES__KLAVIYO_JOBS__KINDS": json.dumps(KINDS),
            "SOURCES__KLAVIYO_JOBS__MAX_ATTEMPTS": "12",
            "SOURCES__KLAVIYO_JOBS__BACKOFF_SECONDS": "0.02",
            "SOURCES__KLAVIYO_JOBS__MAX_TOTAL_WAIT_SECONDS": "60",
        }
        if is_disturbed and self._copy:
            environment["SOURCES__KLAVIYO_JOBS__BI_COPY"] = str(self._copy)
        run = self._runs.start(
            ["run", "--json", "--warehouse", str(warehouse), *arguments],
            directory=work / "cwd",
            environment=environment,
            is_fresh=is_fresh,
            file_bytes=file_bytes,
        )
        self._all.append(run)
        return run

    # -- verdicts --

    def _expect_good(self, run: Run, what: str) -> None:
        self._expect(run, {0}, what)
        self._good.append(run.run_id)
        self._schedule.learn(run)

    def _expect(self, run: Run, codes: set[int], what: str) -> None:
        code = run.wait()
        if code is None:
            raise DifferenceError(f"stuck: {what} runs for {STUCK_SECONDS:.0f} s, step {run.last_step}")
        if code not in codes:
            raise DifferenceError(
                f"{what} ends with {code}, not {sorted(codes)}:\n    " + "\n    ".join(run.lines[-12:])
            )

    def _compare(self, when: str) -> None:
        with Comparison(self.killed, self.twin, self.story, self._gone, self._ever_gone) as comparison:
            comparison.compare(self._good, self._ended)
        if self._copy:
            comparison.differences.extend(_differences_of_copy(self.killed, self._copy))
        self._report.left_behind += len(list((self._work / "tmp").glob("*")))
        self._report.left_behind += len(list(self.killed.parent.glob(".copy.duckdb.*.new")))
        if comparison.differences:
            raise DifferenceError(f"{when}:\n    " + "\n    ".join(comparison.differences))

    def _count_rows(self) -> dict[str, int]:
        with duckdb.connect(str(self.killed), read_only=True) as connection:
            return {
                table: connection.execute(f"select count(*) from klaviyo_raw.{table}").fetchall()[0][0]
                for table in (*_COMPARED, "job_observations")
            }

    def _tell(self, difference: str) -> None:
        """Report a difference, and keep all there is to look at."""
        for run in self._all:
            run.send(signal.SIGKILL)
            run.wait(5)
        kept = Path(tempfile.mkdtemp(prefix=f"klaviyo-chaos-{self._report.seed}-{self._number}-"))
        for warehouse in (self.killed, self.twin):
            for path in warehouse.parent.glob(f"{warehouse.name}*"):
                shutil.copy(path, kept / path.name)
        text = [
            f"DIFFERENCE, seed {self._report.seed}, episode {self._number} ({self._variant}): {difference}",
            *self._history[-16:],
            f"  kept: {kept}; again: --seed {self._report.seed} --episode {self._number}",
        ]
        logs = [f"{run.pid} {run.words}: exit {run.wait(0)}\n" + "\n".join(run.lines) for run in self._all]
        (kept / "runs.log").write_text("\n\n".join(logs))
        (kept / "difference.txt").write_text("\n".join(text))
        self._report.differences.append(difference)
        say("\n".join(text))


def _differences_of_copy(warehouse: Path, copy: Path) -> list[str]:
    """Return what the published copy holds more or less than the warehouse."""
    with duckdb.connect(str(copy), read_only=True) as connection:
        connection.execute(f"attach '{warehouse}' as warehouse (read_only)")
        return [
            f"the published copy of {table} differs"
            for table in (*_COMPARED, "job_observations", "listings")
            if connection.execute(
                f"((from klaviyo_raw.{table}) except all (from warehouse.klaviyo_raw.{table})) union all "
                f"((from warehouse.klaviyo_raw.{table}) except all (from klaviyo_raw.{table})) limit 1"
            ).fetchone()
        ]


def _faults(rng: random.Random) -> list[Fault]:
    """One request in five fails, each time in another way."""
    ways = [
        ("status", "503"),
        ("429", "0"),
        ("reset", ""),
        ("cut", ""),
        ("empty-body", ""),
        ("invalid-json", ""),
        ("drip", "0.1"),
        ("slow", "0.1"),
    ]
    return [Fault(name, argument, one_in=5 * len(ways), seed=rng.randrange(2**31)) for name, argument in ways]


# ---------------------------------------------------------------------------------------------------------------------
# Moments
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """When to kill: so many seconds after a step began, or after the start if none is named."""

    step: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s after {self.step or 'the start'}"


class Schedule:
    """
    Deals out moments: each step in turn, at its very beginning and within it; and instants anywhere in a run.

    Args:
        is_exact: Only the beginnings of the steps.
        is_kill_only: Whether SIGKILL is the only signal.
    """

    def __init__(self, *, is_exact: bool = False, is_kill_only: bool = False) -> None:
        # Steps and what they usually take; others are learnt from the first run that has them.
        self._seconds = dict.fromkeys(
            ("lock", "recover", "recall", "extract", "load", "views", "checks", "ledger", "publish", "unlock"), 0.1
        )
        self._whole = 2.0
        self.is_exact = is_exact
        self.is_kill_only = is_kill_only

    def learn(self, run: Run) -> None:
        """Take from a good run which steps there are and how long they last."""
        self._whole = 0.7 * self._whole + 0.3 * run.seconds
        ends = [*(began for _, began in run.steps), run.ended][1:]
        for (step, began), ended in zip(run.steps, ends, strict=True):
            self._seconds[step] = 0.7 * self._seconds.get(step, ended - began) + 0.3 * (ended - began)

    def moment(self, turn: int, rng: random.Random, *, publishes: bool) -> Moment:
        """Return the moment that is due at *turn*, in a run that publishes a copy or not."""
        steps = [step for step in STEPS if step in self._seconds and (publishes or step != "publish")]
        way, share = rng.random(), rng.random()
        if self.is_exact:
            return Moment(steps[turn % len(steps)], 0.0)
        if turn % 4 == 0:
            return Moment("", share * self._whole)
        step = steps[(turn - turn // 4) % len(steps)]
        if way < 0.3:
            return Moment(step, 0.0)
        if way < 0.5:
            return Moment(step, share * 0.03)
        return Moment(step, share * max(self._seconds[step], 0.01))


# ---------------------------------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------------------------------


def play(
    kills: int,
    seed: int,
    variants: Sequence[str],
    *,
    rounds: int = 4,
    episodes: Sequence[int] = (),
    is_exact: bool = False,
    is_kill_only: bool = False,
) -> Report:
    """Play episodes, *variants* in turn, until *kills* runs have been killed, or those of the numbers *episodes*."""
    report = Report(seed)
    schedule = Schedule(is_exact=is_exact, is_kill_only=is_kill_only)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)))
        (folder / "runs").mkdir()
        runs = Runs(folder / "runs")
        stack.callback(runs.close)
        disk = None
        if "full-disk" in variants:
            disk = Disk(folder)
            stack.callback(disk.close)
            say(f"full disk: {'a tmpfs' if disk.is_mounted else 'no tmpfs can be mounted; RLIMIT_FSIZE instead'}")
        for number in episodes or itertools.count(1):
            if report.kills >= kills or len(report.differences) >= MOST_DIFFERENCES:
                break
            variant = variants[(number - 1) % len(variants)]
            episode = Episode(runs, folder / f"episode-{number}", report, number, variant, schedule, disk)
            episode.play(rounds, kills)
            shutil.rmtree(folder / f"episode-{number}", ignore_errors=True)
            shutil.rmtree(episode.killed.parent, ignore_errors=True)
            say(f"episode {number} ({variant}): {report.kills} kills so far, {len(report.differences)} differences")
    return report


def main() -> NoReturn:
    """Parse the arguments, play, print the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
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
    parser.add_argument("--serve-forks", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_forks is not None:
        serve_forks(socket.socket(fileno=options.serve_forks))
        sys.exit(0)
    asked = {
        "faults": options.faults,
        "pairs": options.pairs,
        "lost-directory": options.lose_working_directory,
        "full-disk": options.full_disk,
    }
    variants = options.only or ["plain", "large", "leavers", *(name for name, is_asked in asked.items() if is_asked)]
    if "full-disk" in variants and "CHAOS_HAS_NAMESPACE" not in os.environ and _can_unshare():
        os.environ["CHAOS_HAS_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-rm", sys.executable, *sys.argv])  # noqa: S606
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
    )
    say(report.render())
    sys.exit(1 if report.differences else 0)


def _can_unshare() -> bool:
    """Tell whether a mount of our own, which goes when we go, can be made."""
    probe = "mount -t tmpfs -o size=1m tmpfs /mnt"
    with contextlib.suppress(OSError):
        return subprocess.run(["unshare", "-rm", "sh", "-c", probe], capture_output=True, check=False).returncode == 0
    return False


if __name__ == "__main__":
    main()
