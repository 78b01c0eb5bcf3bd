"""From a wheel to the page in an empty folder, by every installer that the documents name, on every Python there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import duckdb
import pytest

from install.conftest import BUILD, PATIENCE_SECONDS, Shelf, run
from klaviyo_sandbox import Sandbox
from support.documents import DEMO_CLOCK, DOCS, LOADS_POSTGRES, MANUAL, README, blocks, render_demo
from support.environments import ROOT, UV
from support.loads import NOW
from support.processes import settings
from support.tools import tool

INSTALLERS = {line.split()[0]: line for line in blocks("sh", [README])[0].splitlines()}
BI = DOCS / "bi.md"
PYTHONS = [f"3.{minor}" for minor in (11, 12, 13, 14) if minor != sys.version_info.minor]


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A folder in which there is nothing."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def assert_demo_and_page(bin_folder: Path, folder: Path, environment: dict[str, str]) -> None:
    """The demo prints what README shows, and its page is written."""
    printed = run(folder, bin_folder / "klaviyo-jobs", "demo", "--clock", DEMO_CLOCK, environment=environment)

    assert render_demo("", printed) in README.read_text()

    run(folder, bin_folder / "klaviyo-jobs", "report", "--html", "page.html", environment=environment)

    assert 900_000 < (folder / "page.html").stat().st_size < 3_000_000


def test_readme_names_the_installers_tried_here() -> None:
    """One line each."""
    assert sorted(INSTALLERS) == ["pip", "pipx", "uv"]


def test_pip_installs_it(shelf: Shelf, tmp_path: Path, empty: Path) -> None:
    """README's line, in an environment that has nothing but pip."""
    venv.create(tmp_path / "own", with_pip=True)
    programs = tmp_path / "own" / "bin"
    environment = shelf.environment | {"PATH": f"{programs}:/usr/bin:/bin"}

    run(empty, "sh", "-c", INSTALLERS["pip"], environment=environment)

    assert_demo_and_page(programs, empty, environment)


def test_pipx_installs_it(shelf: Shelf, tmp_path: Path, empty: Path) -> None:
    """README's line."""
    own = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "programs")}
    environment = {**shelf.environment, **own, "PIPX_DEFAULT_PYTHON": sys.executable}

    run(empty, "sh", "-c", INSTALLERS["pipx"], environment=environment)

    assert_demo_and_page(tmp_path / "programs", empty, environment)


def test_uv_installs_it(shelf: Shelf, tmp_path: Path, empty: Path) -> None:
    """README's line."""
    own = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "programs")}
    environment = {**shelf.environment, **own}

    run(empty, "sh", "-c", INSTALLERS["uv"], environment=environment)

    assert_demo_and_page(tmp_path / "programs", empty, environment)


def test_uvx_runs_the_demo_without_installing_it(shelf: Shelf, empty: Path) -> None:
    """`uvx klaviyo-jobs demo`."""
    printed = run(empty, "uvx", "klaviyo-jobs", "demo", "--clock", DEMO_CLOCK, environment=shelf.environment)

    assert render_demo("", printed) in README.read_text()


@pytest.mark.parametrize("version", PYTHONS)
def test_it_runs_on_every_python_that_is_here(version: str, shelf: Shelf, tmp_path: Path, empty: Path) -> None:
    """What the classifiers name, where an interpreter can be had; pip has tried the running one."""
    uv = tool("uv")
    found = subprocess.run([uv, "python", "find", version], env=shelf.environment, capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"there is no Python {version} here")
    environment = shelf.environment | {"VIRTUAL_ENV": str(tmp_path / "own")}
    run(empty, uv, "venv", "--quiet", "--python", version, tmp_path / "own", environment=environment)
    run(empty, uv, "pip", "install", "--quiet", "klaviyo-jobs[report]", environment=environment)

    assert_demo_and_page(tmp_path / "own" / "bin", empty, environment)


def test_the_source_comes_without_what_only_the_command_needs(shelf: Shelf, tmp_path: Path, empty: Path) -> None:
    """`klaviyo-jobs-source` runs the code of docs/dlt.md; its command tells what to install, and then it is all there."""
    uv, own = tool("uv"), tmp_path / "own"
    environment = shelf.environment | {"VIRTUAL_ENV": str(own)}
    run(empty, uv, "venv", "--quiet", "--python", sys.executable, own, environment=environment)
    run(empty, uv, "pip", "install", "--quiet", "klaviyo-jobs-source", environment=environment)
    installed = run(empty, uv, "pip", "list", "--format", "freeze", environment=environment)
    with Sandbox("demo", clock=NOW) as sandbox:
        code = [block for block in blocks("python", [DOCS / "dlt.md"]) if LOADS_POSTGRES not in block]
        run(empty, own / "bin" / "python", "-c", "\n".join(code), environment=environment | settings(sandbox))
    refused = subprocess.run(
        [own / "bin" / "klaviyo-jobs", "demo"],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    names = {line.split("==")[0] for line in installed.splitlines()}
    assert "klaviyo-jobs-source" in names
    # dlt brings rich for its own command.
    assert not names & {"klaviyo-jobs", "typer", "aiohttp"}
    with duckdb.connect(str(empty / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from klaviyo_raw.jobs").fetchone() == (302,)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines()[-1] == '  Next: python -m pip install "klaviyo-jobs-source[cli]"'

    run(empty, uv, "pip", "install", "--quiet", "klaviyo-jobs-source[cli,report]", environment=environment)

    assert_demo_and_page(own / "bin", tmp_path, environment)


def test_a_tag_gives_both_wheels_its_version(shelf: Shelf, tmp_path: Path) -> None:
    """The commands of CONTRIBUTING.md, on a first commit; a commit beyond the tag is named behind it."""
    checkout = tmp_path / "checkout"
    left_out = shutil.ignore_patterns(".git", ".venv", "build", "dist", ".*_cache", "__pycache__", ".hypothesis")
    shutil.copytree(ROOT, checkout, ignore=left_out)
    own = {f"GIT_{who}_{what}": "tester@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {
        **shelf.environment,
        **own,
        "PIP_CONSTRAINT": str(ROOT / "requirements.txt"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    [release] = [block for block in blocks("sh", [ROOT / "CONTRIBUTING.md"]) if "git tag" in block]
    git = ("git", "-c", "init.defaultBranch=main")
    run(checkout, *git, "init", "--quiet", environment=environment)
    run(checkout, *git, "add", ".", environment=environment)
    run(checkout, *git, "commit", "--quiet", "--message", "All of it", environment=environment)
    run(checkout, "sh", "-ec", release, environment=environment)

    tag = re.findall(r"git tag --annotate v(\S+)", release)
    assert {path.name.split("-")[1] for path in (checkout / "dist").glob("*.whl")} == set(tag)

    run(checkout, *git, "commit", "--quiet", "--allow-empty", "--message", "More", environment=environment)
    commit = run(checkout, *git, "rev-parse", "--short=9", "HEAD", environment=environment).strip()
    run(checkout, "sh", "-ec", release.splitlines()[1], environment=environment)

    assert (checkout / "dist" / f"klaviyo_jobs-{tag[0]}+g{commit}-py3-none-any.whl").exists()


def test_every_extra_can_be_installed(shelf: Shelf, tmp_path: Path) -> None:
    """All of them, together; those that documents name are among them."""
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    named = set(re.findall(r"(?:klaviyo-jobs|\.)\[(\w+)\]", "\n".join(page.read_text() for page in (*MANUAL, BI))))
    environment = {name: value for name, value in shelf.environment.items() if name != "UV_CONSTRAINT"}
    wanted = f"klaviyo-jobs[{','.join(sorted(extras))}]=={shelf.version}"
    uv = (*UV, "pip", "install", "--dry-run", "--target", tmp_path)
    run(tmp_path, *uv, wanted, environment=environment)

    assert named
    assert named <= extras


def test_both_wheels_hold_the_same_modules(shelf: Shelf) -> None:
    """What differs is what they ask for."""
    held = []
    for path in sorted(shelf.folder.glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            held.append({name: archive.read(name) for name in archive.namelist() if name.endswith((".py", ".sql"))})

    assert len(held) == 2
    assert held[0] == held[1]


def test_the_archive_of_the_sources_makes_the_same_wheel(shelf: Shelf, tmp_path: Path) -> None:
    """Without git, as those who package it for a system do."""
    run(tmp_path, *BUILD, "--sdist", "--out-dir", tmp_path, ROOT, environment=shelf.environment)
    [archive] = tmp_path.glob("klaviyo_jobs-*.tar.gz")
    shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
    [unpacked] = (tmp_path / "unpacked").iterdir()
    run(tmp_path, *BUILD, "--wheel", "--out-dir", tmp_path, unpacked, environment=shelf.environment)

    [made] = tmp_path.glob("*.whl")
    [released] = shelf.folder.glob("klaviyo_jobs-*.whl")
    assert made.name == released.name
    with zipfile.ZipFile(made) as first, zipfile.ZipFile(released) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())
