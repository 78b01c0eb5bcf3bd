"""
Measure what a run costs, beside what it could cost and what others cost: as a table, and as JSON.

    python benchmarks/bench.py [--scale N] [--times N] [--only W1,W3] [--json PATH] [--sdk PYTHON]

Every number is the median of runs of whole processes, taken in turn in one session: CPU seconds of the process and its
threads, seconds by the clock, MiB that it had resident at most. The sandbox that serves them is not counted. On a
shared machine compare ratios, and only those of one session. Nothing here fails on a time.

    W1  a first load of 20,000 jobs with 2.0M linkages and 60,000 errors: fetching alone, the floor, ours, the SDK;
        and dlt's rest_api on a tenth of it
    W2  a first load of 2,000 jobs with the detail of each, 100 items included
    W3  a run after W1 in which nothing changed, and one over nine kinds of 860 jobs
    W4  a run after W1 in which one job changed
    W5  the same two over a warehouse of two years: 400,000 jobs, 19.2M linkages, 800,000 errors
    W6  publish, check and report, on a young warehouse and on that of two years
    W7  start-up
    W8  quiet runs of one, ten and a hundred accounts, of nine kinds each
    W9  the load of W1, and a quiet run after it, into DuckDB, Postgres and a DuckLake; only if asked for, with
        PYTHONPATH=tests and the Python of build/engines. What the server takes is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
PREFIX = "SOURCES__KLAVIYO_JOBS__"
OURS = (sys.executable, "-m", "klaviyo_jobs")
# A job that is listed and whose stored content is another: the next run finds one change.
ONE_CHANGE = """
    update klaviyo_raw.jobs set content_hash = 'other', listed_hash = 'other'
    where job_id = (select max(job_id) from klaviyo_raw.jobs where job_kind = 'item-create')
"""


class Cost(NamedTuple):
    """What a process took: CPU seconds, seconds by the clock, MiB resident at most."""

    cpu: float
    wall: float
    memory: float


class Line(NamedTuple):
    """A line of the table."""

    workload: str
    what: str
    cost: Cost


def run(command: Sequence[Any], **environment: str) -> Cost:
    """
    Run *command* to its end and return what it took.

    A process counts as its own what the one that starts it has resident, so nothing large is done in this one.
    """
    began = time.monotonic()
    with subprocess.Popen(
        [str(part) for part in command], env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(map(str, command))}\n{said}")
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - began, usage.ru_maxrss / 1024)


def median(costs: Sequence[Cost]) -> Cost:
    """Return the medians of *costs*, each its own."""
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


class Bench:
    """Takes measurements, and keeps them."""

    def __init__(self, times: int, scale: float, folder: Path) -> None:
        self.times = times
        self.scale = scale
        self.folder = folder
        self.lines: list[Line] = []

    def compare(self, workload: str, **works: Callable[[], Cost]) -> None:
        """Do all *works* in turn, as often as asked, and keep the medians."""
        taken: dict[str, list[Cost]] = {name: [] for name in works}
        for _ in range(self.times):
            for name, work in works.items():
                taken[name].append(work())
        for name, costs in taken.items():
            self.lines.append(Line(workload, name.replace("_", " "), median(costs)))
            print(table_of(self.lines[-1:], heading=len(self.lines) == 1), flush=True)

    def cpu(self, workload: str, what: str) -> float:
        """Return the CPU seconds of an earlier measurement."""
        return next(line.cost.cpu for line in self.lines if (line.workload, line.what) == (workload, what))

    def new(self, name: str) -> Path:
        """Return the path of a file that is not there."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        return path

    def ours(self, base_url: str, warehouse: Path, *arguments: Any, **environment: str) -> Cost:
        """Run our command on *warehouse*."""
        settings = {f"{PREFIX}API_KEY": "pk_sandbox_default", f"{PREFIX}BASE_URL": base_url} | environment
        if f"{PREFIX}ACCOUNTS__A0" in settings:
            del settings[f"{PREFIX}API_KEY"]
        return run([*OURS, *arguments, "--warehouse", warehouse], RUNTIME__LOG_LEVEL="WARNING", **settings)


def table_of(lines: Sequence[Line], *, heading: bool = True) -> str:
    """Return *lines* as text."""
    text = [f"{'':4}{'':34}{'CPU s':>9}{'wall s':>9}{'MiB':>7}"] if heading else []
    return "\n".join([*text, *(f"{w:4}{what:34}{c.cpu:9.2f}{c.wall:9.2f}{c.memory:7.0f}" for w, what, c in lines)])


@contextmanager
def sandbox_of(world: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """Serve *world* from a process of its own; yield its address and keys."""
    command = [sys.executable, "-m", "klaviyo_sandbox", "--world", world, "--until-stdin-closes", *arguments]
    command += ["--limits", "100000/6000000"]
    if "--clock" not in arguments:
        command += ["--clock", time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told: dict[str, Any] = json.loads(process.stdout.readline())
        run([sys.executable, HERE / "fetch.py", told["base_url"], "-"])  # it renders each job once
        yield told
        process.terminate()


def change_one(warehouse: Path) -> None:
    """Make one job of *warehouse* differ from the listing."""
    program = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute(sys.argv[2])"
    run([sys.executable, "-c", program, warehouse, ONE_CHANGE])


def first_loads(bench: Bench, sdk: Path | None) -> None:
    """W1, W3 and W4: a first load, and what comes after it."""
    with sandbox_of(f"bulk:{int(20_000 * bench.scale)}x100x3") as told:
        url, warehouse = told["base_url"], bench.folder / "w1.duckdb"
        works: dict[str, Callable[[], Cost]] = {
            "fetching_alone": lambda: run([sys.executable, HERE / "fetch.py", url, "-"]),
            "floor": lambda: run([sys.executable, HERE / "floor.py", url, bench.new("floor.duckdb")]),
            "ours": lambda: bench.ours(url, bench.new("w1.duckdb"), "run", "--kind=item-create"),
        }
        if sdk:
            works["official_SDK"] = lambda: run([sdk, HERE / "sdk.py", url, bench.new("sdk.duckdb")])
        bench.compare("W1", **works)
        sizes = [(bench.folder / f"{name}.duckdb").stat().st_size for name in ("w1", "floor")]
        print(f"{'':4}file: {sizes[0] / 2**20:.1f} MiB, {sizes[0] / sizes[1]:.2f} x the floor's", flush=True)
        bench.compare(
            "W3",
            quiet=lambda: bench.ours(url, warehouse, "run", "--kind=item-create"),
            import_dlt=lambda: run([sys.executable, "-c", "import dlt"]),
        )

        def changed() -> Cost:
            change_one(warehouse)
            return bench.ours(url, warehouse, "run", "--kind=item-create")

        bench.compare("W4", one_change=changed)
    with sandbox_of(f"bulk:{int(2_000 * bench.scale)}x100x3") as told:
        url = told["base_url"]
        bench.compare(
            "W1",
            ours_a_tenth=lambda: bench.ours(url, bench.new("tenth.duckdb"), "run", "--kind=item-create"),
            rest_api_a_tenth=lambda: run([sys.executable, HERE / "rest_api.py", url, bench.new("rest.duckdb")]),
        )


def details(bench: Bench) -> None:
    """W2: as many details as jobs."""
    with sandbox_of(f"bulk:{int(2_000 * bench.scale)}x100") as told:
        url, include = told["base_url"], {f"{PREFIX}INCLUDE": '["items"]'}
        bench.compare(
            "W2",
            fetching_alone=lambda: run([sys.executable, HERE / "fetch.py", url, "-", "details"]),
            ours=lambda: bench.ours(url, bench.new("w2.duckdb"), "run", "--kind=item-create", **include),
        )


def history_of_years(bench: Bench) -> None:
    """W5 and W6: the same over a warehouse of a day and one of two years."""
    with sandbox_of("bulk:700x50x3") as told:
        url, young, old = told["base_url"], bench.new("young.duckdb"), bench.new("old.duckdb")
        bench.ours(url, young, "run")
        shutil.copy(young, old)
        run([sys.executable, HERE / "history.py", old, int(400_000 * bench.scale)])
        names = {"young": young, "two_years": old}

        def changed(path: Path) -> Cost:
            change_one(path)
            return bench.ours(url, path, "run")

        bench.compare(
            "W5", **{f"quiet_{name}": lambda path=path: bench.ours(url, path, "run") for name, path in names.items()}
        )
        bench.compare("W5", **{f"one_change_{name}": lambda path=path: changed(path) for name, path in names.items()})
        tables = {f"{PREFIX}BI_COPY_TABLES": "true"}
        easy = ["--max-new-errors", "1000000000"]  # the errors of the day are of other sorts than those of two years
        for what, words, settings in (
            ("check", ["check", *easy], {}),
            ("check_all", ["check", "--all", *easy], {}),
            ("report", ["report"], {}),
            ("explain", ["explain", "SKU-2"], {}),
            ("page", ["report", "--html", str(bench.folder / "page.html")], {}),
            # Over the copy of the other one, which knows of runs that this one does not.
            ("publish", ["publish", "--force", str(bench.folder / "copy.duckdb")], {}),
            ("publish_with_tables", ["publish", "--force", str(bench.folder / "copy.duckdb")], tables),
            ("publish_verified", ["publish", "--force", "--verify", str(bench.folder / "copy.duckdb")], {}),
        ):
            bench.compare(
                "W6",
                **{
                    f"{what}_{name}": lambda path=path, words=words, settings=settings: bench.ours(
                        url, path, *words, **settings
                    )
                    for name, path in names.items()
                },
            )


def start_up(bench: Bench) -> None:
    """W7: what is spent before anything is done, and a quiet run over nine kinds beside it."""
    with sandbox_of("full") as told:
        url, warehouse = told["base_url"], bench.new("full.duckdb")
        bench.ours(url, warehouse, "run")
        bench.compare(
            "W7",
            import_dlt=lambda: run([sys.executable, "-c", "import dlt"]),
            help=lambda: run([*OURS, "--help"]),
            quiet_run_of_nine_kinds=lambda: bench.ours(url, warehouse, "run"),
        )


def accounts(bench: Bench) -> None:
    """W8: quiet runs of more and more accounts."""
    others = [f"--account=A{number}=demo" for number in range(100)]
    with sandbox_of("demo", *others, "--clock", "2026-11-22T12:00:00Z") as told:
        works = {}
        for count in (1, 10, 100):
            keys = {f"{PREFIX}ACCOUNTS__A{number}": told["accounts"][f"A{number}"] for number in range(count)}
            path = bench.new(f"accounts{count}.duckdb")
            bench.ours(told["base_url"], path, "run", **keys)
            works[f"{count}_accounts"] = lambda path=path, keys=keys: bench.ours(told["base_url"], path, "run", **keys)
        bench.compare("W8", **works)


def engines(bench: Bench) -> None:
    """W9: the same load into each engine."""
    # What it needs is not installed where the others are measured.
    from support.places import InLake, InPostgres, postgres_server

    with sandbox_of(f"bulk:{int(20_000 * bench.scale)}x100x3") as told, postgres_server(bench.folder) as server:
        url, file = told["base_url"], bench.folder / "w9.duckdb"
        database, catalog = InPostgres(server, "bench"), InPostgres(server, "catalog")
        lake = InLake(catalog.url, bench.folder)
        os.environ |= lake.environment

        def load(place: InPostgres | InLake, *, begins_anew: bool) -> Cost:
            if begins_anew:
                place.clear()
            settings = {f"{PREFIX}API_KEY": "pk_sandbox_default", f"{PREFIX}BASE_URL": url} | place.environment
            command = [*OURS, "run", "--kind=item-create", "--destination", place.name]
            return run(command, RUNTIME__LOG_LEVEL="WARNING", **settings)

        bench.compare(
            "W9",
            into_DuckDB=lambda: bench.ours(url, bench.new("w9.duckdb"), "run", "--kind=item-create"),
            into_Postgres=lambda: load(database, begins_anew=True),
            into_DuckLake=lambda: load(lake, begins_anew=True),
        )
        bench.compare(
            "W9",
            quiet_in_DuckDB=lambda: bench.ours(url, file, "run", "--kind=item-create"),
            quiet_in_Postgres=lambda: load(database, begins_anew=False),
            quiet_in_DuckLake=lambda: load(lake, begins_anew=False),
        )
        [(size,)] = database.rows("select pg_database_size(current_database())")
        files = sum(path.stat().st_size for path in bench.folder.glob("lake/**/*.parquet"))
        sizes = file.stat().st_size, size, files
        print(f"{'':4}MiB on disk: {', '.join(f'{each / 2**20:.0f}' for each in sizes)}", flush=True)


PARTS: dict[str, Callable[..., None]] = {
    "W1": first_loads,
    "W2": details,
    "W5": history_of_years,
    "W7": start_up,
    "W8": accounts,
    "W9": engines,
}


def ratios_of(bench: Bench) -> dict[str, float]:
    """Return the ratios that the promises are about, as far as they were measured."""
    measured = {(line.workload, line.what): line.cost for line in bench.lines}
    pairs = {
        "W1 ours / floor": (("W1", "ours"), ("W1", "floor")),
        "W1 ours / SDK": (("W1", "ours"), ("W1", "official SDK")),
        "W1 a tenth, ours / rest_api": (("W1", "ours a tenth"), ("W1", "rest api a tenth")),
        "W3 quiet / import dlt": (("W3", "quiet"), ("W3", "import dlt")),
        "W5 quiet, two years / young": (("W5", "quiet two years"), ("W5", "quiet young")),
        "W5 one change, two years / young": (("W5", "one change two years"), ("W5", "one change young")),
        "W6 check, two years / young": (("W6", "check two years"), ("W6", "check young")),
        "W6 report, two years / young": (("W6", "report two years"), ("W6", "report young")),
        "W9 Postgres / DuckDB": (("W9", "into Postgres"), ("W9", "into DuckDB")),
        "W9 DuckLake / DuckDB": (("W9", "into DuckLake"), ("W9", "into DuckDB")),
        "W7 quiet run of nine kinds / import dlt": (("W7", "quiet run of nine kinds"), ("W7", "import dlt")),
    }
    ratios = {
        name: round(measured[one].cpu / measured[other].cpu, 2)
        for name, (one, other) in pairs.items()
        if one in measured and other in measured
    }
    if ("W8", "100 accounts") in measured:
        more = measured["W8", "100 accounts"].cpu - measured["W8", "1 accounts"].cpu
        ratios["W8 CPU s of each account beyond the first"] = round(more / 99, 3)
    return ratios


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser("bench", description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="jobs of W1, W2 and W5, as a share of those described")
    parser.add_argument("--times", type=int, default=3, help="how often each is run")
    usual = ",".join(name for name in PARTS if name != "W9")
    parser.add_argument("--only", default=usual, help=f"which, of {', '.join(PARTS)}; W3 and W4 come with W1")
    parser.add_argument("--json", type=Path, help="where to write the numbers too")
    parser.add_argument("--sdk", type=Path, help="a Python that has klaviyo-api, pyarrow, duckdb, msgspec and urllib3")
    return parser


def main() -> None:
    """Measure what is asked for."""
    options = make_parser().parse_args()
    print(f"Python {sys.version.split()[0]}, DuckDB {version('duckdb')}, {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(options.times, options.scale, Path(folder))
        for name in options.only.split(","):
            PARTS[name](bench, *([options.sdk] if name == "W1" else []))
    ratios = ratios_of(bench)
    print("\n" + "\n".join(f"{name:44}{ratio:7.2f}" for name, ratio in ratios.items()))
    if options.json:
        lines = [{"workload": each.workload, "what": each.what, **each.cost._asdict()} for each in bench.lines]
        options.json.write_text(json.dumps({"measurements": lines, "ratios": ratios}, indent=1) + "\n")


if __name__ == "__main__":
    main()
