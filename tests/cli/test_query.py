"""`klaviyo-jobs query`: one question, answered from the copy or the warehouse, and nothing that could change either."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from support.loads import Warehouse
from support.processes import ENVIRONMENT, assert_failed, command

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


def test_piped_no_table_is_cut(folder: Path) -> None:
    """Whatever the width that the environment tells: each name and each value stands in one piece."""
    ended = query(
        folder, "select repeat('x', 300) as " + ", 1 as ".join(f"column_{n}" for n in range(30)), COLUMNS="20"
    )

    lines = [line.split() for line in ended.stdout.splitlines() if line.strip()]
    assert lines[0] == [f"column_{n}" for n in range(30)]
    assert lines[2] == ["x" * 300, *["1"] * 29]


def test_json_has_null_for_what_is_no_number(folder: Path) -> None:
    """JSON knows neither of them."""
    ended = query(folder, "--json", "select 'nan'::double as a, ['inf'::double, 1.5] as b")

    assert '"rows": [{"a": null, "b": [null, 1.5]}]' in ended.stdout


NESTED = """
    select [timestamp '2026-01-01', null] as times, {'k': null, 'd': 1.50::decimal(5, 2)} as struct,
        map {date '2026-01-02': 2} as map, '\\x01'::blob as blob
"""


def test_json_of_values_within_values(folder: Path) -> None:
    """Times are ISO texts, decimals numbers, blobs hexadecimal digits."""
    ended = query(folder, "--json", NESTED)

    assert json.loads(ended.stdout)["rows"] == [
        {
            "times": ["2026-01-01T00:00:00", None],
            "struct": {"k": None, "d": 1.5},
            "map": {"2026-01-02": 2},
            "blob": "01",
        }
    ]


def test_csv_of_values_within_values(folder: Path) -> None:
    """As JSON has them."""
    ended = query(folder, "--csv", NESTED)

    assert list(csv.reader(io.StringIO(ended.stdout)))[1] == [
        '["2026-01-01T00:00:00", null]',
        '{"k": null, "d": 1.5}',
        '{"2026-01-02": 2}',
        "01",
    ]


def test_a_table_of_values_within_values(folder: Path) -> None:
    """As JSON has them."""
    ended = query(folder, NESTED)

    assert ended.stdout.splitlines()[3].split("  ") == [
        ' ["2026-01-01T00:00:00", null]',
        '{"k": null, "d": 1.5}',
        '{"2026-01-02": 2}',
        "01",
    ]


def test_two_columns_of_one_name_are_no_object(folder: Path) -> None:
    """One of them would be lost."""
    ended = query(folder, "--json", "select 1 as one, 2 as one")

    assert_failed(ended, 2, "two columns have the name 'one'", data="nothing was changed", next_step="with `as`")


def test_csv_quotes_a_carriage_return(folder: Path) -> None:
    """Or readers would take it for the end of the row."""
    environment = {**ENVIRONMENT, "DLT_DATA_DIR": str(folder / "dlt")}
    words = ["query", "--csv", "select 'a' || chr(13) || 'b' as text, 1 as number"]

    ended = subprocess.run(
        [sys.executable, "-m", "klaviyo_jobs", *words], cwd=folder, env=environment, capture_output=True, check=True
    )

    assert ended.stdout == b'text,number\n"a\rb",1\n'


def test_a_table_has_no_control_characters(folder: Path) -> None:
    """A terminal would obey them."""
    ended = query(folder, "select chr(27) || '[31mred' || chr(155) || chr(9) as text")

    assert ended.stdout.splitlines()[3].strip() == r"\x1b[31mred\x9b\t"


def test_csv_has_control_characters_as_they_are(folder: Path) -> None:
    """Programs read it."""
    assert query(folder, "--csv", "select chr(27) || '[31mred' as text").stdout == "text\n\x1b[31mred\n"


@pytest.mark.parametrize(("words", "given"), [((b"-",), b"select '\xff'"), ((b"select '\xff'",), b"")])
def test_what_is_no_utf_8_is_refused(folder: Path, words: tuple[bytes], given: bytes) -> None:
    """As an argument and on the standard input."""
    ended = subprocess.run(
        [sys.executable, "-m", "klaviyo_jobs", "query", *words],
        cwd=folder,
        env={**ENVIRONMENT, "DLT_DATA_DIR": str(folder / "dlt")},
        input=given,
        capture_output=True,
    )

    told = subprocess.CompletedProcess((), ended.returncode, ended.stdout.decode(), ended.stderr.decode())
    assert_failed(told, 2, "no UTF-8: .* byte 0xff at character 9", data="nothing was read", next_step="iconv")


@pytest.mark.parametrize("words", [["--csv"], ["--json"], []], ids=["CSV", "JSON", "a table"])
def test_a_reader_that_goes_away_is_no_error(folder: Path, words: list[str]) -> None:
    """The command ends as others do of which only the head is read, and says nothing."""
    reading, writing = os.pipe()
    os.close(reading)

    ended = subprocess.run(
        [sys.executable, "-m", "klaviyo_jobs", "query", *words, "select 1 as one"],
        cwd=folder,
        env={**ENVIRONMENT, "DLT_DATA_DIR": str(folder / "dlt")},
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)

    assert (ended.returncode, ended.stderr) == (141, b"")


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
