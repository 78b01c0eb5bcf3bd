"""What an import of profiles was sent: personal data, in no file and no line of the program unless it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from klaviyo_sandbox import JobError, Sandbox
from support.jobs import job
from support.loads import NOW
from support.processes import command, settings

NAME: Final = "Zaphod-Beeblebrox-4711"
PAYLOAD: Final = {"email": f"{NAME}@customers.example", "properties": {"note": ["original", NAME]}}
# What a server sends that takes no notice of the fields asked for: errors that can be read, and others that cannot.
UNASKED: Final[list[dict[str, Any]]] = [
    {
        "type": "import-error",
        "id": "E1",
        "attributes": {"code": "invalid", "title": "T", "detail": "D", "original_payload": PAYLOAD},
    },
    {"type": "import-error", "id": "E2", "attributes": {"code": ["odd"], "original_payload": PAYLOAD}},
    {"type": "import-error", "id": "E3", "attributes": [{"original_payload": PAYLOAD}]},
    {"type": "import-error", "id": "E4", "original_payload": PAYLOAD, "attributes": None},
]


@pytest.fixture
def imports() -> Iterator[Sandbox]:
    """One import with errors of a server that keeps to the fields, and one of a server that does not."""
    with Sandbox(clock=NOW) as sandbox:
        polite = [JobError("Row 1 is odd.", payload=PAYLOAD)]
        for job_id, errors in (("POLITE", polite), ("UNASKED", UNASKED)):
            own: dict[str, Any] = {"total_count": 9, "failed_count": len(errors), "errors": errors}
            sandbox.world.add(job(job_id, kind="profile-import", related_ids=None, **own))
        yield sandbox


def forms_of(text: str) -> list[bytes]:
    """How files may hold *text*: as it is, and as UTF-16."""
    return [text.encode(), text.encode("utf-16-le")]


def files_with(folder: Path, text: str) -> list[str]:
    """The files below *folder* that hold *text*."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and any(form in path.read_bytes() for form in forms_of(text))
    ]


def rows_with(folder: Path, text: str) -> list[str]:
    """The tables of the warehouse and of its copy that hold *text*, which a file may hold compressed."""
    found = []
    for name in ("warehouse.duckdb", "copy.duckdb"):
        with duckdb.connect(str(folder / name)) as connection:
            tables = connection.execute("select schema_name || '.' || table_name from duckdb_tables()").fetchall()
            for (table,) in tables:
                held = connection.execute(
                    f"select count(*) from {table} as t where contains(cast(t as varchar), ?)", [text]
                )
                found += [f"{name} {table}"] if held.fetchall() != [(0,)] else []
    return found


def run(sandbox: Sandbox, folder: Path, *words: str, **others: str) -> str:
    """Run the command in *folder* as verbosely as it can, and return all that it prints."""
    given = settings(sandbox, kinds="profile-import", bi_copy="copy.duckdb", **others)
    ended = command(folder, *words, "-v", **given)
    assert ended.returncode in (0, 5), ended.stderr
    return ended.stdout + ended.stderr


def test_it_is_not_even_asked_for(imports: Sandbox, tmp_path: Path) -> None:
    """The fields that are named leave it out."""
    run(imports, tmp_path, "run")

    asked = [record.query for record in imports.requests if record.endpoint == "errors"]
    assert [query["fields[import-error]"] for query in asked] == ["code,title,detail,source"] * 2


def test_it_is_in_no_file_and_no_line(imports: Sandbox, tmp_path: Path) -> None:
    """Not of a server that sends it unasked, not in a record that cannot be read; and the search would find it."""
    said = run(imports, tmp_path, "run") + run(imports, tmp_path, "run", "--full-refresh", "--replay-rejected")
    said += run(imports, tmp_path, "publish", "--parquet", "parquet")

    assert NAME not in said
    assert files_with(tmp_path, NAME) == []
    assert rows_with(tmp_path, NAME) == []
    assert "warehouse.duckdb klaviyo_raw.job_errors" in rows_with(tmp_path, "Row 1 is odd.")
    (tmp_path / "found").write_text(json.dumps(PAYLOAD))
    assert files_with(tmp_path, NAME) == ["found"]


def test_what_is_left_of_a_record_that_cannot_be_read(imports: Sandbox, tmp_path: Path) -> None:
    """All but the payload, wherever it stands."""
    run(imports, tmp_path, "run")

    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        raw = connection.execute("select raw from klaviyo_raw.rejected_records order by json_path, raw").fetchall()
    assert sorted(json.loads(text)["id"] for (text,) in raw) == ["E2", "E3", "E4"]
    assert {(each["id"], json.dumps(each["attributes"])) for each in (json.loads(text) for (text,) in raw)} == {
        ("E2", '{"code": ["odd"]}'),
        ("E3", "[{}]"),
        ("E4", "null"),
    }


def test_whoever_asks_for_it_is_warned_and_gets_it(imports: Sandbox, tmp_path: Path) -> None:
    """In one column of the raw table, and in no view."""
    said = run(imports, tmp_path, "run", import_error_payloads="true")

    assert "It is personal data of your customers." in said
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        [(text,)] = connection.execute(
            "select original_payload from klaviyo_raw.job_errors where job_id = 'POLITE'"
        ).fetchall()
        columns = connection.execute(
            "select count(*) from duckdb_columns() where schema_name = 'klaviyo' and column_name = 'original_payload'"
        ).fetchone()
    assert json.loads(text) == PAYLOAD
    assert columns == (0,)
