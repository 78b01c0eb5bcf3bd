"""What README and docs/scale.md say of Postgres, done as they say it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engines.conftest import Postgres
from klaviyo_sandbox import Sandbox
from support.documents import DOCS, LOADS_POSTGRES, ROOT, blocks
from support.loads import NOW
from support.places import InLake, InPostgres, emptied
from support.processes import settings
from support.tools import tool

DLT = DOCS / "dlt.md"
BLOCKS = [text for text in blocks("sh") if "--destination postgres" in text]


def run_as_said(block: str, places: dict[str, str], folder: Path) -> None:
    """Run the commands of *block* with *places* of this machine in the place of what they name, but installations."""
    for named, place in places.items():
        block = re.sub(named, place, block)
    said = [line for line in block.splitlines() if "pip install" not in line]
    with Sandbox("demo", clock=NOW) as sandbox:
        environment = {
            **os.environ,
            **settings(sandbox),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        }
        subprocess.run(["sh", "-ec", "\n".join(said)], cwd=folder, env=environment, check=True, timeout=120)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda text: text.splitlines()[0][:40])
def test_postgres_holds_rows_after_at_most_three_commands(block: str, postgres: Postgres, tmp_path: Path) -> None:
    """The address is the server's; what is to be installed is installed already."""
    place = InPostgres(postgres.url)
    place.clear()
    run_as_said(block, {r"postgresql://[^\"]+": postgres.url}, tmp_path)

    assert len(block.splitlines()) <= 3
    assert place.rows("select count(*) from klaviyo.jobs") == [(332,)]


def test_a_lake_holds_rows_after_the_commands(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog is the server's; a folder stands for the bucket."""
    [block] = [text for text in blocks("sh") if "--destination ducklake" in text]
    with emptied(InLake(postgres.url, tmp_path, "ducklake"), monkeypatch) as place:
        run_as_said(block, {r"postgresql://[^\"]+": postgres.url, r"s3://[^\"]+": f"file://{tmp_path}/lake"}, tmp_path)

        assert place.rows("select count(*) from klaviyo.jobs") == [(332,)]


def test_a_pipeline_of_your_own_fills_it_and_the_views_follow(postgres: Postgres, tmp_path: Path) -> None:
    """The code and the commands of docs/dlt.md, one after the other."""
    place = InPostgres(postgres.url)
    place.clear()
    [code] = [block for block in blocks("python", [DLT]) if LOADS_POSTGRES in block]
    [commands] = [block for block in blocks("sh", [DLT]) if "psql" in block]
    code = f"import dlt\nfrom klaviyo_jobs import klaviyo_jobs\n{code}"
    with Sandbox("demo", clock=NOW) as sandbox:
        environment = {
            **os.environ,
            **settings(sandbox),
            "DESTINATION__POSTGRES__CREDENTIALS": postgres.url,
            "PATH": os.pathsep.join(
                [str(Path(sys.executable).parent), str(Path(tool("psql")).parent), os.environ["PATH"]]
            ),
        }
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=120)
        subprocess.run(["sh", "-ec", commands], cwd=tmp_path, env=environment, check=True, timeout=120)

    assert place.rows("select count(*) from klaviyo.jobs") == [(332,)]


def test_there_are_such_commands() -> None:
    """One in README, one in docs/scale.md."""
    assert len(BLOCKS) == 2
    assert (ROOT / "docs" / "scale.md").exists()


def test_the_extras_name_what_is_tested_here() -> None:
    """The packages of `klaviyo-jobs[ducklake]`, in the versions that this environment has."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    tested = (Path(__file__).with_name("lake.txt")).read_text(encoding="utf-8").split()

    assert [each.replace("_", "-") for each in tested if each.replace("_", "-") not in text] == [
        "duckdb-extensions==1.5.5"
    ]
