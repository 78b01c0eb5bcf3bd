"""`klaviyo-jobs query`: one question, answered from the copy or the warehouse, and nothing that could change either."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import duckdb
import pytest

from support.loads import Warehouse
from support.processes import assert_failed, command

ONE = "select 'a,b' as text, null as nothing, 1.5 as number"


@pytest.fixture
def folder(warehouse: Warehouse, tmp_path: Path) -> Path:
    """A folder with a warehouse that has views and no rows."""
    assert warehouse.path == tmp_path / "warehouse.duckdb"
    return tmp_path


def query(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Ask, in *folder*."""
    return command(folder, "query", *words, **environment)


def test_the_answer_is_a_table(folder: Path) -> None:
    """With the names of the columns; what is null is blank."""
    ended = query(folder, ONE)

    assert ended.returncode == 0, ended.stderr
    lines = [line.strip() for line in ended.stdout.splitlines() if line.strip()]
    assert (lines[0].split(), lines[2].split()) == (["text", "nothing", "number"], ["a,b", "1.5"])


def test_as_csv(folder: Path) -> None:
    """The names first, and quotes where they are needed."""
    assert query(folder, "--csv", ONE).stdout == 'text,nothing,number\n"a,b",,1.5\n'


def test_as_json(folder: Path) -> None:
    """One object, which tells the file that was asked; times are texts."""
    ended = query(folder, "--json", "select date '2026-11-20' as day, true as is_so, null as nothing")

    answer = json.loads(ended.stdout)

    assert answer.pop("window")["since_utc"] is None
    assert answer == {
        "database": str(folder / "warehouse.duckdb"),
        "rows": [{"day": "2026-11-20", "is_so": True, "nothing": None}],
    }


def test_a_view_without_rows_has_columns(folder: Path) -> None:
    """And nothing below them."""
    assert query(folder, "--csv", "select job_id, outcome from klaviyo.jobs").stdout == "job_id,outcome\n"


def test_the_copy_is_asked_where_there_is_one(folder: Path) -> None:
    """Unless a file is named."""
    shutil.copy(folder / "warehouse.duckdb", folder / "copy.duckdb")
    copy = {"SOURCES__KLAVIYO_JOBS__BI_COPY": "copy.duckdb"}

    asked = [
        json.loads(query(folder, "--json", *words, "select 1 as one", **copy).stdout)["database"]
        for words in ((), ("--warehouse", "warehouse.duckdb"))
    ]
    (folder / "copy.duckdb").unlink()
    asked.append(json.loads(query(folder, "--json", "select 1 as one", **copy).stdout)["database"])

    assert asked == [str(folder / name) for name in ("copy.duckdb", "warehouse.duckdb", "warehouse.duckdb")]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("selct", 'Parser Error: syntax error at or near "selct"'),
        ("select * from klaviyo.job", "Table with name job does not exist"),
        ("create table mine as select 1", "read-only mode"),
        ("delete from klaviyo_raw.jobs", "read-only mode"),
        ("copy klaviyo.jobs to 'out.csv'", "file system operations are disabled"),
        ("attach 'other.duckdb'", "file system operations are disabled"),
        ("select * from read_text('.dlt/secrets.toml')", "file system operations are disabled"),
        ("set enable_external_access = true", "Cannot"),
        ("select 1; select 2", "2 statements were given"),
        ("", "0 statements were given"),
    ],
)
def test_what_cannot_be_answered_is_refused(folder: Path, sql: str, message: str) -> None:
    """With what DuckDB says, and where the views are listed; nothing is written or read beside the warehouse."""
    (folder / ".dlt").mkdir()
    (folder / ".dlt" / "secrets.toml").touch(0o600)
    before = sorted(path.name for path in folder.iterdir())

    ended = query(folder, sql)

    assert_failed(ended, 2, message, data="nothing was changed", next_step="klaviyo-jobs query")
    assert sorted({path.name for path in folder.iterdir()} - {"dlt"}) == [name for name in before if name != "dlt"]


def test_the_suggestion_itself_is_answered(folder: Path) -> None:
    """Every view and column, with what it is."""
    ended = query(
        folder,
        "--csv",
        "select table_name, column_name, comment from duckdb_columns() where schema_name = 'klaviyo'",
    )

    assert "jobs,account,Label of the Klaviyo account in the settings." in ended.stdout


def test_more_than_fits_into_memory_goes_to_disk(folder: Path) -> None:
    """Though no file may be opened: that of the database's own overflow may."""
    ended = query(
        folder,
        "--csv",
        "select count(*) as n from (select distinct md5(cast(i as varchar)) || i from range(6000000) as t(i))",
        SOURCES__KLAVIYO_JOBS__MEMORY_LIMIT="256MB",
    )

    assert (ended.stdout, ended.returncode) == ("n\n6000000\n", 0)


def test_what_fits_in_one_thread_only_is_answered(folder: Path) -> None:
    """Each thread keeps texts of its own for an aggregate, which no disk can hold; those of one fit."""
    ended = query(
        folder,
        "--csv",
        "select max(length(m)) as n from (select i % 300000 as k, arg_max(repeat(md5(cast(i as varchar)), 4), i) as m "
        "from range(2000000) as t(i) group by k)",
        SOURCES__KLAVIYO_JOBS__MEMORY_LIMIT="256MB",
    )

    assert (ended.stdout, ended.returncode) == ("n\n128\n", 0)


def test_what_does_not_fit_at_all_says_what_to_raise(folder: Path) -> None:
    """It is no fault of the statement's."""
    ended = query(
        folder,
        "select list(md5(cast(i as varchar))) from range(5000000) as t(i)",
        SOURCES__KLAVIYO_JOBS__MEMORY_LIMIT="256MB",
    )

    assert ended.returncode == 7
    assert "raise `memory_limit`" in ended.stderr


def test_without_a_warehouse_it_says_so(tmp_path: Path) -> None:
    """Exit code 7, and no file is made."""
    (tmp_path / "warehouse.duckdb").unlink(missing_ok=True)

    ended = query(tmp_path, "select 1")

    assert ended.returncode == 7
    assert not (tmp_path / "warehouse.duckdb").exists()


def test_a_run_is_not_held_up_by_its_reader(folder: Path) -> None:
    """What is asked is read and the file is closed."""
    query(folder, "select 1")

    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("create table klaviyo_raw.written as select 1")
