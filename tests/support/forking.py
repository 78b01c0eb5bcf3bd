"""
The command as a process that is forked from one which has imported dlt already.

To import it takes most of a second, which most tests of the command would spend on nothing they claim. The process is as real as
any: it has its own environment, folder, output and end, and it runs `python -m klaviyo_jobs` from the first line of that
on. What start-up costs, and what a process has not imported, is for processes of their own: see `processes.py`.

In:     one line of JSON a connection on a Unix socket: arguments, folder, environment, files for stdout and stderr.
Out:    two lines: the id of the process, and, when it has ended, its exit code as `subprocess` has it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final

# What commands import sooner or later. Not DuckDB and Arrow, which start threads when they are imported: no thread
# outlives a fork. Nor what looks at the environment when it is imported.
_MODULES: Final = (
    "aiohttp.web",
    "dlt",
    "dlt.destinations.impl.duckdb.factory",
    "dlt.extract.extract",
    "dlt.load.load",
    "dlt.normalize.normalize",
    "klaviyo_jobs.api.client",
    "klaviyo_jobs.model.parse",
    "klaviyo_jobs.settings",
    "rich.progress",
    "sqlglot",
    "typer",
)


class ForkServer:
    """Forks a process for each connection, and tells it how that process ended."""

    def __init__(self, path: str) -> None:
        self._running: dict[int, socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        # A child that ends wakes the loop up.
        self._wakeup, wakeup_end = os.pipe()
        for end in (self._wakeup, wakeup_end):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_end)

    def serve(self) -> dict[str, Any] | None:
        """Serve until stdin ends; in the child return what it is to run, in the server at last None."""
        with selectors.DefaultSelector() as selector:
            for readable in (self._listener, self._wakeup, sys.stdin):
                selector.register(readable, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is sys.stdin:
                        return None
                    if key.fileobj is self._listener:
                        asked = self._fork()
                        if asked is not None:
                            return asked
                    else:
                        self._reap()

    def _fork(self) -> dict[str, Any] | None:
        connection, _ = self._listener.accept()
        with connection.makefile() as lines:
            asked: dict[str, Any] = json.loads(lines.readline())
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (connection, self._listener, *self._running.values()):
                each.close()
            return asked
        self._running[pid] = connection
        connection.sendall(b"%d\n" % pid)
        return None

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        for pid in list(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                connection = self._running.pop(pid)
                with contextlib.suppress(BrokenPipeError):
                    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
                connection.close()


def _become(asked: dict[str, Any]) -> None:
    """Take on what makes the process one of its own."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        opened = os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.close(devnull)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv[1:] = asked["arguments"]
    # As `python -m` has it: the folder stands first on the path, and then what the environment names.
    sys.path[:1] = [asked["folder"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


def main(path: str) -> None:
    """Serve on a socket at *path* until stdin ends; each child becomes the command."""
    for module in _MODULES:
        importlib.import_module(module)
    server = ForkServer(path)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    asked = server.serve()
    if asked is not None:
        _become(asked)
        runpy.run_module("klaviyo_jobs", run_name="__main__", alter_sys=True)


class Forked:
    """A process that the server of *socket_path* forked."""

    def __init__(
        self,
        socket_path: Path,
        arguments: list[str],
        folder: Path,
        environment: dict[str, str],
        stdout: Path,
        stderr: Path,
    ) -> None:
        asked = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment,
            "stdout": str(stdout),
            "stderr": str(stderr),
        }
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(socket_path))
        self._connection.sendall(json.dumps(asked).encode() + b"\n")
        self._lines = self._connection.makefile()
        self.pid = int(self._lines.readline())

    def wait(self, timeout: float) -> int:
        """Return the exit code; a process that takes more than *timeout* seconds is killed."""
        self._connection.settimeout(timeout)
        try:
            return int(self._lines.readline())
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            raise
        finally:
            self._lines.close()
            self._connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
