"""Days and fingerprints follow their rule: all of them when the rule changes, and none that already do."""

from __future__ import annotations

import duckdb
import pytest

from klaviyo_jobs.model import days, fingerprints
from klaviyo_jobs.warehouse import derived
from klaviyo_jobs.warehouse.engines import duckdb as engine_of_files
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection
from klaviyo_jobs.warehouse.views import apply_views
from klaviyo_sandbox import JobError, Sandbox, related_id
from support.jobs import finished
from support.loads import DAY, HOUR, NOW, Load, Warehouse

DAYS = "select created_on, completed_on from klaviyo_raw.jobs"
EVENING = NOW.replace(hour=23, minute=30)


@pytest.fixture
def loaded(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> Warehouse:
    """A warehouse of one job that was created in the evening, ended an hour later, and failed."""
    error = JobError("No item 7.", related_id("A"))
    sandbox.clock.advance(2 * DAY)
    sandbox.world.add(
        finished("item-create", "J1", created_at=EVENING, completed_at=EVENING + HOUR, failed_count=1, errors=[error])
    )
    load(kinds=["item-create"])
    return warehouse


def apply(warehouse: Warehouse, zone: str = "UTC") -> None:
    with duckdb.connect(str(warehouse.path)) as connection:
        apply_views(DuckDBConnection(connection), reporting_timezone=zone)


def test_a_run_stores_the_days_of_its_zone(loaded: Warehouse, load: Load) -> None:
    """In UTC the job ended on the next day, and so it stands in the table."""
    assert loaded.rows(DAYS) == [(NOW.date(), NOW.date() + DAY)]


@pytest.mark.parametrize(("zone", "days_later"), [("Europe/Berlin", (1, 1)), ("America/New_York", (0, 0))])
def test_another_zone_makes_all_days_anew(
    loaded: Warehouse, load: Load, zone: str, days_later: tuple[int, int]
) -> None:
    """Those of jobs that no run writes again too; the setting may change at any time."""
    load(kinds=["item-create"], reporting_timezone=zone)

    assert loaded.rows(DAYS) == [tuple(NOW.date() + later * DAY for later in days_later)]


def test_newer_rules_of_time_zones_make_all_days_anew(loaded: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A country changes its clocks: with the new release of the tz database all days follow."""
    loaded.rows("update klaviyo_raw.jobs set created_on = date '2000-01-01'")
    monkeypatch.setattr(derived, "RULES", "2099a")

    apply(loaded)

    assert loaded.rows(DAYS) == [(NOW.date(), NOW.date() + DAY)]


def test_days_that_follow_the_rule_are_left_alone(loaded: Warehouse) -> None:
    """What a run costs does not depend on how many jobs are kept."""
    loaded.rows("update klaviyo_raw.jobs set created_on = date '2000-01-01'")

    apply(loaded)

    assert loaded.value("select cast(created_on as text) from klaviyo_raw.jobs") == "2000-01-01"


def test_a_row_without_its_day_gets_it(loaded: Warehouse) -> None:
    """Whoever wrote it."""
    loaded.rows("update klaviyo_raw.jobs set created_on = null, completed_on = null")

    apply(loaded)

    assert loaded.rows(DAYS) == [(NOW.date(), NOW.date() + DAY)]


def test_another_rule_makes_all_fingerprints_anew(loaded: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of the rule stands at the column."""
    before = loaded.value("select fingerprint from klaviyo_raw.job_errors")
    loaded.rows("update klaviyo_raw.job_errors set fingerprint = 'of another rule'")
    apply(loaded)
    left_alone = loaded.value("select fingerprint from klaviyo_raw.job_errors")
    monkeypatch.setattr(derived, "RULE", fingerprints.RULE + 1)

    apply(loaded)

    assert (before, left_alone) == ("No item ?.", "of another rule")
    assert loaded.value("select fingerprint from klaviyo_raw.job_errors") == "No item ?."


def test_more_rows_than_are_derived_at_once_all_follow(loaded: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Portion by portion, with gaps where rows were deleted."""
    loaded.rows(
        "insert into klaviyo_raw.jobs by name select jobs.* replace ('J' || n as job_id) "
        "from klaviyo_raw.jobs as jobs cross join range(2, 100) as t(n)"
    )
    loaded.rows("delete from klaviyo_raw.jobs where right(job_id, 1) = '3'")
    monkeypatch.setattr(engine_of_files, "_ROWS_AT_ONCE", 7)

    apply(loaded, "Europe/Berlin")

    assert loaded.rows("select created_on, count(*) from klaviyo_raw.jobs group by 1") == [(NOW.date() + DAY, 89)]


def test_the_columns_say_which_rule_they_follow(loaded: Warehouse) -> None:
    """For whoever wonders why a day is not the one that their own clock says."""
    assert loaded.rows(
        r"""
        select column_name, regexp_extract(comment, '\[(.*)\]$', 1) from duckdb_columns()
        where schema_name = 'klaviyo_raw' and column_name in ('created_on', 'fingerprint')
        order by 1
        """
    ) == [
        ("created_on", f"days in UTC by the rules of {days.RULES}"),
        ("fingerprint", f"rule {fingerprints.RULE}"),
    ]
