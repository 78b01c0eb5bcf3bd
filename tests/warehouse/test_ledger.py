"""What the ledger says of runs that could not tell it themselves, listing by listing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import pytest

from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from klaviyo_jobs.warehouse.engines.engine import RunNote
from klaviyo_jobs.warehouse.ledger import record_ended_runs
from support.loads import NOW, Load, Warehouse

ITEMS, UPDATES = ("default", "item-create"), ("default", "item-update")
OTHER = ("shop_eu", "item-create")
TOLD = "interrupted: process 7 on host ended at step load."


def note(run_id: str = "", *, listings: Sequence[tuple[str, str]] = (ITEMS,), since: str = NOW.isoformat()) -> RunNote:
    """A run that process 7 was killed in."""
    return RunNote(7, "host", since, "klaviyo-jobs run", list(listings), "load", run_id)


@pytest.fixture
def ledger(load: Load, warehouse: Warehouse) -> Warehouse:
    """A warehouse whose ledger is empty, and which knows two loads: `done` completed, `cut` did not."""
    load(kinds=["item-create"])
    warehouse.rows("delete from klaviyo_raw.listings")
    warehouse.rows("delete from klaviyo_raw._dlt_loads")
    for run_id, status in (("done", 0), ("cut", 1)):
        warehouse.rows(
            "insert into klaviyo_raw._dlt_loads (load_id, schema_name, status, inserted_at) values (?, 'x', ?, now())",
            *(run_id, status),
        )
    return warehouse


def fill(ledger: Warehouse, *rows: tuple[tuple[str, str], str, bool, str | None]) -> None:
    """Write what listings left in the ledger: account and kind, run, whether it is complete, its error."""
    for (account, kind), run_id, is_complete, error in rows:
        ledger.rows(
            "insert into klaviyo_raw.listings (account, job_kind, run_id, is_complete, error) values (?, ?, ?, ?, ?)",
            *(account, kind, run_id, is_complete, error),
        )


def tell(ledger: Warehouse, *notes: RunNote) -> None:
    with duckdb.connect(str(ledger.path)) as connection:
        record_ended_runs(DuckDBConnection(connection), notes)


def rows(ledger: Warehouse) -> list[tuple[Any, ...]]:
    return ledger.rows("select account, job_kind, run_id, is_complete, error from klaviyo_raw.listings order by all")


def test_a_run_without_an_id_is_told_once_for_each_listing(ledger: Warehouse) -> None:
    """When it asked for the lock and its process stand for the id; telling again changes nothing."""
    for _ in range(2):
        tell(ledger, note(listings=[ITEMS, UPDATES, OTHER]))

    run_id = f"{NOW.isoformat()}-7"
    assert rows(ledger) == [
        ("default", "item-create", run_id, False, TOLD),
        ("default", "item-update", run_id, False, TOLD),
        ("shop_eu", "item-create", run_id, False, TOLD),
    ]
    assert ledger.rows("select distinct started_at from klaviyo_raw.listings") == [(NOW,)]


def test_a_listing_whose_load_completed_stays_complete(ledger: Warehouse) -> None:
    """What is missing is the rest of the run; a listing that failed stays failed, and says so in its own words."""
    fill(ledger, (ITEMS, "done", True, None), (UPDATES, "done", False, "PagingError: no end."))

    tell(ledger, note("done", listings=[ITEMS, UPDATES]))

    assert rows(ledger) == [
        ("default", "item-create", "done", True, TOLD),
        ("default", "item-update", "done", False, "PagingError: no end."),
    ]


@pytest.mark.parametrize("run_id", ["cut", "of no load"])
def test_a_listing_whose_load_was_cut_off_is_not_complete(ledger: Warehouse, run_id: str) -> None:
    """Its jobs are not held, whatever it has read."""
    fill(ledger, (ITEMS, run_id, True, None))

    tell(ledger, note(run_id))

    assert rows(ledger) == [("default", "item-create", run_id, False, TOLD)]


def test_other_listings_keep_their_rows(ledger: Warehouse) -> None:
    """Those of other accounts, kinds and runs, and those that the run was not to read."""
    others: list[tuple[tuple[str, str], str, bool, str | None]] = [
        (ITEMS, "earlier", True, None),
        (UPDATES, "cut", True, None),
        (OTHER, "cut", True, None),
    ]
    fill(ledger, *others)

    tell(ledger, note("cut"))

    assert rows(ledger) == [
        ("default", "item-create", "cut", False, TOLD),
        ("default", "item-create", "earlier", True, None),
        ("default", "item-update", "cut", True, None),
        ("shop_eu", "item-create", "cut", True, None),
    ]


def test_notes_are_told_all_or_none(ledger: Warehouse) -> None:
    """One that cannot be told leaves the ledger as it was, and the connection ready for more."""
    with duckdb.connect(str(ledger.path)) as connection:
        with pytest.raises(duckdb.ConversionException):
            record_ended_runs(DuckDBConnection(connection), [note("cut"), note(since="yesterday")])
        record_ended_runs(DuckDBConnection(connection), [note("later")])

    assert rows(ledger) == [("default", "item-create", "later", False, TOLD)]


def test_a_run_that_began_in_another_zone_began_when_it_did(ledger: Warehouse) -> None:
    """The time it asked for the lock keeps its offset."""
    tell(ledger, note(since="2026-11-20T13:00:00+01:00"))

    assert ledger.rows("select started_at from klaviyo_raw.listings") == [(NOW,)]
