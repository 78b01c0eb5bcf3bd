from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from klaviyo_jobs.model.tables import ENTITY_TABLES, TABLES
from klaviyo_jobs.warehouse.views import read_checks, read_information
from support.views import Warehouse, at

CHECKS = {**read_checks(), **read_information()}

# A job that agrees with itself, as a run would store it.
SOUND = {
    "job_id": "J1",
    "created_at": at("2026-07-15 10:00"),
    "completed_at": at("2026-07-15 10:01"),
    "expires_at": at("2026-07-22 10:00"),
    "first_seen_at": at("2026-07-15 10:02"),
    "last_changed_at": at("2026-07-15 10:02"),
    "total_count": 2,
    "completed_count": 1,
    "failed_count": 1,
    "error_count": 1,
    "linkage_count": 1,
}


def faults(warehouse: Warehouse, check: str, since: datetime | None = None) -> list[tuple[Any, ...]]:
    """Return what *check* finds in what runs wrote *since* then, or ever."""
    return warehouse.rows(CHECKS[check], since=since)


def load(warehouse: Warehouse, **changes: Any) -> None:
    """Store the sound job with its children, but for *changes* to the job."""
    warehouse.jobs({**SOUND, **changes})
    warehouse.insert("job_errors", {"job_id": "J1", "related_id": "A"})
    warehouse.insert("job_linkages", {"job_id": "J1", "related_id": "B"})
    warehouse.insert("job_observations", {"job_id": "J1", "observed_at": at("2026-07-15 10:02")})
    warehouse.insert("listings", {"started_at": at("2026-07-15 10:02"), "finished_at": at("2026-07-15 10:02")})
    warehouse.insert("rejected_records", {"record_hash": "H1"})


@pytest.mark.parametrize("name", CHECKS)
def test_a_sound_warehouse_passes(warehouse: Warehouse, name: str) -> None:
    """Nothing wrong, no rows."""
    load(warehouse)

    assert faults(warehouse, name) == []


@pytest.mark.parametrize("name", CHECKS)
def test_an_empty_warehouse_passes(warehouse: Warehouse, name: str) -> None:
    """Without a single job nothing is wrong."""
    assert faults(warehouse, name) == []


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_answers_with_the_same_columns(warehouse: Warehouse, name: str) -> None:
    """One reader serves all checks."""
    columns = [column[0] for column in warehouse.connection.execute(CHECKS[name], {"since": None}).description or []]

    assert columns == ["account", "job_kind", "job_id", "subject", "problem"]


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("jobs", SOUND),
        ("job_errors", {"job_id": "J1"}),
        ("job_linkages", {"job_id": "J1"}),
        ("job_observations", {"job_id": "J1", "observed_at": at("2026-07-15 10:02")}),
        ("listings", {}),
        ("rejected_records", {"record_hash": "H1"}),
    ],
)
def test_a_row_stored_twice_is_found(warehouse: Warehouse, table: str, row: dict[str, Any]) -> None:
    """Doubled rows are what a killed load must never leave."""
    if table not in ("jobs", "listings", "rejected_records"):
        warehouse.jobs({"job_id": "J1"})
    warehouse.insert(table, row, row)

    assert faults(warehouse, "grain_of_tables") == [
        ("default", "item-create", row.get("job_id"), f"klaviyo_raw.{table}", "2 rows have one key")
    ]


@pytest.mark.parametrize("table", ["job_errors", "job_linkages"])
def test_a_place_taken_twice_is_found_where_another_is_empty(warehouse: Warehouse, table: str) -> None:
    """As many rows as places say nothing: the second of three is missing, and the first stands twice."""
    warehouse.insert(table, *({"job_id": "J1", "position": position} for position in (0, 0, 2)))
    warehouse.jobs({"job_id": "J1"})

    assert faults(warehouse, "grain_of_tables") == [
        ("default", "item-create", "J1", f"klaviyo_raw.{table}", "2 rows have one key")
    ]


@pytest.mark.parametrize("table", ["job_errors", "job_linkages"])
def test_a_place_that_could_not_be_read_is_no_fault_of_the_grain(warehouse: Warehouse, table: str) -> None:
    """The second of three is a rejected record."""
    warehouse.insert(table, *({"job_id": "J1", "position": position} for position in (0, 2)))
    warehouse.jobs({"job_id": "J1"})

    assert faults(warehouse, "grain_of_tables") == []


def test_the_grain_of_every_table_is_checked() -> None:
    """Included resources may have no table; all others are named."""
    assert [
        table for table in set(TABLES) - set(ENTITY_TABLES) if f"'klaviyo_raw.{table}'" not in CHECKS["grain_of_tables"]
    ] == []


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        ("stored_counts", {"linkage_count": 5}),
        ("contradictory_counts", {"total_count": 5}),
        ("impossible_times", {"created_at": at("1944-02-19 07:21:17")}),
        ("contradictory_times", {"completed_at": None}),
    ],
)
def test_a_fault_is_found_in_what_was_written_since(warehouse: Warehouse, check: str, changes: dict[str, Any]) -> None:
    """A run checks what it wrote, and `check` the window; what was written before costs nothing and is not looked at."""
    load(warehouse, **changes)
    warehouse.loaded("R1", at("2026-07-15 10:02"))

    assert len(faults(warehouse, check, since=at("2026-07-15 10:02"))) == 1
    assert faults(warehouse, check, since=at("2026-07-15 10:03")) == []


@pytest.mark.parametrize("table", ["job_errors", "job_observations"])
def test_children_written_since_that_lack_their_job_are_found(warehouse: Warehouse, table: str) -> None:
    """Of a run before that they are not looked for."""
    warehouse.insert(table, {"job_id": "J1"})
    warehouse.loaded("R1", at("2026-07-15 10:02"))

    assert len(faults(warehouse, "orphan_children", since=at("2026-07-15 10:02"))) == 1
    assert faults(warehouse, "orphan_children", since=at("2026-07-15 10:03")) == []


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("jobs", {"job_id": "J1"}),
        ("job_errors", {"job_id": "J1"}),
        ("job_linkages", {"job_id": "J1"}),
        ("job_observations", {"job_id": "J1", "observed_at": at("2026-07-15 10:02")}),
        ("listings", {}),
        ("rejected_records", {"record_hash": "H1"}),
    ],
)
def test_a_row_stored_twice_since_is_found(warehouse: Warehouse, table: str, row: dict[str, Any]) -> None:
    """A job and what belongs to it are of the run that last wrote the job."""
    if table != "jobs":
        warehouse.jobs({"job_id": "J1"})
    warehouse.insert(table, row, row)
    warehouse.loaded("R1", at("2026-07-15 10:02"))

    assert len(faults(warehouse, "grain_of_tables", since=at("2026-07-15 10:02"))) == 1
    assert faults(warehouse, "grain_of_tables", since=at("2026-07-15 10:03")) == []


@pytest.mark.parametrize("table", ["job_errors", "job_linkages", "job_observations"])
def test_children_without_their_job_are_found(warehouse: Warehouse, table: str) -> None:
    """A job of the same id in another account or kind is not theirs."""
    warehouse.jobs({"job_id": "J1", "account": "shop_b"}, {"job_id": "J1", "job_kind": "item-delete"})
    child: dict[str, Any] = {"observed_at": at("2026-07-15 10:00")} if table == "job_observations" else {}
    warehouse.insert(table, {"job_id": "J1", **child})

    assert faults(warehouse, "orphan_children") == [
        ("default", "item-create", "J1", f"klaviyo_raw.{table}", "1 rows of a job that is not there")
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"error_count": 2, "failed_count": 2},
            "error_count is 2, 0 could not be read, but job_errors holds 1",
        ),
        ({"linkage_count": None}, "linkage_count is 0, 0 could not be read, but job_linkages holds 1"),
        (
            {"linkage_count": 3, "unread_linkage_count": 1},
            "linkage_count is 3, 1 could not be read, but job_linkages holds 1",
        ),
    ],
)
def test_counts_that_disagree_with_the_rows_are_found(
    warehouse: Warehouse, changes: dict[str, Any], problem: str
) -> None:
    """As many are stored as were listed, but for those that could not be read."""
    load(warehouse, **changes)

    assert faults(warehouse, "stored_counts") == [("default", "item-create", "J1", "klaviyo_raw.jobs", problem)]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"failed_count": -1}, "a count is negative"),
        ({"failed_count": 0}, "failed_count is 0, but error_count is 1"),
        ({"total_count": 3}, "total_count is 3, but 1 completed and 1 failed"),
        ({"total_count": 3, "failed_count": None}, "total_count is 3, but 1 completed and 1 failed"),
    ],
)
def test_counts_of_klaviyo_that_contradict_each_other_are_told(
    warehouse: Warehouse, changes: dict[str, Any], problem: str
) -> None:
    """As information: nobody here can mend them."""
    load(warehouse, **changes)

    assert faults(warehouse, "stored_counts") == []
    assert faults(warehouse, "contradictory_counts") == [("default", "item-create", "J1", "klaviyo.jobs", problem)]


def test_what_could_not_be_read_is_not_missed(warehouse: Warehouse) -> None:
    """Two errors were counted of which one is a rejected record, and three linkages of which two are."""
    load(
        warehouse,
        error_count=2,
        failed_count=2,
        unread_error_count=1,
        total_count=3,
        linkage_count=3,
        unread_linkage_count=2,
    )

    assert faults(warehouse, "stored_counts") == []


@pytest.mark.parametrize("status", ["processing", "cancelled"])
def test_counts_of_a_job_that_did_not_complete_need_not_agree(warehouse: Warehouse, status: str) -> None:
    """Counters move one by one until the end, and a cancelled job ends midway."""
    load(warehouse, status=status, total_count=100, failed_count=0)

    assert faults(warehouse, "contradictory_counts") == []


@pytest.mark.parametrize("column", ["created_at", "completed_at", "first_seen_at", "last_changed_at", "vanished_at"])
def test_a_time_in_the_future_is_found(warehouse: Warehouse, column: str) -> None:
    """Beyond five minutes, whatever the zone of the session; a job's expiry is in the future by right."""
    warehouse.connection.execute("set timezone = 'America/Los_Angeles'")
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=10)
    load(warehouse, **{column: soon, "expires_at": soon + timedelta(days=7)})

    assert faults(warehouse, "impossible_times") == [
        ("default", "item-create", "J1", "klaviyo.jobs", f"{column}_utc is {soon.replace(tzinfo=None)}")
    ]


def test_a_clock_that_is_a_little_fast_is_no_fault(warehouse: Warehouse) -> None:
    """Klaviyo's clock and this one need not agree to the second."""
    load(warehouse, last_changed_at=datetime.now(UTC) + timedelta(minutes=3))

    assert faults(warehouse, "impossible_times") == []


def test_a_time_before_klaviyo_is_found(warehouse: Warehouse) -> None:
    """As in a documented fake answer."""
    load(warehouse, created_at=at("1944-02-19 07:21:17"))

    assert faults(warehouse, "impossible_times") == [
        ("default", "item-create", "J1", "klaviyo.jobs", "created_at_utc is 1944-02-19 07:21:17")
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"created_at": None}, "created_at_utc is null"),
        (
            {"completed_at": at("2026-07-15 09:59")},
            "completed 2026-07-15 09:59:00, before it was created 2026-07-15 10:00:00",
        ),
        (
            {"expires_at": at("2026-07-15 09:59")},
            "expires 2026-07-15 09:59:00, before it was created 2026-07-15 10:00:00",
        ),
        (
            {"last_changed_at": at("2026-07-15 09:59")},
            "last changed 2026-07-15 09:59:00, before it was first seen 2026-07-15 10:02:00",
        ),
        ({"completed_at": None}, "complete without completed_at_utc"),
    ],
)
def test_times_out_of_order_are_found(warehouse: Warehouse, changes: dict[str, Any], problem: str) -> None:
    """Each job at fault once, with the first contradiction."""
    load(warehouse, **changes)

    assert faults(warehouse, "contradictory_times") == [("default", "item-create", "J1", "klaviyo.jobs", problem)]
