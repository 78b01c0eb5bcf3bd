"""The source in a dlt pipeline of somebody's own: what the documents say of dlt's switches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from klaviyo_jobs import ListingOutcome, klaviyo_jobs
from klaviyo_sandbox import Fault, Sandbox


@pytest.fixture
def shop() -> Iterator[Sandbox]:
    """350 item-create and 230 category-create jobs, and 40 of each other kind."""
    with Sandbox("full", clock=datetime.now(UTC)) as sandbox:
        yield sandbox


@pytest.fixture
def load(shop: Sandbox, tmp_path: Path) -> Callable[..., None]:
    """Runs the source, with what is done to it, into a dataset of a file."""

    def run(change: Callable[[Any], Any] = lambda source: source, dataset: str = "klaviyo_raw", **options: Any) -> None:
        pipeline = dlt.pipeline(
            "of_a_user",
            pipelines_dir=str(tmp_path / "pipelines"),
            destination=dlt.destinations.duckdb(str(tmp_path / "w.duckdb"), supports_transactions=True),
            dataset_name=dataset,
        )
        pipeline.run(change(klaviyo_jobs(api_key=shop.key, base_url=shop.base_url, **options)))

    return run


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """What the file in *folder* answers."""
    with duckdb.connect(str(folder / "w.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_outcomes_tell_of_each_listing_and_keep_a_failure_from_ending_the_rest(
    shop: Sandbox, load: Callable[..., None], tmp_path: Path
) -> None:
    """One listing is refused, the other loaded; without the list, the refusal would be raised."""
    shop.faults.append(Fault("status", "403", kind="item-update"))
    outcomes: list[ListingOutcome] = []
    load(kinds=["item-update", "category-delete"], outcomes=outcomes)
    found = {outcome.name: (outcome.is_complete, outcome.job_count, outcome.error is None) for outcome in outcomes}

    assert found == {"default/item-update": (False, 0, False), "default/category-delete": (True, 40, True)}
    assert rows(tmp_path, "select job_kind, count(*) from klaviyo_raw.jobs group by all") == [("category-delete", 40)]


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_costs_nothing_but_the_rest(load: Callable[..., None], tmp_path: Path, limit: int) -> None:
    """Whatever it lets through: nothing is said to be complete or to have vanished, and the next run brings the rest."""
    load(lambda source: source.add_limit(limit), kinds=["item-create"])
    tables = rows(tmp_path, "select table_name from information_schema.tables where table_schema = 'klaviyo_raw'")
    vanished = rows(tmp_path, "select count(*) from klaviyo_raw.jobs where vanished_at is not null")
    complete = ("listings",) in tables and rows(tmp_path, "select count(*) from klaviyo_raw.listings") != [(0,)]
    load(kinds=["item-create"])

    assert (vanished, complete) == ([(0,)], False)
    assert rows(tmp_path, "select count(*) from klaviyo_raw.jobs") == [(350,)]
    assert rows(tmp_path, "select is_complete, job_count from klaviyo_raw.listings") == [(True, 350)]


def test_a_limit_does_nothing_to_kinds_with_details(load: Callable[..., None], tmp_path: Path) -> None:
    """dlt does not limit transformers, and says so."""
    load(lambda source: source.add_limit(1), kinds=["category-create"])

    assert rows(tmp_path, "select count(*) from klaviyo_raw.jobs") == [(230,)]


def test_another_dataset_is_a_warehouse_of_its_own(load: Callable[..., None], tmp_path: Path) -> None:
    """It knows its own jobs: a second run writes nothing, and a run into the first one writes all."""
    for dataset in ("other", "other", "klaviyo_raw"):
        load(dataset=dataset, kinds=["item-update"])
    changed = "select changed_count from {}.listings order by started_at"

    assert rows(tmp_path, changed.format("other")) == [(40,), (0,)]
    assert rows(tmp_path, changed.format("klaviyo_raw")) == [(40,)]
