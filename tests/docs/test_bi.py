"""What BI tools rely on in the copy, and that docs/bi.md names what is there and what it was tried with."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from klaviyo_jobs.warehouse.publish import publish
from klaviyo_sandbox import Job, Sandbox
from support.loads import NOW, Load

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "bi.md").read_text(encoding="utf-8")
CHECKS = ROOT / "tests" / "bi"
# The packages that are pinned elsewhere: in OTHER_DRIVERS of run_bi_checks.py.
OTHER_DRIVERS = re.findall(
    r"[\d.]+", (CHECKS / "run_bi_checks.py").read_text().split("OTHER_DRIVERS = (")[1].split(")")[0]
)


@pytest.fixture
def copy(sandbox: Sandbox, load: Load, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A copy of a warehouse with a job, as a tool opens it, in another zone."""
    created = NOW - dt.timedelta(hours=1)
    sandbox.world.add(Job("item-create", "J1", created, completed_at=NOW, total_count=1, completed_count=1))
    load(reporting_timezone="Europe/Berlin")
    publish(tmp_path / "warehouse.duckdb", tmp_path / "bi.duckdb")
    with duckdb.connect("bi.duckdb", read_only=True) as connection:
        connection.execute("set timezone = 'Asia/Tokyo'")
        yield connection


def test_no_column_of_the_copy_is_zoned(copy: duckdb.DuckDBPyConnection) -> None:
    """Drivers shift zoned times or cannot read them; the schema `klaviyo` has none, whatever is in `klaviyo_raw`."""
    types = "select distinct data_type from duckdb_columns() where schema_name = 'klaviyo' order by all"
    zoned = "select count(*) from duckdb_columns() where data_type like '%TIME ZONE%' and schema_name = ?"

    assert copy.execute(types).fetchall() == [
        ("BIGINT",),
        ("BOOLEAN",),
        ("DATE",),
        ("DOUBLE",),
        ("INTEGER",),
        ("TIMESTAMP",),
        ("VARCHAR",),
    ]
    assert copy.execute(zoned, ["klaviyo"]).fetchall() == [(0,)]
    assert copy.execute(zoned, ["klaviyo_raw"]).fetchall() != [(0,)]


def test_everything_in_the_copy_is_described(copy: duckdb.DuckDBPyConnection) -> None:
    """Comments come along with the file: on every view and on every column of every view."""
    described = """
        select count(*), count(nullif(trim(comment), '')) from duckdb_views() where schema_name = 'klaviyo'
        union all
        select count(*), count(nullif(trim(comment), '')) from duckdb_columns() where schema_name = 'klaviyo'
    """
    for count, with_comment in copy.execute(described).fetchall():
        assert count == with_comment > 0


def test_a_time_reads_as_utc_in_any_zone(copy: duckdb.DuckDBPyConnection) -> None:
    """A reader's own zone moves no time and no day."""
    query = "select created_at_utc, completed_at_utc, created_on from klaviyo.jobs"

    assert copy.execute(query).fetchall() == [
        (dt.datetime(2026, 11, 20, 11), dt.datetime(2026, 11, 20, 12), dt.date(2026, 11, 20))  # noqa: DTZ001
    ]


def test_every_query_of_the_document_answers(copy: duckdb.DuckDBPyConnection) -> None:
    """Each SQL block runs on the copy."""
    blocks = re.findall(r"^```sql\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    queries = [each for each in blocks if not each.startswith("attach")]

    assert queries
    assert all(copy.execute(query).fetchall() for query in queries)


def test_attached_to_another_database_the_copy_answers_after_use(copy: duckdb.DuckDBPyConnection) -> None:
    """The two lines of the document for tools that attach it, instead of opening it."""
    [attach] = re.findall(r"^```sql\n(attach .*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    copy.close()
    with duckdb.connect() as other:
        other.execute(attach)

        assert other.execute("select count(*) from klaviyo.jobs").fetchall() == [(1,)]


def test_the_document_names_the_versions_that_were_tried() -> None:
    """The versions in its table are those that run_bi_checks.py installs, and each of its rows leads somewhere."""
    pins = {
        "tools": _pins((CHECKS / "tools.txt").read_text()),
        "superset": _pins((CHECKS / "superset.txt").read_text()),
        "npm": json.loads((CHECKS / "package.json").read_text())["dependencies"],
    }
    rows = re.findall(r"^\| \[(.+?)\]\(#(.+?)\) \| (.+?) \| (.+?) \|$", DOCUMENT, re.MULTILINE)
    headings = {
        heading.lower().replace(" ", "-").replace(".", "")
        for heading in re.findall(r"^## (.+)$", DOCUMENT, re.MULTILINE)
    }

    assert rows
    for tool, link, packages, versions in rows:
        assert link in headings
        names = [re.sub(r"\[.*\]", "", name) for name in re.findall(r"`(.+?)`", packages)]
        if tool == "DuckDB, any driver":
            assert sorted(versions.split(", ")) == sorted([*OTHER_DRIVERS, pins["tools"]["duckdb"]])
            continue
        group = "superset" if tool == "Apache Superset" else "npm" if tool in ("Node.js", "Evidence") else "tools"
        assert versions.split(", ") == [pins[group][name] for name in names], tool


def _pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))
