"""
Run the recipes of docs/bi.md with the tools themselves, each in an environment of its own.

    PYTHONPATH=tests python tests/bi/run_bi_checks.py FOLDER

The environments are made in FOLDER at the first run and used again later. Each recipe answers on a copy published from
the sandbox's demo, and holds that copy open while another run publishes the next one: the run ends with exit code 0,
the held copy answers as before, and reopened it shows the new job.

The pins: `tools.in` and `superset.in` say what is wanted, `tools.txt` and `superset.txt` hold all of it, made by
`python -m uv pip compile --universal --python-version 3.11 --no-header --no-annotate NAME.in --output-file NAME.txt`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb

from klaviyo_jobs.model.days import day_of, zone_of
from klaviyo_sandbox import Fault, Job, Sandbox
from support.environments import environment_in

HERE = Path(__file__).parent
DOCUMENT = HERE.parent.parent / "docs" / "bi.md"
# Drivers that differ from that of tools.txt: the oldest that the copy is meant for, one that tools still bring, the newest.
OTHER_DRIVERS = ("1.0.0", "1.1.3", "2.0.0")
NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
MARK = "@@"
# How long a recipe may take, its imports and one query, on a busy machine.
PATIENCE_SECONDS = 180

# The demo's answers: (kind, failed, total) for each kind, and (day, done, failed) for each day.
FAILURES = [
    ("category-create", 33, 455),
    ("category-delete", 0, 122),
    ("category-update", 2, 97),
    ("item-create", 134, 5299),
    ("item-delete", 5, 174),
    ("item-update", 4, 109),
    ("variant-create", 3, 124),
    ("variant-delete", 5, 134),
    ("variant-update", 0, 135),
]
DAYS = [
    ("2026-11-14", 796, 26),
    ("2026-11-15", 1048, 42),
    ("2026-11-16", 1044, 27),
    ("2026-11-17", 924, 12),
    ("2026-11-18", 1097, 11),
    ("2026-11-19", 1131, 53),
    ("2026-11-20", 445, 15),
]
JOBS = 332

Rows = list[tuple[Any, ...]]

PANDAS_CLAIMS = """
types = copy.sql("from klaviyo.jobs").df().dtypes
assert types["created_at_utc"] == types["created_on"] == "datetime64[us]", types
assert copy.sql("select sum(total_count) as total from klaviyo.jobs").df().dtypes["total"] == "float64"
assert copy.sql("select nullif(total_count, min(total_count) over ()) as total from klaviyo.jobs").df().dtypes["total"] == "Int64"
"""
ADBC_CLAIMS = """
objects = connection.adbc_get_objects(depth="all", db_schema_filter="klaviyo").read_all().to_pylist()
schemas = [schema for catalog in objects for schema in catalog["catalog_db_schemas"] or []]
columns = [column for schema in schemas for table in schema["db_schema_tables"] for column in table["table_columns"]]
assert columns and all(column["remarks"] for column in columns), columns
with connection.cursor() as cursor:
    cursor.execute("select created_at_utc, sum(total_count) as total from klaviyo.jobs group by all")
    types = cursor.fetch_arrow_table().schema.types
    assert [str(each) for each in types] == ["timestamp[us]", "decimal128(38, 0)"], types
    try:
        cursor.execute("create table klaviyo_raw.written (a int)")
    except adbc_driver_manager.dbapi.Error as error:
        assert "read-only mode" in str(error), error
        connection.rollback()
    else:
        raise AssertionError("the copy was written to")
"""


def blocks(heading: str, language: str) -> list[str]:
    """The fenced blocks of *language* below *heading* of the document."""
    section = DOCUMENT.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def block(heading: str, language: str, number: int = 0) -> str:
    """One of them."""
    return blocks(heading, language)[number]


# The environments.


@dataclass(frozen=True)
class Places:
    """Where things are made."""

    folder: Path

    @property
    def work(self) -> Path:
        """The folder that the recipes run in; it holds `warehouse.duckdb` and `bi.duckdb`."""
        return self.folder / "work"

    @property
    def npm(self) -> Path:
        """The folder of the npm packages."""
        return self.folder / "npm"

    def python(self, name: str) -> Path:
        """The interpreter of the environment *name*."""
        return self.folder / name / "bin" / "python"


def install(places: Places) -> set[str]:
    """Make the environments that are not there or not as pinned, and return the names of those that there are."""
    made = {"tools", *(f"duckdb-{version}" for version in OTHER_DRIVERS)}
    _install_python(places, "tools", (HERE / "tools.txt").read_text())
    for version in OTHER_DRIVERS:
        _install_python(places, f"duckdb-{version}", f"duckdb=={version}\n")
    if sys.version_info < (3, 13):
        _install_python(places, "superset", (HERE / "superset.txt").read_text())
        made.add("superset")
    else:
        _warn("Superset is left out: its pandas has no wheel for Python 3.13")
    if shutil.which("npm") and shutil.which("node"):
        _install_npm(places)
        made.add("npm")
    else:
        _warn("Node.js and Evidence are left out: there is no npm")
    return made


def _install_python(places: Places, name: str, pins: str) -> None:
    folder = places.folder / name
    if _is_made(folder, pins):
        return
    shutil.rmtree(folder, ignore_errors=True)
    environment_in(folder)
    requirements = folder / "requirements.txt"
    requirements.write_text(pins)
    environment_in(folder, ("--no-deps", "--requirement", requirements))
    _set_made(folder, pins)


def _install_npm(places: Places) -> None:
    pins = (HERE / "package.json").read_text()
    if _is_made(places.npm, pins):
        return
    shutil.rmtree(places.npm, ignore_errors=True)
    places.npm.mkdir()
    (places.npm / "package.json").write_text(pins)
    options = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--silent")
    subprocess.run(["npm", "install", *options], cwd=places.npm, check=True)
    _set_made(places.npm, pins)


def _is_made(folder: Path, pins: str) -> bool:
    made = folder / ".made"
    return made.exists() and made.read_text() == _digest(pins)


def _set_made(folder: Path, pins: str) -> None:
    (folder / ".made").write_text(_digest(pins))


def _digest(pins: str) -> str:
    return hashlib.sha256(f"{sys.version}\n{pins}".encode()).hexdigest()


def _warn(text: str) -> None:
    print(f"\n*** {text}\n", flush=True)  # noqa: T201


# The recipes.


@dataclass(frozen=True)
class Recipe:
    """
    A program that tells the rows of a recipe, waits with the copy open, and tells two counts of jobs.

    Attributes:
        name: The heading in the document.
        command: The program and its arguments.
        expected: The rows; none where *check* looks at them.
        check: Looks at the rows that were told.
    """

    name: str
    command: Sequence[str | Path]
    expected: Rows | None = None
    check: Callable[[list[Any]], None] | None = None


def python_recipe(
    places: Places, heading: str, result: str, *, count: str, close: str, expected: Rows, claims: str = ""
) -> Recipe:
    """The block of *heading*, held open, closed, and run again; *claims* are what the text below the block says."""
    code = block(heading, "python")
    program = places.work / f"{heading.lower().replace(' ', '_')}_recipe.py"
    ends = (
        f"{claims}\nimport reader\nreader.hold({result}, lambda: {count})\n{close}\n",
        f"reader.tell(int({count}))\n{close}\n",
    )
    program.write_text("".join(f"{code}\n{end}" for end in ends))
    return Recipe(heading, [places.python("tools"), program], expected)


def marimo_recipe(places: Places) -> Recipe:
    """The notebook of the document, run as a program; `check_shell_blocks` has written it."""
    program = places.work / "marimo_recipe.py"
    program.write_text(
        "import reader\n"
        "from notebook import app\n"
        "def run():\n"
        "    _, values = app.run()\n"
        "    count = lambda: values['copy'].execute('select count(*) from klaviyo.jobs').fetchone()[0]\n"
        "    return values, count\n"
        "values, count = run()\n"
        "reader.hold(values['failures'], count)\n"
        "values['copy'].close()\n"
        "_, count = run()\n"
        "reader.tell(count())\n"
    )
    return Recipe("marimo", [places.python("tools"), program], FAILURES)


def node_recipe(places: Places) -> Recipe:
    """The block for Node.js, held open, closed, and run again."""
    code = block("Node.js", "js")
    imports = "\n".join(re.findall(r"^import .*$", code, re.MULTILINE))
    rest = re.sub(r"^import .*$", "", code, flags=re.MULTILINE)
    count = "Number((await connection.runAndReadAll('select count(*) from klaviyo.jobs')).getRowsJson()[0][0])"
    close = "connection.closeSync(); instance.closeSync();"
    program = places.npm / "recipe.mjs"
    program.write_text(
        f"{imports}\nimport {{ tell, wait }} from './reader.mjs';\n"
        f"{{\n{rest}\ntell(failures); await wait(); tell({count}); {close}\n}}\n"
        f"{{\n{rest}\ntell({count}); {close}\n}}\nprocess.exit(0);\n"
    )
    return Recipe("Node.js", ["node", program], FAILURES)


def evidence_recipe(places: Places) -> Recipe:
    """The source of the document, laid out as in a project of Evidence whose folder holds the copy."""
    source = places.work / "sources" / "klaviyo"
    source.mkdir(parents=True)
    connection = block("Evidence", "yaml")
    (source / "connection.yaml").write_text(connection)
    (source / "failures.sql").write_text(block("Evidence", "sql"))
    options = dict(re.findall(r"^  (\w+): (.*)$", connection, re.MULTILINE))
    return Recipe("Evidence", ["node", places.npm / "evidence_check.mjs", source, json.dumps(options)], FAILURES)


def superset_recipe(places: Places) -> Recipe:
    """The URI, the metric and the query of the document."""
    uri = block("Apache Superset", "text").strip().replace("/srv/klaviyo/bi.duckdb", str(places.work / "bi.duckdb"))
    metric, query = blocks("Apache Superset", "sql")
    metric = metric.split("select", 1)[1].split(" as failed_share", 1)[0].strip()
    program = HERE / "superset_check.py"
    command: list[str | Path] = [
        places.python("superset"),
        program,
        places.folder / "superset-home",
        uri,
        metric,
        query,
    ]
    return Recipe("Apache Superset", command, DAYS)


def driver_recipe(places: Places, name: str, reference: list[Any]) -> Recipe:
    """Every view with the driver of the environment *name*; it must tell what the project's own driver tells."""

    def same(told: list[Any]) -> None:
        different = [view for view, *rest in told if [view, *rest] not in reference]
        assert not different, f"other rows or descriptions than with our own driver in {different}"
        _same("number of views", len(told), len(reference))

    return Recipe(f"driver of {name}", [places.python(name), HERE / "driver_check.py"], check=same)


def recipes(places: Places, made: set[str]) -> list[Recipe]:
    """Those whose environment is there."""
    reference = _told_by_our_own_driver(places)
    count = "copy.sql('select count(*) from klaviyo.jobs').fetchone()[0]"
    every = [
        *(driver_recipe(places, name, reference) for name in ("tools", *(f"duckdb-{each}" for each in OTHER_DRIVERS))),
        Recipe(
            "DuckDB command line",
            [sys.executable, HERE / "cli_check.py", block("DuckDB command line", "sh")],
            DAYS,
        ),
        python_recipe(
            places, "pandas", "failures", count=count, close="copy.close()", expected=FAILURES, claims=PANDAS_CLAIMS
        ),
        python_recipe(places, "polars", "days", count=count, close="copy.close()", expected=DAYS),
        marimo_recipe(places),
        python_recipe(
            places,
            "SQLAlchemy",
            "days",
            count="reader.count_of(engine)",  # the pool holds the connection of the block
            close="engine.dispose()",
            expected=DAYS,
        ),
        python_recipe(
            places,
            "ADBC",
            "failures",
            count="connection.execute('select count(*) from klaviyo.jobs').fetchone()[0]",
            close="connection.close()",
            expected=FAILURES,
            claims=ADBC_CLAIMS,
        ),
    ]
    if "superset" in made:
        every.append(superset_recipe(places))
    if "npm" in made:
        every += [node_recipe(places), evidence_recipe(places)]
    return every


def _told_by_our_own_driver(places: Places) -> list[Any]:
    running = Running(Recipe("reference", [sys.executable, HERE / "driver_check.py"]), places)
    told: list[Any] = running.next_value()
    empty = [view for view, count, *_ in told if not count]
    assert not empty, f"views without a row, which prove little: {empty}"
    running.kill()
    return told


# Running them.


class Running:
    """A recipe that has been started."""

    def __init__(self, recipe: Recipe, places: Places) -> None:
        self.recipe = recipe
        self._log = places.work / f"{recipe.name}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                recipe.command,
                cwd=places.work,
                # A zone far from UTC: a tool that converts times shows here.
                env={**_variables_of_recipe(places), "TZ": "America/New_York"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._patience = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        self._patience.start()

    def next_value(self) -> Any:
        """What it tells next."""
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        self._process.wait()
        raise AssertionError(f"it ended without a word:\n{self._said()}")

    def go_on(self) -> None:
        """Let it go on."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Wait for its end."""
        self._process.communicate()
        assert self._process.returncode == 0, f"it ended with {self._process.returncode}:\n{self._said()}"

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._patience.cancel()
        self._process.kill()
        self._process.communicate()

    def _said(self) -> str:
        return "\n".join(self._log.read_text().splitlines()[-30:])


def environment(places: Places, **settings: str) -> dict[str, str]:
    """The environment of a program, with *settings* of ours and none of the machine's."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("SOURCES__")},
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DLT_DATA_DIR": str(places.folder / "dlt"),
        "DO_NOT_TRACK": "1",
        **{f"SOURCES__KLAVIYO_JOBS__{name.upper()}": value for name, value in settings.items()},
    }


def _variables_of_recipe(places: Places) -> dict[str, str]:
    programs = (str(places.folder / "tools" / "bin"), str(Path(sys.executable).parent), os.environ["PATH"])
    return {**environment(places), "PATH": os.pathsep.join(programs), "PYTHONPATH": str(HERE)}


def _klaviyo_jobs(places: Places, *arguments: str, **settings: str) -> int:
    command = [sys.executable, "-m", "klaviyo_jobs", *arguments]
    ended = subprocess.run(
        command, cwd=places.work, env=environment(places, **settings), capture_output=True, text=True, check=False
    )
    assert ended.returncode in (0, 5), ended.stderr
    return ended.returncode


def _same(what: str, told: Any, expected: Any) -> None:
    assert told == expected, f"{what}: expected {expected}, got {told}"


def _compare(recipe: Recipe, told: list[Any]) -> None:
    if recipe.check:
        recipe.check(told)
    else:
        assert recipe.expected is not None
        rows = [tuple(_value(cell) for cell in row[:3]) for row in told]
        # After the sandbox's week come zeros, up to the day on which this runs.
        rows = [row for row in rows if row[1:] != (0, 0)]
        _same(f"{recipe.name}, rows", rows, recipe.expected)


def _value(cell: Any) -> Any:
    """A count as a number and a midnight as its day, however a tool writes them."""
    text = str(cell).removesuffix(" 00:00:00")
    return int(float(text)) if re.fullmatch(r"\d+(\.0)?", text) else text


def check_shell_blocks(places: Places, made: set[str]) -> None:
    """Run what the document has people type, and read the Parquet files as it does."""
    variables = _variables_of_recipe(places)

    def run(*command: str | Path) -> str:
        ended = subprocess.run(command, cwd=places.work, env=variables, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{command}:\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    (places.work / "notebook.py").write_text(block("marimo", "python"))
    for code in (block("The copy", "sh"), block("Parquet", "sh"), block("marimo", "sh")):
        run("bash", "-euc", code)
    page = (places.work / "notebook.html").read_text()
    assert all(kind in page for kind, *_ in FAILURES), "the page of marimo lacks rows"

    program = places.work / "parquet_recipe.py"
    program.write_text(
        block("Parquet", "python") + "\nimport duckdb, glob, reader\n"
        "reader.tell(reader.rows_of(failures))\n"
        "assert jobs.height and set(jobs['outcome']) == {'failed'}\n"
        "assert jobs.schema['created_at_utc'] == pl.Datetime('us'), jobs.schema\n"
        "files = glob.glob('parquet/*.parquet')\n"
        "for file in files:\n"
        "    frame, table = pl.read_parquet(file), pq.read_table(file)\n"
        "    assert len(pd.read_parquet(file)) == frame.height == table.num_rows > 0, file\n"
        "    zoned = [each for each in table.schema if getattr(each.type, 'tz', None)]\n"
        "    assert not zoned, (file, zoned)\n"
        "copy = duckdb.connect('bi.duckdb', read_only=True)\n"
        "views = copy.sql(\"select view_name from duckdb_views() where schema_name = 'klaviyo'\").fetchall()\n"
        "assert sorted(files) == sorted(f'parquet/{name}.parquet' for (name,) in views), files\n"
    )
    [told] = [line for line in run(places.python("tools"), program).splitlines() if line.startswith(MARK)]
    _compare(Recipe("Parquet", [], FAILURES), json.loads(told.removeprefix(MARK)))

    for name in sorted({"tools", "superset"} & made):
        run(places.python(name), HERE / "inspector_check.py")


# Hours in which zones differ by a day, whatever the side of the world.
MOMENTS = [dt.datetime(2026, 11, 20, hour, 30, tzinfo=dt.UTC) for hour in (1, 7, 13, 23)]
READ_DAYS = """
import duckdb
query = "select account, job_id, cast(created_on as varchar), cast(ended_on as varchar) from klaviyo.jobs order by all"
print(duckdb.connect("zones.duckdb", read_only=True).execute(query).fetchall())
"""


def check_days(places: Places, made: set[str]) -> int:
    """Have each driver read the days of the same moments in every zone; return how many zones there are."""
    zones = (files("tzdata") / "zones").read_text(encoding="utf-8").split()
    shutil.copy(places.work / "warehouse.duckdb", places.work / "zones.duckdb")
    rows = [
        (zone, f"J{number}", moment, moment, day, day)
        for zone in zones
        for number, moment in enumerate(MOMENTS)
        for day in (day_of(moment, zone_of(zone)),)
    ]
    names = ("account", "job_id", "created_at", "completed_at", "created_on", "completed_on")
    with duckdb.connect(str(places.work / "zones.duckdb")) as connection:
        connection.execute("delete from klaviyo_raw.jobs")
        connection.execute("begin")
        connection.executemany(
            f"insert into klaviyo_raw.jobs ({', '.join(names)}, job_kind, status) "
            "values (?, ?, ?, ?, ?, ?, 'item-create', 'complete')",
            rows,
        )
        connection.execute("commit")
    expected = str(sorted((zone, job, str(day), str(day)) for zone, job, _, _, day, _ in rows))
    for name in sorted(each for each in made if each == "tools" or each.startswith("duckdb-")):
        told = subprocess.run(
            [places.python(name), "-c", READ_DAYS], cwd=places.work, capture_output=True, text=True, check=True
        )
        _same(f"{name}: days in every zone", told.stdout.strip(), expected)
    return len(zones)


def main(folder: Path) -> int:
    """The exit code: 1 if anything is not as the document says."""
    places = Places(folder.resolve())
    places.folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    made = install(places)
    _say(f"environments: {', '.join(sorted(made))} ({time.monotonic() - started:.0f} s)")

    started = time.monotonic()
    shutil.rmtree(places.work, ignore_errors=True)
    places.work.mkdir()
    if "npm" in made:
        for name in ("reader.mjs", "evidence_check.mjs"):
            shutil.copy(HERE / name, places.npm / name)
    failed: list[str] = []
    with Sandbox("demo", clock=NOW) as sandbox, ExitStack() as stack:
        settings = {"base_url": sandbox.base_url, "api_key": sandbox.key, "bi_copy": str(places.work / "bi.duckdb")}
        # Records that cannot be read, so that `rejected_records` has rows as well.
        sandbox.faults.append(Fault("nan", kind="category-delete", times=1))
        _same("exit code of a run with rejected records", _klaviyo_jobs(places, "run", **settings), 5)
        _same("exit code of the first run", _klaviyo_jobs(places, "run", **settings), 0)
        # Jobs of the sandbox's week that are under way stay so, whenever this runs.
        with duckdb.connect(str(places.work / "warehouse.duckdb")) as connection:
            connection.execute("update klaviyo_raw.jobs set expires_at = '2100-01-01' where completed_at is null")

        try:
            check_shell_blocks(places, made)
            _say("the copy, Parquet, marimo's page, SQLAlchemy's inspector: as the document says")
            _say(f"days in {check_days(places, made)} zones: the same for every driver")
        except AssertionError as error:
            failed.append(f"{error}")

        running: list[Running] = []
        for recipe in recipes(places, made):
            each = Running(recipe, places)
            stack.callback(each.kill)
            try:
                _compare(recipe, each.next_value())
                running.append(each)
            except AssertionError as error:
                failed.append(f"{recipe.name}: {error}")

        new = Job("item-create", "NEW", NOW - dt.timedelta(hours=1), completed_at=NOW, total_count=1, completed_count=1)
        sandbox.world.add(new)
        # A zone of days other than UTC asks more of the drivers.
        code = _klaviyo_jobs(places, "run", **settings, reporting_timezone="Europe/Berlin")
        _same(f"exit code of a run while {len(running)} readers hold the copy open", code, 0)
        _say(f"a run and its publishing ended with exit code 0 while {len(running)} readers held the copy open")

        for each in running:
            try:
                each.go_on()
                _same("jobs in the copy held open", each.next_value(), JOBS)
                _same("jobs in the copy reopened", each.next_value(), JOBS + 1)
                each.end()
                _say(f"{each.recipe.name}: rows as expected, {JOBS} jobs in the copy held open, {JOBS + 1} reopened")
            except AssertionError as error:
                failed.append(f"{each.recipe.name}: {error}")

    for text in failed:
        _say(f"FAILED {text}")
    _say(f"{len(running)} recipes, {len(failed)} failures ({time.monotonic() - started:.0f} s without installing)")
    return 1 if failed else 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit((__doc__ or "").strip())
    sys.exit(main(Path(sys.argv[1])))
