"""What is shipped: the wheel holds everything, and runs where there is no repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import duckdb
import pytest

import klaviyo_jobs
import klaviyo_sandbox
from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.warehouse.views import find_sql
from klaviyo_sandbox import Sandbox
from support.loads import NOW
from support.processes import settings

REPOSITORY = Path(__file__).parent.parent


def pip(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release is."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", ".", "--no-deps", "--no-build-isolation", "-w", str(folder))
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's packages and nothing of the repository."""
    folder = tmp_path_factory.mktemp("site")
    pip("install", str(wheel), "--no-deps", "--target", str(folder))
    return folder


def info_of(wheel: Path) -> str:
    """The folder of its metadata."""
    return "-".join(wheel.name.split("-")[:2]) + ".dist-info"


def python(installed: Path, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in *folder* with the installed packages in front of all others."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed), "NO_COLOR": "1", "COLUMNS": "160", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_wheel_is_named_after_the_project_and_a_version(wheel: Path) -> None:
    """Pure Python, any platform; the version is a tag's, and the commit where it is not the tagged one."""
    assert re.fullmatch(r"klaviyo_jobs-\d+\.\d+\.\d+(\+g[0-9a-f]+)?([+.]d\d+)?-py3-none-any\.whl", wheel.name)


def test_without_a_tag_it_is_the_newest_version_of_the_changelog() -> None:
    """In both distributions."""
    [newest, *_] = re.findall(
        r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", (REPOSITORY / "CHANGELOG.md").read_text(), re.M
    )
    for folder in (REPOSITORY, REPOSITORY / "distributions" / "klaviyo-jobs-source"):
        settings = tomllib.loads((folder / "pyproject.toml").read_text())
        assert settings["tool"]["hatch"]["version"]["fallback-version"] == newest


def test_the_installed_package_tells_its_version(installed: Path, tmp_path: Path) -> None:
    """That of the wheel."""
    [info] = installed.glob("klaviyo_jobs-*.dist-info")
    ended = python(installed, tmp_path, "-m", "klaviyo_jobs", "--version")

    assert ended.stdout == f"klaviyo-jobs {info.name.removeprefix('klaviyo_jobs-').removesuffix('.dist-info')}\n"


def test_the_wheel_holds_every_module_and_every_view(wheel: Path) -> None:
    """Both packages as they are in the repository, the SQL below the first, the license and the command."""
    names = set(zipfile.ZipFile(wheel).namelist())

    modules = {
        path.relative_to(REPOSITORY / "pipelines").as_posix() for path in (REPOSITORY / "pipelines").rglob("*.py")
    }
    views = {f"klaviyo_jobs/{path.relative_to(REPOSITORY).as_posix()}" for path in (REPOSITORY / "sql").rglob("*.sql")}
    assert "klaviyo_jobs/sql/base/jobs.sql" in names
    assert (modules | views) - names == set()
    assert {"klaviyo_jobs/py.typed", "klaviyo_sandbox/py.typed"} <= names
    info = info_of(wheel)
    assert f"{info}/licenses/LICENSE" in names
    entry_points = zipfile.ZipFile(wheel).read(f"{info}/entry_points.txt").decode()
    assert "klaviyo-jobs = klaviyo_jobs.__main__:main" in entry_points


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    """No tests, no settings, no data."""
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert tops == {"klaviyo_jobs", "klaviyo_sandbox", info_of(wheel)}
    assert not any("secret" in name or name.endswith((".duckdb", ".pyc")) for name in zipfile.ZipFile(wheel).namelist())


def test_what_is_shown_of_it_has_no_link_that_leads_nowhere(wheel: Path) -> None:
    """The README without links into a repository that is not beside it; the files are named."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("METADATA")]
        shown = archive.read(name).decode()

    assert "Description-Content-Type: text/markdown" in shown
    assert re.findall(r"\]\((?!https://|#)[^)]*\)", shown) == []
    assert "the page (docs/running.md#the-page)" in shown


def test_the_installed_package_finds_its_own_views(installed: Path, tmp_path: Path) -> None:
    """Inside the package, not at the top of a repository."""
    ended = python(installed, tmp_path, "-c", "from klaviyo_jobs.warehouse.views import find_sql; print(find_sql())")

    assert (ended.stdout.strip(), ended.returncode) == (str(installed / "klaviyo_jobs" / "sql"), 0), ended.stderr


def test_the_installed_command_runs_the_demo(installed: Path, tmp_path: Path) -> None:
    """The whole way, from the sandbox to the views and to the page, without the repository."""
    ended = python(installed, tmp_path, "-m", "klaviyo_jobs", "demo")

    assert ended.returncode == 0, ended.stderr
    assert "klaviyo.job_throughput_daily" in ended.stdout
    assert (tmp_path / "demo.duckdb").is_file()

    ended = python(installed, tmp_path, "-m", "klaviyo_jobs", "report", "--html", "page.html")

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "page.html").stat().st_size > 900_000


def test_a_checkout_finds_the_views_at_the_top_of_the_repository() -> None:
    """Where people look for them."""
    assert find_sql() == REPOSITORY / "sql"


def test_missing_views_are_named_with_both_places(tmp_path: Path) -> None:
    """A broken installation says so, in the three parts of every message."""
    with pytest.raises(WarehouseError) as caught:
        find_sql(tmp_path / "pipelines" / "klaviyo_jobs")

    error = caught.value
    assert str(tmp_path / "pipelines" / "klaviyo_jobs" / "sql") in error.message
    assert str(tmp_path / "sql") in error.message
    assert (error.data, error.next_step) == (
        "the views are as they were; what was loaded stays.",
        "install klaviyo-jobs again.",
    )


def test_the_public_names_are_few_and_there() -> None:
    """What others import is what `__all__` lists."""
    assert sorted(klaviyo_jobs.__all__) == ["KlaviyoJobsError", "ListingOutcome", "__version__", "klaviyo_jobs"]
    assert all(hasattr(klaviyo_jobs, name) for name in klaviyo_jobs.__all__)
    assert all(hasattr(klaviyo_sandbox, name) for name in klaviyo_sandbox.__all__)


@pytest.mark.parametrize("missing", ["typer", "rich", "aiohttp"])
def test_the_source_does_without_what_only_the_command_needs(missing: str, tmp_path: Path) -> None:
    """It loads a kind where Python finds no such package; the command says what to install."""
    hidden = f"import sys; sys.modules[{missing!r}] = None\n"
    load = "import dlt, klaviyo_jobs; print(dlt.pipeline('p', destination='duckdb').run(klaviyo_jobs.klaviyo_jobs(kinds=['item-create'])))"
    with Sandbox("demo", clock=NOW) as sandbox:
        loaded = python(tmp_path, tmp_path, "-c", hidden + load, **settings(sandbox))
    refused = python(tmp_path, tmp_path, "-c", hidden + "from klaviyo_jobs.__main__ import main; main()")

    assert loaded.returncode == 0, loaded.stderr
    with duckdb.connect(str(tmp_path / "p.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from p_dataset.jobs").fetchone() == (260,)
    if missing != "aiohttp":  # which the demo and the sandbox need only
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr == (
            f"klaviyo-jobs: the command needs the package {missing}, which is not installed here.\n"
            "  Data: nothing was read or written.\n"
            '  Next: python -m pip install "klaviyo-jobs-source[cli]"\n'
        )


def test_importing_the_source_does_not_import_the_sandbox(tmp_path: Path) -> None:
    """The two meet over HTTP only."""
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, klaviyo_jobs.cli.app; print([name for name in sys.modules if name.startswith('klaviyo_sandbox')])",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout.strip() == "[]"
