"""A folder is set up: by answers on a terminal, or without one; and the key is nowhere but in its file."""

from __future__ import annotations

import os
import pty
import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from klaviyo_jobs.cli.init import CONFIG
from klaviyo_jobs.cli.schedule import crontab_line, systemd_service
from klaviyo_sandbox import Sandbox
from support.documents import ALL_SETTINGS
from support.processes import ENVIRONMENT, assert_failed, command
from support.tools import tool

KEY = "pk_a1b2c3d4e5f6"
SECRETS = ".dlt/secrets.toml"
# What Ctrl-D and Ctrl-C send.
END, INTERRUPT = "\x04", "\x03"


@pytest.fixture
def shop() -> Iterator[Sandbox]:
    """A shop with a week of jobs."""
    with Sandbox("demo", clock=datetime.now(UTC)) as sandbox:
        yield sandbox


def init(folder: Path, *words: str, given: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Set *folder* up without a terminal, with *given* on the standard input."""
    return subprocess.run(
        [sys.executable, "-m", "klaviyo_jobs", "init", *words],
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        input=given or "",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def secrets(folder: Path) -> dict[str, object]:
    """What the file of secrets says of us."""
    found: dict[str, object] = tomllib.loads((folder / ".dlt" / "secrets.toml").read_text())["sources"]["klaviyo_jobs"]
    return found


def contents(folder: Path) -> dict[str, bytes | None]:
    """What is in *folder*: of files what they hold."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


# Without a terminal.


def test_a_key_comes_in_by_the_standard_input(tmp_path: Path) -> None:
    """And goes into a file that only its owner may read, which git leaves alone; no other file has it, nor the output."""
    ended = init(tmp_path, "--key-file", "-", "--no-check", given=f"  {KEY}\n")
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}

    assert ended.returncode == 0, ended.stderr
    assert secrets(tmp_path) == {"api_key": KEY}
    assert stat.S_IMODE((tmp_path / ".dlt" / "secrets.toml").stat().st_mode) == 0o600
    assert (tmp_path / ".gitignore").read_text() == ".dlt/secrets.toml\n"
    assert files == {".dlt/secrets.toml", ".dlt/config.toml", ".gitignore"}
    assert [name for name in files - {".dlt/secrets.toml"} if KEY in (tmp_path / name).read_text()] == []
    assert KEY not in ended.stdout + ended.stderr


def test_without_a_key_and_anybody_to_ask_nothing_is_written(tmp_path: Path) -> None:
    """It says how to hand one over."""
    ended = init(tmp_path)

    assert_failed(
        ended, 2, "there is no key, and nobody to ask", data="nothing was written", next_step="--key-file PATH"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "given", "message"),
    [
        (("--key-file", "-", "--timezone", "Atlantis/Poseidonis"), KEY, "Atlantis/Poseidonis"),
        (("--key-file", "-"), "pk_one pk_two", "is more than one key"),
        (("--key-file", "missing.txt"), "", "cannot be read from missing.txt"),
    ],
    ids=["no such zone", "two keys", "no such file"],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    tmp_path: Path, words: tuple[str, ...], given: str, message: str
) -> None:
    """And is not shown where it may be a key."""
    ended = init(tmp_path, *words, given=given)

    assert (ended.returncode, message in ended.stderr) == (2, True)
    assert "pk_" not in ended.stdout + ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "message", "next_step"),
    [
        ({".gitignore": None}, "/.gitignore cannot be read: Is a directory.", "move away what is in its place"),
        ({".dlt": b""}, "/.dlt cannot be read: Not a directory.", "move away what is in its place"),
        ({SECRETS: None}, "/.dlt/secrets.toml cannot be read: Is a directory.", "move away what is in its place"),
        (
            {SECRETS: b"[sources.klaviyo_jobs]\napi_key = pk_old\n"},
            "/.dlt/secrets.toml, line 2 is no TOML, so that no key can be added to it.",
            "a key stands in quotes",
        ),
        (
            {SECRETS: b"# pk_old\xff\n"},
            "/.dlt/secrets.toml is not UTF-8, so that no key can be added to it.",
            "mend it there",
        ),
        (
            {SECRETS: b'sources = "pk_old"\n'},
            "SettingError: sources in .*/.dlt/secrets.toml is a value, where a section is expected.",
            r"make it a section there, \[sources\]",
        ),
        (
            {SECRETS: b"[sources]\nklaviyo_jobs = 3\n"},
            "SettingError: sources.klaviyo_jobs in .*/.dlt/secrets.toml is a value, where a section is expected.",
            r"make it a section there, \[sources.klaviyo_jobs\]",
        ),
    ],
    ids=["ignored folder", "no folder", "a folder", "no TOML", "no UTF-8", "no sources", "no section"],
)
def test_a_file_that_is_not_as_expected_stays_as_it_is(
    tmp_path: Path, files: dict[str, bytes | None], message: str, next_step: str
) -> None:
    """Nothing is written beside it, a key that git would take least of all; what stands in it is not shown."""
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if content is None else path.write_bytes(content)
    before = contents(tmp_path)

    assert_failed(
        init(tmp_path, "--key-file", "-", given=KEY),
        2,
        message,
        data="^  Data: nothing was written",
        next_step=next_step,
    )
    assert contents(tmp_path) == before


def test_a_folder_that_cannot_be_written_is_named() -> None:
    """Linux lets nobody write there, not even root."""
    assert_failed(
        init(Path("/proc"), "--key-file", "-", given=KEY),
        2,
        "^SettingError: /proc/.gitignore cannot be written: ",
        data="what was there before stays as it is",
        next_step="in a folder in which you may write",
    )


def test_git_ignores_the_secrets_beside_names_of_any_encoding(tmp_path: Path) -> None:
    """Which stay as they are."""
    (tmp_path / ".gitignore").write_bytes(b"caf\xe9\n")
    ended = init(tmp_path, "--key-file", "-", "--no-check", given=KEY)

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / ".gitignore").read_bytes() == b"caf\xe9\n.dlt/secrets.toml\n"


def test_a_time_zone_that_is_not_written_is_not_forgotten(tmp_path: Path) -> None:
    """It says how to set it where settings are already."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text("# mine\n")
    ended = init(tmp_path, "--key-file", "-", "--no-check", "--timezone", "Europe/Berlin", given=KEY)

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / ".dlt" / "config.toml").read_text() == "# mine\n"
    assert (
        ".dlt/config.toml: is there, and stays as it is: --timezone was not written; "
        'set reporting_timezone = "Europe/Berlin" there, in [sources.klaviyo_jobs]\n'
    ) in ended.stdout


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("SOURCES__KLAVIYO_JOBS__API_KEY", "init"),
        ("SOURCES__KLAVIYO_JOBS__ACCOUNTS__SHOP", "init --account LABEL"),
    ],
)
def test_a_schedule_that_would_have_no_key_is_printed_with_a_warning(tmp_path: Path, variable: str, words: str) -> None:
    """Right above it; a key with a label is one of the environment, too."""
    ended = init(tmp_path, "--no-check", **{variable: KEY})
    before, _, _ = ended.stdout.partition("\nRun it every quarter of an hour")

    assert ended.returncode == 0, ended.stderr
    assert f".dlt/secrets.toml: not written: the key comes from {variable}\n" in before
    assert " ".join(before.split()).endswith(
        "Neither cron nor systemd sees what a shell has exported, and the key is nowhere else. Before you use them, "
        f"unset {variable} and call `klaviyo-jobs {words}`, which keeps the key in .dlt/secrets.toml."
    )


def test_a_schedule_that_finds_the_key_is_printed_without_a_warning(tmp_path: Path) -> None:
    """The file has it."""
    ended = init(tmp_path, "--key-file", "-", "--no-check", given=KEY)

    assert "Neither cron nor systemd" not in ended.stdout


def test_the_key_of_the_environment_stays_there(tmp_path: Path) -> None:
    """It is not copied into a file."""
    ended = init(tmp_path, "--no-check", SOURCES__KLAVIYO_JOBS__API_KEY=KEY)

    assert ended.returncode == 0, ended.stderr
    assert not (tmp_path / ".dlt" / "secrets.toml").exists()
    assert KEY not in ended.stdout + ended.stderr


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """Neither key nor settings nor what else stands in the files; --force replaces the key, and nothing but it."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text("# mine\n")
    (tmp_path / ".dlt" / "secrets.toml").write_text(
        f'# of others\n[sources.other]\ntoken = "t"\n\n[sources.klaviyo_jobs]\napi_key = "{KEY}"  # the shop\n'
    )
    (tmp_path / ".gitignore").write_text("*.log")
    kept = init(tmp_path, "--key-file", "-", "--no-check", given="pk_other")
    before = secrets(tmp_path)
    replaced = init(tmp_path, "--key-file", "-", "--no-check", "--force", given="pk_other")

    assert (kept.returncode, replaced.returncode) == (0, 0)
    assert (before, secrets(tmp_path)) == ({"api_key": KEY}, {"api_key": "pk_other"})
    assert (tmp_path / ".dlt" / "secrets.toml").read_text().startswith('# of others\n[sources.other]\ntoken = "t"\n')
    assert (tmp_path / ".dlt" / "config.toml").read_text() == "# mine\n"
    assert (tmp_path / ".gitignore").read_text() == "*.log\n.dlt/secrets.toml\n"
    assert stat.S_IMODE((tmp_path / ".dlt" / "secrets.toml").stat().st_mode) == 0o600


def test_several_accounts_have_labels(tmp_path: Path) -> None:
    """One after the other; a key without a label beside them is refused, as a run would refuse it."""
    for label in ("Shop_EU", "shop_us"):
        ended = init(tmp_path, "--account", label, "--key-file", "-", "--no-check", given=f"pk_{label}")
        assert ended.returncode == 0, ended.stderr
    found = secrets(tmp_path)
    (tmp_path / ".dlt" / "secrets.toml").write_text('[sources.klaviyo_jobs]\napi_key = "pk_one"\n')

    assert found == {"accounts": {"shop_eu": "pk_Shop_EU", "shop_us": "pk_shop_us"}}
    assert_failed(
        init(tmp_path, "--account", "us", "--key-file", "-", given="pk_us"),
        2,
        "has a key without a label",
        data="nothing was written",
        next_step="under a label",
    )


def test_the_key_is_tried_and_a_first_run_is_made(shop: Sandbox, tmp_path: Path) -> None:
    """By the commands that the user has from then on, with the settings that were written."""
    base_url = {"SOURCES__KLAVIYO_JOBS__BASE_URL": shop.base_url}
    ended = init(tmp_path, "--key-file", "-", "--run", given=shop.key, **base_url)
    again = command(tmp_path, "report", **base_url)

    assert ended.returncode == 0, ended.stderr
    assert "ok    api" in ended.stdout
    assert (tmp_path / "warehouse.duckdb").exists()
    assert again.stdout.startswith("ok    all ")


def test_a_key_that_is_refused_ends_as_the_doctor_does(shop: Sandbox, tmp_path: Path) -> None:
    """Nothing is run, and the files stay for the next try."""
    base_url = {"SOURCES__KLAVIYO_JOBS__BASE_URL": shop.base_url}
    ended = init(tmp_path, "--key-file", "-", "--run", given="pk_wrong", **base_url)

    assert ended.returncode == 3
    assert not (tmp_path / "warehouse.duckdb").exists()
    assert "pk_wrong" not in ended.stdout + ended.stderr


# On a terminal.


def driven(folder: Path, answers: list[tuple[str, str]], **environment: str) -> tuple[str, int]:
    """Answer each question on a terminal when it is asked; return all that was shown, and the exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(  # noqa: S606 - a terminal of its own
            sys.executable,
            [sys.executable, "-m", "klaviyo_jobs", "init"],
            {**ENVIRONMENT, "TERM": "xterm", **environment},
        )
    shown = ""
    for question, answer in answers:
        asked_after = len(shown)
        while question not in shown[asked_after:]:
            shown += os.read(terminal, 4096).decode()
        os.write(terminal, (answer if answer in (END, INTERRUPT) else f"{answer}\n").encode())
    with suppress(OSError):  # the end of a terminal whose programs have ended
        while more := os.read(terminal, 4096):
            shown += more.decode(errors="replace")
    os.close(terminal)
    return shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_on_a_terminal_it_asks_for_what_is_missing(shop: Sandbox, tmp_path: Path) -> None:
    """The key, unseen, again if it is none; the time zone, again if there is no such; and whether to run."""
    # With the blank: what is typed before it is thrown away.
    answers = [("Key: ", "pk_one pk_two"), ("Key: ", shop.key)]
    answers += [
        ("Time zone of your reports [UTC]:", "Nowhere"),
        ("Time zone", "Europe/Berlin"),
        ("Run once now? [Y/n]:", "y"),
    ]
    shown, exit_code = driven(tmp_path, answers, SOURCES__KLAVIYO_JOBS__BASE_URL=shop.base_url)

    assert exit_code == 0, shown
    assert secrets(tmp_path) == {"api_key": shop.key}
    assert 'reporting_timezone = "Europe/Berlin"' in (tmp_path / ".dlt" / "config.toml").read_text()
    assert (tmp_path / "warehouse.duckdb").exists()
    assert (shop.key in shown, "pk_one" in shown) == (False, False)
    assert f"*/15 * * * * cd {tmp_path} && " in shown


def test_on_a_terminal_a_key_is_replaced_only_if_that_is_wanted(shop: Sandbox, tmp_path: Path) -> None:
    """The answer that replaces nothing is the one that return gives."""
    init(tmp_path, "--key-file", "-", "--no-check", given=KEY)
    environment = {"SOURCES__KLAVIYO_JOBS__BASE_URL": shop.base_url}
    shown, _ = driven(tmp_path, [("Replace it? [y/N]:", "")], **environment)

    assert secrets(tmp_path) == {"api_key": KEY}
    assert "has a key, which stays as it is" in shown


def test_on_a_terminal_the_end_of_the_input_is_no_key(tmp_path: Path) -> None:
    """Nothing is written."""
    shown, exit_code = driven(tmp_path, [("Key: ", END)])

    assert exit_code == 2, shown
    assert "SettingError: no key was given: the input ended.\r\n  Data: nothing was written.\r\n" in shown
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_the_end_of_the_input_is_the_answer_that_does_least(shop: Sandbox, tmp_path: Path) -> None:
    """No key is replaced, the zone is UTC, nothing is run; and the schedule is printed."""
    environment = {"SOURCES__KLAVIYO_JOBS__BASE_URL": shop.base_url}
    init(tmp_path, "--key-file", "-", "--no-check", given=shop.key)
    (tmp_path / ".dlt" / "config.toml").unlink()
    answers = [("Replace it? [y/N]:", END), ("Time zone of your reports [UTC]:", END), ("Run once now? [Y/n]:", END)]
    shown, exit_code = driven(tmp_path, answers, **environment)

    assert exit_code == 0, shown
    assert secrets(tmp_path) == {"api_key": shop.key}
    assert 'reporting_timezone = "UTC"' in (tmp_path / ".dlt" / "config.toml").read_text()
    assert not (tmp_path / "warehouse.duckdb").exists()
    assert f"*/15 * * * * cd {tmp_path} && " in shown


def test_on_a_terminal_an_interrupt_is_no_answer(tmp_path: Path) -> None:
    """Ctrl-C ends it as it ends any command."""
    shown, exit_code = driven(tmp_path, [("Key: ", INTERRUPT)])

    assert exit_code == 130, shown
    assert list(tmp_path.iterdir()) == []


# What it writes and prints.


def test_the_settings_that_it_writes_are_real(shop: Sandbox, tmp_path: Path) -> None:
    """Each line that is commented out is a setting, in a form that is read; so is the file with all of them in it."""
    config = CONFIG.format(timezone="UTC")
    every = re.sub(r"^# (?=\w+ = )", "", config, flags=re.MULTILINE).replace('report_page = "page.html"\n', "")
    named = set(tomllib.loads(every)["sources"]["klaviyo_jobs"])
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text(every)
    ended = command(tmp_path, "doctor", "--json", SOURCES__KLAVIYO_JOBS__BASE_URL=shop.base_url)

    assert named - set(ALL_SETTINGS) == set()
    assert len(named) >= 7
    assert '"name": "stuck_after_seconds", "value": 21600' in ended.stdout
    assert "Traceback" not in ended.stderr


def test_a_folder_with_odd_characters_is_written_so_that_it_is_found() -> None:
    """To cron a % is a line end, to systemd the beginning of a specifier."""
    folder = Path("/srv/100% my shop")

    assert crontab_line(["/opt/klaviyo-jobs"], folder) == (
        "*/15 * * * * cd '/srv/100\\% my shop' && /opt/klaviyo-jobs run >> run.log 2>&1"
    )
    unit = systemd_service(["/opt/100% $my/klaviyo-jobs"], folder)
    assert "WorkingDirectory=/srv/100%% my shop\n" in unit
    assert 'ExecStart=:"/opt/100%% $my/klaviyo-jobs" run\n' in unit
    assert 'ReadWritePaths="/srv/100%% my shop"\n' in unit


@pytest.mark.parametrize("name", ["shop", "100% my shop", 'Anna\'s "shop"', "$HOME"])
def test_systemd_takes_the_service_of_a_folder_with_odd_characters(tmp_path: Path, name: str) -> None:
    """With the program in that folder, as in an environment of its own."""
    program = tmp_path / name / "klaviyo-jobs"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "klaviyo-jobs.service"
    unit.write_text(systemd_service([str(program)], program.parent))
    ended = subprocess.run(
        [tool("systemd-analyze"), "verify", unit], capture_output=True, text=True, timeout=60, check=False
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
