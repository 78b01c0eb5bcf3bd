from __future__ import annotations

from support.views import Warehouse, at

ALL = "select * from klaviyo.error_ranking order by account, job_kind, occurrences desc, fingerprint"


def test_errors_that_differ_by_their_ids_are_one(warehouse: Warehouse) -> None:
    """As recorded live: two items, two details, one fault, dated by the creation of its jobs."""
    warehouse.jobs(
        {"job_id": "J1", "created_at": at("2026-07-15 10:00")},
        {"job_id": "J2", "created_at": at("2026-07-14 10:00")},
    )
    missing = "An item with the id `{}` does not exist."
    first, second = "$custom:::$default:::sdk-bitem1", "$custom:::$default:::sdk-bitem2"
    warehouse.insert(
        "job_errors",
        {"job_id": "J1", "position": 0, "related_id": first, "detail": missing.format(first)},
        {"job_id": "J1", "position": 1, "related_id": second, "detail": missing.format(second)},
        {"job_id": "J2", "position": 0, "related_id": first, "detail": missing.format(first)},
    )

    assert warehouse.rows(ALL) == [
        (
            *(
                "default",
                "item-create",
                "item",
                "create",
                "An item with the id ? does not exist.",
                "invalid",
                "Invalid input",
            ),
            *(3, 2, "2026-07-14 10:00:00", "2026-07-15 10:00:00", missing.format(first), 2),
        )
    ]


def test_an_error_without_detail_is_known_by_its_title_or_code(warehouse: Warehouse) -> None:
    """Every member of an error may be null."""
    warehouse.insert(
        "job_errors",
        {"job_id": "J1", "position": 0, "title": "Invalid input", "code": "invalid"},
        {"job_id": "J1", "position": 1, "title": None, "code": "invalid"},
        {"job_id": "J1", "position": 2, "title": None, "code": None},
    )

    assert warehouse.rows(
        "select fingerprint, code, title, occurrences, entities, example_detail, first_seen_utc "
        "from klaviyo.error_ranking order by fingerprint"
    ) == [
        ("Invalid input", "invalid", "Invalid input", 1, 0, None, None),
        ("invalid", "invalid", None, 1, 0, None, None),
        ("no message", None, None, 1, 0, None, None),
    ]


def test_accounts_and_kinds_are_ranked_apart(warehouse: Warehouse) -> None:
    """The same message in another account or kind is another row."""
    warehouse.insert(
        "job_errors",
        {"account": "shop_a", "job_id": "J1", "detail": "Bad."},
        {"account": "shop_b", "job_id": "J1", "detail": "Bad."},
        {"account": "shop_b", "job_id": "J1", "detail": "Bad.", "job_kind": "item-delete"},
    )

    assert warehouse.rows("select account, job_kind, occurrences from klaviyo.error_ranking order by all") == [
        ("shop_a", "item-create", 1),
        ("shop_b", "item-create", 1),
        ("shop_b", "item-delete", 1),
    ]
