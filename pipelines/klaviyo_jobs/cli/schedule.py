"""
What runs the command by itself: a line of cron, and a service and a timer of systemd.

In:     the program in words, and the folder that it is to run in.
Out:    texts; `deploy/` holds the same for a folder of its own.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_MINUTES: Final = 15
_QUOTES: Final = re.compile(r"[\"'\\]")

_SERVICE: Final = """\
# Reads Klaviyo's bulk jobs once. klaviyo-jobs.timer starts it.
[Unit]
Description=Keep the history of Klaviyo's bulk jobs
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={folder}
ExecStart={command}
# A first run that waits for Klaviyo's limits may take long.
TimeoutStartSec=2h
# It needs 0.5 GB, whatever the history, unless memory_limit says otherwise.
MemoryMax=1G
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths={writable}
"""
_TIMER: Final = """\
# Starts klaviyo-jobs.service; once more at once if the machine was off when it was due.
[Unit]
Description=Read Klaviyo's bulk jobs every {minutes} minutes

[Timer]
OnCalendar=*:0/{minutes}
RandomizedDelaySec=30
Persistent=true

[Install]
WantedBy=timers.target
"""


def crontab_line(program: Sequence[str], folder: Path) -> str:
    """Return the line for cron, which knows no variable of the shell; a % would be a line end to it."""
    line = f"cd {shlex.quote(str(folder))} && {shlex.join(program)} run >> run.log 2>&1"
    return f"*/{_MINUTES} * * * * " + line.replace("%", "\\%")


def systemd_service(program: Sequence[str], folder: Path) -> str:
    """Return the unit that runs once."""
    # A whole line is a path: nothing in it is unquoted or unescaped.
    path = str(folder).replace("%", "%%")
    return _SERVICE.format(folder=path, command=_command_line([*program, "run"]), writable=_quoted(path))


def systemd_timer() -> str:
    """Return the unit that starts it again and again."""
    return _TIMER.format(minutes=_MINUTES)


def _command_line(words: Sequence[str]) -> str:
    """Return *words* for systemd, which unescapes them, and looks for specifiers and variables."""
    if _QUOTES.search(words[0]):
        # systemd takes no such program, but such words.
        words = ["/usr/bin/env", *words]
    line = " ".join(_quoted(word.replace("%", "%%").replace("\\", "\\\\")) for word in words)
    # With a colon it looks for no variables; in the name of a program $$ would not be one $.
    return f":{line}" if "$" in line else line


def _quoted(text: str) -> str:
    """Return *text* as one word of systemd's."""
    if not _QUOTES.search(text) and not any(map(str.isspace, text)):
        return text
    # As in a shell: what is quoted in two ways, side by side, is one word.
    return '"' + text.replace('"', '"\'"\'"') + '"'
