"""`klaviyo-jobs doctor`, as a real process against a real server: the checklist, its JSON object, its exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pendulum
import pytest

from klaviyo_jobs import __version__
from klaviyo_jobs.model.kinds import DEFAULT_KINDS, KINDS
from klaviyo_sandbox import SCOPES, Fault, Sandbox
from support.loads import Load, Warehouse
from support.processes import assert_no_key, command, settings

TODAY = pendulum.today("UTC").date()
# A revision as old as this is stable whenever the tests run.
_RECENT = TODAY.subtract(days=30)
RECENT = str(_RECENT)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """An empty API with the clock of this machine, by which revisions age."""
    with Sandbox() as running:
        yield running


def doctor(
    folder: Path, sandbox: Sandbox, *arguments: str, columns: str = "1000", **others: str
) -> subprocess.CompletedProcess[str]:
    """Run the doctor with a recent revision and *others* as settings, wide enough that no line is broken."""
    given = {"revision": RECENT, **others}
    environment = {name: value for name, value in settings(sandbox, **given).items() if value}
    ended = command(folder, "doctor", *arguments, COLUMNS=columns, **environment)
    assert ended.stderr == ""
    assert_no_key(ended)
    return ended


def found(ended: subprocess.CompletedProcess[str], *names: str) -> list[tuple[str, str, str | None]]:
    """Return state, message and next step of the checks called *names* in the JSON object."""
    checks = json.loads(ended.stdout)["checks"]
    return [(check["state"], check["message"], check["next_step"]) for check in checks if check["name"] in names]


def masked(text: str, sandbox: Sandbox, folder: Path) -> str:
    """Replace what differs from machine to machine and from day to day."""
    for varying, shown in (
        (re.escape(sandbox.base_url), "http://SANDBOX"),
        (re.escape(str(folder)), "/folder"),
        (RECENT, "RECENT"),
        (str(_RECENT.add(years=1)), "A-YEAR-LATER"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "NOW"),
        (r"[\d.,]+ [GM]iB free", "SPACE free"),
        (r"klaviyo-jobs \d.*, python .*", "VERSIONS"),
        (r"import_error_payloads False, .*, which", "OTHERS, which"),
    ):
        text = re.sub(varying, shown, text)
    return text


# A healthy installation.


def test_a_healthy_installation(sandbox: Sandbox, tmp_path: Path) -> None:
    """Everything is looked at in order, each line begins with its state, and nothing is written."""
    ended = doctor(tmp_path, sandbox)

    assert ended.returncode == 0
    limits = (
        "75/s and 750/min for item-create, item-update, variant-create, variant-update; "
        "350/s and 3500/min for item-delete, variant-delete, category-create, category-update, category-delete"
    )
    assert masked(ended.stdout, sandbox, tmp_path).splitlines() == [
        "klaviyo-jobs doctor, NOW",
        "",
        "ok    setting    api_key is set, from SOURCES__KLAVIYO_JOBS__API_KEY in the environment",
        "ok    setting    base_url is http://SANDBOX, from SOURCES__KLAVIYO_JOBS__BASE_URL in the environment",
        "ok    setting    revision is RECENT, from SOURCES__KLAVIYO_JOBS__REVISION in the environment",
        "ok    setting    by default: kinds those of catalogs, include categories, OTHERS, which --json shows",
        "ok    api        default: http://SANDBOX answers for all 9 kinds",
        "ok    key        default: the key is accepted",
        "ok    scope      default: catalogs:read, for all 9 kinds",
        f"ok    limits     default: {limits}",
        "ok    revision   RECENT is stable until A-YEAR-LATER",
        "ok    clock      this machine's clock agrees with Klaviyo's",
        "ok    warehouse  /folder/warehouse.duckdb does not exist yet; a run can make it",
        "ok    memory     the command keeps to 512 MB; the database takes up to 256 MB of them, and writes what does not "
        "fit to /folder/warehouse.duckdb.tmp",
        "ok    lock       no run holds the warehouse",
        "ok    disk       SPACE free in /folder",
        "ok    versions   VERSIONS",
        "",
        "15 ok, 0 warnings, 0 failed.",
    ]
    assert list(tmp_path.glob("*")) == []


def test_one_small_get_for_each_account_and_kind(sandbox: Sandbox, tmp_path: Path) -> None:
    """Only jobs that wait are asked for, and only their status."""
    second = sandbox.add_account("second").key

    doctor(tmp_path, sandbox, api_key="", accounts__first=sandbox.key, accounts__second=second)

    asked = sorted((request.account or "", request.kind or "") for request in sandbox.requests)
    assert asked == sorted((account, kind) for account in ("default", "second") for kind in DEFAULT_KINDS)
    assert {request.method for request in sandbox.requests} == {"GET"}
    assert [request.query for request in sandbox.requests] == [
        {"filter": 'equals(status,"queued")', f"fields[{KINDS[request.kind or ''].job_type}]": "status"}
        for request in sandbox.requests
    ]


def test_lines_fit_the_terminal_and_a_mail(sandbox: Sandbox, tmp_path: Path) -> None:
    """80 columns: long lines go on below, under what they say."""
    ended = doctor(tmp_path, sandbox, "--warehouse", "w.duckdb", columns="80", kinds='["item-create"]')

    lines = masked(ended.stdout, sandbox, tmp_path).splitlines()
    assert [line for line in ended.stdout.splitlines() if len(line) > 80 and " " in line.strip()[17:]] == []
    assert lines[2:4] == [
        "ok    setting    api_key is set, from SOURCES__KLAVIYO_JOBS__API_KEY in the",
        "                 environment",
    ]


def test_json_is_one_object_with_stable_keys(sandbox: Sandbox, tmp_path: Path) -> None:
    """Checks, settings with their origin, calls and versions, each with the same members every time."""
    ended = doctor(tmp_path, sandbox, "--json", kinds='["item-create"]')

    assert ended.returncode == 0
    diagnosis = json.loads(ended.stdout)
    assert pendulum.parse(diagnosis.pop("checked_at"))
    assert diagnosis.pop("window").keys() == {"since_utc", "until_utc"}
    assert diagnosis.pop("versions").keys() == {"klaviyo-jobs", "dlt", "duckdb", "pyarrow", "python"}
    checks = diagnosis.pop("checks")
    assert [check["name"] for check in checks] == [
        *["setting"] * 5,
        *["api", "key", "scope", "limits", "revision", "clock", "warehouse", "memory", "lock", "disk", "versions"],
    ]
    assert checks[6] == {
        "name": "key",
        "state": "ok",
        "account": "default",
        "message": "the key is accepted",
        "next_step": None,
        "exit_code": 0,
    }
    origins = {origin.pop("name"): origin for origin in diagnosis.pop("settings")}
    assert origins["api_key"] == {
        "value": None,
        "is_secret": True,
        "source": "environment",
        "location": "SOURCES__KLAVIYO_JOBS__API_KEY",
    }
    assert origins["include"] == {"value": None, "is_secret": False, "source": "default", "location": None}
    [call] = diagnosis.pop("calls")
    assert abs(call.pop("clock_skew_seconds")) < 2
    assert call == {
        "account": "default",
        "job_kind": "item-create",
        "is_answered": True,
        "error": None,
        "burst_limit": 75,
        "steady_limit": 750,
        "media_type": "application/vnd.api+json",
        "revision": None,
    }
    assert diagnosis == {"exit_code": 0, "ok_count": 16, "warn_count": 0, "fail_count": 0}


# Where settings come from.


def test_each_setting_names_its_place(sandbox: Sandbox, tmp_path: Path) -> None:
    """Both files, the environment and the option; a key shows that it is set, and no more."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text(
        f'[sources.klaviyo_jobs.accounts]\nshop_eu = "{sandbox.key}"\nshop_us = "{sandbox.key}"\n'
    )
    (tmp_path / ".dlt" / "config.toml").write_text("[sources.klaviyo_jobs]\nmax_wait_seconds = 5\n")

    ended = doctor(tmp_path, sandbox, *("--json", "--warehouse", "w.duckdb"), api_key="", accounts__shop_uk=sandbox.key)

    origins = [
        (origin["name"], origin["value"], origin["source"], origin["location"])
        for origin in json.loads(ended.stdout)["settings"]
        if origin["source"] != "default"
    ]
    prefix = "SOURCES__KLAVIYO_JOBS__"
    assert origins == [
        ("accounts.shop_eu", None, "secrets.toml", ".dlt/secrets.toml"),
        ("accounts.shop_us", None, "secrets.toml", ".dlt/secrets.toml"),
        ("accounts.shop_uk", None, "environment", f"{prefix}ACCOUNTS__SHOP_UK"),
        ("base_url", sandbox.base_url, "environment", f"{prefix}BASE_URL"),
        ("revision", RECENT, "environment", f"{prefix}REVISION"),
        ("warehouse", "w.duckdb", "option", "--warehouse"),
        ("max_wait_seconds", 5.0, "config.toml", ".dlt/config.toml"),
    ]


def test_a_variable_meant_for_another_program_is_a_warning(sandbox: Sandbox, tmp_path: Path) -> None:
    """dlt also takes a setting from a variable without any section, such as KINDS."""
    ended = command(tmp_path, "doctor", "--json", KINDS='["item-create"]', **settings(sandbox, revision=RECENT))

    assert ended.returncode == 0
    assert found(ended, "setting")[3] == (
        "warn",
        "kinds is item-create, from KINDS in the environment, a name that may be meant for another program",
        "unset KINDS, or rename it to SOURCES__KLAVIYO_JOBS__KINDS.",
    )


def test_several_settings_that_cannot_be_used_are_all_named(sandbox: Sandbox, tmp_path: Path) -> None:
    """Exit code 2; the API is left alone, the rest is still looked at; credentials in an address are not shown."""
    ended = doctor(
        tmp_path,
        sandbox,
        "--json",
        api_key="",
        base_url="http://me:hidden@shop.example",
        revision="2026-13-01",
        include='["users"]',
        reporting_timezone="Mars/Olympus",
    )

    assert ended.returncode == 2
    assert sandbox.requests == []
    assert "hidden" not in ended.stdout
    assert [message for state, message, _ in found(ended, "setting") if state == "fail"] == [
        "no API key. Looked at SOURCES__KLAVIYO_JOBS__API_KEY, SOURCES__KLAVIYO_JOBS__ACCOUNTS__<LABEL>, "
        "then .dlt/secrets.toml (no such file).",
        "base_url 'http://***@shop.example' is not an http(s) address.",
        "revision '2026-13-01' is not a date like 2026-07-15.",
        "unknown relationship 'users' in `include`.",
        "reporting_timezone 'Mars/Olympus' is not a time zone.",
    ]
    assert [state for state, _, _ in found(ended, "warehouse", "disk")] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("name", "value", "message", "next_step"),
    [
        (
            "kinds",
            '["item-create"',
            "is '[\"item-create\"', which is no list of names.",
            "write e.g. item-create,category-create",
        ),
        (
            "accounts",
            "pk_mine",
            "cannot be read as a table of labels and keys.",
            'write e.g. SOURCES__KLAVIYO_JOBS__ACCOUNTS={"shop_eu": "..."}',
        ),
        (
            "max_pages",
            "many",
            "is 'many', which cannot be read as a whole number.",
            "write e.g. SOURCES__KLAVIYO_JOBS__MAX_PAGES=20",
        ),
        (
            "max_failed_share",
            "-1",
            "is '-1', which is not a share from 0 to 1, or from 0% to 100%.",
            "write e.g. 0.05, or remove it: the default is 0.1.",
        ),
        (
            "max_attempts",
            "0",
            "is 0, which is not a number from 1 up.",
            "write e.g. 8, or remove it: the default is 8.",
        ),
    ],
)
def test_a_value_of_the_wrong_type(
    sandbox: Sandbox, tmp_path: Path, name: str, value: str, message: str, next_step: str
) -> None:
    """The variable, what stands there unless it may be a key, and an example: exit code 2."""
    ended = doctor(tmp_path, sandbox, "--json", **{name: value})

    assert ended.returncode == 2
    assert found(ended, "setting") == [("fail", f"SOURCES__KLAVIYO_JOBS__{name.upper()} {message}", next_step)]


def test_a_file_that_is_no_toml(sandbox: Sandbox, tmp_path: Path) -> None:
    """The file and the place in it are named, what stands there is not: exit code 2."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text(f'[sources.klaviyo_jobs]\napi_key = "{sandbox.key}\n')

    ended = doctor(tmp_path, sandbox, "--json", api_key="")

    assert ended.returncode == 2
    [(state, message, _)] = found(ended, "setting")
    assert state == "fail"
    assert re.search(r"secrets\.toml.* at line 2 col \d+\.$", message)


# The key and the API.


def test_a_wrong_key(sandbox: Sandbox, tmp_path: Path) -> None:
    """401: exit code 3, and the place to put the right one; nothing is said of its scope."""
    ended = doctor(tmp_path, sandbox, "--json", api_key="pk_wrong")

    assert ended.returncode == 3
    assert found(ended, "api", "key", "scope") == [
        ("ok", f"{sandbox.base_url} answers for all 9 kinds", None),
        (
            "fail",
            "Klaviyo refused the key of account 'default' (401: Incorrect authentication credentials.).",
            "copy the private key again from Klaviyo (Settings, API keys) to SOURCES__KLAVIYO_JOBS__API_KEY.",
        ),
    ]


def test_a_key_without_the_scope(sandbox: Sandbox, tmp_path: Path) -> None:
    """403: the key is accepted, the scope is missing; the other account is not affected; exit code 3."""
    second = sandbox.add_account("second", scopes=()).key

    ended = doctor(tmp_path, sandbox, "--json", api_key="", accounts__first=sandbox.key, accounts__second=second)

    assert ended.returncode == 3
    assert [
        (state, message.split(".")[0], next_step) for state, message, next_step in found(ended, "key", "scope")
    ] == [
        ("ok", "the key is accepted", None),
        ("ok", "catalogs:read, for all 9 kinds", None),
        ("ok", "the key is accepted", None),
        (
            "fail",
            "the scope catalogs:read is missing",
            "make a private key with read access to Catalogs (Settings, API keys) and put it in "
            "SOURCES__KLAVIYO_JOBS__ACCOUNTS__SECOND.",
        ),
    ]


def test_one_account_of_several(sandbox: Sandbox, tmp_path: Path) -> None:
    """`--account` leaves the others alone."""
    second = sandbox.add_account("second", scopes=()).key
    accounts = {"api_key": "", "accounts__first": sandbox.key, "accounts__second": second}

    ended = doctor(tmp_path, sandbox, "--account", "first", **accounts)

    assert ended.returncode == 0
    assert {request.account for request in sandbox.requests} == {"default"}


def test_kinds_that_fail_are_named_with_their_reason(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each reason once, with its kinds; two attempts, and exit code 4."""
    sandbox.faults.append(Fault("status", "503", kind="item-create"))
    sandbox.faults.append(Fault("status", "503", kind="item-update"))
    sandbox.faults.append(Fault("429", "huge", kind="item-delete"))

    ended = doctor(tmp_path, sandbox, "--json", kinds='["item-create", "item-update", "item-delete", "variant-create"]')

    assert ended.returncode == 4
    assert [
        (state, message.replace(sandbox.base_url, "API")) for state, message, _ in found(ended, "api", "scope")
    ] == [
        ("ok", "API answers for variant-create"),
        ("fail", "item-create, item-update: API answered 503: A server error occurred.; gave up after 2 attempts."),
        (
            "fail",
            "item-delete: API answered 429: Request was throttled. Expected available in 1 second.; it asks to wait "
            "86400 s, longer than max_wait_seconds (60).",
        ),
        ("ok", "catalogs:read, for variant-create"),
    ]


def test_an_api_that_cannot_be_reached(sandbox: Sandbox, tmp_path: Path) -> None:
    """One line for all kinds, nothing said of the key, and exit code 4."""
    sandbox.stop()

    ended = doctor(tmp_path, sandbox, "--json")

    assert ended.returncode == 4
    [(state, message, _)] = found(ended, "api", "key", "scope", "limits", "clock")
    assert state == "fail"
    assert re.fullmatch(rf"all 9 kinds: {sandbox.base_url} gave no answer \(.*refused\); gave up after 2 .*", message)


# Revision, clock, limits.


def test_a_revision_past_its_first_year(sandbox: Sandbox, tmp_path: Path) -> None:
    """Deprecated: a warning, which ends with 0."""
    released = TODAY.subtract(years=1)

    ended = doctor(tmp_path, sandbox, "--json", revision=str(released))

    assert ended.returncode == 0
    assert found(ended, "revision") == [
        (
            "warn",
            f"{released} is deprecated since {released.add(years=1)}, and retired from {released.add(years=2)} on",
            "set `revision` to 2026-07-15, or remove the setting.",
        )
    ]


def test_a_retired_revision(sandbox: Sandbox, tmp_path: Path) -> None:
    """Klaviyo serves another in its place, as the media type shows: exit code 2."""
    ended = doctor(tmp_path, sandbox, "--json", revision="2023-12-15")

    assert ended.returncode == 2
    assert found(ended, "revision") == [
        (
            "fail",
            "2023-12-15 is retired since 2025-12-15; Klaviyo answers in the shape of 2024-10-15 or later",
            "set `revision` to 2026-07-15, or remove the setting.",
        )
    ]


def test_a_retired_revision_that_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    """410 after opting out of falling forward: the same, and the API counts as answering."""
    ended = doctor(tmp_path, sandbox, "--json", revision="2023-12-15", fall_forward_opt_out="true")

    assert ended.returncode == 2
    assert [(state, message) for state, message, _ in found(ended, "api", "revision")] == [
        ("ok", f"{sandbox.base_url} answers for all 9 kinds"),
        ("fail", "2023-12-15 is retired since 2025-12-15"),
    ]


def test_a_revision_in_the_future(sandbox: Sandbox, tmp_path: Path) -> None:
    """Exit code 2."""
    tomorrow = pendulum.now("UTC").add(days=2).date()

    ended = doctor(tmp_path, sandbox, "--json", revision=str(tomorrow))

    assert ended.returncode == 2
    assert [(state, message) for state, message, _ in found(ended, "revision")] == [
        ("fail", f"{tomorrow} is in the future")
    ]


@contextmanager
def served(**headers: str) -> Iterator[str]:
    """A server that answers every GET with an empty listing, *headers* and none of its own; its address."""

    class Listing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"data": []}'
            self.send_response_only(200)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Listing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_clock_that_is_off(sandbox: Sandbox, tmp_path: Path) -> None:
    """The `Date` of an answer two hours from now: a warning; a revision is as old as that clock says."""
    ahead = pendulum.now("UTC").add(hours=2)
    with served(Date=ahead.format("ddd, DD MMM YYYY HH:mm:ss [GMT]")) as base_url:
        ended = doctor(tmp_path, sandbox, "--json", base_url=base_url, revision=str(ahead.date()))

    assert ended.returncode == 0
    [revision, (state, message, next_step)] = found(ended, "revision", "clock")
    assert revision[0] == "ok"
    assert re.fullmatch(r"this machine's clock is 7,(1[789]|20)\d s behind Klaviyo's", message)
    assert (state, next_step) == ("warn", "set it, e.g. by NTP: observations are dated by it.")


def test_an_api_that_announces_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without `RateLimit-Limit` and `Date` the limits taken are named, and the clock is not judged."""
    with served() as base_url:
        ended = doctor(tmp_path, sandbox, "--json", base_url=base_url, kinds='["item-create", "item-delete"]')

    assert ended.returncode == 0
    assert found(ended, "limits", "clock") == [
        ("ok", "none announced for all 2 kinds, taken to be 75/s, 750/min and 350/s, 3500/min", None)
    ]


def test_a_header_that_names_the_served_revision(sandbox: Sandbox, tmp_path: Path) -> None:
    """The undocumented `x-klaviyo-api-revision` is shown when a retired revision is asked for."""
    with served(x_klaviyo_api_revision="2025-01-15") as base_url:
        ended = doctor(tmp_path, sandbox, "--json", base_url=base_url, revision="2023-12-15")

    assert [message for _, message, _ in found(ended, "revision")] == [
        "2023-12-15 is retired since 2025-12-15; the answers name 2025-01-15 (x-klaviyo-api-revision)"
    ]


# The machine.


def test_a_warehouse_is_opened_and_left_as_it_is(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, tmp_path: Path
) -> None:
    """No byte and no time of the file changes."""
    load(kinds=["item-create"])
    before = warehouse.path.read_bytes(), warehouse.path.stat().st_mtime_ns, sorted(tmp_path.iterdir())

    ended = doctor(tmp_path, sandbox, "--json")

    assert ended.returncode == 0
    assert (warehouse.path.read_bytes(), warehouse.path.stat().st_mtime_ns, sorted(tmp_path.iterdir())) == before
    [(_, message, _)] = found(ended, "warehouse")
    assert re.fullmatch(rf"{warehouse.path} can be written; [\d.]+ [KM]iB", message)


def test_a_warehouse_that_someone_has_open(sandbox: Sandbox, tmp_path: Path) -> None:
    """A run would fail now: exit code 7."""
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")):
        ended = doctor(tmp_path, sandbox, "--json")

    assert ended.returncode == 7
    [(state, message, next_step)] = found(ended, "warehouse")
    assert state == "fail"
    assert message.startswith(f"the warehouse {tmp_path}/warehouse.duckdb is open in ")
    assert next_step == "close it there and run again; let readers open a copy instead: set `bi_copy` to its path."


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing/w.duckdb", "the folder of the warehouse FOLDER/missing/w.duckdb does not exist."),
        (
            "klaviyo.duckdb",
            "a DuckDB file cannot be called 'klaviyo.duckdb': klaviyo.jobs would mean two things in it.",
        ),
        ("/proc/w.duckdb", "the warehouse /proc/w.duckdb cannot be made: "),
        (".", "the warehouse FOLDER is a folder, not a file."),
    ],
)
def test_a_place_where_no_warehouse_can_be(sandbox: Sandbox, tmp_path: Path, path: str, message: str) -> None:
    """What a run would say, without a file made: exit code 7."""
    ended = doctor(tmp_path, sandbox, "--json", "--warehouse", path)

    assert ended.returncode == 7
    [(state, said, _)] = found(ended, "warehouse")
    assert state == "fail"
    assert said.replace(str(tmp_path), "FOLDER").startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(sandbox: Sandbox, tmp_path: Path) -> None:
    """A folder that cannot be written: exit code 7."""
    (tmp_path / "closed").mkdir(mode=0o500)

    ended = doctor(tmp_path, sandbox, "--json", "--warehouse", "closed/w.duckdb")

    assert ended.returncode == 7


def test_too_little_space_for_the_warehouse_again(sandbox: Sandbox, tmp_path: Path) -> None:
    """A file larger than what is free on its disk is a warning."""
    with (tmp_path / "w.duckdb").open("wb") as file:
        file.truncate(10 * 2**40)

    ended = doctor(tmp_path, sandbox, "--json", "--warehouse", "w.duckdb")

    [(state, message, next_step)] = found(ended, "disk")
    assert state == "warn"
    assert re.fullmatch(r".* GiB free in .*; 10,240\.0 GiB would be safe", message)
    assert next_step == "make room, or move the warehouse with --warehouse."


def test_a_version_that_klaviyo_jobs_is_not_made_for(sandbox: Sandbox, tmp_path: Path) -> None:
    """What the installed package asks for is compared with what is there."""
    folder = tmp_path / "site" / "klaviyo_jobs-9.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: klaviyo-jobs\nVersion: 9\nRequires-Dist: duckdb<1\n")

    ended = command(
        tmp_path, "doctor", "--json", PYTHONPATH=str(tmp_path / "site"), **settings(sandbox, revision=RECENT)
    )

    assert ended.returncode == 0
    [versions, warning] = found(ended, "versions")
    assert versions[1].startswith(f"klaviyo-jobs {__version__}, dlt 1.")
    assert warning == (
        "warn",
        f"duckdb {duckdb.__version__} is not what klaviyo-jobs is made for: <1",
        'python -m pip install "duckdb<1"',
    )


def test_the_first_failure_gives_the_exit_code(sandbox: Sandbox, tmp_path: Path) -> None:
    """A refused key stands above a missing folder; both are shown."""
    ended = doctor(tmp_path, sandbox, "--warehouse", "missing/w.duckdb", api_key="pk_wrong")

    assert ended.returncode == 3
    assert [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("FAIL")] == ["key", "warehouse"]
    assert ended.stdout.splitlines()[-1].endswith("0 warnings, 2 failed; exit code 3.")


def test_scopes_are_told_for_the_kinds_that_need_them(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each once, with what the key lacks and for which kinds; those that it may read are named too."""
    sandbox.accounts["default"].scopes = SCOPES - {"lists:read"}

    ended = doctor(tmp_path, sandbox, "--json", kinds="all")

    assert ended.returncode == 3
    told = [(state, message.partition(" (403")[0]) for state, message, _ in found(ended, "scope")]
    assert [message for state, message in told if state == "ok"] == [
        "catalogs:read, for item-create, item-update, item-delete, variant-create, variant-update, variant-delete, "
        "category-create, category-update, category-delete",
        "coupon-codes:read, for coupon-code-create",
        "subscriptions:read, for profile-suppress, profile-unsuppress",
    ]
    [(message, next_step)] = [(message, step) for state, message, step in found(ended, "scope") if state == "fail"]
    assert message.startswith("of the scopes profiles:read and lists:read one or more are missing. Klaviyo refused")
    assert " for profile-import: it needs the scopes profiles:read and lists:read." in message
    assert (next_step or "").startswith(
        "make a private key with read access to Profiles and Lists (Settings, API keys)"
    )
