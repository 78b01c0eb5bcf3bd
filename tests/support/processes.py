"""The command, the sandbox, and readers of a warehouse, as processes of their own."""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from klaviyo_sandbox import Sandbox
from support.forking import Forked, ForkServer
from support.waiting import wait_until

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("SOURCES__")},
    "COLUMNS": "160",
    "NO_COLOR": "1",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
}


class Process:
    """The command, or another program, forked: under way, or ended."""

    def __init__(self, forked: Forked, stdout: Path, stderr: Path) -> None:
        self.pid = forked.pid
        self.returncode: int | None = None
        self._forked = forked
        self._stdout = stdout
        self._stderr = stderr

    @property
    def stdout(self) -> str:
        """What it has written so far."""
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        """What it has logged so far."""
        return self._stderr.read_text()

    def wait_for_log(self, text: str) -> None:
        """Wait until it has logged *text*."""
        wait_until(lambda: text in self.stderr or self._forked.wait(0) is not None, seconds=60)
        assert text in self.stderr, f"{text!r} was never logged"

    def send_signal(self, number: int) -> None:
        """Send a signal to it and to its children."""
        self._forked.send(number)

    def wait(self, seconds: float = 120) -> int:
        """Return its exit code, negative for a signal that ended it."""
        self.returncode = self._forked.wait(seconds)
        if self.returncode is None:
            raise TimeoutError(f"process {self.pid} does not end: {self.stderr}")
        return self.returncode


@contextmanager
def started(
    folder: Path, *arguments: str, program: str | None = None, environment: Mapping[str, str]
) -> Iterator[Process]:
    """Run `klaviyo-jobs`, or *program* (Python) in its place, in *folder* beside the block, and no longer than that."""
    with tempfile.TemporaryDirectory() as outputs:
        stdout, stderr = Path(outputs, "stdout"), Path(outputs, "stderr")
        forked = _fork_server().start(
            arguments,
            folder=folder,
            environment=environment,
            stdout=os.open(stdout, os.O_CREAT | os.O_WRONLY),
            stderr=os.open(stderr, os.O_CREAT | os.O_WRONLY),
            program=program,
        )
        process = Process(forked, stdout, stderr)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `klaviyo-jobs` in *folder* with *environment* beside the machine's own."""
    given = {**ENVIRONMENT, "DLT_DATA_DIR": str(folder / "dlt"), **environment}
    with started(folder, *arguments, environment=given) as process:
        return subprocess.CompletedProcess(arguments, process.wait(), process.stdout, process.stderr)


@functools.cache
def _fork_server() -> ForkServer:
    """One for all tests of a process; it ends when that does."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def settings(sandbox: Sandbox, **others: str) -> dict[str, str]:
    """The environment that points the command at *sandbox*."""
    given = {"base_url": sandbox.base_url, "api_key": sandbox.key, **others}
    return {f"SOURCES__KLAVIYO_JOBS__{name.upper()}": value for name, value in given.items()}


def assert_failed(
    ended: subprocess.CompletedProcess[str], exit_code: int, message: str, *, data: str, next_step: str
) -> None:
    """The process ended with *exit_code* and the three parts of a message on stderr, and no traceback or key."""
    assert ended.returncode == exit_code, ended.stderr
    lines = ended.stderr.splitlines()
    [start] = [number for number, line in enumerate(lines) if re.match(r"\w+Error: ", line)]
    assert re.search(message, lines[start])
    assert lines[start + 1].startswith("  Data: ")
    assert re.search(data, lines[start + 1])
    assert lines[start + 2].startswith("  Next: ")
    assert re.search(next_step, lines[start + 2])
    assert "Traceback" not in ended.stderr + ended.stdout
    assert_no_key(ended)


def assert_no_key(ended: subprocess.CompletedProcess[str]) -> None:
    """The process wrote nothing that looks like a key."""
    assert "pk_" not in ended.stdout + ended.stderr


@contextmanager
def sandbox_process(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """The sandbox as a program that does not share this one's interpreter, and its ready line."""
    with subprocess.Popen(
        [sys.executable, "-m", "klaviyo_sandbox", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def reader(path: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Another program that has the file open for reading."""
    code = f"import duckdb,time; c=duckdb.connect({str(path)!r}, read_only=True); print('open', flush=True); time.sleep({seconds})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()
