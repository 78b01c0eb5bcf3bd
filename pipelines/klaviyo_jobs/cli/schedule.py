"""
What runs the command by itself: a line of cron, and a service and a timer of systemd.

In:     the program in words, and the folder that it is to run in.
Out:    texts; `deploy/` holds the same for a folder of its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_MINUTES: Final = 15

_SERVICE: Final = """\
# Reads Klaviyo's bulk jobs once. klaviyo-jobs.timer starts it.
[Unit]
Description=Keep the history of Klaviyo's bulk jobs
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={folder}
ExecStart={program} run
# A first run that waits for Klaviyo's limits may take long.
TimeoutStartSec=2h
# It needs 0.5 GB, whatever the history, unless memory_limit says otherwise.
MemoryMax=1G
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths={folder}
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
    return _SERVICE.format(program=" ".join(map(_escaped, program)), folder=_escaped(str(folder)))


def systemd_timer() -> str:
    """Return the unit that starts it again and again."""
    return _TIMER.format(minutes=_MINUTES)


def _escaped(text: str) -> str:
    """Return *text* for systemd, to which a % begins a specifier, and a blank the next word."""
    return text.replace("%", "%%").replace(" ", "\\x20")
