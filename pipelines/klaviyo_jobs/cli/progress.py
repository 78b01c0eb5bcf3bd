"""
Show how far a run has got: bars on a terminal, a log line every few seconds elsewhere.

In:     the outcomes of its listings, which fill while they are read.
Out:    a drawing that leaves nothing behind, or log lines.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from klaviyo_jobs.cli.console import err
from klaviyo_jobs.cli.logs import current_step, is_logging_json
from klaviyo_jobs.log import LOGGER

if TYPE_CHECKING:
    from klaviyo_jobs.extract.outcomes import ListingOutcome


class Progress(StrEnum):
    """How a run shows what it is reading."""

    AUTO = "auto"
    BAR = "bar"
    LOG = "log"
    OFF = "off"


def may_draw(is_json_asked: bool = False) -> bool:
    """Tell whether bars can be drawn on stderr: it is a terminal, and nothing else counts on its lines."""
    return err.is_terminal and not is_json_asked and not is_logging_json()


@contextmanager
def show_progress(seconds: float, asked: Progress = Progress.AUTO, *, is_drawn: bool | None = None) -> Iterator[Any]:
    """
    Yield a function that shows the listings it is given while they are read.

    Args:
        seconds: How often a log line comes.
        asked: How they are to be shown.
        is_drawn: Whether AUTO is bars; if None, as it is possible.
    """
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from klaviyo_jobs.cli.render import render_listings

    if asked is Progress.AUTO:
        asked = Progress.BAR if (may_draw() if is_drawn is None else is_drawn) else Progress.LOG
    watched: list[list[ListingOutcome]] = []
    if asked is Progress.OFF:
        yield None
    elif asked is Progress.BAR:
        with Live(
            get_renderable=lambda: Group(*map(render_listings, watched), Text(current_step(), style="dim")),
            # Who asks for it gets it, terminal or not.
            console=err if err.is_terminal else Console(stderr=True, force_terminal=True),
            transient=True,
            refresh_per_second=5,
        ):
            yield watched.append
    else:
        ended = threading.Event()
        teller = threading.Thread(target=_log_progress, args=(seconds, watched, ended), name="progress", daemon=True)
        teller.start()
        try:
            yield watched.append
        finally:
            ended.set()
            teller.join()


def _log_progress(seconds: float, watched: list[list[ListingOutcome]], ended: threading.Event) -> None:
    """Log how far the listings have got, every *seconds* as long as they get any further."""
    said = ""
    while not ended.wait(seconds):
        outcomes = [outcome for each in watched for outcome in each]
        done = sum(outcome.is_complete or outcome.error is not None for outcome in outcomes)
        line = (
            f"reading: {done} of {len(outcomes)} listings done, {sum(each.job_count for each in outcomes):,} jobs, "
            f"{sum(each.detail_count for each in outcomes):,} details, "
            f"{sum(each.request_count for each in outcomes):,} calls"
        )
        if outcomes and line != said:
            LOGGER.info("%s", line)
            said = line
