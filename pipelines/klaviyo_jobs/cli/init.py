"""
Set a folder up: the key, the settings, a try, and what runs it from now on.

In:     answers of whoever sits at the terminal, or options where nobody does.
Out:    `.dlt/secrets.toml`, which only its owner may read, `.dlt/config.toml`, and a line in `.gitignore`.
Never:  a key in an option, which the history of the shell and the list of processes would show; nothing is
        overwritten unasked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from klaviyo_jobs.cli.console import out, print_json
from klaviyo_jobs.cli.options import JsonOption
from klaviyo_jobs.cli.schedule import crontab_line, systemd_service, systemd_timer
from klaviyo_jobs.errors import SettingError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

_FOLDER: Final = Path(".dlt")
_SECRETS: Final = _FOLDER / "secrets.toml"
_CONFIG: Final = _FOLDER / "config.toml"
_IGNORE: Final = Path(".gitignore")
_VARIABLE: Final = "SOURCES__KLAVIYO_JOBS__API_KEY"

# The settings that people look for first, each with the line above it. docs/settings.md has them all.
CONFIG: Final = """\
# Settings of klaviyo-jobs: https://dlthub.com/docs/general-usage/credentials tells where else they may stand.
# A line that begins with # is the default, and an example of how to write it.

[runtime]
dlthub_telemetry = false

[sources.klaviyo_jobs]
# Which bulk jobs to read: the nine kinds of catalogs, or others by name or pattern, or "all".
# kinds = ["item-create", "category-*"]

# The zone whose midnights bound a day in the daily views.
reporting_timezone = "{timezone}"

# The warehouse. Postgres and DuckLake: destination = "postgres", and credentials in secrets.toml.
# warehouse = "warehouse.duckdb"

# A read-only copy for BI tools, published by every run.
# bi_copy = "bi.duckdb"

# A page for the browser, written by every run; needs: pip install "klaviyo-jobs[report]"
# report_page = "page.html"

# What `klaviyo-jobs check` finds too much: failed operations of a kind, and the age of what was read last.
# max_failed_share = "10%"
# max_listing_age_seconds = "26h"

# From when on an unfinished job is stuck.
# stuck_after_seconds = "6h"
"""


def init_command(
    account: Annotated[
        str | None,
        typer.Option("--account", metavar="LABEL", help="A label for the account, if there are to be several."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file", metavar="PATH", help="Read the key from a file; - reads it from the standard input."
        ),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", metavar="NAME", help="The zone whose days are reported, e.g. Europe/Berlin."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a key that is there already, unasked.")] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Try the key: what `doctor` does.")] = True,
    run: Annotated[
        bool | None,
        typer.Option(
            "--run/--no-run", help="Run once at the end.  \\[default: ask; no without a terminal]", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Set this folder up: the key, the settings, a try, and the lines that run it from now on."""
    from klaviyo_jobs.model.days import zone_of

    is_asking = sys.stdin.isatty() and not as_json
    done: dict[str, Any] = {"folder": str(Path.cwd())}
    # Before anything is written.
    zone_of(timezone or "UTC")
    done["secrets"] = _keep_key(account, key_file, force=force, is_asking=is_asking)
    done["gitignore"] = _ignore_secrets()
    done["config"] = _keep_config(timezone, is_asking=is_asking)
    program = _program()
    done["crontab"] = crontab_line(program, Path.cwd())
    done["systemd"] = {
        "klaviyo-jobs.service": systemd_service(program, Path.cwd()),
        "klaviyo-jobs.timer": systemd_timer(),
    }
    if not as_json:
        for name, path in (("secrets", _SECRETS), ("config", _CONFIG), ("gitignore", _IGNORE)):
            out.print(f"{path}: {done[name]}", highlight=False)
    exit_code = _call("doctor", is_shown=not as_json) if check else 0
    if exit_code == 0 and (typer.confirm("Run once now?", default=True) if run is None and is_asking else run):
        exit_code = _call("run", is_shown=not as_json)
    if as_json:
        print_json({**done, "exit_code": exit_code}, since=None)
    else:
        _print_schedule(done)
    raise typer.Exit(exit_code)


def _program() -> list[str]:
    """Return how the command is called from anywhere: by the one of this environment, or by the module's name."""
    beside = Path(sys.executable).with_name("klaviyo-jobs")
    found = str(beside) if beside.exists() else shutil.which("klaviyo-jobs")
    return [found] if found else [sys.executable, "-m", "klaviyo_jobs"]


def _keep_key(account: str | None, key_file: Path | None, *, force: bool, is_asking: bool) -> str:
    """Put the key into the file of secrets; return in words what was done."""
    import tomlkit

    from klaviyo_jobs.files import write_whole

    document = tomlkit.parse(_SECRETS.read_text(encoding="utf-8")) if _SECRETS.exists() else tomlkit.document()
    section = _section_of(document)
    label = account.lower() if account else None
    if label is None and "accounts" in section and "api_key" not in section:
        label = next(iter(section["accounts"]), None)
    holder: Any = section if label is None else section.setdefault("accounts", tomlkit.table())
    name = label or "api_key"
    if label is not None and "api_key" in section:
        raise SettingError(
            f"{_SECRETS} has a key without a label; keys with labels beside it are refused.",
            data="nothing was written.",
            next_step=f"move it there under a label: [sources.klaviyo_jobs.accounts], default = ..., then {label}.",
        )
    if name in holder and not force:
        replaces = is_asking and typer.confirm(f"{_SECRETS} has a key for {label or 'this account'}. Replace it?")
        if not replaces:
            _SECRETS.chmod(0o600)
            return "has a key, which stays as it is"
    key = _read_key(label, key_file, is_asking=is_asking)
    if key is None:
        return f"not written: the key comes from {_VARIABLE}"
    holder[name] = key
    _FOLDER.mkdir(mode=0o700, exist_ok=True)
    write_whole(_SECRETS, tomlkit.dumps(document).encode(), mode=0o600)
    return "written; only you may read it"


def _section_of(document: TOMLDocument) -> Any:
    import tomlkit

    sources = document.setdefault("sources", tomlkit.table(is_super_table=True))
    return sources.setdefault("klaviyo_jobs", tomlkit.table())


def _read_key(label: str | None, key_file: Path | None, *, is_asking: bool) -> str | None:
    """Return the key that a file, the standard input or a person gives; None if the environment has it."""
    from klaviyo_jobs.keys import key_of

    name = label or "default"
    if key_file is not None:
        try:
            text = sys.stdin.read() if str(key_file) == "-" else key_file.expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(
                f"the key cannot be read from {key_file}: {getattr(error, 'strerror', None) or 'it is no text'}.",
                data="nothing was written.",
                next_step="name a file that holds nothing but the key.",
            ) from error
        return key_of(name, text).reveal()
    if os.environ.get(_VARIABLE) and label is None:
        return None
    if not is_asking:
        raise SettingError(
            f"there is no key, and nobody to ask: no terminal, no --key-file, and {_VARIABLE} is not set.",
            data="nothing was written.",
            next_step="hand it over: klaviyo-jobs init --key-file PATH, or - to read it from the standard input.",
        )
    out.print(
        "Make a private API key in Klaviyo: Settings, API keys, Create Private API Key, a custom key with read access "
        "to Catalogs. It is not shown while you paste it.",
        highlight=False,
    )
    while True:
        try:
            return key_of(name, typer.prompt("Key", hide_input=True, default="", show_default=False)).reveal()
        except SettingError as error:
            out.print(f"{error.message} {error.next_step}", style="yellow", highlight=False, markup=False)


def _keep_config(timezone: str | None, *, is_asking: bool) -> str:
    """Write the file of settings, unless there is one; return in words what was done."""
    from klaviyo_jobs.files import write_whole
    from klaviyo_jobs.model.days import zone_of

    if _CONFIG.exists():
        return "is there, and stays as it is"
    while timezone is None and is_asking:
        asked = typer.prompt("Time zone of your reports", default="UTC")
        try:
            zone_of(asked)
            timezone = asked
        except SettingError as error:
            out.print(f"{error.message} {error.next_step}", style="yellow", highlight=False, markup=False)
    _FOLDER.mkdir(mode=0o700, exist_ok=True)
    write_whole(_CONFIG, CONFIG.format(timezone=timezone or "UTC").encode())
    return "written; every line of it is explained there"


def _ignore_secrets() -> str:
    """Let git not take the file of secrets; return in words what was done."""
    from klaviyo_jobs.files import write_whole

    before = _IGNORE.read_text(encoding="utf-8") if _IGNORE.exists() else ""
    if any(line.strip() in (str(_SECRETS), f"/{_SECRETS}", ".dlt", ".dlt/", "/.dlt/") for line in before.splitlines()):
        return "has the secrets already"
    joint = "" if before.endswith("\n") or not before else "\n"
    write_whole(_IGNORE, f"{before}{joint}{_SECRETS}\n".encode())
    return "the secrets are in it"


def _call(command: str, *, is_shown: bool) -> int:
    """Run another command of ours, which reads the settings anew; return its exit code."""
    if is_shown:
        out.print(f"\nklaviyo-jobs {command}", style="bold")
    output = None if is_shown else subprocess.DEVNULL
    return subprocess.run([sys.executable, "-m", "klaviyo_jobs", command], stdout=output, check=False).returncode  # noqa: S603


def _print_schedule(done: dict[str, Any]) -> None:
    out.print("\nRun it every quarter of an hour: with cron (crontab -e),\n", highlight=False)
    out.print(done["crontab"], highlight=False, soft_wrap=True, markup=False)
    out.print("\nor with systemd: two files in ~/.config/systemd/user/, then", highlight=False)
    out.print("systemctl --user enable --now klaviyo-jobs.timer\n", highlight=False)
    for name, text in done["systemd"].items():
        out.print(f"# {name}\n{text}", highlight=False, soft_wrap=True, markup=False)
