"""What a load hands to dlt, and leaving off in the middle of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from klaviyo_jobs.extract.loads import Loads
from klaviyo_jobs.extract.outcomes import ListingOutcome
from klaviyo_jobs.extract.source import build_listings
from klaviyo_sandbox import Fault, Sandbox
from support.jobs import finished
from support.loads import Load, Warehouse
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
    next(others, None)

    with ends_within(1):
        rows.close()  # type: ignore[attr-defined]
    list(others)

    first, second = outcomes
    assert (first.is_complete, first.error) == (False, None)
    assert (second.is_complete, second.error) == (True, None)


def test_what_many_listings_leave_is_handed_over_as_one(sandbox: Sandbox, load: Load) -> None:
    """An Arrow table costs dlt the same, whatever its rows: accounts by the hundred make as few as one account."""
    accounts = {f"shop-{number}": sandbox.add_account(f"shop-{number}").key for number in range(20)}
    listings = build_listings(load.settings(api_key=None, accounts=accounts, kinds=["item-create"]))

    items: list[Any] = [item for item in Loads(listings, [], [], None).iter_rows(listings) if item is not None]

    assert [sorted(item.data.column("account").to_pylist()) for item in items] == [sorted(accounts)]


def tables_of_the_last_load(warehouse: Warehouse) -> set[str]:
    """Return the tables of ours that dlt dealt with: each costs a run some 50 milliseconds, changed or not."""
    schema = json.loads(warehouse.value("select schema from klaviyo_raw._dlt_version"))
    return {name for name in schema["tables"] if not name.startswith("_dlt")}


def test_what_ends_while_another_hands_on_is_handed_on_too(sandbox: Sandbox, load: Load) -> None:
    """dlt takes the items of all resources in turn: one may begin and end between two items of another."""
    # Once a bug: its rows were left to the other, which had begun to hand on without them.
    sandbox.world.add(finished("item-create", "J1"), finished("item-delete", "J2"))
    one, other = build_listings(load.settings(kinds=["item-create", "item-delete"]))
    loads = Loads([one, other], [], [], None)
    rows: Iterator[Any] = loads.iter_rows([one])
    first = next(item for item in rows if item is not None)

    items: list[Any] = [first, *loads.iter_rows([other]), *rows]

    tables = [item.data for item in items if item is not None]
    kinds = [table.column("job_kind").to_pylist() for table in tables if "page_count" in table.column_names]
    assert sorted(kinds) == [["item-create"], ["item-delete"]]


@pytest.mark.usefixtures("no_file")
def test_a_load_in_which_nothing_changed_hands_over_its_listings_only(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Tables that the warehouse has, with all their columns, are not made again."""
    sandbox.world.add(finished("category-create", "J1"))

    load()
    first = tables_of_the_last_load(warehouse)
    load()

    assert first == {
        *("jobs", "job_errors", "job_linkages", "job_observations"),
        *("listings", "rejected_records", "categories"),
    }
    assert tables_of_the_last_load(warehouse) == {"listings"}


def test_a_table_that_somebody_dropped_is_made_again(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """An empty one, by the next load, though nothing changed."""
    sandbox.world.add(finished("item-create", "J1"))
    load()
    warehouse.rows("drop table klaviyo_raw.rejected_records")

    summary = load()

    assert (summary.error, warehouse.count("rejected_records")) == (None, 0)


def test_the_summary_counts_the_rows_of_every_table(sandbox: Sandbox, load: Load) -> None:
    """Zero where a load had nothing to write, whatever it handed over."""
    sandbox.world.add(finished("item-create", "J1"))
    load(kinds=["item-create"])

    assert load(kinds=["item-create"]).rows == {
        "jobs": 0,
        "job_errors": 0,
        "job_linkages": 0,
        "job_observations": 0,
        "listings": 1,
        "rejected_records": 0,
        "categories": 0,
    }
