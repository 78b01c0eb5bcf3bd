"""
The two consoles: results go to `out`, everything else to `err`.

In:     what commands have to show.
Out:    text on a terminal as wide as it is; away from one there is no width, and no line ends in blanks.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

from rich.console import Console, RenderableType

if TYPE_CHECKING:
    from rich.table import Table

# Wider than any table: what is read by a program, or by a pager, is folded nowhere.
_NO_WIDTH: Final = 1_000_000_000
# A word that is longer than this may be folded, where a column says so; no kind of job is.
_READABLE: Final = 16
# 128 and the number of SIGPIPE, by which other tools end.
_READER_LEFT: Final = 141


class _Console(Console):
    """A console that takes a reader who goes away for no error of ours."""

    def on_broken_pipe(self) -> None:
        """End the command as other tools do."""
        _end_unread()


out = _Console()
err = Console(stderr=True)


@contextmanager
def while_read() -> Iterator[None]:
    """End the command with 141 and no word once nobody reads its stdout any more: that is no error of ours."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _end_unread()


def _end_unread() -> NoReturn:
    # What is left is written nowhere when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(_READER_LEFT)


def print_tables(*tables: RenderableType) -> None:
    """Print *tables* so that nothing is cut; of one that is wider than the terminal, the terminal breaks the lines."""
    from rich.table import Table
    from rich.text import Text

    if out.is_terminal:
        for table in tables:
            if isinstance(table, Table) and table.width is None:
                fit(table)
            out.print(table, crop=False, highlight=False)
        return
    wide = Console(width=_NO_WIDTH)
    with wide.capture() as captured:
        for table in tables:
            if isinstance(table, Table) and isinstance(table.title, str):
                # A table folds its title where its last column ends.
                wide.print(Text.from_markup(table.title, style=table.title_style or ""), highlight=False)
                table.title = None
            wide.print(table, crop=False)
    lines = captured.get().removesuffix("\n").split("\n")
    with while_read():
        sys.stdout.write("".join(f"{line.rstrip(' ')}\n" for line in lines))


def fit(table: Table) -> bool:
    """
    Give the columns of *table* widths for the terminal, none of which cuts a text or is too narrow to be read.

    Returns:
        Whether the terminal is wide enough; of a table for which it is not, each column gets its least width.
    """
    without = out.options.update(max_width=_NO_WIDTH)
    table.width = None
    least, widths = [], []
    for column in table.columns:
        cells = [column.header, *column.cells] if table.show_header else list(column.cells)
        sizes = [out.measure(cell, options=without) for cell in cells]
        whole, word = max(size.maximum for size in sizes), max(size.minimum for size in sizes)
        folded = min(word, _READABLE) if column.overflow == "fold" else word
        least.append(max(whole if column.no_wrap else folded, column.min_width or 0))
        widths.append(max(least[-1], min(whole, out.width)))
        column.width = widths[-1]
    excess = out.measure(table, options=without).maximum - out.width
    while excess > 0 and widths != least:
        widest = max((place for place in range(len(widths)) if widths[place] > least[place]), key=widths.__getitem__)
        widths[widest] -= 1
        excess -= 1
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    table.width = out.measure(table, options=without).maximum
    return excess <= 0


def print_json(value: dict[str, Any], *, since: dt.datetime | None, until: dt.datetime | None = None) -> None:
    """
    Print *value* as one JSON object, with the window that it covers.

    Args:
        since: When the window begins; None if it covers all that is kept.
        until: When it ends; now by default.
    """
    window = {"since_utc": _utc_text(since), "until_utc": _utc_text(until or dt.datetime.now(dt.UTC))}
    with while_read():
        print(json.dumps({"window": window, **value}, default=str))


def _utc_text(at: dt.datetime | None) -> str | None:
    return None if at is None else f"{at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
