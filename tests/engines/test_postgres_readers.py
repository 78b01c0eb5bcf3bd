"""Postgres beside a run: readers, views of others, rights that are missing, and what it cannot hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from engines.conftest import Postgres
from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.runs.run import RunSummary, run
from klaviyo_jobs.settings import Settings
from klaviyo_sandbox import JobError, Sandbox, related_id
from support.jobs import finished, under_way
from support.loads import NOW
from support.places import InPostgres, emptied

KINDS = ["item-create", "category-create"]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=NOW) as sandbox:
        sandbox.world.add(finished("item-create", "J1", "A", created_at=NOW), finished("category-create", "C1", "B"))
        yield sandbox


@pytest.fixture
def place(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[InPostgres]:
    """A database of its own."""
    database = InPostgres(postgres.url, "readers")
    with emptied(database, monkeypatch):
        yield database


@pytest.fixture
def reader(place: InPostgres) -> Iterator[Postgres]:
    """A connection that stays in one transaction, as a tool does while it shows a page."""
    connected = Postgres(place.url)
    connected.connection.autocommit = False
    connected.rows("set transaction isolation level repeatable read")
    yield connected
    connected.connection.close()


def load(sandbox: Sandbox, place: InPostgres, **own: Any) -> RunSummary:
    """Run once; who holds what is to be changed is waited for a second."""
    settings = Settings(
        **{"base_url": sandbox.base_url, "api_key": sandbox.key, "kinds": KINDS, "warehouse_wait_seconds": 1.0, **own}
    )
    engine = place.engine()
    engine._wait_seconds = 1.0  # type: ignore[attr-defined]
    return run(settings, engine)


def test_a_reader_in_the_middle_of_a_query_is_not_waited_for(
    sandbox: Sandbox, place: InPostgres, reader: Postgres
) -> None:
    """It reads on in what was there when it began; the run writes meanwhile."""
    load(sandbox, place)
    seen = reader.rows("select count(*) from klaviyo.jobs")
    sandbox.world.add(finished("item-create", "J2", "A", created_at=NOW))

    summary = load(sandbox, place)

    assert (seen, summary.changed_count) == ([(2,)], 1)
    assert reader.rows("select count(*) from klaviyo.jobs") == [(2,)]
    assert place.rows("select count(*) from klaviyo.jobs") == [(3,)]


def test_views_that_are_read_while_they_have_to_change_wait_for_the_next_run(
    sandbox: Sandbox, place: InPostgres, reader: Postgres
) -> None:
    """After the time that is waited, the run ends with 7; its jobs are there, and the views as they were."""
    load(sandbox, place)
    reader.rows("select count(*) from klaviyo.stuck_jobs")
    sandbox.world.add(finished("item-create", "J2", "A", created_at=NOW))

    with pytest.raises(WarehouseError) as caught:
        load(sandbox, place, stuck_after_seconds=60)

    reader.connection.close()
    assert "somebody reads or holds what is to be changed" in str(caught.value)
    assert place.rows("select count(*) from klaviyo.jobs") == [(3,)]
    assert place.rows("select stuck_after_seconds from klaviyo.reporting_settings") == [(21600,)]
    load(sandbox, place, stuck_after_seconds=60)
    assert place.rows("select stuck_after_seconds from klaviyo.reporting_settings") == [(60,)]


def test_a_view_of_somebody_else_stays(sandbox: Sandbox, place: InPostgres) -> None:
    """In their schema and in ours, on our views; these may change as long as their columns stay."""
    load(sandbox, place)
    place.rows("create view public.mine as select job_id from klaviyo.jobs")
    place.rows("create view klaviyo.theirs as select 1 as one")

    load(sandbox, place, stuck_after_seconds=60)

    assert place.rows("select job_id from public.mine order by 1") == [("C1",), ("J1",)]
    assert place.rows("select one from klaviyo.theirs") == [(1,)]


def test_a_view_that_stands_in_the_way_is_named(sandbox: Sandbox, place: InPostgres) -> None:
    """Where columns of ours change, as after an upgrade; nothing of anybody's is dropped."""
    load(sandbox, place)
    place.rows("drop view klaviyo.stuck_jobs; create view klaviyo.stuck_jobs as select 1 as other")
    place.rows("create view public.mine as select other from klaviyo.stuck_jobs")

    with pytest.raises(WarehouseError) as caught:
        load(sandbox, place)

    assert "stuck_jobs" in str(caught.value)
    assert "others have built views on ours" in str(caught.value)
    assert place.rows("select other from public.mine") == [(1,)]
    place.rows("drop view public.mine")


def test_a_right_that_is_missing_is_named(sandbox: Sandbox, place: InPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the database as it was."""
    place.rows("drop owned by nobody_much; drop role nobody_much" if _has_role(place) else "select 1")
    place.rows("create role nobody_much login")
    url = place.url.replace("//postgres:", "//nobody_much:")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)

    with pytest.raises(WarehouseError, match="permission denied") as caught:
        load(sandbox, place)

    assert "docs/scale.md says what a run needs" in str(caught.value)


def _has_role(place: InPostgres) -> bool:
    return bool(place.rows("select 1 from pg_roles where rolname = 'nobody_much'"))


def test_what_postgres_cannot_hold_is_replaced(sandbox: Sandbox, place: InPostgres) -> None:
    """A NUL in a text: in its place stands what says that something was there, and the job is loaded."""
    errors = [JobError("before\x00after", related_id("X"))]
    sandbox.world.add(under_way("item-create", "NUL", "A", errors=errors, failed_count=1))

    load(sandbox, place)

    assert place.rows("select detail from klaviyo_raw.job_errors") == [("before\N{REPLACEMENT CHARACTER}after",)]
    assert load(sandbox, place).changed_count == 0


def test_every_table_has_an_index_on_its_key(sandbox: Sandbox, place: InPostgres) -> None:
    """Or each run would read what is kept to find what it replaces."""
    load(sandbox, place)

    found = place.rows(
        "select indexname from pg_indexes where schemaname = 'klaviyo_raw' and indexname like '%_by_key'"
    )
    tables = ["jobs", "job_errors", "job_linkages", "job_observations", "listings", "rejected_records", "categories"]
    assert sorted(name for (name,) in found) == sorted(f"{table}_by_key" for table in tables)
