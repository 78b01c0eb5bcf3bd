"""Paths as people write them: `~` is home, links are followed, and one file has one lock and one copy."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.places import path_of
from klaviyo_jobs.warehouse.engines.duckdb import COPY, check_place
from klaviyo_jobs.warehouse.lock import FileLock
from klaviyo_sandbox import Job, Sandbox
from support.loads import NOW
from support.processes import command, settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's home."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def run(sandbox: Sandbox, folder: Path, *arguments: str, **environment: str) -> int:
    """Run once; return the exit code."""
    sandbox.world.add(Job("item-create", "J1", NOW, completed_at=NOW, total_count=1))
    return command(folder, "run", "--kind", "item-create", *arguments, **settings(sandbox), **environment).returncode


def jobs_in(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as connection:
        [(count,)] = connection.execute("select count(*) from klaviyo_raw.jobs").fetchall()
    return int(count)


def test_a_tilde_is_the_home_folder(sandbox: Sandbox, tmp_path: Path, home: Path) -> None:
    """In settings, where no shell has replaced it: warehouse, copy, and the folder to spill into."""
    paths = {"WAREHOUSE": "~/w.duckdb", "BI_COPY": "~/copy.duckdb", "TEMP_DIRECTORY": "~/spill"}
    environment = {f"SOURCES__KLAVIYO_JOBS__{name}": path for name, path in paths.items()}

    assert run(sandbox, tmp_path, HOME=str(home), **environment) == 0

    assert (jobs_in(home / "w.duckdb"), jobs_in(home / "copy.duckdb")) == (1, 1)
    assert not (tmp_path / "~").exists()


def test_options_understand_it_too(sandbox: Sandbox, tmp_path: Path, home: Path) -> None:
    """`--option=~/x` reaches the command as it stands."""
    assert run(sandbox, tmp_path, "--warehouse=~/w.duckdb", HOME=str(home)) == 0

    ended = command(tmp_path, "publish", "~/copy.duckdb", "--parquet=~/files", "--warehouse=~/w.duckdb", HOME=str(home))

    assert ended.returncode == 0, ended.stderr
    assert jobs_in(home / "copy.duckdb") == 1
    assert (home / "files" / "jobs.parquet").is_file()


def test_a_link_to_the_warehouse_is_the_warehouse(sandbox: Sandbox, tmp_path: Path, home: Path) -> None:
    """The file, its lock and its write-ahead log are where the link leads; also of one that is not there yet."""
    link = tmp_path / "link.duckdb"
    link.symlink_to(home / "w.duckdb")

    assert run(sandbox, tmp_path, "--warehouse", str(link)) == 0

    assert link.is_symlink()
    assert sorted(path.name for path in home.iterdir()) == ["w.duckdb", "w.duckdb.lock"]
    assert not list(tmp_path.glob("link.duckdb.*"))


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_two_names_of_a_warehouse_have_one_lock(sandbox: Sandbox, tmp_path: Path, home: Path, linked: str) -> None:
    """Whatever it is called, one run at a time."""
    assert run(sandbox, tmp_path, "--warehouse", str(home / "w.duckdb")) == 0
    if linked == "file":
        name = tmp_path / "link.duckdb"
        name.symlink_to(home / "w.duckdb")
    else:
        (tmp_path / "there").symlink_to(home)
        name = tmp_path / "there" / "w.duckdb"

    with FileLock(home / "w.duckdb", []):
        assert run(sandbox, tmp_path, "--warehouse", str(name)) == 6


def test_a_copy_is_replaced_where_the_link_leads(sandbox: Sandbox, tmp_path: Path, home: Path) -> None:
    """Readers who have the real path open it; a file in the place of the link would never reach them."""
    run(sandbox, tmp_path, SOURCES__KLAVIYO_JOBS__BI_COPY=str(home / "copy.duckdb"))
    before = (home / "copy.duckdb").stat().st_ino
    link = tmp_path / "copy.duckdb"
    link.symlink_to(home / "copy.duckdb")

    assert run(sandbox, tmp_path, SOURCES__KLAVIYO_JOBS__BI_COPY=str(link)) == 0

    assert link.is_symlink()
    assert (home / "copy.duckdb").stat().st_ino != before
    assert jobs_in(home / "copy.duckdb") == 1


@pytest.mark.parametrize("text", ["~nobody-of-this-name/w.duckdb", "loop/w.duckdb", "loop"])
def test_a_path_that_leads_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A user that is not there, and links in a circle."""
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")

    with pytest.raises(SettingError, match=f"^warehouse '{text}' is no path that can be followed: "):
        path_of(text, "warehouse")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_copy_that_is_read_only_can_be_replaced(tmp_path: Path) -> None:
    """Copies are read-only files; it is their folder that has to be writable."""
    copy = tmp_path / "copy.duckdb"
    copy.touch(mode=0o444)

    check_place(copy, COPY)
