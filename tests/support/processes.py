"""The command, the sandbox, and readers of a warehouse, as processes of their own."""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from klaviyo_sandbox import Sandbox
from support.forking import Forked

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("SOURCES__")},
    "COLUMNS": "160",
    "NO_COLOR": "1",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
}


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `klaviyo-jobs` in *folder* with *environment* beside the machine's own."""
    with tempfile.TemporaryDirectory() as outputs:
        stdout, stderr = Path(outputs) / "stdout", Path(outputs) / "stderr"
        asked = {**ENVIRONMENT, "DLT_DATA_DIR": str(folder / "dlt"), **environment}
        process = Forked(_fork_server(), list(arguments), folder, asked, stdout, stderr)
        return subprocess.CompletedProcess(arguments, process.wait(120), stdout.read_text(), stderr.read_text())


@functools.cache
def _fork_server() -> Path:
    """Start the server that forks, once a test process, and return where its socket is; it ends when we do."""
    path = Path(tempfile.mkdtemp(prefix="klaviyo-jobs-tests-")) / "socket"
    server = subprocess.Popen(
        [sys.executable, "-m", "support.forking", str(path)],
        cwd=Path(__file__).parent.parent,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(shutil.rmtree, path.parent)
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    return path


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
