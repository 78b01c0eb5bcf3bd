from __future__ import annotations

from datetime import UTC, datetime, timedelta

from support.views import Warehouse

IDS = "select job_id from klaviyo.stuck_jobs order by job_id"


def ago(**span: float) -> datetime:
    """Return the moment that lies *span* before now."""
    return datetime.now(UTC) - timedelta(**span)


def test_an_unfinished_job_is_stuck_from_the_threshold_on(warehouse: Warehouse) -> None:
    """Six hours unless set otherwise; the one threshold is that of reporting_settings."""
    warehouse.jobs(
        {"job_id": "J1", "status": "processing", "created_at": ago(hours=5)},
        {"job_id": "J2", "status": "queued", "created_at": ago(hours=7)},
    )
    assert warehouse.rows(IDS) == [("J2",)]

    warehouse.apply(stuck_after_seconds=4 * 3600)
    assert warehouse.rows(IDS) == [("J1",), ("J2",)]


def test_a_job_as_old_as_the_threshold_is_stuck(warehouse: Warehouse) -> None:
    """Six hours to the second; within a transaction now does not move on."""
    warehouse.connection.begin()
    now = warehouse.connection.execute("select now()").fetchall()[0][0]
    warehouse.jobs(
        {"job_id": "J1", "status": "queued", "created_at": now - timedelta(seconds=21600)},
        {"job_id": "J2", "status": "queued", "created_at": now - timedelta(seconds=21599)},
    )

    assert warehouse.rows(IDS) == [("J1",)]


def test_finished_and_vanished_jobs_are_not_stuck(warehouse: Warehouse) -> None:
    """They will never change again, however old they are."""
    warehouse.jobs(
        {"job_id": "J1", "status": "complete", "created_at": ago(days=3)},
        {"job_id": "J2", "status": "cancelled", "created_at": ago(days=3)},
        {"job_id": "J3", "status": "processing", "created_at": ago(days=3), "vanished_at": ago(days=1)},
    )

    assert warehouse.rows(IDS) == []


def test_the_age_does_not_depend_on_the_zone_of_the_session(warehouse: Warehouse) -> None:
    """Now and the creation are compared in UTC."""
    warehouse.connection.execute("set timezone = 'Asia/Tokyo'")
    created = ago(hours=7)
    warehouse.jobs({"job_id": "J1", "status": "queued", "created_at": created, "last_changed_at": created})
    warehouse.insert("listings", {"finished_at": ago(seconds=0)})

    [(*head, age, changed)] = warehouse.rows(
        "select account, job_kind, job_id, status, created_at_utc, age_seconds, last_changed_at_utc from klaviyo.stuck_jobs"
    )
    naive = str(created.replace(tzinfo=None))
    assert [*head, changed] == ["default", "item-create", "J1", "queued", naive, naive]
    assert 7 * 3600 <= age < 7 * 3600 + 600


def test_the_age_runs_to_the_last_complete_listing(warehouse: Warehouse) -> None:
    """A job one minute old when a run looked eight hours ago is not known to be older, nor is it by a failed listing."""
    warehouse.jobs({"job_id": "J1", "status": "queued", "created_at": ago(hours=8, minutes=1)})
    warehouse.insert(
        "listings",
        {"run_id": "R1", "finished_at": ago(hours=8)},
        {"run_id": "R2", "finished_at": ago(seconds=0), "is_complete": False},
    )

    assert warehouse.rows(IDS) == []


def test_without_a_complete_listing_the_age_runs_to_the_last_change(warehouse: Warehouse) -> None:
    """Whatever showed it last: here an incomplete listing that saw it change."""
    warehouse.jobs(
        {"job_id": "J1", "status": "queued", "created_at": ago(hours=9), "last_changed_at": ago(hours=8)},
        {"job_id": "J2", "status": "queued", "created_at": ago(hours=9), "last_changed_at": ago(hours=1)},
    )

    assert warehouse.rows(IDS) == [("J2",)]


def test_no_job_is_stuck_past_its_expiry(warehouse: Warehouse) -> None:
    """Klaviyo has forgotten it: it vanished, whether a run saw that or not."""
    warehouse.jobs({"job_id": "J1", "status": "queued", "created_at": ago(days=90), "expires_at": None})

    assert warehouse.rows(IDS) == []
    assert warehouse.rows("select outcome from klaviyo.jobs") == [("vanished",)]
