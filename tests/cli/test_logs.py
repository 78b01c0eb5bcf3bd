"""Log lines: for people or for machines, in one format for everybody who writes them."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from klaviyo_jobs.cli.logs import JsonLines, TextLines
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.runs.steps import Step
from klaviyo_sandbox import Fault, Job, Sandbox
from support.loads import NOW
from support.processes import ENVIRONMENT, assert_no_key, command, settings

# Without a copy to publish.
STEPS = [step for step in Step if step not in (Step.PUBLISH, Step.PAGE)]
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def demo_sandbox() -> Iterator[Sandbox]:
    """An API that holds the jobs of the demo."""
    with Sandbox("demo", clock=NOW) as running:
        yield running


def objects(lines: str) -> list[dict[str, Any]]:
    """Return the JSON objects of *lines*, each of which must be one."""
    return [json.loads(line) for line in lines.splitlines()]


def record(message: str = "read %s", *arguments: Any, **fields: Any) -> logging.LogRecord:
    made = logging.getLogger("klaviyo_jobs").makeRecord(
        "klaviyo_jobs", logging.INFO, "file.py", 1, message, arguments, None, extra=fields
    )
    made.created = 1795176002.25
    return made


# The command.


def test_json_lines_end_with_a_summary_of_fields(demo_sandbox: Sandbox, tmp_path: Path) -> None:
    """With `--log-format json` every line on stderr is one object, and the last says in fields how the run went."""
    ended = command(tmp_path, "--log-format", "json", "run", **settings(demo_sandbox))

    assert ended.returncode == 0, ended.stderr
    [*_, summary] = objects(ended.stderr)
    assert UTC_TIME.fullmatch(summary.pop("time"))
    assert summary.pop("message").startswith(f"run {summary['run_id']}: ")
    assert summary.pop("run_id")
    assert summary.pop("seconds") > 0
    jobs = sum(len(demo_sandbox.expected(kind)) for kind in KINDS)
    assert summary == {
        "level": "INFO",
        "logger": "klaviyo_jobs.outcome",
        "warehouse": str(tmp_path / "warehouse.duckdb"),
        "job_count": jobs,
        "changed_count": jobs,
        "request_count": len(demo_sandbox.requests),
        "retry_count": 0,
        "rejected_count": 0,
        "listing_count": 9,
        "failed_count": 0,
        "exit_code": 0,
    }


def test_a_failure_is_one_json_line(tmp_path: Path) -> None:
    """The three parts of the message and the exit code are fields of the last line."""
    ended = command(tmp_path, "--log-format", "json", "run")

    assert ended.returncode == 2
    [line] = objects(ended.stderr)
    assert UTC_TIME.fullmatch(line.pop("time"))
    assert line == {
        "level": "ERROR",
        "logger": "klaviyo_jobs.outcome",
        "message": "SettingError: no API key. Looked at SOURCES__KLAVIYO_JOBS__API_KEY, "
        "SOURCES__KLAVIYO_JOBS__ACCOUNTS__<LABEL>, then .dlt/secrets.toml (no such file).",
        "data": "nothing was read or written.",
        "next_step": "set one of them; the key needs the scope catalogs:read and nothing else. "
        "`klaviyo-jobs demo` runs without a key.",
        "exit_code": 2,
    }


@pytest.mark.parametrize("place", ["environment", "config.toml"])
def test_the_setting_of_dlt_makes_lines_json(tmp_path: Path, place: str) -> None:
    """`runtime.log_format = "JSON"` does the same as the option, wherever dlt finds it."""
    environment = {}
    if place == "environment":
        environment["RUNTIME__LOG_FORMAT"] = "JSON"
    else:
        (tmp_path / ".dlt").mkdir()
        (tmp_path / ".dlt" / "config.toml").write_text('[runtime]\nlog_format = "JSON"\n')

    ended = command(tmp_path, "run", **environment)

    assert [line["exit_code"] for line in objects(ended.stderr)] == [2]


def test_the_option_beats_the_setting_of_dlt(sandbox: Sandbox, tmp_path: Path) -> None:
    """`--log-format text` writes lines for people whatever dlt is told, dlt's own lines included."""
    ended = command(
        tmp_path,
        *("--log-format", "text", "run", "--kind", "item-create"),
        RUNTIME__LOG_FORMAT="JSON",
        RUNTIME__LOG_LEVEL="INFO",
        **settings(sandbox),
    )

    assert ended.returncode == 0, ended.stderr
    lines = ended.stderr.splitlines()
    assert [line for line in lines if not re.match(r"\d{4}-\d\d-\d\dT[\d:]{8}\+0000 (INFO|WARNING) +\S", line)] == []
    assert any(re.search(r" INFO    dlt: \w", line) for line in lines)
    assert re.search(r" INFO    run \S+: 0 jobs listed", lines[-1])


def test_dlts_own_lines_are_json_too(sandbox: Sandbox, tmp_path: Path) -> None:
    """They have the same fields in the same order."""
    ended = command(
        tmp_path,
        *("--log-format", "json", "run", "--kind", "item-create"),
        RUNTIME__LOG_LEVEL="DEBUG",
        **settings(sandbox),
    )

    assert ended.returncode == 0, ended.stderr
    lines = objects(ended.stderr)
    assert {"dlt", "klaviyo_jobs.outcome"} <= {line["logger"] for line in lines}
    assert [line for line in lines if list(line)[:4] != ["time", "level", "logger", "message"]] == []
    assert_no_key(ended)


def test_the_summary_line_comes_at_any_level(sandbox: Sandbox, tmp_path: Path) -> None:
    """`RUNTIME__LOG_LEVEL` hides everything else."""
    sandbox.faults.append(Fault("status", "503", times=1))

    ended = command(tmp_path, "run", "--kind", "item-create", RUNTIME__LOG_LEVEL="CRITICAL", **settings(sandbox))

    assert ended.returncode == 0, ended.stderr
    [line] = ended.stderr.splitlines()
    assert re.search(r" INFO    run \S+: 0 jobs listed, 0 new or changed, 2 calls \(1 retried\)", line)


def test_a_template_of_dlts_is_used_for_all_lines(sandbox: Sandbox, tmp_path: Path) -> None:
    """`runtime.log_format` may be a template in dlt's style."""
    ended = command(
        tmp_path, "run", "--kind", "item-create", RUNTIME__LOG_FORMAT="<{levelname}> {message}", **settings(sandbox)
    )

    assert ended.returncode == 0, ended.stderr
    assert re.match(r"<INFO> run \S+: 0 jobs listed", ended.stderr.splitlines()[-1])


@pytest.mark.parametrize("name", ["RUNTIME__LOG_LEVEL", "RUNTIME__LOG_FORMAT"])
def test_a_setting_that_dlt_cannot_use_is_named(tmp_path: Path, name: str) -> None:
    """Exit code 2 and no traceback."""
    ended = command(tmp_path, "views", **{name: "loud"})

    assert ended.returncode == 2
    assert ended.stderr.startswith("SettingError: dlt cannot use RUNTIME__LOG_LEVEL or RUNTIME__LOG_FORMAT")
    assert "Traceback" not in ended.stderr


def test_nothing_but_objects_on_a_terminal(sandbox: Sandbox, tmp_path: Path) -> None:
    """A terminal shows no progress display between JSON lines."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "klaviyo_jobs", "--log-format", "json", "run", "--kind", "item-create"],
        cwd=tmp_path,
        env={**ENVIRONMENT, "TERM": "xterm", "DLT_DATA_DIR": str(tmp_path / "dlt"), **settings(sandbox)},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)

    assert process.wait(60) == 0
    assert objects(shown.decode())[-1]["exit_code"] == 0


def _read(terminal: int) -> bytes:
    """Read what is there; Linux answers EIO when the last writer has closed its side."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


@pytest.mark.parametrize("set_format", ["JSON", "{message}"])
def test_dlt_does_not_bring_back_its_own_format(tmp_path: Path, set_format: str) -> None:
    """Loading its context anew, as a switch of workspaces does, starts dlt's logging anew, but not in another format."""
    program = (
        "from dlt.common import logger; from dlt.common.configuration.container import Container; "
        "from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext; "
        "from klaviyo_jobs.cli.logs import LogFormat, log_to_stderr; from klaviyo_jobs.log import LOGGER; log_to_stderr(LogFormat.JSON); "
        "Container()[PluggableRunContext].reload(); logger.warning('theirs'); LOGGER.warning('ours')"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**ENVIRONMENT, "RUNTIME__LOG_FORMAT": set_format},
        capture_output=True,
        text=True,
        check=True,
    )

    assert [(line["logger"], line["message"]) for line in objects(ended.stderr)] == [
        ("dlt", "theirs"),
        ("klaviyo_jobs", "ours"),
    ]


def test_warnings_and_other_libraries_write_the_same_lines(tmp_path: Path) -> None:
    """Python's warnings and loggers that nobody has configured do not break the format."""
    program = (
        "import logging, warnings; from klaviyo_jobs.cli.logs import LogFormat, log_to_stderr; "
        "log_to_stderr(LogFormat.JSON); warnings.warn('old'); logging.getLogger('other').warning('full'); "
        "logging.getLogger('other').info('quiet'); logging.getLogger('urllib3.connectionpool').warning('ours to say')"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )

    assert [(line["logger"], line["level"]) for line in objects(ended.stderr)] == [
        ("py.warnings", "WARNING"),
        ("other", "WARNING"),
    ]


# The formats.


def test_extra_fields_stand_beside_the_message() -> None:
    """What is given as `extra` becomes a member; what JSON cannot hold becomes text; a name of ours is not replaced."""
    line = JsonLines().format(record("read %s", "page 4", kind="item-create", pages=4, path=Path("x"), level="mine"))

    assert json.loads(line) == {
        "time": "2026-11-20T12:00:02.250000Z",
        "level": "INFO",
        "logger": "klaviyo_jobs",
        "message": "read page 4",
        "kind": "item-create",
        "pages": 4,
        "path": "x",
    }


def test_an_exception_is_one_field() -> None:
    """With its traceback, in the same line."""
    made = record("failed")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        made.exc_info = sys.exc_info()

    line = JsonLines().format(made)

    assert "\n" not in line
    exception = json.loads(line)["exception"]
    assert exception.startswith("Traceback (most recent call last):\n")
    assert exception.endswith("ValueError: two\nlines")


def test_any_text_is_one_line_of_ascii() -> None:
    """Line ends, half a surrogate pair and letters of any script can neither end the line nor break a terminal."""
    message = "a\nb\x1b[31m\udc80é "

    line = JsonLines().format(record(message))

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == message


def test_lines_for_people_name_foreign_loggers_only() -> None:
    """Our own lines need no name."""
    foreign = record("busy")
    foreign.name = "dlt"
    ours = record("read")

    assert re.fullmatch(r"2026-11-20T[\d:]{8}[+-]\d{4} INFO    dlt: busy", TextLines().format(foreign))
    assert re.fullmatch(r"2026-11-20T[\d:]{8}[+-]\d{4} INFO    read", TextLines().format(ours))


# What a run tells of itself.


def steps_in(text: str) -> list[str]:
    """Return the steps that log lines name."""
    return re.findall(r"\bstep (\w+)$", text, re.MULTILINE)


def test_a_run_in_which_nothing_changed_writes_two_lines_at_most(sandbox: Sandbox, tmp_path: Path) -> None:
    """Of a run every fifteen minutes nobody reads ten lines that say that nothing happened."""
    sandbox.world.add(Job("item-create", "J1", NOW, completed_at=NOW, total_count=1))
    first = command(tmp_path, "run", **settings(sandbox))

    quiet = command(tmp_path, "run", **settings(sandbox))

    assert steps_in(first.stderr) == STEPS
    assert steps_in(quiet.stderr) == []
    assert len(quiet.stderr.splitlines()) <= 2
    assert "1 jobs listed, 0 new or changed" in quiet.stderr


def test_a_quiet_run_that_takes_long_tells_its_steps(sandbox: Sandbox, tmp_path: Path) -> None:
    """Where it is, after as long as progress is told."""
    sandbox.latency_seconds = 0.5
    given = {f"SOURCES__KLAVIYO_JOBS__{name}": value for name, value in {"PROGRESS_SECONDS": "0.1"}.items()}

    ended = command(tmp_path, "run", "--kind", "item-create", **settings(sandbox), **given)

    assert steps_in(ended.stderr)[:4] == ["lock", "recover", "recall", "extract"]


def test_a_run_that_fails_tells_its_steps(sandbox: Sandbox, tmp_path: Path) -> None:
    """What was held back comes with the first warning."""
    sandbox.faults.append(Fault("status", "401"))

    ended = command(tmp_path, "run", **settings(sandbox))

    assert ended.returncode == 3
    assert steps_in(ended.stderr)[:4] == ["lock", "recover", "recall", "extract"]


@pytest.mark.parametrize("place", ["before", "behind"])
def test_quiet_and_verbose_stand_on_either_side_of_the_command(sandbox: Sandbox, tmp_path: Path, place: str) -> None:
    """As does the format of the lines."""

    def run(*options: str) -> str:
        arguments = [*options, "run"] if place == "before" else ["run", *options]
        return command(tmp_path, *arguments, **settings(sandbox)).stderr

    quiet, verbose, as_json = run("-q"), run("-v"), run("--log-format", "json", "-v")

    assert quiet == ""
    assert steps_in(verbose) == STEPS
    assert [json.loads(line)["step"] for line in as_json.splitlines() if "step" in json.loads(line)] == STEPS
