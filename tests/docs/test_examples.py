"""What the documents show works: their queries, commands, code and settings."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from itertools import takewhile
from pathlib import Path
from typing import Any

import duckdb
import typer.main

from klaviyo_jobs.cli import app as cli
from klaviyo_jobs.settings import ENV_PREFIX
from klaviyo_sandbox import Sandbox
from klaviyo_sandbox.__main__ import _parser
from support.documents import ALL_SETTINGS, MANUAL, ROOT, blocks, start
from support.loads import NOW

CONTRIBUTING = ROOT / "CONTRIBUTING.md"


def klaviyo_commands() -> list[list[str]]:
    """Return the arguments of every `klaviyo-jobs` in the shell blocks and crontab lines, each once."""
    found: list[list[str]] = []
    for line in "\n".join(blocks("sh", (*MANUAL, CONTRIBUTING)) + blocks("crontab")).replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        tokens = iter(lexer)
        for token in tokens:
            if Path(token).name == "klaviyo-jobs":
                arguments = list(takewhile(lambda token: token.strip("();<>|&"), tokens))
                if arguments not in found:
                    found.append(arguments)
    return found


def test_every_query_answers(demo: tuple[Path, str]) -> None:
    """Each SQL block runs on the demo's warehouse in a plain DuckDB connection and returns rows."""
    queries = blocks("sql")
    warehouse, _ = demo
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        answers = [connection.execute(query).fetchall() for query in queries]

    assert queries
    assert [query for query, rows in zip(queries, answers, strict=True) if not rows] == []


def test_every_command_is_a_real_one() -> None:
    """Each `klaviyo-jobs` in a shell block or crontab line parses: the command and its options exist."""
    group: Any = typer.main.get_command(cli.app)
    found = klaviyo_commands()

    assert found
    for name, *arguments in found:
        if name == "sandbox":
            _parser().parse_args(arguments)
        else:
            assert name in group.commands
            group.commands[name].make_context(name, list(arguments))


def test_every_command_runs(demo: tuple[Path, str], tmp_path: Path) -> None:
    """Those that end by themselves, and need no damage, succeed one after the other, with the labels of the documents, against the sandbox."""
    # Those of other engines run where these are: tests/engines/test_documents.py.
    commands = [
        arguments
        for arguments in klaviyo_commands()
        if arguments[0] not in ("sandbox", "demo", "restore", "init") and "--destination" not in arguments
    ]
    # One process for all of them: each would take a second to import dlt.
    program = f"""
from klaviyo_jobs.cli.app import app
from klaviyo_jobs.errors import ThresholdError
for arguments in {commands!r}:
    try:
        assert not app(arguments, standalone_mode=False), arguments
    except ThresholdError:  # the sandbox's jobs are as old as its clock: stuck
        assert arguments[0] == "check"
"""
    shutil.copy(demo[0], tmp_path / "demo.duckdb")
    with Sandbox("demo", clock=NOW) as sandbox:
        environment = {f"{ENV_PREFIX}BASE_URL": sandbox.base_url}
        for label in ("shop_eu", "shop_us"):
            key = sandbox.add_account(label, "demo").key
            environment[f"{ENV_PREFIX}ACCOUNTS__{label.upper()}"] = key
        ended = start(tmp_path, "-c", program, **environment)

    assert ended.returncode == 0, ended.stderr


def test_the_python_runs(demo: tuple[Path, str], tmp_path: Path) -> None:
    """The Python blocks run one after the other, and those of dlt load the two kinds that each of them names."""
    warehouse, _ = demo
    shutil.copy(warehouse, tmp_path / "demo.duckdb")
    with Sandbox("demo", clock=NOW) as sandbox:
        environment = {f"{ENV_PREFIX}BASE_URL": sandbox.base_url, f"{ENV_PREFIX}API_KEY": sandbox.key}
        ended = start(tmp_path, "-c", "\n".join(blocks("python")), **environment)

    assert ended.returncode == 0, ended.stderr
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        kinds = connection.execute("select distinct job_kind from klaviyo_raw.jobs order by all").fetchall()
    assert kinds == [("category-create",), ("category-delete",), ("item-create",), ("item-update",)]


def test_every_make_target_exists() -> None:
    """Each `make` in a shell block names a target of the Makefile."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"^make (\w+)", "\n".join(blocks("sh", (*MANUAL, CONTRIBUTING))), re.MULTILINE)

    assert named
    assert set(named) - set(targets) == set()


def test_every_setting_in_toml_exists() -> None:
    """Each TOML block sets only settings of the section `sources.klaviyo_jobs`."""
    for block in blocks("toml"):
        settings = tomllib.loads(block)["sources"]["klaviyo_jobs"]
        assert set(settings) - set(ALL_SETTINGS) == set()
