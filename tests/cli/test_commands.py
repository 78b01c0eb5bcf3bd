"""The command, as a real process: what it prints, what it leaves, and how it ends."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pendulum
import pytest
import typer
from typer.testing import CliRunner

from klaviyo_jobs import __version__
from klaviyo_jobs.cli.app import app
from klaviyo_jobs.cli.examples import EXAMPLES
from klaviyo_jobs.model.kinds import DEFAULT_KINDS, KINDS
from klaviyo_sandbox import Fault, Job, JobError, Sandbox, related_id
from support.loads import NOW, Load, Warehouse
from support.processes import ENVIRONMENT, assert_failed, assert_no_key, command, settings


@pytest.fixture
def demo_sandbox() -> Iterator[Sandbox]:
    """An API that holds the jobs of the demo."""
    with Sandbox("demo", clock=NOW) as running:
        yield running


# Help.


def test_the_version_is_printed(tmp_path: Path) -> None:
    """One line on stdout."""
    ended = command(tmp_path, "--version")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"klaviyo-jobs {__version__}\n", "")


COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_help_names_every_command(tmp_path: Path) -> None:
    """Without a command and with `--help` alike; the design's commands that exist are all there."""
    ended = command(tmp_path, "--help")

    assert ended.returncode == 0
    assert [name for name in COMMANDS if not re.search(rf"\b{name}\b", ended.stdout)] == []
    assert {"run", "views", "sandbox", "demo"} <= set(COMMANDS)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "sandbox"])
def test_help_names_every_option(tmp_path: Path, name: str) -> None:
    """`--help` of each command shows each option with a description and an example, ends with 0 and leaves nothing behind."""
    options = [option for option in COMMANDS[name].params if option.param_type_name == "option"]

    ended = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "160", "NO_COLOR": "1"})

    assert ended.exit_code == 0
    assert [each for option in options for each in option.opts if each not in ended.stdout] == []
    assert [option.name for option in options if not option.help] == []
    assert COMMANDS[name].help
    assert [each for each in EXAMPLES[name] if each not in ended.stdout] == []
    assert list(tmp_path.iterdir()) == []


def test_help_of_the_sandbox_is_the_sandboxs_own(tmp_path: Path) -> None:
    """`sandbox` hands its arguments on."""
    ended = command(tmp_path, "sandbox", "--help")

    assert ended.returncode == 0
    assert [each for each in ("--world", "--port", "--fault", "--clock") if each not in ended.stdout] == []


def test_a_wrong_command_line_is_a_usage_error(tmp_path: Path) -> None:
    """An unknown option ends with 2 and the usage."""
    ended = command(tmp_path, "run", "--fly")

    assert ended.returncode == 2
    assert "Usage:" in ended.stderr
    assert "Traceback" not in ended.stderr


# The demo.


def test_the_demo_runs_in_an_empty_folder_and_again(tmp_path: Path) -> None:
    """It shows the views, leaves a file that any DuckDB opens, and a second demo finds nothing changed."""
    first = command(tmp_path, "demo")

    assert first.returncode == 0, first.stderr
    assert "Throughput by day, from klaviyo.job_throughput_daily" in first.stdout
    assert "Failure rates by kind, from klaviyo.job_failure_rates_daily" in first.stdout
    assert all(kind in first.stdout for kind in DEFAULT_KINDS)
    with duckdb.connect(str(tmp_path / "demo.duckdb"), read_only=True) as connection:
        [(jobs,)] = connection.execute("select count(*) from klaviyo.jobs").fetchall()
    assert f" {jobs} jobs listed, {jobs} new or changed" in first.stdout
    assert jobs > 0
    assert "Traceback" not in first.stderr

    second = command(tmp_path, "demo")

    assert second.returncode == 0, second.stderr
    assert f" {jobs} jobs listed, 0 new or changed" in second.stdout


def test_the_week_of_the_demo_has_just_ended(tmp_path: Path) -> None:
    """Its newest jobs are under way since minutes: the report has a living week, and the check finds nothing wrong."""
    command(tmp_path, "demo")
    checked = command(tmp_path, "check", "--warehouse", "demo.duckdb")
    with duckdb.connect(str(tmp_path / "demo.duckdb"), read_only=True) as connection:
        [(newest, oldest, now)] = connection.execute(
            "select max(created_at_utc), min(created_at_utc), now()::timestamp from klaviyo.jobs"
        ).fetchall()

    assert checked.returncode == 0, checked.stderr
    assert timedelta() <= now - newest < timedelta(hours=1, minutes=5)
    assert now - oldest < timedelta(days=7)


def test_a_demo_on_another_day_moves_the_same_jobs(tmp_path: Path) -> None:
    """They keep their ids, so none is there twice, and all that is counted is as before."""
    counts = """
        select job_id, total_count, failed_count, created_at_utc + $moved::interval, outcome
        from klaviyo.jobs where job_kind = 'item-create' order by job_id
    """
    answers = []
    for clock, moved in (("2026-11-20T12:00", "50 hours"), ("2026-11-22T14:00", "0 hours")):
        command(tmp_path, "demo", "--clock", clock)
        with duckdb.connect(str(tmp_path / "demo.duckdb"), read_only=True) as connection:
            answers.append(connection.execute(counts, {"moved": moved}).fetchall())

    assert len(answers[0]) == 260
    assert answers[0] == answers[1]


def test_what_only_the_demo_has_made_is_read(tmp_path: Path) -> None:
    """Where there is no other warehouse, and said so; never by what keeps watch, which would find all well."""
    command(tmp_path, "demo")
    asked = command(tmp_path, "query", "--csv", "select count(*) as jobs from klaviyo.jobs")
    checked = command(tmp_path, "check")

    assert asked.stdout == "jobs\n332\n"
    assert "there is no warehouse.duckdb: reading demo.duckdb, which the demo has made" in asked.stderr
    assert checked.returncode == 7


# A run.


def test_a_run_loads_the_warehouse_and_says_so_in_one_line(demo_sandbox: Sandbox, tmp_path: Path) -> None:
    """Away from a terminal stdout stays empty and the summary is a log line on stderr."""
    ended = command(tmp_path, "run", **settings(demo_sandbox))

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    jobs = sum(len(demo_sandbox.expected(kind)) for kind in KINDS)
    assert warehouse.count("jobs") == jobs
    assert f": {jobs} jobs listed, {jobs} new or changed, " in ended.stderr.splitlines()[-1]
    assert ", 0 of 9 listings failed, " in ended.stderr.splitlines()[-1]
    assert_no_key(ended)


def test_json_is_one_object_on_stdout(demo_sandbox: Sandbox, tmp_path: Path) -> None:
    """With `--json` stdout holds one JSON object and nothing else; `--kind`, given twice, and `--warehouse` hold."""
    (tmp_path / "data").mkdir()

    ended = command(
        tmp_path,
        *("run", "--json", "--kind", "item-create", "--kind", "variant-delete", "--warehouse", "data/jobs.duckdb"),
        **settings(demo_sandbox),
    )

    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert (summary["exit_code"], summary["error"]) == (0, None)
    assert summary["warehouse"] == str(tmp_path / "data" / "jobs.duckdb")
    assert (tmp_path / "data" / "jobs.duckdb").is_file()
    assert not (tmp_path / "warehouse.duckdb").exists()
    assert {listing["job_kind"]: listing["job_count"] for listing in summary["listings"]} == {
        kind: len(demo_sandbox.expected(kind)) for kind in ("item-create", "variant-delete")
    }
    assert all(listing["is_complete"] for listing in summary["listings"])
    assert_no_key(ended)


def test_a_dry_run_counts_the_calls_and_writes_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """The listings are read, the details only counted, and no file is made."""
    sandbox.world.add(Job("category-create", "C1", NOW), Job("category-create", "C2", NOW))

    ended = command(tmp_path, "run", "--dry-run", "--json", "--kind", "category-create", **settings(sandbox))

    assert ended.returncode == 0, ended.stderr
    plan = json.loads(ended.stdout)
    assert (plan["list_calls"], plan["detail_calls"]) == (1, 2)
    assert [request.endpoint for request in sandbox.requests] == ["list"]
    assert list(tmp_path.glob("*.duckdb*")) == []
    assert_no_key(ended)


def test_the_key_may_be_in_a_secrets_file(demo_sandbox: Sandbox, tmp_path: Path) -> None:
    """`.dlt/secrets.toml` and `.dlt/config.toml` of the working directory are read."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text(f'[sources.klaviyo_jobs]\napi_key = "{demo_sandbox.key}"\n')
    (tmp_path / ".dlt" / "config.toml").write_text(
        f'[sources.klaviyo_jobs]\nbase_url = "{demo_sandbox.base_url}"\nkinds = ["item-create"]\n'
    )

    ended = command(tmp_path, "run", "--json")

    assert ended.returncode == 0, ended.stderr
    assert [listing["job_kind"] for listing in json.loads(ended.stdout)["listings"]] == ["item-create"]
    assert {request.authorization for request in demo_sandbox.requests} == {"right"}
    assert_no_key(ended)


def test_views_are_applied_and_listed(sandbox: Sandbox, load: Load, warehouse: Warehouse, tmp_path: Path) -> None:
    """`views` brings back what is missing, and names each view with its description."""
    sandbox.world.add(Job("item-create", "J1", NOW))
    load(kinds=["item-create"])
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("drop schema klaviyo cascade")

    ended = command(tmp_path, "views")

    assert ended.returncode == 0, ended.stderr
    assert re.search(r"klaviyo\.job_throughput_daily +\w", ended.stdout)
    assert warehouse.rows("select job_id from klaviyo.jobs") == [("J1",)]


# Failures.

NOTHING = "nothing was read or written"


def test_no_key(tmp_path: Path) -> None:
    """Without a key the message says where it was looked for and what runs without one."""
    ended = command(tmp_path, "run")

    assert_failed(
        ended,
        2,
        r"^SettingError: no API key\. Looked at SOURCES__KLAVIYO_JOBS__API_KEY, .*secrets\.toml \(no such file\)",
        data=NOTHING,
        next_step="catalogs:read.*`klaviyo-jobs demo` runs without a key",
    )
    assert not (tmp_path / "warehouse.duckdb").exists()


@pytest.mark.parametrize(
    ("arguments", "changed", "message", "next_step"),
    [
        (["--account", "shop_eu"], {}, "unknown account 'shop_eu'", "choose from default"),
        (["--kind", "item-fly"], {}, "unknown job kind 'item-fly' in `kinds`", "choose from item-create"),
        ([], {"base_url": "http://shop.example"}, "would send the API key unencrypted", "use https"),
    ],
)
def test_a_setting_that_cannot_be_used(
    sandbox: Sandbox, tmp_path: Path, arguments: list[str], changed: Mapping[str, str], message: str, next_step: str
) -> None:
    """Settings are checked before anything is read or written."""
    ended = command(tmp_path, "run", *arguments, **settings(sandbox, **changed))

    assert_failed(ended, 2, f"^SettingError: .*{message}", data=NOTHING, next_step=next_step)
    assert sandbox.requests == []
    assert not (tmp_path / "warehouse.duckdb").exists()


def test_a_refused_key(sandbox: Sandbox, tmp_path: Path) -> None:
    """Every listing is refused with 401: exit code 3."""
    ended = command(tmp_path, "run", **settings(sandbox, api_key="pk_wrong"))

    assert_failed(
        ended,
        3,
        r"^KeyRefusedError: .*Klaviyo refused the key of account 'default' \(401: ",
        data="nothing of this account was read",
        next_step="set a private key that has the scope catalogs:read",
    )


def test_a_host_that_cannot_be_reached(tmp_path: Path) -> None:
    """All attempts fail: exit code 4."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    ended = command(
        tmp_path,
        *("run", "--kind", "item-create"),
        SOURCES__KLAVIYO_JOBS__BASE_URL=f"http://127.0.0.1:{port}",
        SOURCES__KLAVIYO_JOBS__API_KEY="pk_any",
    )

    assert_failed(
        ended,
        4,
        rf"^UnavailableError: item-create, page 1: http://127\.0\.0\.1:{port} gave no answer \(.*refused.*after 5 att",
        data="nothing of this answer was used",
        next_step="run again later",
    )


class _WebPage(BaseHTTPRequestHandler):
    """Answers everything with a sign-in page."""

    def do_GET(self) -> None:
        body = b"<html><body>Please sign in</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


def test_a_host_that_is_not_the_api(tmp_path: Path) -> None:
    """A web page in answer to every request: exit code 4, at once, and no empty success."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _WebPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ended = command(
            tmp_path,
            "run",
            SOURCES__KLAVIYO_JOBS__BASE_URL=f"http://127.0.0.1:{server.server_port}",
            SOURCES__KLAVIYO_JOBS__API_KEY="pk_any",
        )
        server.shutdown()

    assert_failed(
        ended,
        4,
        "^UnavailableError: .* answers with a web page; it is not the Klaviyo API",
        data="nothing of this answer was used",
        next_step="check `base_url`",
    )


def test_a_listing_that_fails_among_others(sandbox: Sandbox, tmp_path: Path) -> None:
    """One failed listing of two: exit code 5 in the status, in the JSON object and in the message."""
    sandbox.faults.append(Fault("status", "400", kind="item-create"))

    ended = command(tmp_path, "run", "--json", "--kind", "item-create", "--kind", "item-delete", **settings(sandbox))

    assert_failed(
        ended,
        5,
        r"^PartialError: 1 of 2 listings failed \(default: item-create\)",
        data="everything else is loaded",
        next_step="run again",
    )
    summary = json.loads(ended.stdout)
    assert summary["exit_code"] == 5
    assert {listing["job_kind"]: listing["is_complete"] for listing in summary["listings"]} == {
        "item-create": False,
        "item-delete": True,
    }


def test_a_missing_folder(sandbox: Sandbox, tmp_path: Path) -> None:
    """The folder of the warehouse is not made on the quiet."""
    ended = command(tmp_path, "run", "--warehouse", "missing/w.duckdb", **settings(sandbox))

    assert_failed(
        ended, 7, "^WarehouseError: the folder .* does not exist", data=NOTHING, next_step="mkdir -p .*/missing"
    )
    assert sandbox.requests == []


def test_a_folder_in_the_place_of_the_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """A folder is no warehouse."""
    (tmp_path / "w").mkdir()

    ended = command(tmp_path, "run", "--warehouse", "w", **settings(sandbox))

    assert_failed(ended, 7, "^WarehouseError: .* is a folder, not a file", data=NOTHING, next_step="name a file in it")


def test_a_file_that_is_no_database(sandbox: Sandbox, tmp_path: Path) -> None:
    """A text file is refused and stays as it was."""
    (tmp_path / "notes.txt").write_text("not a database\n" * 1000)

    ended = command(tmp_path, "run", "--warehouse", "notes.txt", **settings(sandbox))

    assert_failed(
        ended,
        7,
        "^WarehouseError: the warehouse .*notes.txt is damaged, or no DuckDB file",
        data="the file is as it was",
        next_step="--warehouse",
    )
    assert (tmp_path / "notes.txt").read_text() == "not a database\n" * 1000
    assert sandbox.requests == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(sandbox: Sandbox, tmp_path: Path) -> None:
    """A folder that cannot be written is named before anything is read."""
    (tmp_path / "closed").mkdir(mode=0o500)

    ended = command(tmp_path, "run", "--warehouse", "closed/w.duckdb", **settings(sandbox))

    assert_failed(
        ended, 7, "^WarehouseError: .* cannot be written: no permission", data=NOTHING, next_step="permissions"
    )


def test_a_folder_that_nobody_can_write(sandbox: Sandbox, tmp_path: Path) -> None:
    """Not even root can make a file in a folder of the kernel's: a warehouse problem, whatever the system says."""
    ended = command(tmp_path, "run", "--warehouse", "/proc/w.duckdb", **settings(sandbox))

    assert_failed(
        ended, 7, "^WarehouseError: the lock /proc/w.duckdb.lock cannot be taken", data=NOTHING, next_step="--warehouse"
    )
    assert sandbox.requests == []


def test_a_warehouse_that_someone_has_open(sandbox: Sandbox, tmp_path: Path) -> None:
    """A file under another program's lock is named, and nothing is read."""
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")):
        ended = command(tmp_path, "run", **settings(sandbox), SOURCES__KLAVIYO_JOBS__WAREHOUSE_WAIT_SECONDS="0.5")

    assert_failed(
        ended,
        7,
        rf"^WarehouseError: the warehouse .* is open in .* \(process {os.getpid()}\)",
        data="the tables are as they were",
        next_step="close it there and run again; let readers open a copy",
    )
    assert sandbox.requests == []


def test_a_file_named_like_a_schema(sandbox: Sandbox, tmp_path: Path) -> None:
    """DuckDB could not tell the file from the schema, so the name is refused."""
    ended = command(tmp_path, "run", "--warehouse", "klaviyo.duckdb", **settings(sandbox))

    assert_failed(
        ended,
        7,
        "^WarehouseError: a DuckDB file cannot be called 'klaviyo.duckdb'",
        data=NOTHING,
        next_step="another file",
    )
    assert not (tmp_path / "klaviyo.duckdb").exists()


def test_views_without_a_warehouse(tmp_path: Path) -> None:
    """`views` makes no file."""
    ended = command(tmp_path, "views")

    assert_failed(
        ended, 7, "^WarehouseError: there is no warehouse", data=NOTHING, next_step="make one with `klaviyo-jobs run`"
    )
    assert not (tmp_path / "warehouse.duckdb").exists()


def test_the_key_is_in_no_output_and_no_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """Not on stdout, not on stderr, and in no file below the working directory, however talkative the run."""
    ended = command(
        tmp_path,
        *("run", "--kind", "item-create"),
        KLAVIYO_JOBS_DEBUG="1",
        RUNTIME__LOG_LEVEL="DEBUG",
        **settings(sandbox),
    )

    assert ended.returncode == 0, ended.stderr
    assert_no_key(ended)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and sandbox.key.encode() in path.read_bytes()] == []


# How a run shows what it reads.


@pytest.mark.parametrize(("asked", "is_told"), [("auto", True), ("log", True), ("off", False)])
def test_a_run_without_a_terminal_tells_how_far_it_has_got(
    sandbox: Sandbox, tmp_path: Path, asked: str, is_told: bool
) -> None:
    """A log line every few seconds while something moves, unless that is turned off; the steps are logged anyway."""
    sandbox.world.add(Job("item-create", "J1", NOW, completed_at=NOW, total_count=1))
    sandbox.faults.append(Fault("slow", "1", kind="item-create"))

    ended = command(
        tmp_path,
        *("run", "--kind", "item-create", "--progress", asked),
        **settings(sandbox, progress_seconds="0.2"),
    )

    assert ended.returncode == 0, ended.stderr
    assert ("reading: 0 of 1 listings done, 0 jobs, 0 details, 1 calls" in ended.stderr) == is_told
    assert ended.stderr.count("reading: 1 of 1 listings done, 1 jobs, 0 details, 1 calls") <= 1
    assert "step extract" in ended.stderr


def test_bars_can_be_asked_for_where_there_is_no_terminal(sandbox: Sandbox, tmp_path: Path) -> None:
    """As for a terminal that does not say that it is one; they are drawn on stderr."""
    ended = command(tmp_path, "run", "--kind", "item-create", "--progress", "bar", **settings(sandbox))

    assert ended.returncode == 0
    assert re.search(r"(reading|loading|applying the views) ", ended.stderr)
    assert ended.stdout == ""


# The report.


@pytest.fixture
def reported(sandbox: Sandbox, tmp_path: Path) -> Path:
    """A folder with a warehouse of two jobs that ended lately and one that is stuck."""
    now = pendulum.now("UTC")
    with Sandbox(clock=now) as recent:
        for job_id, failed in (("J1", 0), ("J2", 2)):
            recent.world.add(
                Job(
                    *("item-create", job_id, now.subtract(hours=1)),
                    completed_at=now.subtract(minutes=50),
                    total_count=4,
                    completed_count=4 - failed,
                    failed_count=failed,
                    errors=[JobError("No such item.", related_id=related_id("A"))] * failed,
                    related_ids=[],
                )
            )
        recent.world.add(Job("item-update", "J3", now.subtract(hours=9), status="processing", total_count=1))
        kinds = '["item-create", "item-update"]'
        assert command(tmp_path, "run", **settings(recent, kinds=kinds)).returncode == 0
    return tmp_path


def test_the_report_shows_every_question(reported: Path) -> None:
    """A table for each, without a column for the one account, a line where there is nothing to show."""
    ended = command(reported, "report", "--days", "2")

    assert ended.returncode == 0, ended.stderr
    titles = [
        "Age of the listings",
        "Throughput of the last 2 days",
        "Failure rates of the last 2 days",
        "Seconds that jobs of the last 2 days took",
        "Errors of the last 2 days, most frequent first",
        "Failed in the last 2 days and not repaired since",
        "Stuck now",
    ]
    lines = [line.strip() for line in ended.stdout.splitlines()]
    assert [line for line in lines if line in titles] == titles
    assert re.search(r"item-create +2 +0 +1 +0 +8 +25\.0%", ended.stdout)
    assert re.search(r"item-update +J3 +processing +9 h 0 min", ended.stdout)
    assert "account" not in ended.stdout


def test_the_report_begins_with_whether_all_is_well(reported: Path) -> None:
    """In one line, and then the last two weeks in two."""
    first, _, jobs, share, *_ = command(reported, "report").stdout.splitlines()

    assert re.fullmatch(r"FAIL  \d+ of \d+ checks; first: \w+ of \S+ is .*; all: klaviyo-jobs check", first)
    assert re.fullmatch(r"jobs finished  [▁▂▃▄▅▆▇█]{14} +\d+ today +\d+ on the busiest day", jobs.rstrip())
    assert re.fullmatch(r"failed share   [·▁▂▃▄▅▆▇█]{14} .*", share)


@pytest.mark.parametrize(
    ("words", "since", "until"),
    [
        (("report", "--days", "3"), timedelta(days=3), timedelta()),
        (("report", "--html", "page.html"), timedelta(days=30), timedelta()),
        (("check", "--window", "6h"), timedelta(hours=6), timedelta()),
        (("query", "select 1 as one"), None, timedelta()),
        (("explain", "A"), None, timedelta()),
        (("views",), None, timedelta()),
        (("publish", "copy.duckdb"), None, timedelta()),
        (("prune", "--older-than", "60d"), None, timedelta(days=60)),
        (("demo",), timedelta(), timedelta()),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_json_says_which_window_it_covers(
    reported: Path, words: tuple[str, ...], since: timedelta | None, until: timedelta
) -> None:
    """One object on stdout, from whatever command; null is since ever."""
    answer = json.loads(command(reported, *words, "--json").stdout)
    window = {name: text and datetime.fromisoformat(text) for name, text in answer["window"].items()}
    now = datetime.now(UTC)
    expected = {"since_utc": None if since is None else now - since, "until_utc": now - until}

    assert len(answer) > 1
    assert window == {name: at and pytest.approx(at, abs=timedelta(minutes=1)) for name, at in expected.items()}


def test_a_restore_says_as_json_until_when_the_copy_knows(reported: Path) -> None:
    """As the window of what is there again."""
    command(reported, "publish", "copy.duckdb")
    (reported / "warehouse.duckdb").unlink()
    answer = json.loads(command(reported, "restore", "copy.duckdb", "--json").stdout)

    assert (answer["job_count"], Path(answer["warehouse"]).name, answer["kept"]) == (3, "warehouse.duckdb", None)
    assert answer["window"]["until_utc"][:16] == answer["known_until"].replace(" ", "T")[:16]


def test_the_report_as_json(reported: Path) -> None:
    """One object, a list of rows for each question."""
    ended = command(reported, "report", "--json")

    report = json.loads(ended.stdout)
    assert (report["verdict"]["is_well"], len(report["trend"])) == (False, 14)
    assert "stuck_jobs" in [breach["check"] for breach in report["verdict"]["breaches"]]
    assert [(row["kind"], row["operations"], row["failed_share"]) for row in report["failure_rates"]] == [
        ("item-create", 8, 0.25)
    ]
    assert [row["id"] for row in report["failing_entities"]] == ["A"]
    assert [row["job_id"] for row in report["stuck_jobs"]] == ["J3"]
    assert [(row["times"], row["jobs"], row["fingerprint"]) for row in report["errors"]] == [(2, 1, "No such item.")]


@pytest.mark.parametrize("name", ["report", "check"])
def test_a_warehouse_without_views_is_told(tmp_path: Path, name: str) -> None:
    """It is no clean bill of health."""
    duckdb.connect(str(tmp_path / "warehouse.duckdb")).close()

    assert_failed(
        command(tmp_path, name),
        7,
        r"lacks a view: .*klaviyo\.",
        data="nothing was written",
        next_step="klaviyo-jobs views",
    )


class Collector(BaseHTTPRequestHandler):
    """Takes whatever is posted to it."""

    def do_POST(self) -> None:
        """Note the body."""
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("config", "setting", "is_sent"),
    [
        ("", {}, False),
        ("", {"RUNTIME__DLTHUB_TELEMETRY": "true"}, True),
        ("[runtime]\ndlthub_telemetry = true\n", {}, True),
    ],
    ids=["not set", "on in the environment", "on in the file"],
)
def test_usage_data_are_sent_only_if_they_are_asked_for(
    config: str, setting: dict[str, str], is_sent: bool, sandbox: Sandbox, tmp_path: Path
) -> None:
    """dlt's telemetry is off, unless the user turns it on."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text(config)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.bodies = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "RUNTIME__DLTHUB_TELEMETRY"}
    ended = subprocess.run(
        [sys.executable, "-m", "klaviyo_jobs", "run", "--kind", "item-create"],
        cwd=tmp_path,
        env={
            **environment,
            **settings(sandbox),
            **setting,
            "DLT_DATA_DIR": str(tmp_path / "dlt"),
            "RUNTIME__DLTHUB_TELEMETRY_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        },
        capture_output=True,
        timeout=60,
        check=False,
    )
    server.shutdown()
    server.server_close()

    assert ended.returncode == 0
    assert bool(server.bodies) is is_sent  # type: ignore[attr-defined]
