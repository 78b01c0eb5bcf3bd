from __future__ import annotations

from support.views import Warehouse, at

SKU = "$custom:::$default:::SKU-1"


def test_an_entity_has_a_row_for_each_job_that_names_it(warehouse: Warehouse) -> None:
    """Created, not updated for two reasons, deleted: in the order of the jobs' creation, with the first reason."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-07-15 10:00")},
        {"job_id": "J2", "created_at": at("2026-07-16 10:00"), "job_kind": "item-update"},
        {"job_id": "J3", "created_at": at("2026-07-17 10:00"), "job_kind": "item-delete"},
    )
    warehouse.insert(
        "job_linkages",
        {"job_id": "J1", "related_id": SKU},
        {"job_id": "J1", "related_id": "$custom:::$default:::SKU-2", "position": 1},
        {"job_id": "J3", "related_id": SKU, "job_kind": "item-delete"},
    )
    warehouse.insert(
        "job_errors",
        {"job_id": "J2", "related_id": SKU, "job_kind": "item-update", "position": 1, "detail": "second"},
        {"job_id": "J2", "related_id": SKU, "job_kind": "item-update", "position": 0, "detail": "first"},
    )

    assert warehouse.rows(
        """
        select account, related_type, external_id, at_utc, job_kind, job_id, entity, operation, result, detail
        from klaviyo.entity_history where related_id = $sku order by at_utc
        """,
        sku=SKU,
    ) == [
        (
            "default",
            "catalog-item",
            "SKU-1",
            f"2026-07-{day} 10:00:00",
            f"item-{operation}",
            job,
            "item",
            operation,
            *end,
        )
        for day, operation, job, end in (
            (15, "create", "J1", ("succeeded", None)),
            (16, "update", "J2", ("failed", "first")),
            (17, "delete", "J3", ("succeeded", None)),
        )
    ]


def test_the_same_id_in_another_account_or_entity_has_a_history_of_its_own(warehouse: Warehouse) -> None:
    """Shops number their articles as they like, and a variant may have the id of an item."""
    warehouse.jobs({"job_id": "J1"})
    warehouse.insert(
        "job_linkages",
        {"job_id": "J1", "related_id": SKU},
        {"job_id": "J1", "related_id": SKU, "account": "shop_b"},
        {"job_id": "J1", "related_id": SKU, "job_kind": "variant-create"},
    )

    assert warehouse.rows(
        "select account, related_type, count(*) from klaviyo.entity_history group by 1, 2 order by 1, 2"
    ) == [("default", "catalog-item", 1), ("default", "catalog-variant", 1), ("shop_b", "catalog-item", 1)]


def test_what_names_nothing_or_has_no_job_is_not_lost(warehouse: Warehouse) -> None:
    """An error without an id belongs to no entity; a linkage without its job has no time."""
    warehouse.insert("job_errors", {"job_id": "J1", "related_id": None})
    warehouse.insert("job_linkages", {"job_id": "J9", "related_id": "plain"})

    assert warehouse.rows("select related_id, external_id, at_utc, result from klaviyo.entity_history") == [
        ("plain", None, None, "succeeded")
    ]
