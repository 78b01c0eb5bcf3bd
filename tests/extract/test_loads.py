"""Leaving off in the middle of a load."""

from __future__ import annotations

from klaviyo_jobs.extract.listing import ListingOutcome
from klaviyo_jobs.extract.loads import Loads
from klaviyo_jobs.extract.source import build_listings
from klaviyo_sandbox import Fault, Sandbox
from support.loads import Load
from support.waiting import ends_within, wait_until


def test_a_listing_that_is_left_off_waits_for_nothing_and_disturbs_no_other(sandbox: Sandbox, load: Load) -> None:
    """Its `Retry-After` is not waited for; another listing of the same account is read to its end, before and after."""
    sandbox.faults.append(Fault("429", "30", kind="item-create"))
    outcomes: list[ListingOutcome] = []
    left_off, read_on = build_listings(load.settings(kinds=["item-create", "category-create"]))
    loads = Loads([left_off, read_on], [], outcomes, None)
    assert left_off.client is read_on.client
    rows = loads.iter_rows([left_off])

    def has_asked() -> bool:
        next(rows)
        return bool(sandbox.requests)

    wait_until(has_asked)
    others = loads.iter_rows([read_on])
    next(others)

    with ends_within(1):
        rows.close()  # type: ignore[attr-defined]
    list(others)

    first, second = outcomes
    assert (first.is_complete, first.error) == (False, None)
    assert (second.is_complete, second.error) == (True, None)
