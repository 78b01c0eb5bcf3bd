"""
Runs of the command, and of other programs, each a process forked from one that has imported what a run needs.

To import dlt, DuckDB and Arrow takes a second, which tests of what the command says and leaves spend on nothing they claim,
and a run that is killed a hundred times spends a hundred times. A forked process is as real as any: it has an environment,
a folder, output, a process group and an end of its own, and it is `python -m klaviyo_jobs` from the first line of that on.
What claims something of start-up or memory starts a process anew: see `processes.py`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import duckdb

# What runs import sooner or later, some of it in their middle; nothing that looks at the environment when it is imported.
_MODULES: Final = (
    "aiohttp.web",
    "dlt.common.libs.pyarrow",
    "dlt.destinations.impl.duckdb.duck",
    "dlt.sources.helpers.requests",
    "klaviyo_jobs.monitor.alarms",
    "klaviyo_jobs.monitor.check",
    "klaviyo_jobs.monitor.doctor.diagnosis",
    "klaviyo_jobs.monitor.report",
    "klaviyo_jobs.runs.run",
    "pluggy",
    "pyarrow.compute",
    "pyarrow.parquet",
    "rich.progress",
    "typer",
)
# Others import it where it is installed.
_IF_INSTALLED: Final = "pydantic.type_adapter"
# On a machine that is busy with other things, a process that is asked for may take its time.
_START_SECONDS: Final = 120.0


class Forked:
    """A process that was forked, under way or ended."""

    def __init__(self, status_pipe: int) -> None:
        self._status_pipe = status_pipe
        self._status: int | None = None
        self.pid = self._read_number(_START_SECONDS)

    def send(self, number: int) -> None:
        """Send a signal to the process and its children, unless its end is known: its id may be another's by now."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, negative for a signal that ended it, or None if it is still running after *seconds*."""
        if self._status is None:
            with contextlib.suppress(TimeoutError):
                self._status = self._read_number(seconds)
                os.close(self._status_pipe)
        return self._status

    def _read_number(self, seconds: float) -> int:
        if not select.select([self._status_pipe], [], [], seconds)[0]:
            raise TimeoutError
        number: int = struct.unpack("i", os.read(self._status_pipe, 4))[0]
        return number


class ForkServer:
    """The process that forks; it ends when this is closed, or with whoever has started it."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        # Settings of this machine must not reach it, nor dlt's of this project.
        environment = {name: value for name, value in os.environ.items() if "__" not in name}
        # Where an old pyarrow brings numpy, that would start threads.
        environment["OPENBLAS_NUM_THREADS"] = "1"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.forking", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=Path(__file__).parents[1],
            env=environment,
        )
        theirs.close()
        if self._channel.recv(1) != b"!":
            raise RuntimeError("the process that forks runs did not start")

    def start(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        stdout: int,
        stderr: int,
        program: str | None = None,
        is_fresh: bool = False,
        file_bytes: int = 0,
    ) -> Forked:
        """
        Start `klaviyo-jobs` with *arguments* in *folder*.

        Args:
            environment: All that it finds in its environment.
            stdout: A descriptor, which is closed here; likewise *stderr*.
            program: Python that runs in its place, as with `python -c`.
            is_fresh: Whether it is a new interpreter after all.
            file_bytes: A bound on the size of the files it writes; none if 0.
        """
        request = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "program": program,
            "is_fresh": is_fresh,
            "file_bytes": file_bytes,
        }
        status_reads, status_writes = os.pipe()
        descriptors = [stdout, stderr, status_writes]
        socket.send_fds(self._channel, [json.dumps(request).encode()], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return Forked(status_reads)

    def close(self) -> None:
        """End the process that forks."""
        self._channel.close()
        self._process.wait()


def _serve(channel: socket.socket) -> None:
    """
    Fork a run for each request on *channel* until it is closed.

    Between this process and each run stands one that waits for it and tells its end, so that this one never waits.
    """
    for name in _MODULES:
        importlib.import_module(name)
    with suppress(ModuleNotFoundError):
        importlib.import_module(_IF_INSTALLED)
    # Importing DuckDB starts a thread for the connection that nobody uses; a fork would lose the thread.
    duckdb.default_connection().close()
    threads = [Path(path, "comm").read_text().strip() for path in Path("/proc/self/task").glob("*")]
    if [name for name in threads[1:] if not name.startswith("jemalloc")]:
        raise RuntimeError(f"forking a process with threads: {threads}")
    # The collector of a run would touch, and so copy, every page of what they have in common.
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel.sendall(b"!")
    while True:
        text, descriptors, _, _ = socket.recv_fds(channel, 2**16, 3)
        if not text:
            return
        if os.fork() == 0:
            channel.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            status_pipe = descriptors[2]
            pid = os.fork()
            if pid == 0:
                os.setpgid(0, 0)
                os.close(status_pipe)
                request = json.loads(text)
                _become_run(request, descriptors)
                if request["program"] is None:
                    runpy.run_module("klaviyo_jobs", run_name="__main__", alter_sys=True)
                else:
                    exec(compile(request["program"], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
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
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in ((nothing, 0), (descriptors[0], 1), (descriptors[1], 2)):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["file_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"], resource.RLIM_INFINITY))
    if request["is_fresh"]:
        os.execv(sys.executable, [sys.executable, "-m", "klaviyo_jobs", *request["arguments"]])  # noqa: S606
    tempfile.tempdir = None
    sys.argv[1:] = request["arguments"]
    # As `python -m` has it: the folder stands first on the path, and then what the environment names.
    sys.path[:1] = [request["folder"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
