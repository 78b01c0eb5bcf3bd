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
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TypeVar

import typer

from klaviyo_jobs.cli.console import out, print_json
from klaviyo_jobs.cli.options import JsonOption
from klaviyo_jobs.cli.schedule import crontab_line, systemd_service, systemd_timer
from klaviyo_jobs.errors import SettingError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

_T = TypeVar("_T")

_FOLDER: Final = Path(".dlt")
_SECRETS: Final = _FOLDER / "secrets.toml"
_CONFIG: Final = _FOLDER / "config.toml"
_IGNORE: Final = Path(".gitignore")
_VARIABLE: Final = "SOURCES__KLAVIYO_JOBS__API_KEY"
_LABELLED: Final = "SOURCES__KLAVIYO_JOBS__ACCOUNTS__"
_SECTIONS: Final = ("sources", "klaviyo_jobs")

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
    secrets = _ask_key(account, key_file, force=force, is_asking=is_asking)
    # Before the key is: git is never to see it.
    done["gitignore"] = _ignore_secrets()
    done["secrets"] = _keep_key(secrets)
    done["config"] = _keep_config(timezone, is_asking=is_asking)
    program = _program()
    done["crontab"] = crontab_line(program, Path.cwd())
    done["systemd"] = {
        "klaviyo-jobs.service": systemd_service(program, Path.cwd()),
        "klaviyo-jobs.timer": systemd_timer(),
    }
    if not as_json:
        for name, path in (("secrets", _SECRETS), ("config", _CONFIG), ("gitignore", _IGNORE)):
            out.print(f"{path}: {done[name]}", highlight=False, markup=False, soft_wrap=True)
    exit_code = _call("doctor", is_shown=not as_json) if check else 0
    if exit_code == 0 and (_wants_run() if run is None and is_asking else run):
        exit_code = _call("run", is_shown=not as_json)
    if as_json:
        print_json({**done, "exit_code": exit_code}, since=None)
    else:
        _print_schedule(done, secrets.variables)
    raise typer.Exit(exit_code)


def _program() -> list[str]:
    """Return how the command is called from anywhere: by the one of this environment, or by the module's name."""
    beside = Path(sys.executable).with_name("klaviyo-jobs")
    found = str(beside) if beside.exists() else shutil.which("klaviyo-jobs")
    return [found] if found else [sys.executable, "-m", "klaviyo_jobs"]


class _Secrets(NamedTuple):
    """
    What is to become of the file of secrets.

    Attributes:
        content: What it is to hold, if a key was given.
        variables: Those that have the key, if it is nowhere else.
    """

    content: bytes | None = None
    variables: tuple[str, ...] = ()


def _ask_key(account: str | None, key_file: Path | None, *, force: bool, is_asking: bool) -> _Secrets:
    """Return what is to become of the file of secrets, with the key that it is to hold; nothing is written yet."""
    import tomlkit

    document = _document_of_secrets()
    section: Any = document
    for names in (_SECTIONS[:1], _SECTIONS):
        section = _table_in(section, names, is_super_table=names != _SECTIONS)
    label = account.lower() if account else None
    if label is None and "accounts" in section and "api_key" not in section:
        label = next(iter(_table_in(section, (*_SECTIONS, "accounts"))), None)
    name = label or "api_key"
    if label is not None and "api_key" in section:
        raise SettingError(
            f"{_SECRETS} has a key without a label; keys with labels beside it are refused.",
            data="nothing was written.",
            next_step=f"move it there under a label: [sources.klaviyo_jobs.accounts], default = ..., then {label}.",
        )
    holder: Any = section if label is None else _table_in(section, (*_SECTIONS, "accounts"))
    if name in holder and not force:
        question = f"{_SECRETS} has a key for {label or 'this account'}. Replace it?"
        if not (is_asking and _answer(lambda: typer.confirm(question), at_end=False)):
            return _Secrets()
    key = _read_key(label, key_file, is_asking=is_asking)
    if isinstance(key, tuple):
        return _Secrets(variables=key)
    holder[name] = key
    return _Secrets(tomlkit.dumps(document).encode())


def _keep_key(secrets: _Secrets) -> str:
    """Put the key into the file of secrets; return in words what was done."""
    from klaviyo_jobs.files import write_whole

    if secrets.variables:
        return f"not written: the key comes from {', '.join(secrets.variables)}"
    with _writing(_SECRETS):
        if secrets.content is None:
            _SECRETS.chmod(0o600)
            return "has a key, which stays as it is"
        _FOLDER.mkdir(mode=0o700, exist_ok=True)
        write_whole(_SECRETS, secrets.content, mode=0o600)
    return "written; only you may read it"


def _document_of_secrets() -> TOMLDocument:
    """
    Return what stands in the file of secrets.

    Raises:
        SettingError: It cannot be read, or is no TOML; what stands in it is not shown, since that may be a key.
    """
    import tomlkit
    from tomlkit.exceptions import ParseError, TOMLKitError

    before = _content_of(_SECRETS)
    try:
        return tomlkit.parse(before.decode("utf-8"))
    except (TOMLKitError, UnicodeDecodeError) as error:
        where = f", line {error.line}" if isinstance(error, ParseError) else ""
        problem = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else "is no TOML"
        raise SettingError(
            f"{_SECRETS.absolute()}{where} {problem}, so that no key can be added to it.",
            data="nothing was written.",
            next_step="mend it there, or move the file away, and call `klaviyo-jobs init` again; "
            'a key stands in quotes: api_key = "..."',
        ) from None


def _table_in(parent: Any, names: tuple[str, ...], *, is_super_table: bool = False) -> Any:
    """Return the table that the last of *names* is in *parent*, a new one if there is none."""
    import tomlkit

    found = parent.setdefault(names[-1], tomlkit.table(is_super_table=is_super_table))
    if not isinstance(found, MutableMapping):
        raise SettingError(
            f"{'.'.join(names)} in {_SECRETS.absolute()} is a value, where a section is expected.",
            data="nothing was written.",
            next_step=f"make it a section there, [{'.'.join(names)}], or remove it.",
        )
    return found


def _content_of(path: Path) -> bytes:
    """Return what the file at *path* holds, nothing if there is none; raise SettingError if it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        place = path.parent if isinstance(error, NotADirectoryError) else path
        raise SettingError(
            f"{place.absolute()} cannot be read: {error.strerror}.",
            data="nothing was written.",
            next_step="move away what is in its place, or see that you may read it.",
        ) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Make a SettingError of what keeps *path* from being written."""
    try:
        yield
    except OSError as error:
        raise SettingError(
            f"{path.absolute()} cannot be written: {error.strerror}.",
            data="what was there before stays as it is.",
            next_step="call it in a folder in which you may write.",
        ) from error


def _answer(ask: Callable[[], _T], *, at_end: _T) -> _T:
    """Return what *ask* is told; *at_end* at the end of the input, as by Ctrl-D."""
    try:
        return ask()
    except typer.Abort:
        # Of Ctrl-C a StoppedError was made before typer could see it.
        out.print()
        return at_end


def _wants_run() -> bool:
    return _answer(lambda: typer.confirm("Run once now?", default=True), at_end=False)


def _variables_with_key(label: str | None) -> tuple[str, ...]:
    """Return the variables that have the key of the account *label*; without a label any key that a run would take."""
    names = sorted(name for name, value in os.environ.items() if value)
    if label is not None:
        return tuple(name for name in names if name == f"{_LABELLED}{label.upper()}")
    return tuple(name for name in names if name == _VARIABLE or name.removeprefix(_LABELLED) not in ("", name))


def _read_key(label: str | None, key_file: Path | None, *, is_asking: bool) -> str | tuple[str, ...]:
    """Return the key that a file, the standard input or a person gives; the variables that have it, if some do."""
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
    if variables := _variables_with_key(label):
        return variables
    if not is_asking:
        variable = f"{_LABELLED}{label.upper()}" if label else _VARIABLE
        raise SettingError(
            f"there is no key, and nobody to ask: no terminal, no --key-file, and {variable} is not set.",
            data="nothing was written.",
            next_step="hand it over: klaviyo-jobs init --key-file PATH, or - to read it from the standard input.",
        )
    out.print(
        "Make a private API key in Klaviyo: Settings, API keys, Create Private API Key, a custom key with read access "
        "to Catalogs. It is not shown while you paste it.",
        highlight=False,
    )
    while True:
        text = _answer(lambda: typer.prompt("Key", hide_input=True, default="", show_default=False), at_end=None)
        if text is None:
            raise SettingError(
                "no key was given: the input ended.",
                data="nothing was written.",
                next_step="call `klaviyo-jobs init` again once you have the key.",
            )
        try:
            return key_of(name, text).reveal()
        except SettingError as error:
            out.print(f"{error.message} {error.next_step}", style="yellow", highlight=False, markup=False)


def _keep_config(timezone: str | None, *, is_asking: bool) -> str:
    """Write the file of settings, unless there is one; return in words what was done."""
    from klaviyo_jobs.files import write_whole
    from klaviyo_jobs.model.days import zone_of

    if _CONFIG.exists():
        if timezone is None:
            return "is there, and stays as it is"
        setting = f'reporting_timezone = "{timezone}"'
        return (
            f"is there, and stays as it is: --timezone was not written; set {setting} there, in [{'.'.join(_SECTIONS)}]"
        )
    while timezone is None and is_asking:
        asked = _answer(lambda: typer.prompt("Time zone of your reports", default="UTC"), at_end="UTC")
        try:
            zone_of(asked)
            timezone = asked
        except SettingError as error:
            out.print(f"{error.message} {error.next_step}", style="yellow", highlight=False, markup=False)
    with _writing(_CONFIG):
        _FOLDER.mkdir(mode=0o700, exist_ok=True)
        write_whole(_CONFIG, CONFIG.format(timezone=timezone or "UTC").encode())
    return "written; every line of it is explained there"


def _ignore_secrets() -> str:
    """Let git not take the file of secrets; return in words what was done."""
    from klaviyo_jobs.files import write_whole

    # As bytes: its names may be of any encoding.
    before = _content_of(_IGNORE)
    names = {name.encode() for name in (str(_SECRETS), f"/{_SECRETS}", ".dlt", ".dlt/", "/.dlt/")}
    if any(line.strip() in names for line in before.splitlines()):
        return "has the secrets already"
    joint = b"" if before.endswith(b"\n") or not before else b"\n"
    with _writing(_IGNORE):
        write_whole(_IGNORE, before + joint + f"{_SECRETS}\n".encode())
    return "the secrets are in it"


def _call(command: str, *, is_shown: bool) -> int:
    """Run another command of ours, which reads the settings anew; return its exit code."""
    if is_shown:
        out.print(f"\nklaviyo-jobs {command}", style="bold")
    output = None if is_shown else subprocess.DEVNULL
    return subprocess.run([sys.executable, "-m", "klaviyo_jobs", command], stdout=output, check=False).returncode  # noqa: S603


def _print_schedule(done: dict[str, Any], variables: tuple[str, ...]) -> None:
    if variables:
        again = "init" if variables == (_VARIABLE,) else "init --account LABEL"
        out.print(
            "\nNeither cron nor systemd sees what a shell has exported, and the key is nowhere else. Before you use "
            f"them, unset {' '.join(variables)} and call `klaviyo-jobs {again}`, which keeps the key in {_SECRETS}.",
            soft_wrap=True,
            style="yellow",
            highlight=False,
            markup=False,
        )
    out.print("\nRun it every quarter of an hour: with cron (crontab -e),\n", highlight=False)
    out.print(done["crontab"], highlight=False, soft_wrap=True, markup=False)
    out.print("\nor with systemd: two files in ~/.config/systemd/user/, then", highlight=False)
    out.print("systemctl --user enable --now klaviyo-jobs.timer\n", highlight=False)
    for name, text in done["systemd"].items():
        out.print(f"# {name}\n{text}", highlight=False, soft_wrap=True, markup=False)
