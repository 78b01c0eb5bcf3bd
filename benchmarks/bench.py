"""
Measure a first load, a quiet run, every view, publishing, and a history of ten thousand runs, on a sandbox of its own.

    python benchmarks/bench.py [WORLD]

WORLD is a world of the sandbox, `bulk:JOBSxLINKAGESxERRORS`; 20,000 jobs, 2,000,000 linkages and 60,000 errors by
default. CPU seconds and ratios are what to read: on a shared machine wall times move. Nothing here fails on a time.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import duckdb
import requests

from klaviyo_jobs.warehouse.publish import publish

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


def run_command(base_url: str, warehouse: Path, kinds: Sequence[str] = ("item-create",)) -> None:
    """Run the command once; without *kinds* for all nine."""
    prefix = "SOURCES__KLAVIYO_JOBS__"
    environment = {
        **os.environ,
        f"{prefix}API_KEY": KEY,
        f"{prefix}BASE_URL": base_url,
        "RUNTIME__LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "klaviyo_jobs", "run", "--warehouse", str(warehouse)]
    command += [f"--kind={kind}" for kind in kinds]
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)


# What ten thousand hourly runs leave: nine ledger rows each, and ten jobs, each seen three times. All jobs but those of
# the last run have expired.
HISTORY = """
create temp table runs as
select
    range as nth,
    make_timestamptz((1700000000 + 3600 * range) * 1000000) as started_at,
    cast(1700000000.25 + 3600 * range as varchar) as run_id
from range(10000);

insert into klaviyo_raw._dlt_loads (load_id, schema_name, status, inserted_at, schema_version_hash)
select run_id, 'klaviyo_jobs', 0, started_at, (select any_value(schema_version_hash) from klaviyo_raw._dlt_loads)
from runs;

insert into klaviyo_raw.listings by name
select
    'default' as account, job_kind, run_id, started_at, started_at + interval 9 seconds as finished_at,
    true as is_complete, 8 as page_count, 700 as job_count, 10 as changed_count, 0 as detail_count,
    0 as rejected_count, 8 as request_count, 0 as retry_count, 0.0 as throttled_seconds, '2026-07-15' as api_revision
from runs
cross join (select distinct job_kind from klaviyo_raw.listings) as kinds;

insert into klaviyo_raw.jobs by name
select
    'default' as account, 'item-create' as job_kind, nth || '-' || number as job_id, 'complete' as status,
    started_at as created_at, started_at + interval 2 hours as completed_at,
    started_at + interval 7 days as expires_at, 100 as total_count, 97 as completed_count, 3 as failed_count,
    3 as error_count, 100 as linkage_count, started_at as first_seen_at,
    started_at + interval 2 hours as last_changed_at, '2026-07-15' as api_revision, run_id
from runs
cross join range(10) as jobs (number);

insert into klaviyo_raw.job_observations by name
select
    account, job_kind, job_id, created_at + to_hours(hours) as observed_at,
    if(hours < 2, 'processing', 'complete') as status, total_count, (completed_count * hours) // 2 as completed_count,
    if(hours < 2, 0, 3) as failed_count, if(hours < 2, 0, 3) as error_count, 100 as linkage_count, run_id
from klaviyo_raw.jobs
cross join (values (0), (1), (2)) as seen (hours)
where run_id in (select run_id from runs);
"""
PAIRS = 7


def measure_publishing(warehouse: Path) -> None:
    """Compare publishing with replacing a copy of the file, in turn, and tell the memory that the command takes."""
    copy, published = warehouse.with_name("copy"), warehouse.with_name("published.duckdb")
    new = warehouse.with_name("new")
    copying, publishing = [], []
    for _ in range(PAIRS):
        started = time.monotonic()
        shutil.copyfile(warehouse, new)
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.replace(copy)
        copying.append(time.monotonic() - started)
        started = time.monotonic()
        publish(warehouse, published)
        publishing.append(time.monotonic() - started)
    one, other = statistics.median(publishing), statistics.median(copying)
    print(f"publish / copy, fsync and rename: {one / other:.2f} ({one:.2f} / {other:.2f} s)")
    command = [sys.executable, "-m", "klaviyo_jobs", "publish", "--warehouse", str(warehouse), str(published)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, _, usage = os.wait4(process.pid, 0)
    print(f"{'klaviyo-jobs publish':<40} {usage.ru_maxrss / 1024:8.0f} MiB resident")


def measure_history(folder: Path) -> None:
    """Compare quiet runs, in turn, on a warehouse of one run and on one of ten thousand."""
    with sandbox_of("bulk:700x50x3") as base_url:
        young, old = folder / "young.duckdb", folder / "old.duckdb"
        run_command(base_url, young, kinds=())
        shutil.copy(young, old)
        with duckdb.connect(str(old)) as connection:
            connection.execute(HISTORY)
        seconds: dict[Path, list[tuple[float, float]]] = {young: [], old: []}
        for _ in range(PAIRS):
            for warehouse, taken in seconds.items():
                wall, cpu = time.monotonic(), cpu_seconds()
                run_command(base_url, warehouse, kinds=())
                taken.append((time.monotonic() - wall, cpu_seconds() - cpu))
        for name, column in (("wall", 0), ("CPU", 1)):
            one, many = (statistics.median(pair[column] for pair in seconds[of]) for of in (young, old))
            print(f"quiet run after 10,000 runs / after one: {many / one:.3f} ({many:.2f} / {one:.2f} s {name})")


def fetch(connection: duckdb.DuckDBPyConnection, view: str) -> None:
    """Fetch the whole of *view*."""
    connection.execute(f"from {view}").to_arrow_table()


@contextmanager
def sandbox_of(world: str) -> Iterator[str]:
    """Serve *world* from a process of its own; yield its address."""
    command = [sys.executable, "-m", "klaviyo_sandbox", "--world", world, "--until-stdin-closes"]
    command += ["--clock", "2026-11-20T12:00:00Z", "--limits", "100000/6000000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["base_url"]
        process.terminate()


def main(world: str) -> None:
    """Run the benchmark on *world*."""
    with tempfile.TemporaryDirectory() as folder, sandbox_of(world) as base_url:
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
        measure_publishing(warehouse)
        measure_history(Path(folder))
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{'largest process':<40} {children:8.0f} MiB resident")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "bulk:20000x100x3")
