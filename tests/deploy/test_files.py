"""The files of deploy/: the tools that they are for read them, and what they run is a command of ours."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import typer.main

from klaviyo_jobs.cli import app as cli
from klaviyo_jobs.settings import ENV_PREFIX
from support.documents import ALL_SETTINGS, DEPLOY, REFRESH, ROOT, blocks, deployed_units
from support.tools import tool

FILES = sorted(path for path in DEPLOY.iterdir() if path.is_file())
COMMANDS = set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]


def run(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a tool, and fail with what it says."""
    ended = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, **options)  # type: ignore[call-overload]
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended  # type: ignore[no-any-return]


# What can be told everywhere.


@pytest.mark.parametrize("name", list(deployed_units()))
def test_the_units_are_those_that_init_prints(name: str) -> None:
    """With the paths of the folder that deploy/ speaks of."""
    assert (DEPLOY / name).read_text() == deployed_units()[name], f"refresh it with: {REFRESH}"


def test_what_they_run_are_commands_of_ours() -> None:
    """Each `klaviyo-jobs` in them is followed by a command that exists, with options that it knows."""
    group = typer.main.get_command(cli.app)
    found = []
    for path in FILES:
        # Comments tell how to call docker and kubectl, and name the program where nothing is run.
        lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith(("#", '"""'))]
        for words in re.findall(r"(?:bin/|run: )klaviyo-jobs ([^&|>\n]+)", "\n".join(lines)):
            name, *arguments = [word for word in shlex.split(words) if word != "--quiet"]
            assert name in COMMANDS
            group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]
            found.append((path.name, name))

    assert set(found) == {
        ("klaviyo-jobs.crontab", "run"),
        ("klaviyo-jobs.crontab", "check"),
        ("klaviyo-jobs.crontab", "publish"),
        ("klaviyo-jobs.service", "run"),
        ("github-actions.yaml", "run"),
        ("github-actions.yaml", "check"),
    }


def test_the_settings_that_they_name_exist() -> None:
    """As variables of the environment, and as the file of a secret."""
    named = {name for path in FILES for name in re.findall(rf"{ENV_PREFIX}(\w+)", path.read_text())}

    assert named == {"API_KEY"}
    assert named <= {name.upper() for name in ALL_SETTINGS}


def test_the_memory_that_is_allowed_is_twice_what_is_needed() -> None:
    """A run needs half a gigabyte, by its own limit and by measurement: docs/performance.md."""
    assert "MemoryMax=1G\n" in (DEPLOY / "klaviyo-jobs.service").read_text()
    assert re.search(r"limits:\n +memory: 1Gi\n", (DEPLOY / "kubernetes.yaml").read_text())


def test_the_key_is_found_in_the_file_that_kubernetes_mounts(environment: dict[str, str], tmp_path: Path) -> None:
    """By the name that `kubectl create secret` in the head of its file gives it; here in a folder of the test's."""
    [name] = re.findall(r"--from-file=([\w-]+)=", (DEPLOY / "kubernetes.yaml").read_text())
    (tmp_path / name).write_text(environment.pop("SOURCES__KLAVIYO_JOBS__API_KEY"))
    program = f"""
from dlt.common.configuration.providers import environ
environ.SECRET_STORAGE_PATH = {str(tmp_path)!r} + "/%s"
from klaviyo_jobs.cli.app import app
app(["run", "--kind", "item-update"])
"""
    ended = run(sys.executable, "-c", program, cwd=tmp_path, env=environment)

    assert "6 jobs listed" in ended.stderr


# With the tools themselves.


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """With a program and a folder that are there."""
    program, folder = tool("klaviyo-jobs"), "/srv/klaviyo"
    for name in deployed_units():
        text = (DEPLOY / name).read_text().replace(f"{folder}/.venv/bin/klaviyo-jobs", program)
        (tmp_path / name).write_text(text.replace(folder, str(tmp_path)))
    ended = run(tool("systemd-analyze"), "verify", *(tmp_path / name for name in deployed_units()))

    assert (ended.stdout, ended.stderr) == ("", "")


@pytest.mark.parametrize("lines", [(DEPLOY / "klaviyo-jobs.crontab").read_text(), *blocks("crontab")])
def test_cron_takes_the_lines(lines: str, tmp_path: Path) -> None:
    """Debian's, without installing them; those that documents show, too."""
    (tmp_path / "lines").write_text(lines)

    run(tool("crontab"), "-n", tmp_path / "lines")


def test_the_dockerfile_is_well_made() -> None:
    """By hadolint's rules, all of them."""
    assert run(tool("hadolint"), DEPLOY / "Dockerfile").stdout == ""


def test_the_image_runs_where_there_is_a_container_engine(environment: dict[str, str]) -> None:
    """By the commands in the head of its file; on the network of this machine, where the shop is."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no container engine runs here")
    build, start = re.findall(r"^#   (docker .+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    start = start.replace(" run ", f" run --network host -e {ENV_PREFIX}BASE_URL ", 1)
    run("sh", "-ec", build, cwd=ROOT, env=environment)

    assert "332 jobs listed" in run("sh", "-ec", start, cwd=ROOT, env=environment).stderr


def test_kubernetes_knows_every_field() -> None:
    """Of its newest version, strictly."""
    run(tool("kubernetes-validate"), "--strict", DEPLOY / "kubernetes.yaml")


def test_the_workflow_is_one() -> None:
    """By the schema of GitHub's workflows."""
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", DEPLOY / "github-actions.yaml")


def test_dagster_loads_the_source(environment: dict[str, str], tmp_path: Path) -> None:
    """It materialises the asset, and finds nothing new the second time."""
    for _ in range(2):
        run(
            *(tool("dagster"), "asset", "materialize", "--select", "klaviyo_bulk_jobs"),
            *("-f", DEPLOY / "dagster_definitions.py"),
            cwd=tmp_path,
            env={**environment, "DAGSTER_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "yes"},
        )
    with duckdb.connect(environment["KLAVIYO_WAREHOUSE"], read_only=True) as connection:
        runs = connection.execute("select sum(changed_count) from klaviyo_raw.listings group by run_id order by run_id")

        assert runs.fetchall() == [(332,), (0,)]


def test_airflow_loads_the_source(environment: dict[str, str], tmp_path: Path) -> None:
    """It runs the DAG to its end in a home of its own."""
    home = tmp_path / "airflow"
    (home / "dags").mkdir(parents=True)
    (home / "dags" / "klaviyo.py").write_text((DEPLOY / "airflow_dag.py").read_text())
    airflow = tool("airflow")
    of_airflow = {**environment, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    run(airflow, "db", "migrate", cwd=tmp_path, env=of_airflow)
    run(airflow, "dags", "test", "klaviyo_bulk_jobs", cwd=tmp_path, env=of_airflow)
    with duckdb.connect(environment["KLAVIYO_WAREHOUSE"], read_only=True) as connection:
        assert connection.execute("select count(*) from klaviyo_raw.jobs").fetchall() == [(332,)]
