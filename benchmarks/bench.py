"""
Measure a first load, a quiet run and every view, in one go, against a sandbox in a process of its own.

    python benchmarks/bench.py [WORLD]

WORLD is a world of the sandbox, `bulk:JOBSxLINKAGESxERRORS`; 20,000 jobs, 2,000,000 linkages and 60,000 errors by
default. CPU seconds and ratios are what to read: on a shared machine wall times move. Nothing here fails on a time.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
import requests

KEY = "pk_sandbox_default"
HEADERS = {"Authorization": f"Klaviyo-API-Key {KEY}", "revision": "2026-07-15"}


def cpu_seconds() -> float:
    """CPU seconds of this process and of the children it has waited for."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(name: str, work: Callable[[], None], floor: float = 0.0) -> float:
    """Do *work* and print what it took; return its CPU seconds."""
    wall, cpu = time.monotonic(), cpu_seconds()
    work()
    wall, cpu = time.monotonic() - wall, cpu_seconds() - cpu
    ratio = f"{cpu / floor:7.1f} x floor" if floor else ""
    print(f"{name:<40} {wall:8.2f} s wall {cpu:8.2f} s CPU {ratio}", flush=True)
    return cpu


def read_listing(base_url: str) -> None:
    """Fetch every page of the listing, and do nothing with it: the floor."""
    with requests.Session() as session:
        url = f"{base_url}/api/catalog-item-bulk-create-jobs"
        while url:
            body = session.get(url, headers=HEADERS, timeout=60).content
            url = json.loads(body)["links"]["next"]


def run_command(base_url: str, warehouse: Path) -> None:
    """Run the command once."""
    prefix = "SOURCES__KLAVIYO_JOBS__"
    environment = {
        **os.environ,
        f"{prefix}API_KEY": KEY,
        f"{prefix}BASE_URL": base_url,
        "RUNTIME__LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "klaviyo_jobs", "run", "--kind", "item-create", "--warehouse", str(warehouse)]
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)


def fetch(connection: duckdb.DuckDBPyConnection, view: str) -> None:
    """Fetch the whole of *view*."""
    connection.execute(f"from {view}").to_arrow_table()


def main(world: str) -> None:
    """Run the benchmark on *world*."""
    sandbox = [sys.executable, "-m", "klaviyo_sandbox", "--world", world, "--until-stdin-closes"]
    sandbox += ["--clock", "2026-11-20T12:00:00Z", "--limits", "100000/6000000"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(sandbox, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        base_url = json.loads(process.stdout.readline())["base_url"]
        warehouse = Path(folder) / "warehouse.duckdb"
        read_listing(base_url)  # the sandbox renders each job once
        print(f"{world}, Python {sys.version.split()[0]}, DuckDB {duckdb.__version__}")
        floor = measure("fetch and decode the listing", lambda: read_listing(base_url))
        measure("first run", lambda: run_command(base_url, warehouse), floor)
        measure("quiet run", lambda: run_command(base_url, warehouse), floor)
        print(f"{'warehouse':<40} {warehouse.stat().st_size / 2**20:8.1f} MiB")
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            names = connection.execute("select view_name from duckdb_views() where schema_name = 'klaviyo' order by 1")
            for (name,) in names.fetchall():
                measure(f"klaviyo.{name}", partial(fetch, connection, f"klaviyo.{name}"))
        process.terminate()
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{'largest process':<40} {children:8.0f} MiB resident")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "bulk:20000x100x3")
