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
from support.documents import ALL_SETTINGS, LOADS_POSTGRES, MANUAL, READS_SPARK, ROOT, blocks, start
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


def test_a_folder_is_set_up_as_they_say(tmp_path: Path) -> None:
    """With the key in a file; with a terminal tests/cli/test_init.py answers it."""
    [arguments] = [each for each in klaviyo_commands() if each[0] == "init" and len(each) > 1]
    (tmp_path / "key.txt").write_text("pk_0123456789\n")
    ended = start(tmp_path, "-m", "klaviyo_jobs", *arguments)

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / ".dlt" / "secrets.toml").exists()


def test_the_python_runs(demo: tuple[Path, str], tmp_path: Path) -> None:
    """The Python blocks run one after the other, and those of dlt load the two kinds that each of them names."""
    warehouse, _ = demo
    shutil.copy(warehouse, tmp_path / "demo.duckdb")
    code = [block for block in blocks("python") if READS_SPARK not in block and LOADS_POSTGRES not in block]
    with Sandbox("demo", clock=NOW) as sandbox:
        environment = {f"{ENV_PREFIX}BASE_URL": sandbox.base_url, f"{ENV_PREFIX}API_KEY": sandbox.key}
        ended = start(tmp_path, "-c", "\n".join(code), **environment)

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


def test_every_option_of_the_benchmark_exists(tmp_path: Path) -> None:
    """Each `make bench BENCH=...` is taken by its parser, and names parts that there are."""
    options = [
        shlex.split(text) for text in re.findall(r'^make bench BENCH="([^"]+)"', "\n".join(blocks("sh")), re.MULTILINE)
    ]
    program = f"import bench; parser = bench.make_parser(); [bench.PARTS[name] for each in {options!r} for name in parser.parse_args(each).only.split(',')]"
    ended = start(tmp_path, "-c", program, PYTHONPATH=str(ROOT / "benchmarks"))

    assert len(options) == 2
    assert ended.returncode == 0, ended.stderr


def test_every_setting_in_toml_exists() -> None:
    """Each TOML block sets only settings of the section `sources.klaviyo_jobs`."""
    for block in blocks("toml"):
        settings = tomllib.loads(block)["sources"]["klaviyo_jobs"]
        assert set(settings) - set(ALL_SETTINGS) == set()
