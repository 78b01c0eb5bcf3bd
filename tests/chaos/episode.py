"""One account from its first run on, in one variant: rounds of runs that are disturbed, and what is true after each."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb

from chaos.comparison import COMPARED, VIEWS, Comparison, differences_of_copy
from chaos.disk import Disk
from chaos.report import DifferenceError, Ended, Report, say
from chaos.run import STUCK_SECONDS, Run, Runs
from chaos.schedule import Moment, Schedule
from chaos.story import KINDS, KINDS_OF_CONTRACT_1, START, JobKey, Story
from klaviyo_sandbox import Fault, Sandbox
from support.places import Place, put_back_to_contract_1

STOP_SECONDS: Final = 5.0


class Episode:
    """One account, one variant, and the two warehouses."""

    def __init__(
        self,
        runs: Runs,
        folder: Path,
        report: Report,
        number: int,
        variant: str,
        schedule: Schedule,
        disk: Disk | None,
        place_of: Callable[[Path], Place],
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
        # What the killed runs leave is looked at in a file: the warehouse itself, or its rows.
        self.killed, self.twin = base / "killed.duckdb", self._folder / "undisturbed.duckdb"
        self._place = place_of(self.killed)
        # In every second episode runs publish a copy for readers.
        self._copy = base / "copy.duckdb" if number % 2 and self._place.name == "duckdb" else None
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
                    kinds=KINDS_OF_CONTRACT_1 if self._variant == "upgrades" else KINDS,
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
            self._place.clear()

    def _play_round(self, kills: int) -> None:
        rng, story = self.rng, self.story
        self._report.rounds += 1
        self._history.append(f"round {self._report.rounds}")
        story.begin_round()
        self._sandbox.faults[:] = _faults(rng) if self._variant == "faults" else []
        if self._variant == "upgrades" and self._good:
            put_back_to_contract_1(self._place)
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
            "SOURCES__KLAVIYO_JOBS__KINDS": json.dumps(self.story.kinds),
            "SOURCES__KLAVIYO_JOBS__MAX_ATTEMPTS": "12",
            "SOURCES__KLAVIYO_JOBS__BACKOFF_SECONDS": "0.02",
            "SOURCES__KLAVIYO_JOBS__MAX_TOTAL_WAIT_SECONDS": "60",
        }
        where = ["--warehouse", str(warehouse)]
        if is_disturbed and self._place.name != "duckdb":
            environment |= self._place.environment
            where = ["--destination", self._place.name]
        if is_disturbed and self._copy:
            environment["SOURCES__KLAVIYO_JOBS__BI_COPY"] = str(self._copy)
        run = self._runs.start(
            ["run", "--verbose", "--json", *where, *arguments],
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
        self._look()
        ignored = ("content_hash",) if self._variant == "upgrades" else ()
        with Comparison(self.killed, self.twin, self.story, self._gone, self._ever_gone, ignored) as comparison:
            comparison.compare(self._good, self._ended)
        if self._copy:
            comparison.differences.extend(differences_of_copy(self.killed, self._copy))
        self._report.left_behind += len(list((self._work / "tmp").glob("*")))
        self._report.left_behind += len(list(self.killed.parent.glob(".copy.duckdb.*.new")))
        if comparison.differences:
            raise DifferenceError(f"{when}:\n    " + "\n    ".join(comparison.differences))

    def _look(self) -> None:
        """Have what the killed runs left in the file that is looked at."""
        if self._place.name != "duckdb":
            self.killed.unlink(missing_ok=True)
            self._place.export(self.killed, VIEWS)

    def _count_rows(self) -> dict[str, int]:
        self._look()
        with duckdb.connect(str(self.killed), read_only=True) as connection:
            return {
                table: connection.execute(f"select count(*) from klaviyo_raw.{table}").fetchall()[0][0]
                for table in (*COMPARED, "job_observations")
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
