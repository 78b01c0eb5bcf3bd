"""
What the README says is true: its demo, commands, queries, code, tables, links and generated sections.

Run as a program, this file writes the generated sections anew: `make docs`.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest
import typer.main

from klaviyo_jobs.cli import app as cli
from klaviyo_jobs.errors import KlaviyoJobsError
from klaviyo_jobs.model.tables import ENTITY_TABLES, TABLES
from klaviyo_jobs.settings import ENV_PREFIX, CheckSettings, NetworkSettings, Settings
from klaviyo_jobs.warehouse.views import LAYERS
from klaviyo_sandbox import Sandbox
from klaviyo_sandbox.__main__ import _parser
from support.loads import NOW

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
REFRESH: Final = "make docs"

ENVIRONMENT: Final = {
    **{name: value for name, value in os.environ.items() if not name.startswith("SOURCES__")},
    "COLUMNS": "80",
    "NO_COLOR": "1",
    "PYTHONUTF8": "1",
    "TERM": "dumb",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
}

# What differs between two runs of the demo, and what the README shows in its place.
_VARYING: Final = (
    (re.compile(r"^run \S+:", re.MULTILINE), "run 1795176002.1234567:"),
    (re.compile(r"[\d.]+ s -> .*$", re.MULTILINE), "1.5 s -> /home/you/demo.duckdb"),
)

_SECTION: Final = re.compile(r"(?<=<!-- generated: )([a-z ]+) -->\n(.*?)(?=<!-- end generated -->)", re.DOTALL)
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMAND: Final = "klaviyo-jobs"


def readme() -> str:
    """Return the text of the README."""
    return README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of *language*, in order."""
    return [text for name, text in _BLOCK.findall(readme()) if name == language]


def table_below(heading: str) -> list[list[str]]:
    """Return the cells of the first table below *heading*, its own head left out."""
    text = readme().split(f"\n{heading}\n", 1)[1]
    lines = takewhile(lambda line: line.startswith("|"), text[text.index("\n|") + 1 :].splitlines())
    return [_cells(line) for line in lines][2:]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def klaviyo_commands() -> list[list[str]]:
    """Return the arguments of every `klaviyo-jobs` in the shell blocks and crontab lines, each once."""
    found: list[list[str]] = []
    for line in "\n".join(blocks("sh") + blocks("crontab")).replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        tokens = iter(lexer)
        for token in tokens:
            if Path(token).name == _COMMAND:
                arguments = list(takewhile(lambda token: token.strip("();<>|&"), tokens))
                if arguments not in found:
                    found.append(arguments)
    return found


def start(folder: Path, *program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with *program* in *folder*."""
    return subprocess.run(
        [sys.executable, *program],
        cwd=folder,
        env={**ENVIRONMENT, "DLT_DATA_DIR": str(folder / "dlt"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_demo(folder: Path) -> str:
    """Run the demo in *folder* and return what it prints."""
    ended = start(folder, "-m", "klaviyo_jobs", "demo")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


# The generated sections. Each function gets what the README has now and returns what it should have.


def render_demo(_: str, output: str | None = None) -> str:
    """Show what the demo prints, its varying parts replaced."""
    if output is None:
        with tempfile.TemporaryDirectory() as folder:
            output = run_demo(Path(folder))
    for varying, shown in _VARYING:
        output = varying.sub(shown, output)
    lines = [line.rstrip() for line in output.strip().splitlines()]
    return "\n".join(["```text", *lines, "```"]) + "\n"


def render_commands(_: str) -> str:
    """Show every command with its help and options."""
    group: Any = typer.main.get_command(cli.app)
    parent = group.make_context(_COMMAND, ["--help"], resilient_parsing=True)
    parts = [_render_command(_COMMAND, group.help, _options_of(group, parent))]
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if name == "sandbox":
            options = list(_options_of_parser(_parser()))
        else:
            options = _options_of(command, command.make_context(name, [], parent=parent, resilient_parsing=True))
        parts.append(_render_command(f"{_COMMAND} {name}", command.help, options))
    return "\n".join(parts)


def _options_of(command: Any, context: Any) -> list[tuple[str, str]]:
    records = [parameter.get_help_record(context) for parameter in command.params]
    return [record for record in records if record and "--help" not in record[0]]


def _options_of_parser(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            value = "" if action.nargs == 0 else action.metavar or action.dest.upper()
            yield f"{', '.join(action.option_strings)} {value}".strip(), (action.help or "") % vars(action)


def _render_command(name: str, text: str, options: Iterable[tuple[str, str]]) -> str:
    rows = [[f"`{option}`", " ".join(meaning.split())] for option, meaning in options]
    table = f"\n{_render_table(['option', 'meaning'], rows)}" if rows else ""
    return f"#### `{name}`\n\n{' '.join(text.split())}\n{table}"


def render_exit_codes(_: str) -> str:
    """Show the exit codes that the command's docstring lists, each with the errors that end with it."""
    listed = re.search(r"Exit codes: (.+?)\.\n", cli.__doc__ or "", re.DOTALL)
    assert listed, "the docstring of cli/app.py lists no exit codes"
    meanings = {}
    for entry in re.split(r",\s+(?=\d)", listed[1]):
        code, meaning = entry.split(maxsplit=1)
        meanings[int(code)] = " ".join(meaning.split())
    errors = _errors_below(KlaviyoJobsError)
    unlisted = {error.__name__ for error in errors if error.exit_code not in meanings}
    assert unlisted == set(), "errors whose exit code the docstring of cli/app.py does not list"
    rows = [
        [str(code), meaning, ", ".join(f"`{error.__name__}`" for error in errors if error.exit_code == code)]
        for code, meaning in meanings.items()
    ]
    return _render_table(["exit code", "meaning", "errors"], rows)


def _errors_below(error: type[KlaviyoJobsError]) -> list[type[KlaviyoJobsError]]:
    below = [error]
    for child in error.__subclasses__():
        if child.__module__.startswith("klaviyo_jobs."):
            below += _errors_below(child)
    return below


ALL_SETTINGS: Final[dict[str, Any]] = {
    name: getattr(settings, name)
    for settings in (Settings(), CheckSettings(), NetworkSettings())
    for name in settings.get_resolvable_fields()
}


def render_settings(present: str) -> str:
    """Show every setting; the meanings are those of the README, where people write them."""
    meanings = {cells[0]: cells[-1] for cells in map(_cells, present.splitlines()) if len(cells) == 4}
    rows = []
    for name, default in ALL_SETTINGS.items():
        variable = f"{ENV_PREFIX}{name.upper()}" + ("__<LABEL>" if name == "accounts" else "")
        shown = "" if default is None else f"`{default}`"
        rows.append([f"`{name}`", f"`{variable}`", shown, meanings.get(f"`{name}`", "")])
    return _render_table(["setting", "environment variable", "default", "meaning"], rows)


def _render_table(heading: list[str], rows: list[list[str]]) -> str:
    escaped = [[re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row] for row in rows]
    lines = [heading, ["---"] * len(heading), *escaped]
    return "".join(re.sub(" +", " ", f"| {' | '.join(cells)} |") + "\n" for cells in lines)


SECTIONS: Final[dict[str, Callable[[str], str]]] = {
    "demo": render_demo,
    "commands": render_commands,
    "exit codes": render_exit_codes,
    "settings": render_settings,
}


def sections() -> dict[str, str]:
    """Return the generated sections that the README has."""
    return dict(_SECTION.findall(readme()))


def refresh() -> None:
    """Write the generated sections of the README anew."""
    text = _SECTION.sub(lambda found: f"{found[1]} -->\n{SECTIONS[found[1]](found[2])}", readme())
    README.write_text(text, encoding="utf-8")


# Tests.


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the demo has run, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    return folder / "demo.duckdb", run_demo(folder)


def test_the_demo_prints_what_the_readme_shows(demo: tuple[Path, str]) -> None:
    """In an empty folder, 80 columns wide, the demo prints the README's block, but for run id, seconds and path."""
    _, output = demo

    assert sections()["demo"] == render_demo("", output), f"refresh it with: {REFRESH}"


@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "demo"])
def test_a_generated_section_is_fresh(name: str) -> None:
    """Commands, exit codes and settings of the README are those of the program."""
    present = sections()[name]

    assert present == SECTIONS[name](present), f"refresh it with: {REFRESH}"


def test_every_setting_has_a_meaning() -> None:
    """The one cell of the settings that no program writes is filled in."""
    assert [cells[0] for cells in table_below("### Settings") if not cells[-1]] == []


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
    """Those that end by themselves succeed one after the other, with the labels of the README, against the sandbox."""
    commands = [arguments for arguments in klaviyo_commands() if arguments[0] not in ("sandbox", "demo")]
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
    """The Python blocks run one after the other, and the dlt example loads the two kinds that it selects."""
    warehouse, _ = demo
    shutil.copy(warehouse, tmp_path / "demo.duckdb")
    with Sandbox("demo", clock=NOW) as sandbox:
        environment = {f"{ENV_PREFIX}BASE_URL": sandbox.base_url, f"{ENV_PREFIX}API_KEY": sandbox.key}
        ended = start(tmp_path, "-c", "\n".join(blocks("python")), **environment)

    assert ended.returncode == 0, ended.stderr
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        kinds = connection.execute("select distinct job_kind from klaviyo_raw.jobs order by all").fetchall()
    assert kinds == [("category-create",), ("item-create",)]


def test_every_table_and_view_is_described_and_no_other(demo: tuple[Path, str]) -> None:
    """The two tables of the README name the demo's tables and views, and beyond them only what `include` may add."""
    warehouse, _ = demo
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        present = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_name not like '\\_dlt%' escape '\\'"
        ).fetchall()

    assert {cells[0] for cells in table_below("### Views in `klaviyo`")} == {
        f"`{name}`" for schema, name in present if schema == "klaviyo"
    }
    assert {cells[0] for cells in table_below("### Tables in `klaviyo_raw`")} == {
        f"`{name}`" for schema, name in present if schema == "klaviyo_raw"
    } | {f"`{name}`" for name in ENTITY_TABLES}


def test_keys_and_merges_are_those_declared() -> None:
    """Key and merge of each table are those that `rows.py` declares."""
    assert {(cells[0], cells[1], cells[2]) for cells in table_below("### Tables in `klaviyo_raw`")} == {
        (f"`{table.name}`", ", ".join(table.key), "by job" if table.has_tombstones else "by row")
        for table in TABLES.values()
    }


def test_grains_are_those_of_the_sql_files() -> None:
    """The grain of each view is the one in the header of its file."""
    headers = {}
    for layer in LAYERS:
        for file in (ROOT / "sql" / layer).glob("*.sql"):
            grain = re.search(r"^-- Grain: +one row per \(([^)]*)\)", file.read_text(encoding="utf-8"), re.MULTILINE)
            headers[f"`{file.stem}`"] = grain[1] if grain else "one row in all"

    assert {cells[0]: cells[1] for cells in table_below("### Views in `klaviyo`")} == headers


def test_every_link_leads_somewhere() -> None:
    """Links to files and folders of the repository, and to headings of the README, exist."""
    text = readme()
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if not target.startswith("https://")]

    assert targets
    assert [
        target
        for target in targets
        if not (target[1:] in headings if target.startswith("#") else (ROOT / target).exists())
    ] == []


def test_every_make_target_exists() -> None:
    """Each `make` in a shell block names a target of the Makefile."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.MULTILINE)

    assert named
    assert set(named) - set(targets) == set()


def test_every_setting_in_toml_exists() -> None:
    """Each TOML block sets only settings of the section `sources.klaviyo_jobs`."""
    for block in blocks("toml"):
        settings = tomllib.loads(block)["sources"]["klaviyo_jobs"]
        assert set(settings) - set(ALL_SETTINGS) == set()


if __name__ == "__main__":
    refresh()
