"""The DuckDB file: who may have it open, and which errors are its own."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration

from klaviyo_jobs.errors import PartialError, WarehouseError
from klaviyo_jobs.warehouse.engines.duckdb import (
    DuckDBConnection,
    open_warehouse,
    warehouse_errors,
)
from klaviyo_jobs.warehouse.engines.duckdb_load import destination_of
from klaviyo_sandbox import Job, Sandbox, related_id
from support.loads import NOW, Load, Warehouse
from support.processes import reader


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    """Through the errors that dlt wraps it in, with what to do about it; other errors of the system stay what they are."""
    told = []

    def fail(number: int) -> None:
        try:
            raise OSError(number, "of the system")
        except OSError as error:
            raise RuntimeError("step failed") from error

    for number in (errno.ENOSPC, errno.ENOENT):
        with pytest.raises((WarehouseError, RuntimeError)) as caught, warehouse_errors(tmp_path / "w.duckdb"):
            fail(number)
        told.append(str(caught.value).splitlines()[0])

    assert told == [
        f"the disk of {tmp_path / 'w.duckdb'}, or that of the folder for temporary files, is full.",
        "step failed",
    ]


def test_an_error_of_duckdb_is_found_behind_one_of_cleaning_up(tmp_path: Path) -> None:
    """What was raised while another error was handled has that one for its reason."""

    def clean_up() -> None:
        try:
            raise duckdb.IOException("could not write")
        except duckdb.Error:
            raise RuntimeError("nor clean up")  # noqa: B904

    with pytest.raises(WarehouseError, match="could not write"), warehouse_errors(tmp_path / "w.duckdb"):
        clean_up()


def test_an_error_of_ours_stays_what_it_is(tmp_path: Path) -> None:
    """It says more than what it was made of."""
    ours = PartialError("some failed.")

    with pytest.raises(PartialError), warehouse_errors(tmp_path / "w.duckdb"):
        raise ours from duckdb.IOException("could not write")


def test_any_number_of_programs_may_read_at_once(load: Load, warehouse: Warehouse) -> None:
    """Whoever only reads does not mind another reader."""
    load(kinds=["item-create"])

    with reader(warehouse.path, 30), open_warehouse(warehouse.path, read_only=True) as connection:
        assert connection.execute("select count(*) from klaviyo_raw.listings").fetchall() == [(1,)]


@pytest.mark.usefixtures("no_file")
def test_a_table_that_is_refused_leaves_the_file_closed(warehouse: Warehouse) -> None:
    """Its owner opens it as before, even while the error is looked at."""
    warehouse.rows("create schema klaviyo_raw")
    warehouse.rows("create table klaviyo_raw.jobs (name text)")

    with pytest.raises(WarehouseError) as caught:
        open_warehouse(warehouse.path)

    opened = subprocess.run(
        [sys.executable, "-c", f"import duckdb; duckdb.connect({str(warehouse.path)!r})"], check=False, timeout=30
    )
    assert (caught.value.exit_code, opened.returncode) == (7, 0)


def test_dlts_destination_is_duckdb_by_name(tmp_path: Path) -> None:
    """What a user sets for dlt's DuckDB, in the section `destination.duckdb`, is read."""
    assert destination_of(tmp_path / "w.duckdb").destination_name == "duckdb"


def test_the_capabilities_of_duckdb_are_resolved_once_a_load(tmp_path: Path) -> None:
    """dlt asks for them ten times a load; the settings behind them are looked for the first time only."""
    destination = destination_of(tmp_path / "w.duckdb")
    first = destination.configuration(destination.spec(), accept_partial=True)

    assert destination.configuration(destination.spec(), accept_partial=True) is first
    assert destination.capabilities().supports_transactions


def test_clients_of_one_dataset_share_their_settings_and_connections(tmp_path: Path) -> None:
    """dlt makes a client for each question and each load job; another dataset has settings of its own."""
    destination = destination_of(tmp_path / "w.duckdb")
    one, same, other = (
        destination.configuration(DuckDbClientConfiguration()._bind_dataset_name(name))
        for name in ("one", "one", "other")
    )

    assert one is same
    assert one.is_resolved()
    assert (one.dataset_name, other.dataset_name) == ("one", "other")


def test_a_load_waits_for_none_of_its_jobs_in_vain(monkeypatch: pytest.MonkeyPatch, load: Load) -> None:
    """dlt looks once a second for what was done without its being told; whatever is done, it is told."""
    told: list[bool] = []

    class Event(threading.BoundedSemaphore):
        def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
            is_told = super().acquire(blocking, timeout)
            if timeout is not None:
                told.append(is_told)
            return is_told

    monkeypatch.setattr("dlt.load.load.BoundedSemaphore", Event)

    load(kinds=["item-create"])

    assert told
    assert all(told)


def test_every_raw_table_and_column_says_what_it_is(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """In the comments that SQL clients show, those of included resources and of dlt's own tables left out."""
    sandbox.world.add(Job("item-create", "J1", NOW, completed_at=NOW, related_ids=[related_id("A")]))

    load(kinds=["item-create"], include=["items"])

    assert (
        warehouse.rows(
            """
            select table_name, column_name from duckdb_columns()
            where schema_name = 'klaviyo_raw' and not starts_with(table_name, '_dlt') and comment is null
            union all
            select table_name, null from duckdb_tables()
            where schema_name = 'klaviyo_raw' and not starts_with(table_name, '_dlt') and comment is null
            """
        )
        == []
    )


def test_a_table_that_comes_later_says_it_too(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Items are first included by a later run, in which no view changes."""
    sandbox.world.add(Job("item-create", "J1", NOW, completed_at=NOW, related_ids=[related_id("A")]))
    load(kinds=["item-create"])

    load.refresh(kinds=["item-create"], include=["items"])

    assert warehouse.value("select comment from duckdb_tables() where table_name = 'items'") == (
        "Items as they last came with a job."
    )


def test_what_is_noted_in_a_comment_stays_behind_what_it_says(tmp_path: Path) -> None:
    """Whichever comes first, and whatever an earlier release noted alone."""
    with DuckDBConnection(open_warehouse(tmp_path / "w.duckdb")) as connection:
        connection.execute("create schema klaviyo_raw; create table klaviyo_raw.other (a int)")
        connection.execute("comment on table klaviyo_raw.other is 'klaviyo-jobs contract 1'")
        before = connection.mark_of("other")

        connection.describe_table("other", "Somebody's [own] rows.", {"a": "It's a number."})
        connection.mark_column("other", "a", "rule 3")
        connection.mark_table("other", "klaviyo-jobs contract 2")

        assert (before, connection.mark_of("other")) == ("klaviyo-jobs contract 1", "klaviyo-jobs contract 2")
        assert connection.mark_of_column("other", "a") == "rule 3"
        assert connection.execute("select comment from duckdb_tables()").fetchall() == [
            ("Somebody's [own] rows. [klaviyo-jobs contract 2]",)
        ]
        assert connection.execute("select comment from duckdb_columns() where table_name = 'other'").fetchall() == [
            ("It's a number. [rule 3]",)
        ]


def test_waiting_for_the_file_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, warehouse: Warehouse
) -> None:
    """Not every second: the line says nothing new."""
    with reader(warehouse.path, 30), caplog.at_level("INFO"), pytest.raises(WarehouseError):
        open_warehouse(warehouse.path, wait_seconds=2.5)

    assert len([record for record in caplog.records if record.getMessage().endswith("waiting")]) == 1
