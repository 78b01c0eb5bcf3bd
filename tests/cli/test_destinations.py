"""Where the warehouse is, by option or setting: what is refused, and with which words; the engines are in tests/engines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.settings import Settings, read_settings
from klaviyo_jobs.warehouse.engines.choice import engine_for
from klaviyo_jobs.warehouse.engines.duckdb_engine import DuckDBFile
from support.processes import command

SECRETS = """
[destination.postgres]
credentials = "postgresql://me:hidden@localhost/x"

[sources.klaviyo_jobs]
api_key = "pk_0123456789abcdef"
"""


@pytest.mark.parametrize(
    ("name", "said", "next_step"),
    [
        ("filesystem", "it would add changed jobs to the old ones", "publish --parquet DIR --raw"),
        ("postgress", "dlt knows no destination 'postgress'", "duckdb, postgres, ducklake"),
    ],
)
def test_what_cannot_be_a_warehouse_is_refused(name: str, said: str, next_step: str) -> None:
    """With the reason, and what to use instead."""
    with pytest.raises(SettingError, match=said) as caught:
        engine_for(Settings(), destination=name)

    assert next_step in str(caught.value)


@pytest.mark.parametrize(("name", "module"), [("postgres", "psycopg2"), ("ducklake", "dlt.destinations.impl.ducklake")])
def test_what_has_to_be_installed_is_named(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that brings it."""
    for loaded in [each for each in sys.modules if each.startswith(("klaviyo_jobs.warehouse.engines.post", module))]:
        monkeypatch.delitem(sys.modules, loaded)
    for part in ("", ".sql_client", ".configuration"):
        monkeypatch.setitem(sys.modules, f"{module}{part}", None)

    with pytest.raises(SettingError) as caught:
        engine_for(Settings(), destination=name)

    assert f'pip install "klaviyo-jobs[{name}]"' in str(caught.value)


def test_a_file_and_another_engine_are_not_named_at_once(tmp_path: Path) -> None:
    """Whichever was meant."""
    with pytest.raises(
        SettingError, match="--warehouse names a DuckDB file, and --destination postgres another engine"
    ):
        engine_for(Settings(), warehouse=tmp_path / "w.duckdb", destination="postgres")


def test_a_file_on_the_command_line_comes_before_the_setting(tmp_path: Path) -> None:
    """As for a copy that is looked at."""
    engine = engine_for(Settings(destination="postgres"), warehouse=tmp_path / "w.duckdb")

    assert isinstance(engine, DuckDBFile)
    assert engine.file == tmp_path / "w.duckdb"


def test_the_section_of_dlt_is_not_taken_for_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt finds its own section `destination`, with the password, where it looks for a setting of this name."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text(SECRETS)
    monkeypatch.chdir(tmp_path)

    assert read_settings().destination == "duckdb"


def test_the_doctor_shows_no_password(tmp_path: Path) -> None:
    """Nor the address that holds it; the setting stands at its default."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text(SECRETS)

    ended = command(tmp_path, "doctor", "--json", SOURCES__KLAVIYO_JOBS__BASE_URL="http://127.0.0.1:9")

    assert "hidden" not in ended.stdout + ended.stderr
    [source] = [each for each in json.loads(ended.stdout)["settings"] if each["name"] == "destination"]
    assert (source["value"], source["source"]) == ("duckdb", "default")


@pytest.mark.parametrize(
    "words",
    [("check",), ("report",), ("query", "select 1"), ("prune", "--older-than", "9d"), ("views",)],
    ids=lambda words: words[0],
)
def test_what_an_untested_engine_cannot_do_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    """With the way to do it there."""
    ended = command(tmp_path, *words, "--destination", "snowflake")

    assert ended.returncode == 2
    assert f"{words[0]} is not for a warehouse in snowflake" in ended.stderr
    assert "ask it in its own SQL" in ended.stderr
