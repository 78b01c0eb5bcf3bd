"""
The two consoles: results go to `out`, everything else to `err`.

In:     what commands have to show.
Out:    text on a terminal as wide as it is; away from one there is no width, and no line ends in blanks.
"""

from __future__ import annotations

import sys

from rich.console import Console, RenderableType

out = Console()
err = Console(stderr=True)

# Wider than any table: what is read by a program, or by a pager, is folded nowhere.
_NO_WIDTH = 100_000


def print_tables(*tables: RenderableType) -> None:
    """Print *tables* so that nothing is cut; of one that is wider than the terminal, the terminal breaks the lines."""
    if out.is_terminal:
        out.print(*tables, crop=False)
        return
    with out.capture() as captured:
        out.print(*tables, width=_NO_WIDTH, crop=False)
    lines = captured.get().splitlines()
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in lines))
