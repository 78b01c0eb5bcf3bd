from __future__ import annotations

from datetime import UTC, datetime, timedelta

from support.views import Warehouse, at

KNOWN = "select account, job_kind, last_complete_at_utc, last_error from klaviyo.listing_freshness order by 1, 2"


def listing(run_id: str, day: str, *, error: str | None = None, account: str = "default") -> dict[str, object]:
    """Return a listing that was read on *day* from 10:00 to 10:01, to its end unless there was an *error*."""
    return {
        "account": account,
        "run_id": run_id,
        "started_at": at(f"{day} 10:00"),
        "finished_at": at(f"{day} 10:01"),
        "is_complete": error is None,
        "error": error,
    }


def test_an_incomplete_listing_is_no_fresh_one(warehouse: Warehouse) -> None:
    """The last complete one dates what we know; the newest says what went wrong since."""
    warehouse.insert(
        "listings", listing("R1", "2026-07-14"), listing("R2", "2026-07-15"), listing("R3", "2026-07-16", error="429")
    )

    assert warehouse.rows(KNOWN) == [("default", "item-create", "2026-07-15 10:01:00", "429")]


def test_an_error_that_is_over_is_not_told(warehouse: Warehouse) -> None:
    """Once a listing went well again, the error before it is history."""
    warehouse.insert("listings", listing("R1", "2026-07-14", error="429"), listing("R2", "2026-07-15"))

    assert warehouse.rows(KNOWN) == [("default", "item-create", "2026-07-15 10:01:00", None)]


def test_a_listing_that_never_was_complete_has_no_age(warehouse: Warehouse) -> None:
    """Unknown is not zero."""
    warehouse.insert("listings", listing("R1", "2026-07-14", error="429"))

    assert warehouse.rows("select last_complete_at_utc, age_seconds, last_error from klaviyo.listing_freshness") == [
        (None, None, "429")
    ]


def test_accounts_have_freshness_of_their_own(warehouse: Warehouse) -> None:
    """One account's listing says nothing about another's."""
    warehouse.insert(
        "listings",
        listing("R1", "2026-07-14", account="shop_a"),
        listing("R1", "2026-07-14", account="shop_b", error="401"),
    )

    assert warehouse.rows(KNOWN) == [
        ("shop_a", "item-create", "2026-07-14 10:01:00", None),
        ("shop_b", "item-create", None, "401"),
    ]


def test_the_age_does_not_depend_on_the_zone_of_the_session(warehouse: Warehouse) -> None:
    """Now and the end of the listing are compared in UTC."""
    warehouse.connection.execute("set timezone = 'Asia/Tokyo'")
    warehouse.insert("listings", {"finished_at": datetime.now(UTC) - timedelta(hours=1)})

    assert 3600 <= warehouse.value("select age_seconds from klaviyo.listing_freshness") < 3600 + 600
