"""Retention: what is older than the user wants to keep goes, all of it and nothing else."""

from __future__ import annotations

import datetime as dt

import duckdb
import pendulum
import pytest

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from klaviyo_jobs.warehouse.prune import parse_age, prune
from klaviyo_sandbox import Job, JobError, RawJob, Sandbox, related_id
from support.loads import NOW, Load, Warehouse

TABLES = ("jobs", "job_errors", "job_linkages", "job_observations", "listings", "rejected_records")


@pytest.fixture
def filled(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> Warehouse:
    """An old job and a new one with a child each, observations, ledger rows and a rejected record of 20 days ago."""
    sandbox.world.add(
        *(
            Job(
                "item-create",
                job_id,
                NOW,
                completed_at=NOW,
                total_count=2,
                completed_count=1,
                failed_count=1,
                errors=[JobError("No.", related_id("A"))],
                related_ids=[related_id("B")],
            )
            for job_id in ("OLD", "NEW")
        ),
        RawJob("item-create", {"type": "catalog-item-bulk-create-job", "id": "ODD"}, id="ODD", created_at=NOW),
    )
    load(kinds=["item-create"])
    for table, column in (
        ("jobs", "created_at"),
        ("job_observations", "observed_at"),
    ):
        warehouse.rows(f"update klaviyo_raw.{table} set {column} = now() - interval 20 day where job_id = 'OLD'")
        warehouse.rows(f"update klaviyo_raw.{table} set {column} = now() - interval 1 day where job_id = 'NEW'")
    warehouse.rows("update klaviyo_raw.rejected_records set last_rejected_at = now() - interval 20 day")
    warehouse.rows("update klaviyo_raw.listings set started_at = now() - interval 20 day")
    return warehouse


def counts(warehouse: Warehouse) -> dict[str, int]:
    """How many rows each table has."""
    return {table: warehouse.count(table) for table in TABLES}


def test_old_observations_ledger_rows_and_rejected_records_go(filled: Warehouse) -> None:
    """Jobs and their children stay, whatever their age."""
    with duckdb.connect(str(filled.path)) as connection:
        deleted = prune(DuckDBConnection(connection), dt.timedelta(days=10))

    assert deleted == {"job_observations": 1, "listings": 1, "rejected_records": 1}
    assert counts(filled) == {
        "jobs": 2,
        "job_errors": 2,
        "job_linkages": 2,
        "job_observations": 1,
        "listings": 0,
        "rejected_records": 0,
    }


def test_old_jobs_go_with_all_that_belongs_to_them(filled: Warehouse) -> None:
    """Only when asked for; the new job keeps its rows."""
    with duckdb.connect(str(filled.path)) as connection:
        prune(DuckDBConnection(connection), dt.timedelta(days=10), with_jobs=True)

    assert counts(filled) == {
        "jobs": 1,
        "job_errors": 1,
        "job_linkages": 1,
        "job_observations": 1,
        "listings": 0,
        "rejected_records": 0,
    }
    assert filled.rows("select distinct job_id from klaviyo_raw.job_errors") == [("NEW",)]


def test_a_rehearsal_counts_and_deletes_nothing(filled: Warehouse) -> None:
    """--dry-run tells the same numbers as the deletion after it."""
    before = counts(filled)
    with duckdb.connect(str(filled.path)) as connection:
        told = prune(DuckDBConnection(connection), dt.timedelta(days=10), with_jobs=True, is_dry_run=True)
        assert counts(filled) == before
        deleted = prune(DuckDBConnection(connection), dt.timedelta(days=10), with_jobs=True)

    assert (
        told
        == deleted
        == {
            "job_observations": 1,
            "listings": 1,
            "rejected_records": 1,
            "job_errors": 1,
            "job_linkages": 1,
            "jobs": 1,
        }
    )


def test_a_pruned_history_is_not_written_again(filled: Warehouse, load: Load) -> None:
    """A run after pruning sees a job it holds: no second observation of an old state appears."""
    with duckdb.connect(str(filled.path)) as connection:
        prune(DuckDBConnection(connection), dt.timedelta(days=10))

    load(kinds=["item-create"])

    # The two rows were moved in time above, so the run reads them again; what it observed is what it held.
    assert filled.rows("select job_id, count(*) from klaviyo_raw.job_observations group by 1") == [("NEW", 1)]


@pytest.mark.parametrize(("text", "days"), [("8d", 8), ("400d", 400), ("60w", 420), (" 10D ", 10), ("9.5 d", 9.5)])
def test_ages_are_days_or_weeks(text: str, days: float) -> None:
    """Whatever the case, and with space around."""
    assert parse_age(text) == pendulum.duration(days=days)


@pytest.mark.parametrize("text", ["", "d", "1y", "-9d", "a year"])
def test_what_is_no_age_is_refused(text: str) -> None:
    """A typing error must not delete anything."""
    with pytest.raises(SettingError, match=r"is not an age\."):
        parse_age(text)


def test_an_age_within_klaviyos_memory_is_refused() -> None:
    """What Klaviyo still lists would come back with the next run, as if it were new."""
    with pytest.raises(SettingError, match="'7d' is too short"):
        parse_age("7d")
