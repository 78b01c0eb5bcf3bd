"""
The two consoles: results go to `out`, everything else to `err`.

In:     what commands have to show.
Out:    text on a terminal as wide as it is; away from one there is no width, and no line ends in blanks.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import Any

from rich.console import Console, RenderableType

out = Console()
err = Console(stderr=True)

# Wider than any table: what is read by a program, or by a pager, is folded nowhere.
_NO_WIDTH = 100_000


def print_tables(*tables: RenderableType) -> None:
    """Print *tables* so that nothing is cut; of one that is wider than the terminal, the terminal breaks the lines."""
    if out.is_terminal:
        for table in tables:
            out.print(table, crop=False, highlight=False)
        return
    with out.capture() as captured:
        for table in tables:
            out.print(table, width=_NO_WIDTH, crop=False)
    lines = captured.get().splitlines()
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in lines))


def print_json(value: dict[str, Any], *, since: dt.datetime | None, until: dt.datetime | None = None) -> None:
    """
    Print *value* as one JSON object, with the window that it covers.

    Args:
        since: When the window begins; None if it covers all that is kept.
        until: When it ends; now by default.
    """
    window = {"since_utc": _utc_text(since), "until_utc": _utc_text(until or dt.datetime.now(dt.UTC))}
    print(json.dumps({"window": window, **value}, default=str))


def _utc_text(at: dt.datetime | None) -> str | None:
    return None if at is None else f"{at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
