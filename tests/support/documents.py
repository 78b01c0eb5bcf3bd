"""
The documents: their blocks, tables and headings, and the parts of them that the program writes.

In:     README.md, the other documents at the top and in docs/, and the program that they describe.
Out:    what tests compare. Run as a program (`make docs`), this file writes the generated parts anew.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import typer.main

from klaviyo_jobs.cli import app as cli
from klaviyo_jobs.cli.examples import EXAMPLES
from klaviyo_jobs.cli.schedule import systemd_service, systemd_timer
from klaviyo_jobs.errors import KlaviyoJobsError, StoppedError
from klaviyo_jobs.settings import ENV_PREFIX, CheckSettings, NetworkSettings, Settings
from klaviyo_sandbox.__main__ import _parser
from support.dictionary import render_dictionary

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
DOCS: Final = ROOT / "docs"
DEPLOY: Final = ROOT / "deploy"
# All that a user reads in order; docs/bi.md has tests of its own, as its examples need other programs.
MANUAL: Final = (README, *sorted(page for page in DOCS.glob("*.md") if page.name != "bi.md"))
REFRESH: Final = "make docs"
# Code that needs another engine: tests/engines runs it.
READS_SPARK: Final = "spark.sql("
LOADS_POSTGRES: Final = 'destination="postgres"'

ENVIRONMENT: Final = {
    **{name: value for name, value in os.environ.items() if not name.startswith("SOURCES__")},
    "COLUMNS": "80",
    "NO_COLOR": "1",
    "PYTHONUTF8": "1",
    "TERM": "dumb",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
}

DEMO_CLOCK: Final = "2026-11-20T12:00"

# What differs between two runs of the demo, and what the README shows in its place.
_VARYING: Final = (
    (re.compile(r"^run \S+:", re.MULTILINE), "run 1795176002.1234567:"),
    (re.compile(r"[\d.]+ s -> .*$", re.MULTILINE), "1.5 s -> /home/you/demo.duckdb"),
)

_PART: Final = re.compile(r"(?<=<!-- generated: )([a-z ]+) -->\n(.*?)(?=<!-- end generated -->)", re.DOTALL)
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMAND: Final = "klaviyo-jobs"


def text_of(page: Path) -> str:
    """Return the text of *page*."""
    return page.read_text(encoding="utf-8")


def blocks(language: str, pages: Iterable[Path] = MANUAL) -> list[str]:
    """Return the fenced blocks of *language* in *pages*, in order."""
    return [text for page in pages for name, text in _BLOCK.findall(text_of(page)) if name == language]


def table_below(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of the first table of *page* below *heading*, its own head left out."""
    text = f"\n{text_of(page)}".split(f"\n{heading}\n", 1)[1]
    lines = takewhile(lambda line: line.startswith("|"), text[text.index("\n|") + 1 :].splitlines())
    return [_cells(line) for line in lines][2:]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


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
    """Run the demo in *folder*, at the time that the documents show, and return what it prints."""
    ended = start(folder, "-m", "klaviyo_jobs", "demo", "--clock", DEMO_CLOCK)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def render_demo(_: str, output: str | None = None) -> str:
    """Show what the demo prints, its varying parts replaced."""
    if output is None:
        with tempfile.TemporaryDirectory() as folder:
            output = run_demo(Path(folder))
    for varying, shown in _VARYING:
        output = varying.sub(shown, output)
    lines = [line.rstrip() for line in output.strip().splitlines()]
    return "\n".join(["```text", *lines, "```"]) + "\n"


def render_data(_: str, warehouse: Path | None = None) -> str:
    """Show every table and view of the demo's warehouse."""
    if warehouse is not None:
        return render_dictionary(warehouse)
    with tempfile.TemporaryDirectory() as folder:
        run_demo(Path(folder))
        return render_dictionary(Path(folder, "demo.duckdb"))


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
        parts.append(_render_command(f"{_COMMAND} {name}", command.help, options, EXAMPLES.get(name, ())))
    return "\n".join(parts)


def _options_of(command: Any, context: Any) -> list[tuple[str, str]]:
    records = [parameter.get_help_record(context) for parameter in command.params]
    return [record for record in records if record and "--help" not in record[0]]


def _options_of_parser(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            value = "" if action.nargs == 0 else action.metavar or action.dest.upper()
            yield f"{', '.join(action.option_strings)} {value}".strip(), (action.help or "") % vars(action)


def _render_command(name: str, text: str, options: Iterable[tuple[str, str]], examples: tuple[str, ...] = ()) -> str:
    rows = [[f"`{option}`", " ".join(meaning.split())] for option, meaning in options]
    table = f"\n{_render_table(['option', 'meaning'], rows)}" if rows else ""
    shown = "".join(["\n```sh\n", *(f"{example}\n" for example in examples), "```\n"]) if examples else ""
    return f"#### `{name}`\n\n{' '.join(text.split())}\n{shown}{table}"


def render_exit_codes(_: str) -> str:
    """Show the exit codes that the command's docstring lists, each with the errors that end with it."""
    listed = re.search(r"Exit codes: (.+?)\.\n", cli.__doc__ or "", re.DOTALL)
    assert listed, "the docstring of cli/app.py lists no exit codes"
    meanings = {}
    for entry in re.split(r",\s+(?=\d)", listed[1]):
        code, meaning = entry.split(maxsplit=1)
        meanings[int(code)] = " ".join(meaning.split())
    errors = {error.__name__: {error.exit_code} for error in _errors_below(KlaviyoJobsError)}
    # A signal's is known with the error itself, not with its class.
    errors[StoppedError.__name__] = {StoppedError(number).exit_code for number in (signal.SIGINT, signal.SIGTERM)}
    unlisted = {name for name, codes in errors.items() if not codes <= set(meanings)}
    assert unlisted == set(), "errors whose exit code the docstring of cli/app.py does not list"
    rows = [
        [str(code), meaning, ", ".join(f"`{name}`" for name, codes in errors.items() if code in codes)]
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
    """Show every setting; the meanings are those of the document, where people write them."""
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


# Each function gets what the document has now and returns what it should have.
PARTS: Final[dict[str, Callable[[str], str]]] = {
    "demo": render_demo,
    "dictionary": render_data,
    "commands": render_commands,
    "exit codes": render_exit_codes,
    "settings": render_settings,
}


def generated_parts() -> dict[str, str]:
    """Return the generated parts that the documents have."""
    return {name: text for page in MANUAL for name, text in _PART.findall(text_of(page))}


def deployed_units() -> dict[str, str]:
    """Return the units of systemd in deploy/, as `klaviyo-jobs init` prints them for the folder that deploy/ speaks of."""
    folder = Path("/srv/klaviyo")
    return {
        "klaviyo-jobs.service": systemd_service([str(folder / ".venv/bin/klaviyo-jobs")], folder),
        "klaviyo-jobs.timer": systemd_timer(),
    }


def refresh() -> None:
    """Write the generated parts of the documents anew."""
    for name, text in deployed_units().items():
        (DEPLOY / name).write_text(text, encoding="utf-8")
    for page in MANUAL:
        text = _PART.sub(lambda found: f"{found[1]} -->\n{PARTS[found[1]](found[2])}", text_of(page))
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    refresh()
