"""
Every message of every exit code, produced on purpose: what happened and where, what state the data is in, what next.

What a message says of the data is looked up in the warehouse when it is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest

from klaviyo_jobs import errors
from klaviyo_jobs.warehouse.lock import FileLock
from klaviyo_sandbox import Fault, Job, RawJob, Sandbox
from support.loads import HOUR, NOW
from support.processes import ENVIRONMENT, assert_no_key, command, settings, started

LOADED = 1  # jobs in the warehouse before each case


@dataclass(frozen=True)
class Case:
    """
    One way to fail.

    Attributes:
        code: The exit code.
        says: What the first line says, as a pattern, `FOLDER` for the folder.
        data: What the message says of the data.
        next: How the third line begins, as a pattern.
        jobs: How many jobs the warehouse holds afterwards, of the two that the API lists; None if it cannot be read.
    """

    code: int
    says: str
    data: str
    next: str
    arguments: tuple[str, ...] = ("run", "--kind", "item-create")
    environment: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    jobs: int | None = LOADED
    prepared: str = ""


S = "SOURCES__KLAVIYO_JOBS__"
NOTHING = "nothing was read or written."
CASES = {
    # 2
    "no key": Case(
        2, r"SettingError: no API key\. Looked at .*\.", NOTHING, "set one of them; ", environment={f"{S}API_KEY": ""}
    ),
    "two keys": Case(
        2,
        r"SettingError: the API key of account 'default' is more than one key, or not a key alone\.",
        NOTHING,
        "set one key for each account",
        environment={f"{S}API_KEY": "pk_a pk_b"},
    ),
    "unknown kind": Case(
        2,
        r"SettingError: unknown job kind 'item-fly' in `kinds`\.",
        NOTHING,
        "choose from item-create",
        ("run", "--kind", "item-fly"),
    ),
    "unread setting": Case(
        2, rf"SettingError: nothing reads {S}KNDS\.", NOTHING, f"did you mean {S}KINDS", environment={f"{S}KNDS": "x"}
    ),
    "no zone": Case(
        2,
        r"SettingError: reporting_timezone 'Mars/Olympus' is not a time zone\.",
        "the warehouse is as it was.",
        "use a name of the tz database",
        environment={f"{S}REPORTING_TIMEZONE": "Mars/Olympus"},
    ),
    "a name of dlt's": Case(
        2,
        r"SettingError: dlt, too, reads REFRESH, and cannot use what stands there\.",
        "what was loaded before stays; nothing was written after that.",
        "unset it",
        environment={"REFRESH": "1"},
    ),
    "no copy named": Case(
        2,
        r"SettingError: there is no path for the copy\.",
        "nothing was copied.",
        "name it: klaviyo-jobs publish PATH",
        ("publish",),
    ),
    "no age": Case(
        2,
        r"SettingError: --older-than '1y' is not an age\.",
        "nothing was deleted.",
        "give days or weeks",
        ("prune", "--older-than", "1y"),
    ),
    "retired revision": Case(
        2,
        r"RevisionError: item-create, page 1: revision 2099-01-01 is not served .*\.",
        "nothing of this answer was used.",
        "set `revision` to 2026-07-15",
        environment={f"{S}REVISION": "2099-01-01"},
    ),
    # 3
    "key refused": Case(
        3,
        r"KeyRefusedError: Klaviyo refused the key of account 'default' \(401.*\)\.",
        "nothing of this account was read after that; what was read before is loaded.",
        "set a private key that has the scope catalogs:read",
        fault=Fault("status", "401"),
    ),
    # 4
    "unavailable": Case(
        4,
        r"UnavailableError: item-create, page 1: .* answered 503: .*; gave up after 1 attempts\.",
        "nothing of this answer was used.",
        "run again later",
        fault=Fault("status", "503"),
        environment={f"{S}MAX_ATTEMPTS": "1"},
    ),
    "another answer": Case(
        4,
        r"StatusError: item-create, page 1: answered 418.*",
        "nothing of this answer was used.",
        "check ",
        fault=Fault("status", "418"),
    ),
    "pages without end": Case(
        4,
        r"PagingError: item-create, page 1: links\.next leads away from .*; the API key must not follow it\.",
        "the jobs up to this page are loaded; what comes after it is not, and no absence was concluded from it.",
        "check `base_url`",
        fault=Fault("foreign-link", "http://127.0.0.1:1"),
        jobs=2,
    ),
    "pages without end, of a plan": Case(
        4,
        r"PagingError: item-create, page 1: links\.next leads away from .*; the API key must not follow it\.",
        "nothing was written.",
        "check `base_url`",
        ("run", "--dry-run", "--kind", "item-create"),
        fault=Fault("foreign-link", "http://127.0.0.1:1"),
    ),
    # 5
    "partial": Case(
        5,
        r"PartialError: 1 of 2 listings failed \(default: item-update\)\. First: .*",
        "everything else is loaded; each failure stands in klaviyo_raw.listings, column error.",
        "",
        ("run", "--kind", "item-create", "--kind", "item-update"),
        fault=Fault("status", "418", kind="item-update"),
        jobs=2,
    ),
    "a record that cannot be read": Case(
        5,
        r"PartialError: 1 records could not be read\.",
        "they are kept in klaviyo_raw.rejected_records with reason and raw JSON; all else is loaded.",
        "look at: select endpoint, json_path, reason from klaviyo_raw.rejected_records where run_id = ",
        prepared="a record that is none",
        jobs=2,
    ),
    # 7
    "no warehouse": Case(
        7,
        r"WarehouseError: there is no warehouse FOLDER/none\.duckdb\.",
        NOTHING,
        "make one with `klaviyo-jobs run`",
        ("report", "--warehouse", "none.duckdb"),
    ),
    "no folder": Case(
        7,
        r"WarehouseError: the folder of the warehouse FOLDER/no/w\.duckdb does not exist\.",
        NOTHING,
        r"make it \(mkdir -p FOLDER/no\)",
        ("run", "--warehouse", "no/w.duckdb"),
    ),
    "a folder": Case(
        7,
        r"WarehouseError: the warehouse FOLDER is a folder, not a file\.",
        NOTHING,
        "name a file in it",
        ("run", "--warehouse", "."),
    ),
    "no folder for the copy": Case(
        7,
        r"WarehouseError: the folder of the copy FOLDER/no/c\.duckdb does not exist\.",
        "nothing was copied; the copy before it, if there is one, is as it was.",
        r"make it \(mkdir -p FOLDER/no\), or choose another path: `bi_copy`",
        environment={f"{S}BI_COPY": "no/c.duckdb"},
    ),
    "damaged": Case(
        7,
        r"WarehouseError: the warehouse FOLDER/warehouse\.duckdb is damaged, or no DuckDB file: .*",
        "the file is as it was; nothing was written to it.",
        "put a copy of the file in its place",
        prepared="damage",
        jobs=None,
    ),
    "of somebody else": Case(
        7,
        r"WarehouseError: the table klaviyo_raw\.jobs of FOLDER/foreign\.duckdb is not of this program's making\.",
        "the file is as it was.",
        "choose another path",
        ("run", "--warehouse", "foreign.duckdb"),
        prepared="foreign",
    ),
    "a view of somebody's": Case(
        7,
        r"WarehouseError: view klaviyo\.stuck_jobs cannot be made from .*",
        "the views are as they were; what was loaded stays.",
        "",
        prepared="table in the place of a view",
        jobs=2,
    ),
    # 8
    "breached": Case(
        8,
        r"ThresholdError: \d of \d+ checks are breached\. First: .*",
        "what was loaded is as it was.",
        "look at: ",
        ("check", "--max-listing-age", "0"),
    ),
}


def prepare(what: str, folder: Path) -> None:
    """Bring the folder into the state that a case needs."""
    warehouse = folder / "warehouse.duckdb"
    if what == "damage":
        warehouse.write_bytes(warehouse.read_bytes()[:5000])
    elif what == "foreign":
        with duckdb.connect(str(folder / "foreign.duckdb")) as connection:
            connection.execute("create schema klaviyo_raw; create table klaviyo_raw.jobs (a int)")
    elif what == "table in the place of a view":
        with duckdb.connect(str(warehouse)) as connection:
            connection.execute("drop view klaviyo.stuck_jobs; create table klaviyo.stuck_jobs (a int)")


def jobs_in(warehouse: Path) -> int | None:
    try:
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            [(count,)] = connection.execute("select count(*) from klaviyo_raw.jobs").fetchall()
    except duckdb.Error:
        return None
    return int(count)


def message_of(text: str) -> list[str]:
    """Return the three lines of the message that stands last in what was written."""
    lines = text.splitlines()
    start = max(number for number, line in enumerate(lines) if re.match(r"\w+Error: ", line))
    return lines[start : start + 3]


@pytest.mark.parametrize("name", CASES)
def test_a_message_says_what_where_in_what_state_and_what_next(name: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """And what it says of the data is so."""
    case = CASES[name]
    sandbox.world.add(Job("item-create", "J1", NOW - HOUR, completed_at=NOW, total_count=1))
    assert command(tmp_path, "run", "--kind", "item-create", **settings(sandbox)).returncode == 0
    sandbox.world.add(Job("item-create", "J2", NOW - HOUR, completed_at=NOW, total_count=1))
    prepare(case.prepared, tmp_path)
    if case.prepared == "a record that is none":
        sandbox.world.add(RawJob("item-create", {"type": 7}, created_at=NOW - HOUR))
    sandbox.faults += [case.fault] if case.fault else []

    ended = command(tmp_path, *case.arguments, **{**settings(sandbox), **case.environment})

    assert ended.returncode == case.code, ended.stderr
    headline, data, next_step = message_of(ended.stderr)
    folder = re.escape(str(tmp_path))
    assert re.fullmatch(case.says.replace("FOLDER", folder), headline), headline
    assert data == f"  Data: {case.data}"
    assert re.match(f"  Next: {case.next.replace('FOLDER', folder)}.", next_step), next_step
    assert jobs_in(tmp_path / "warehouse.duckdb") == case.jobs
    assert_no_key(ended)


def test_a_lock_that_is_held_names_its_holder(sandbox: Sandbox, tmp_path: Path) -> None:
    """Exit code 6: who, since when and at which step; the other run goes on."""
    with FileLock(tmp_path / "warehouse.duckdb", []) as lock:
        lock.enter_step("extract")

        ended = command(tmp_path, "run", "--kind", "item-create", **settings(sandbox))

    assert ended.returncode == 6
    headline, data, next_step = message_of(ended.stderr)
    assert re.fullmatch(
        r"LockedError: another run holds the lock of this warehouse: process \d+ on .*, at step extract\.", headline
    )
    assert data == "  Data: nothing was read or written; the other run goes on."
    assert next_step == "  Next: wait for it to end, or run with --wait-lock SECONDS."
    assert sandbox.requests == []


def test_what_nobody_expected_says_where_to_look(sandbox: Sandbox, tmp_path: Path) -> None:
    """Exit code 1: the lines of the error, then the message; nobody is sent to an address that does not exist."""
    program = """if 1:
        import klaviyo_jobs.runs.run as runs
        from klaviyo_jobs.cli.app import main

        def fail(*arguments, **others):
            raise RuntimeError("boom")

        runs.build_listings = fail
        main()
    """

    with started(tmp_path, "run", program=program, environment={**ENVIRONMENT, **settings(sandbox)}) as process:
        code, said = process.wait(), process.stderr

    assert code == 1
    assert "RuntimeError: boom" in said
    assert "Traceback" in said
    assert message_of(said) == [
        "KlaviyoJobsError: unexpected RuntimeError: boom",
        "  Data: what was loaded before stays; a load that was cut off is repeated by the next run.",
        "  Next: run again; if it repeats, the lines above say where to look: keep them.",
    ]


def test_no_folder_for_temporary_files_names_the_variable(tmp_path: Path) -> None:
    """A read-only root, whatever the command: no traceback."""
    program = """if 1:
        import tempfile
        from klaviyo_jobs.cli.app import main

        # What the system says where no folder can be written.
        tempfile._get_default_tempdir = lambda: (_ for _ in ()).throw(FileNotFoundError(2, "No usable temporary directory"))
        tempfile.tempdir = None
        main()
    """
    for name in ("run", "report", "doctor", "check", "publish"):
        with started(tmp_path, name, program=program, environment=ENVIRONMENT) as process:
            code, said = process.wait(), process.stderr

        assert code == 2
        headline, data, next_step = message_of(said)
        assert headline.startswith(
            "SettingError: there is no folder for temporary files that can be written: looked at TMPDIR, "
        )
        assert (data, next_step) == (
            "  Data: nothing was read or written.",
            "  Next: set TMPDIR to a folder that can be written.",
        )
        assert "Traceback" not in said


def test_every_exit_code_has_a_message_here_or_among_the_signals() -> None:
    """130 and 143 are those of tests/runs/test_signals.py."""
    every = {
        error.exit_code for error in vars(errors).values() if isinstance(error, type) and hasattr(error, "exit_code")
    }

    assert every - {1, 6} == {case.code for case in CASES.values()}
