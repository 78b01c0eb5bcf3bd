"""
A Sail cluster on this machine whose workers are processes of their own, so that one can really be killed.

In:     how many workers.
Out:    a Spark session, and the processes.
How:    Sail starts workers as pods of Kubernetes. What it asks of Kubernetes is answered here: for each pod that it
        creates, `sail worker` is started with the environment that the pod would have.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_SAIL = str(Path(sys.executable).with_name("sail"))
_HOST = "127.0.0.1"
_START_SECONDS = 60.0


class Cluster(NamedTuple):
    """A session, and the workers in the order in which they were started; others take the place of lost ones."""

    spark: Any
    workers: list[subprocess.Popen[bytes]]


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[Cluster]:
    """Start a server that wants so many *workers*, each with room for eight tasks."""
    # Not installed where types are checked.
    from pyspark.sql import SparkSession  # type: ignore[import-not-found, unused-ignore]

    started: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pods = http.server.ThreadingHTTPServer((_HOST, 0), _handler_of(started))
        threading.Thread(target=pods.serve_forever, daemon=True).start()
        stack.callback(pods.shutdown)
        port = _free_port()
        server = subprocess.Popen(
            [_SAIL, "spark", "server", "--ip", _HOST, "--port", str(port)],
            env={
                **os.environ,
                "KUBECONFIG": str(_kubeconfig(folder, pods.server_port)),
                "SAIL_MODE": "kubernetes-cluster",
                "SAIL_KUBERNETES__NAMESPACE": "default",
                "SAIL_CLUSTER__WORKER_INITIAL_COUNT": str(workers),
                "SAIL_CLUSTER__WORKER_MAX_COUNT": str(workers),
                "SAIL_CLUSTER__WORKER_TASK_SLOTS": "8",
                "SAIL_CLUSTER__WORKER_HEARTBEAT_INTERVAL_SECS": "1",
                "SAIL_CLUSTER__WORKER_HEARTBEAT_TIMEOUT_SECS": "5",
                "SAIL_CLUSTER__DRIVER_LISTEN_HOST": _HOST,
                "SAIL_CLUSTER__DRIVER_EXTERNAL_HOST": _HOST,
                "RUST_LOG": "error",
            },
            stdout=subprocess.DEVNULL,
        )
        stack.callback(_end, [server], started)
        _wait_for(port)
        spark = SparkSession.builder.remote(f"sc://{_HOST}:{port}").getOrCreate()
        # While there is a server: later it would be asked again and again.
        stack.callback(spark.stop)
        yield Cluster(spark, started)


def _handler_of(started: list[subprocess.Popen[bytes]]) -> type[http.server.BaseHTTPRequestHandler]:
    class Pods(http.server.BaseHTTPRequestHandler):
        """The part of Kubernetes' API that Sail uses: pods are created, and all deleted in the end."""

        def do_POST(self) -> None:
            pod = json.loads(self.rfile.read(int(self.headers["content-length"])))
            [container] = pod["spec"]["containers"]
            told = {each["name"]: each.get("value", _HOST) for each in container["env"]}
            told["SAIL_CLUSTER__WORKER_LISTEN_HOST"] = _HOST
            started.append(subprocess.Popen([_SAIL, *container["args"]], env={**os.environ, **told}))
            self._answer(201, pod)

        def do_DELETE(self) -> None:
            self._answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []})

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    return Pods


def _kubeconfig(folder: Path, port: int) -> Path:
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "here", "cluster": {"server": f"http://{_HOST}:{port}"}}],
                "users": [{"name": "me", "user": {}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "default"}}],
                "current-context": "here",
            }
        )
    )
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection((_HOST, port), 1):
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the server of Sail does not start")
        time.sleep(0.1)


def _end(*groups: list[subprocess.Popen[bytes]]) -> None:
    for process in (each for group in groups for each in group):
        process.kill()
        process.wait()
