"""Runs of the command, their log lines as they come, and their ends."""

from __future__ import annotations

import itertools
import json
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from support.forking import Forked, ForkServer

# A run takes one to three seconds; on a machine that is busy with other things, ten times that.
STUCK_SECONDS: Final = 120.0
_STEP_LINE: Final = re.compile(r"\bstep ([a-z]+)\s*$")


class Run:
    """A run under way or ended: a process group of its own, its log lines as they come, its end."""

    def __init__(self, process: Forked, stderr_pipe: int, stdout_path: Path, words: str) -> None:
        self.started = time.monotonic()
        self.ended = 0.0
        self.words = words
        self.lines: list[str] = []
        self.steps: list[tuple[str, float]] = []
        self._news = threading.Condition()
        self._stdout_path = stdout_path
        self._process = process
        self.pid = process.pid
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
        """Send a signal to the process and its children, unless it has ended."""
        self._process.send(number)

    def wait(self, seconds: float = STUCK_SECONDS) -> int | None:
        """Return the exit code, negative for a signal that ended it, or None if it is still running after *seconds*."""
        code = self._process.wait(seconds)
        if code is not None and not self.ended:
            self.ended = time.monotonic()
            self._reader.join(10)
        return code

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
        self._server = ForkServer()

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
        process = self._server.start(
            arguments,
            folder=directory,
            environment=environment,
            stdout=os.open(stdout_path, os.O_CREAT | os.O_WRONLY),
            stderr=stderr_writes,
            is_fresh=is_fresh,
            file_bytes=file_bytes,
        )
        return Run(process, stderr_reads, stdout_path, " ".join(arguments))

    def close(self) -> None:
        """End the process that forks."""
        self._server.close()
