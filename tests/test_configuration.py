"""Names that nothing reads, the places of settings, and places that others can write: by the command, in real folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from support.processes import command

PREFIX: Final = "SOURCES__KLAVIYO_JOBS__"


def written(folder: Path, name: str, text: str) -> Path:
    """Write a file of dlt's in *folder*."""
    (folder / ".dlt").mkdir(exist_ok=True)
    path = folder / ".dlt" / name
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        (f"{PREFIX}WAREHOSE", f"{PREFIX}WAREHOUSE"),
        (f"{PREFIX}API_KEYS", f"{PREFIX}API_KEY"),
        (f"{PREFIX}BI__COPY", f"{PREFIX}BI_COPY"),
        (f"{PREFIX}KINDS__ITEM", f"{PREFIX}KINDS"),
        (f"{PREFIX}MAX_FAIL_SHARE", f"{PREFIX}MAX_FAILED_SHARE"),
        (f"{PREFIX}warehouse", f"{PREFIX}WAREHOUSE"),
        (PREFIX.lower() + "warehouse", f"{PREFIX}WAREHOUSE"),
        ("SOURCES_KLAVIYO_JOBS_WAREHOUSE", f"{PREFIX}WAREHOUSE"),
        ("SOURCES__KLAVIYO_JOB__WAREHOUSE", f"{PREFIX}WAREHOUSE"),
        ("SOURCES__KLAVYIO_JOBS__WAREHOUSE", f"{PREFIX}WAREHOUSE"),
    ],
)
def test_a_variable_that_nothing_reads_is_refused_with_the_nearest(tmp_path: Path, variable: str, nearest: str) -> None:
    """A misspelt setting that is ignored is the surprise that comes last."""
    ended = command(tmp_path, "report", **{variable: "x"})

    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"SettingError: nothing reads {variable}.",
        "  Data: nothing was read or written.",
        f"  Next: did you mean {nearest}? docs/settings.md lists all settings.",
    ]


@pytest.mark.parametrize(
    ("name", "text", "found", "nearest"),
    [
        ("config.toml", '[sources.klaviyo_jobs]\n\nwarehose = "x"\n', "warehose in {}, line 3", "warehouse"),
        ("secrets.toml", '[sources.klaviyo_jobs]\napikey = "x"\n', "apikey in {}, line 2", "api_key"),
        ("config.toml", '[sources]\nklaviyo_jobs.knds = ["x"]\n', "knds in {}, line 2", "kinds"),
        (
            "config.toml",
            '[sources.klaviyo-jobs]\nkinds = ["x"]\n',
            "[sources.klaviyo-jobs] in {}, line 1",
            "[sources.klaviyo_jobs]",
        ),
        (
            "config.toml",
            '# mine\n[klaviyo_jobs]\nkinds = ["x"]\n',
            "[klaviyo_jobs] in {}, line 2",
            "[sources.klaviyo_jobs]",
        ),
    ],
)
def test_a_name_in_a_file_that_nothing_reads_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str, found: str, nearest: str
) -> None:
    """File, line and nearest name."""
    path = written(tmp_path, name, text)

    ended = command(tmp_path, "check")

    assert ended.returncode == 2
    assert ended.stderr.splitlines()[0] == f"SettingError: nothing reads {found.format(path)}."
    assert f"did you mean {nearest}?" in ended.stderr


@pytest.mark.parametrize("name", ["run", "check", "doctor", "views", "publish", "restore", "report", "prune", "demo"])
def test_every_command_refuses_it(tmp_path: Path, name: str) -> None:
    """Whether it would have used the setting or not."""
    arguments = ["--older-than", "90d"] if name == "prune" else []

    ended = command(tmp_path, name, *arguments, **{f"{PREFIX}WAREHOSE": "x"})

    assert ended.returncode == 2
    assert f"nothing reads {PREFIX}WAREHOSE" in ended.stderr + ended.stdout


def test_what_belongs_to_others_is_left_alone(tmp_path: Path) -> None:
    """Settings of dlt below the source, of another source, and of other programs are none of ours."""
    others = {
        f"{PREFIX}SCHEMA__NAMING": "snake_case",
        "SOURCES__KLAVIYO__API_KEY": "x",
        "SOURCES__SHOPIFY__API_KEY": "x",
        "SOURCES_LIST": "x",
        "KLAVIYO_API_KEY": "x",
    }

    ended = command(tmp_path, "report", **others)

    assert ended.returncode == 7  # there is no warehouse


def test_a_key_in_the_file_for_other_settings_is_told_where_it_belongs(tmp_path: Path) -> None:
    """dlt reads no secret from there; a key that is ignored in silence is looked for for hours."""
    path = written(tmp_path, "config.toml", '[sources.klaviyo_jobs]\napi_key = "pk_4711"\n')

    ended = command(tmp_path, "run")

    assert ended.returncode == 2
    assert ended.stderr.splitlines()[0] == (
        f"SettingError: api_key in {path}, line 2 is a secret, and is not read from there."
    )
    assert f"move it into {path.with_name('secrets.toml')}, section [sources.klaviyo_jobs]" in ended.stderr
    assert "4711" not in ended.stderr


@pytest.mark.parametrize("target", ["file", "folder"])
def test_settings_that_others_can_write_are_refused(tmp_path: Path, target: str) -> None:
    """They could send the key to an address of theirs."""
    path = written(tmp_path, "config.toml", '[sources.klaviyo_jobs]\nkinds = ["item-create"]\n')
    exposed = path if target == "file" else path.parent
    exposed.chmod(exposed.stat().st_mode | 0o002)

    ended = command(tmp_path, "run")

    assert ended.returncode == 2
    assert ended.stderr.splitlines()[0] == (
        f"SettingError: {exposed} can be written by other users, who could send the key elsewhere."
    )


def test_secrets_that_others_can_read_are_a_warning(tmp_path: Path) -> None:
    """In a run, and in the doctor's list."""
    path = written(
        tmp_path, "secrets.toml", '[sources.klaviyo_jobs]\nbase_url = "http://127.0.0.1:9"\napi_key = "pk_1"\n'
    )
    path.chmod(0o644)

    ended = command(tmp_path, "run", "--kind", "item-create", **{f"{PREFIX}MAX_ATTEMPTS": "1"})
    listed = command(tmp_path, "doctor", **{f"{PREFIX}MAX_ATTEMPTS": "1"})

    assert f"{path} can be read by every user of this machine: chmod 600 {path}" in ended.stderr
    assert "can be read by every user of this machine" in " ".join(listed.stdout.split())


def test_a_global_folder_that_anybody_can_write_is_not_read(tmp_path: Path) -> None:
    """A user without a home has it in the temporary folder, where a stranger can have put it."""
    (tmp_path / "dlt").mkdir()
    (tmp_path / "dlt").chmod(0o777)
    (tmp_path / "dlt" / "config.toml").write_text('[sources.klaviyo_jobs]\nbase_url = "https://stranger.example"\n')
    (tmp_path / "work").mkdir()
    program = """if 1:
        import os, runpy, sys
        os.geteuid = lambda: 65534  # root's folder is always /var/dlt
        sys.argv = ["klaviyo-jobs", "doctor", "--json"]
        runpy.run_module("klaviyo_jobs", run_name="__main__")
    """
    environment = {**os.environ, "HOME": "/nonexistent", "TMPDIR": str(tmp_path), f"{PREFIX}MAX_ATTEMPTS": "1"}
    environment |= {f"{PREFIX}API_KEY": "pk_1", f"{PREFIX}KINDS": "nothing"}  # so that nothing is called

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "work", env=environment, capture_output=True, text=True
    )

    assert "stranger" not in ended.stdout + ended.stderr
    assert '"exit_code": 2' in ended.stdout
