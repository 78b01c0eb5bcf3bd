"""
Random histories of the API against a model of the rules: after each run every table holds what the rules say.

The model is a second opinion. It is written from the words of the design, shares no code with what it checks, and is
told only what the API showed and which details it answered. Times in rows are compared by the run they fall into.

One history of each sort runs by default, the same one every time; those marked slow play more of them, and
`HYPOTHESIS_PROFILE=long` plays many that are new each time and shrinks failures.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from klaviyo_sandbox import Sandbox
from support.histories.api import ACCOUNTS, KEYS, KINDS, WHAT_HAPPENS, Change
from support.histories.history import KEY_IS_REFUSED, TROUBLES, History, Step, Trouble
from support.histories.tables import QUERIES
from support.loads import NOW


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BACKOFF_SECONDS", "0")


_SIZES: Final = st.integers(0, 3)
# In each step time passes, two entities get a new name, and something happens to every job.
_CHANGES: Final = st.tuples(
    st.builds(Change, st.just("wait"), st.just(KEYS[0]), _SIZES),
    *[st.builds(Change, st.just("rename"), st.sampled_from(KEYS), _SIZES)] * 2,
    *(st.builds(Change, st.sampled_from(WHAT_HAPPENS), st.just(key), _SIZES) for key in KEYS),
)
_TROUBLES: Final = st.builds(Trouble, st.sampled_from([*TROUBLES, KEY_IS_REFUSED]), st.sampled_from(KEYS))
_STEPS: Final = st.builds(
    Step,
    changes=_CHANGES,
    troubles=st.lists(_TROUBLES, max_size=2),
    labels=st.sampled_from([ACCOUNTS] * 4 + [ACCOUNTS[:1]]),
    kinds=st.sampled_from([tuple(KINDS)] * 3 + [("category-create", "variant-delete")]),
    include=st.sampled_from([None, None, None, (), ("categories", "items")]),
    is_full=st.sampled_from([False] * 4 + [True]),
    is_late=st.sampled_from([False] * 3 + [True]),
)
_PLAIN_STEPS: Final = st.builds(Step, changes=_CHANGES, is_full=st.sampled_from([False] * 4 + [True]))
# dlt merges one table after the other, in any order: a kill finds some merged, and one on the way.
_MERGED: Final = ("job_observations", *(name for name in QUERIES if name not in ("job_observations", "items")))
_CUTS: Final = st.builds(
    lambda order, count: dict(zip(order, ["new"] * count + ["gone"] + ["old"] * len(order), strict=False)),
    order=st.permutations(_MERGED),
    count=st.integers(1, len(_MERGED)),
)


def _histories(count: int) -> settings:
    """Return how many histories to play: *count*, always the same, or many that are new and shrunk if they fail."""
    common = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    if os.environ.get("HYPOTHESIS_PROFILE") == "long":
        return settings(common, max_examples=6 * count)
    return settings(common, max_examples=count, derandomize=True, phases=[Phase.generate])


def _play(*steps: Step, cut: Mapping[str, str] | None = None) -> None:
    """Play *steps* against a new sandbox into a new warehouse; before the run of the second, one is killed if *cut*."""
    with Sandbox(clock=NOW) as sandbox, tempfile.TemporaryDirectory() as folder:
        history = History(sandbox, Path(folder))
        for number, step in enumerate(steps):
            history.play(step, cut=cut if number == 1 else None)


def _has_events(*steps: Step) -> bool:
    """Tell the histories from the plainest one, which Hypothesis tries first: in it nothing happens to any job."""
    return any(change.size for step in steps for change in step.changes)


_ANY_HISTORY: Final = given(steps=st.lists(_STEPS, min_size=4, max_size=4))
_KILLED_HISTORY: Final = given(first=_PLAIN_STEPS, second=_PLAIN_STEPS, cut=_CUTS)


@_histories(1)
@_ANY_HISTORY
def test_tables_follow_the_rules_through_a_history(steps: list[Step]) -> None:
    """Whatever the API shows and refuses from run to run, every row of every table is as the model says."""
    assume(_has_events(*steps))
    _play(*steps)


@pytest.mark.slow
@_histories(8)
@_ANY_HISTORY
def test_tables_follow_the_rules_through_many_histories(steps: list[Step]) -> None:
    """The same, for more histories."""
    _play(*steps)


@_histories(1)
@_KILLED_HISTORY
def test_the_run_after_a_killed_one_ends_like_an_undisturbed_one(
    first: Step, second: Step, cut: dict[str, str]
) -> None:
    """Whichever tables a killed run has merged, the next one leaves what it would have left, and then all is quiet."""
    assume(_has_events(first, second))
    _play(first, second, Step(()), cut=cut)


@pytest.mark.slow
@_histories(6)
@_KILLED_HISTORY
def test_runs_after_killed_ones_end_like_undisturbed_ones(first: Step, second: Step, cut: dict[str, str]) -> None:
    """The same, for more histories."""
    _play(first, second, Step(()), cut=cut)
