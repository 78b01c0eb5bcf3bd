"""When to kill a run."""

from __future__ import annotations

import random
from dataclasses import dataclass

from chaos.run import Run
from klaviyo_jobs.runs.steps import Step


@dataclass(frozen=True)
class Moment:
    """When to kill: so many seconds after a step began, or after the start if none is named."""

    step: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s after {self.step or 'the start'}"


class Schedule:
    """
    Deals out moments: each step in turn, at its very beginning and within it; and instants anywhere in a run.

    Args:
        is_exact: Only the beginnings of the steps.
        is_kill_only: Whether SIGKILL is the only signal.
    """

    def __init__(self, *, is_exact: bool = False, is_kill_only: bool = False) -> None:
        # Steps and what they usually take; others are learnt from the first run that has them.
        self._seconds: dict[str, float] = dict.fromkeys(Step, 0.1)
        self._whole = 2.0
        self.is_exact = is_exact
        self.is_kill_only = is_kill_only

    def learn(self, run: Run) -> None:
        """Take from a good run which steps there are and how long they last."""
        self._whole = 0.7 * self._whole + 0.3 * run.seconds
        ends = [*(began for _, began in run.steps), run.ended][1:]
        for (step, began), ended in zip(run.steps, ends, strict=True):
            self._seconds[step] = 0.7 * self._seconds.get(step, ended - began) + 0.3 * (ended - began)

    def moment(self, turn: int, rng: random.Random, *, publishes: bool) -> Moment:
        """Return the moment that is due at *turn*, in a run that publishes a copy or not."""
        # No run here writes a page: tests/monitor/test_page.py kills one that does.
        skipped = {Step.PAGE} if publishes else {Step.PAGE, Step.PUBLISH}
        steps = [step for step in Step if step in self._seconds and step not in skipped]
        way, share = rng.random(), rng.random()
        if self.is_exact:
            return Moment(steps[turn % len(steps)], 0.0)
        if turn % 4 == 0:
            return Moment("", share * self._whole)
        step = steps[(turn - turn // 4) % len(steps)]
        if way < 0.3:
            return Moment(step, 0.0)
        if way < 0.5:
            return Moment(step, share * 0.03)
        return Moment(step, share * max(self._seconds[step], 0.01))
