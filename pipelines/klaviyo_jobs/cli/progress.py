"""
Show how far a run has got: bars on a terminal, a log line every few seconds elsewhere.

In:     the outcomes of its listings, which fill while they are read.
Out:    a drawing that leaves nothing behind, or log lines.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from klaviyo_jobs.cli.console import err
from klaviyo_jobs.cli.logs import current_step, is_logging_json, is_quiet
from klaviyo_jobs.log import LOGGER

if TYPE_CHECKING:
    from rich.console import RenderableType

    from klaviyo_jobs.extract.outcomes import ListingOutcome

# How many listings are drawn by name: with what stands above them, a terminal of 24 lines has room for them.
_MOST_LISTINGS: Final = 12
# How often the speed of reading is looked at.
_LOOK_SECONDS: Final = 0.5
# What a step is called while nothing is read.
_STEPS: Final = {
    "lock": "waiting for another run to end",
    "extract": "reading is done, writing files",
    "load": "loading",
    "views": "applying the views",
    "checks": "checking what was loaded",
    "ledger": "writing the ledger",
    "publish": "publishing the copy",
    "page": "writing the page",
    "unlock": "ending",
}


class Progress(StrEnum):
    """How a run shows what it is reading."""

    AUTO = "auto"
    BAR = "bar"
    LOG = "log"
    OFF = "off"


def may_draw(is_json_asked: bool = False) -> bool:
    """Tell whether bars can be drawn on stderr: it is a terminal, and nothing else counts on its lines."""
    return err.is_terminal and not is_json_asked and not is_logging_json() and not is_quiet()


@contextmanager
def show_progress(seconds: float, asked: Progress = Progress.AUTO, *, is_drawn: bool | None = None) -> Iterator[Any]:
    """
    Yield a function that shows the listings it is given while they are read.

    Args:
        seconds: How often a log line comes.
        asked: How they are to be shown.
        is_drawn: Whether AUTO is bars; if None, as it is possible.
    """
    if asked is Progress.AUTO:
        asked = Progress.BAR if (may_draw() if is_drawn is None else is_drawn) else Progress.LOG
    watched: list[list[ListingOutcome]] = []
    if asked is Progress.OFF:
        yield None
    elif asked is Progress.BAR:
        from rich.console import Console
        from rich.live import Live

        drawing = Drawing(watched)
        with Live(
            get_renderable=drawing.render,
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


class Drawing:
    """
    Draws how far a run is: the step it is in, bars for what it reads, what it waits for, and the time left.

    Args:
        watched: The listings, as soon as there are any.
    """

    def __init__(self, watched: list[list[ListingOutcome]]) -> None:
        from klaviyo_jobs.runs.forecast import Forecast

        self._watched = watched
        self._forecast = Forecast()
        self._began_at = time.monotonic()

    def render(self) -> RenderableType:
        """Return the drawing of this moment; 24 lines have room for it, however many listings there are."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        from klaviyo_jobs.runs.forecast import rate_of, totals_of, wait_of

        outcomes = [outcome for each in self._watched for outcome in each]
        passed = _clock_text(time.monotonic() - self._began_at)
        step = current_step().removeprefix("step ")
        is_reading = any(outcome.is_under_way for outcome in outcomes)
        if not is_reading:
            # Before there is a listing, reading is not done: it has not begun.
            doing = "starting" if step == "extract" and not outcomes else _STEPS.get(step, "starting")
            return Text.assemble((f"{doing} ", "bold"), (f"{passed} so far", "dim"))
        left = self._forecast.look(outcomes)
        head = Text.assemble(
            ("reading ", "bold"),
            (f"about {_clock_text(left)} left" if left is not None else "how long is not known yet", "cyan"),
            (f", {passed} so far", "dim"),
        )
        totals = totals_of(outcomes)
        done = sum(not outcome.is_under_way for outcome in outcomes)
        bars = Table.grid(padding=(0, 2))
        bars.add_row("listings", *_bar(done, len(outcomes)), f"{sum(each.job_count for each in outcomes):,} jobs")
        if totals.details:
            is_known = all(each.listed_share == 1 for each in outcomes if each.is_under_way)
            details = sum(max(outcome.sent_count - outcome.page_count, 0) for outcome in outcomes)
            bars.add_row("details", *_bar(details, totals.details, is_known=is_known))
        calls, retries = (sum(getattr(each, name) for each in outcomes) for name in ("request_count", "retry_count"))
        retried = f", {retries:,} of them again" if retries else ""
        lines: list[RenderableType] = [head, bars, Text(f"calls     {calls:,}{retried}; {rate_of(outcomes)}", "dim")]
        if (wait := wait_of(outcomes)) is not None:
            lines.append(Text(f"waiting   {wait}", "yellow", overflow="ellipsis", no_wrap=True))
        under_way = [outcome for outcome in outcomes if outcome.is_under_way]
        lines += [
            Text(
                f"  {outcome.name}: {outcome.page_count:,} pages, {outcome.job_count:,} jobs, "
                f"{outcome.changed_count:,} new or changed",
                "dim",
                overflow="ellipsis",
                no_wrap=True,
            )
            for outcome in under_way[:_MOST_LISTINGS]
        ]
        if len(under_way) > _MOST_LISTINGS:
            lines.append(Text(f"  and {len(under_way) - _MOST_LISTINGS:,} more listings", "dim"))
        return Group(*lines)


def _bar(done: float, total: float, *, is_known: bool = True) -> tuple[RenderableType, str]:
    """Return a bar, and its numbers; a total that is not known is about so much."""
    from rich.progress_bar import ProgressBar

    total = max(total, done)
    numbers = f"{done:,.0f} of {total:,.0f}" if is_known else f"{done:,.0f} of about {total:,.0f}"
    return ProgressBar(total=total or 1, completed=done, width=30), numbers


def _clock_text(seconds: float) -> str:
    """Return *seconds* as minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _log_progress(seconds: float, watched: list[list[ListingOutcome]], ended: threading.Event) -> None:
    """Log how far the listings have got, every *seconds* as long as they get any further, or wait for something."""
    from klaviyo_jobs.runs.forecast import Forecast, wait_of

    said = ""
    forecast = Forecast()
    told_at = time.monotonic()
    while not ended.wait(min(seconds, _LOOK_SECONDS)):
        outcomes = [outcome for each in watched for outcome in each]
        left = forecast.look(outcomes)
        if time.monotonic() < told_at + seconds:
            continue
        told_at = time.monotonic()
        done = sum(not outcome.is_under_way for outcome in outcomes)
        line = (
            f"reading: {done} of {len(outcomes)} listings done, {sum(each.job_count for each in outcomes):,} jobs, "
            f"{sum(each.detail_count for each in outcomes):,} details, "
            f"{sum(each.request_count for each in outcomes):,} calls"
        )
        wait = wait_of(outcomes)
        if outcomes and (line != said or wait is not None):
            about = f", about {_clock_text(left)} left" if left else ""
            LOGGER.info("%s", f"{line}{about}{f', waiting {wait}' if wait else ''}")
            said = line
