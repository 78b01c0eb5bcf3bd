"""
The steps of a run, in their order: what the log, the lock file and the ledger call them.

In:     nothing.
Out:    `Step`.
"""

from __future__ import annotations

from enum import StrEnum


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
    UNLOCK = "unlock"
