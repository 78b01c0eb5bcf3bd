"""What was done to the runs, what came of it, and what the ledger is to say of them."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from klaviyo_jobs.runs.steps import Step

VARIANTS: Final = ("plain", "large", "leavers", "upgrades", "faults", "pairs", "lost-directory", "full-disk")


def say(text: str) -> None:
    """Print *text* at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass
class Ended:
    """
    How many runs of an episode did not end well, and what the ledger is to say of them.

    Attributes:
        surely_interrupted: Killed while they held the lock, before they could tell the ledger themselves.
        maybe_interrupted: Killed at all.
        maybe_loaded: Killed when their load may have been complete.
        skipped: Ended with 6.
        surely_skipped: Those among them before the last good run, which told the ledger.
        failed: Ended otherwise: the API gave up, the disk was full, or a signal asked it to.
    """

    surely_interrupted: int = 0
    maybe_interrupted: int = 0
    maybe_loaded: int = 0
    skipped: int = 0
    surely_skipped: int = 0
    failed: int = 0


@dataclass
class Report:
    """What was done, and what came of it."""

    seed: int
    kills: int = 0
    stops: int = 0
    rounds: int = 0
    left_wal: int = 0
    left_behind: int = 0
    starved: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    aimed: Counter[str] = field(default_factory=Counter)
    by_step: Counter[str] = field(default_factory=Counter)
    by_variant: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    stop_seconds: list[float] = field(default_factory=list)
    skip_seconds: list[float] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def render(self) -> str:
        """Return the summary, the verdict last."""

        def counts(counter: Counter[str], order: Iterable[str] = ()) -> str:
            names = [*(name for name in order if name in counter), *(name for name in counter if name not in order)]
            return ", ".join(f"{name} {counter[name]}" for name in names)

        lines = [
            f"seed {self.seed}: {self.rounds} rounds in {(time.monotonic() - self.started) / 60:.1f} minutes",
            f"kills aimed at: {counts(self.aimed, (*Step, 'anywhere'))}",
            f"kills by step: {counts(self.by_step, ('start', *Step))}",
            f"kills by variant: {counts(self.by_variant, VARIANTS)}",
            f"kills that left a .wal: {self.left_wal}",
            f"temporary files and folders found after good runs, counted at each: {self.left_behind}",
        ]
        if self.stops:
            lines.append(
                f"stopped by SIGTERM or SIGINT: {self.stops}, longest {max(self.stop_seconds, default=0):.1f} s"
            )
        if self.starved:
            lines.append(f"runs on a full disk by exit code: {counts(self.starved)}")
        if self.pairs:
            lines.append(
                f"pairs by exit codes: {counts(self.pairs)}; "
                f"the loser knew after {max(self.skip_seconds, default=0):.1f} s at the most"
            )
        return "\n".join([*lines, f"{self.kills} kills, {len(self.differences)} differences"])


class DifferenceError(Exception):
    """Something is not as it must be."""
