from __future__ import annotations

from typing import Any

import pytest

from support.views import Warehouse, at

SKU = "$custom:::$default:::SKU-1"
ALL = """
    select account, job_kind, related_type, related_id, external_id, failures, first_failed_utc, last_failed_utc,
        last_detail, is_repaired
    from klaviyo.failing_entities order by account, related_id
"""


def test_the_items_of_a_job_that_failed_whole_are_named(warehouse: Warehouse) -> None:
    """As recorded live: an update job, complete, 2 of 2 failed, without linkages; its items were created before."""
    first, second = "$custom:::$default:::sdk-bitem1", "$custom:::$default:::sdk-bitem2"
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-09-04 12:23"), "total_count": 2, "completed_count": 2},
        {
            "job_id": "J2",
            "job_kind": "item-update",
            "created_at": at("2026-09-04 12:27:32"),
            "total_count": 2,
            "failed_count": 2,
        },
    )
    warehouse.insert(
        "job_linkages",
        {"job_id": "J1", "position": 0, "related_id": first},
        {"job_id": "J1", "position": 1, "related_id": second},
    )
    warehouse.insert(
        "job_errors",
        {"job_kind": "item-update", "job_id": "J2", "position": 0, "related_id": first, "detail": "No first."},
        {"job_kind": "item-update", "job_id": "J2", "position": 1, "related_id": second, "detail": "No second."},
    )

    when = ("2026-09-04 12:27:32", "2026-09-04 12:27:32")
    assert warehouse.rows(ALL) == [
        ("default", "item-update", "catalog-item", first, "sdk-bitem1", 1, *when, "No first.", False),
        ("default", "item-update", "catalog-item", second, "sdk-bitem2", 1, *when, "No second.", False),
    ]


def test_failures_are_jobs_of_any_operation_on_the_entity(warehouse: Warehouse) -> None:
    """Two errors in one job are one failure; an update and a delete that failed are two; the last one is told."""
    warehouse.jobs(
        {"job_id": "J1", "job_kind": "item-update", "created_at": at("2026-07-15 10:00")},
        {"job_id": "J2", "job_kind": "item-delete", "created_at": at("2026-07-16 10:00")},
    )
    warehouse.insert(
        "job_errors",
        {"job_kind": "item-delete", "job_id": "J2", "related_id": SKU, "detail": "last"},
        {"job_kind": "item-update", "job_id": "J1", "related_id": SKU, "detail": "first", "position": 0},
        {"job_kind": "item-update", "job_id": "J1", "related_id": SKU, "detail": "second", "position": 1},
    )

    assert warehouse.rows(ALL) == [
        (
            *("default", "item-delete", "catalog-item", SKU, "SKU-1", 2),
            *("2026-07-15 10:00:00", "2026-07-16 10:00:00", "last", False),
        )
    ]


@pytest.mark.parametrize(
    ("job", "is_repaired"),
    [
        ({"created_at": at("2026-07-16 10:00")}, True),
        ({"created_at": at("2026-07-16 10:00"), "job_kind": "item-delete"}, True),
        ({"created_at": at("2026-07-16 10:00"), "total_count": 2, "completed_count": 1, "failed_count": 1}, True),
        ({"created_at": at("2026-07-16 10:00"), "total_count": 9, "completed_count": 1, "failed_count": 1}, True),
        ({"created_at": at("2026-07-14 10:00")}, False),
        ({"created_at": at("2026-07-15 10:00")}, False),
        ({"created_at": at("2026-07-16 10:00"), "job_kind": "variant-update"}, False),
        ({"created_at": at("2026-07-16 10:00"), "account": "shop_b"}, False),
        ({"created_at": at("2026-07-16 10:00"), "status": "processing"}, False),
        ({"created_at": at("2026-07-16 10:00"), "status": "cancelled"}, False),
        ({"created_at": at("2026-07-16 10:00"), "total_count": 1, "failed_count": 1}, False),
    ],
)
def test_a_later_job_that_succeeded_repairs(warehouse: Warehouse, job: dict[str, Any], is_repaired: bool) -> None:
    """Later, of the same account and sort of entity, complete, and listing it among what succeeded."""
    warehouse.jobs({"job_id": "J1", "created_at": at("2026-07-15 10:00")}, {"job_id": "J2", **job})
    warehouse.insert("job_errors", {"job_id": "J1", "related_id": SKU})
    place: dict[str, Any] = {key: job[key] for key in ("account", "job_kind") if key in job}
    warehouse.insert("job_linkages", {"job_id": "J2", "related_id": SKU, **place})

    assert warehouse.rows("select failures, is_repaired from klaviyo.failing_entities") == [(1, is_repaired)]


def test_what_failed_again_after_a_repair_is_failing(warehouse: Warehouse) -> None:
    """Only a success after the last failure counts."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-07-15 10:00")},
        {"job_id": "J2", "created_at": at("2026-07-16 10:00")},
        {"job_id": "J3", "created_at": at("2026-07-17 10:00")},
    )
    warehouse.insert("job_errors", {"job_id": "J1", "related_id": SKU}, {"job_id": "J3", "related_id": SKU})
    warehouse.insert("job_linkages", {"job_id": "J2", "related_id": SKU})

    assert warehouse.rows("select failures, is_repaired from klaviyo.failing_entities") == [(2, False)]


def test_several_repairs_make_one_row(warehouse: Warehouse) -> None:
    """An entity is one row however often it succeeded later."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-07-15 10:00")},
        {"job_id": "J2", "created_at": at("2026-07-16 10:00")},
        {"job_id": "J3", "created_at": at("2026-07-17 10:00")},
    )
    warehouse.insert("job_errors", {"job_id": "J1", "related_id": SKU})
    warehouse.insert("job_linkages", {"job_id": "J2", "related_id": SKU}, {"job_id": "J3", "related_id": SKU})

    assert warehouse.rows("select failures, is_repaired from klaviyo.failing_entities") == [(1, True)]


def test_the_same_id_in_two_accounts_is_two_entities(warehouse: Warehouse) -> None:
    """Shops number their articles as they like."""
    warehouse.jobs({"account": "shop_a", "job_id": "J1"}, {"account": "shop_b", "job_id": "J1"})
    warehouse.insert(
        "job_errors",
        {"account": "shop_a", "job_id": "J1", "related_id": SKU},
        {"account": "shop_b", "job_id": "J1", "related_id": SKU},
    )

    assert warehouse.rows("select account, failures from klaviyo.failing_entities order by account") == [
        ("shop_a", 1),
        ("shop_b", 1),
    ]


@pytest.mark.parametrize(
    ("related_id", "external_id"),
    [
        (SKU, "SKU-1"),
        ("$custom:::$default:::a:::b", "a:::b"),
        ("$custom:::$default:::", None),
        ("SKU-1", None),
    ],
)
def test_the_external_id_is_the_rest_after_the_second_mark(
    warehouse: Warehouse, related_id: str, external_id: str | None
) -> None:
    """Ids read integration:::catalog:::external id; others hold none."""
    warehouse.insert("job_errors", {"job_id": "J1", "related_id": related_id})

    assert warehouse.rows("select related_id, external_id from klaviyo.failing_entities") == [(related_id, external_id)]


def test_an_error_that_names_nothing_makes_no_entity(warehouse: Warehouse) -> None:
    """Old answers lack `meta`, and so the id of what failed."""
    warehouse.insert("job_errors", {"job_id": "J1", "related_id": None})

    assert warehouse.rows(ALL) == []


@pytest.mark.parametrize(
    ("results", "repaired_by"),
    [
        ("delete failed, update succeeded", None),
        ("delete failed, update failed, update succeeded", None),
        ("delete failed, create succeeded", None),
        ("delete failed, delete succeeded", "J1"),
        ("delete failed, update failed, delete succeeded", "J2"),
        ("delete failed, delete succeeded, update failed", None),
        ("update failed, delete failed, update succeeded, delete succeeded", "J3"),
        ("update failed, delete failed, delete succeeded, create succeeded", "J2"),
        ("create failed, update succeeded, create succeeded", "J1"),
        ("create failed, delete succeeded", "J1"),
        ("update failed, create succeeded", "J1"),
        ("update failed, update succeeded, update failed", None),
        ("update succeeded, update failed", None),
    ],
)
def test_a_failed_delete_is_repaired_by_a_delete_only(
    warehouse: Warehouse, results: str, repaired_by: str | None
) -> None:
    """Any other success proves that the entity is still there; a failed create or update is repaired by any success."""
    for number, text in enumerate(results.split(", ")):
        operation, result = text.split()
        place = {"job_kind": f"item-{operation}", "job_id": f"J{number}"}
        warehouse.jobs({**place, "created_at": at(f"2026-07-15 1{number}:00")})
        warehouse.insert("job_errors" if result == "failed" else "job_linkages", {**place, "related_id": SKU})
    when = repaired_by and f"2026-07-15 1{repaired_by[1]}:00:00"

    assert warehouse.rows("select is_repaired, repaired_utc, repaired_by_job_id from klaviyo.failing_entities") == [
        (repaired_by is not None, when, repaired_by)
    ]
