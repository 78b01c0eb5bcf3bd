"""
The steps of a run, in their order: what the log, the lock file and the ledger call them.

In:     nothing.
Out:    `Step`, and the log line of each.
"""

from __future__ import annotations

from enum import StrEnum

from klaviyo_jobs.log import LOGGER


class Step(StrEnum):
    """A step of a run."""

    LOCK = "lock"
    RECOVER = "recover"
    RECALL = "recall"
    EXTRACT = "extract"
    LOAD = "load"
    VIEWS = "views"
    CHECKS = "checks"
    LEDGER = "ledger"
    PUBLISH = "publish"
    PAGE = "page"
    UNLOCK = "unlock"


def tell_step(step: Step, *, has_news: bool = False) -> None:
    """
    Log that *step* begins.

    Args:
        has_news: Whether the run has found anything new or changed: of a run in which nothing changed, nobody wants to
            know every step. The record carries both, for whoever writes it.
    """
    LOGGER.info("step %s", step, extra={"step": str(step), "has_news": has_news})
