"""Included categories, items and variants: which are read, and which of two reads stays."""

from __future__ import annotations

import pytest

from klaviyo_sandbox import Fault, Job, Sandbox, related_id
from support.loads import HOUR, NOW, Load, Warehouse


def test_details_asked_for_later_are_read_then(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Held jobs whose details were never read are read once their relationship is included."""
    sandbox.world.add(
        Job(
            "item-create",
            "J1",
            NOW - HOUR,
            completed_at=NOW,
            total_count=1,
            completed_count=1,
            related_ids=[related_id("A")],
        )
    )
    load(kinds=["item-create"])
    sandbox.reset_requests()
    for _ in range(2):
        load(kinds=["item-create"], include=["items"])

    assert [request.endpoint for request in sandbox.requests] == ["list", "detail", "list"]
    assert warehouse.rows("select item_id, external_id, seen_in_job_id from klaviyo_raw.items") == [
        ("$custom:::$default:::A", "A", "J1")
    ]


@pytest.mark.parametrize("operation", ["create", "update"])
def test_items_and_variants_are_included_on_request(
    operation: str, sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Documented attributes get columns of their type, free metadata stays JSON, prices keep their digits."""
    sandbox.world.add(
        Job(
            f"item-{operation}",
            "J1",
            NOW - HOUR,
            completed_at=NOW,
            total_count=1,
            completed_count=1,
            related_ids=[related_id("I1")],
        ),
        Job(
            f"variant-{operation}",
            "J2",
            NOW - HOUR,
            completed_at=NOW,
            total_count=1,
            completed_count=1,
            related_ids=[related_id("V1")],
        ),
    )
    common = {"external_id": "X", "title": "Shirt", "description": "Blue", "price": 19.99, "published": True}
    times = {"created": "2026-01-02T03:04:05.000006+00:00", "updated": "2026-01-03T00:00:00+00:00"}
    metadata = {"images": ["http://img/1"], "custom_metadata": {"season": "summer", "rank": 1.5}}
    sandbox.world.describe(
        related_id("I1"), **common, **times, **metadata, url="http://shop/1", image_full_url="", image_thumbnail_url=""
    )
    sandbox.world.describe(
        related_id("V1"),
        **common,
        **times,
        **metadata,
        sku="S-1",
        inventory_policy=2,
        inventory_quantity=3,
        url=None,
        image_full_url=None,
        image_thumbnail_url=None,
    )

    load(kinds=[f"item-{operation}", f"variant-{operation}"], include=["items", "variants"])

    shared = "external_id, title, description, cast(price as varchar), published, images, custom_metadata, epoch_us(created_at), url, seen_in_job_id, extra"
    values = (
        "X",
        "Shirt",
        "Blue",
        "19.990000000",
        True,
        '["http://img/1"]',
        '{"season":"summer","rank":1.5}',
        1767323045000006,
    )
    assert [
        tuple(str(v).replace(", ", ",").replace(": ", ":") if isinstance(v, str) else v for v in row)
        for row in warehouse.rows(f"select {shared} from klaviyo_raw.items")
    ] == [(*values, "http://shop/1", "J1", None)]
    assert [
        tuple(str(v).replace(", ", ",").replace(": ", ":") if isinstance(v, str) else v for v in row)
        for row in warehouse.rows(f"select {shared} from klaviyo_raw.variants")
    ] == [(*values, None, "J2", None)]
    assert warehouse.rows(
        "select sku, inventory_policy, cast(inventory_quantity as integer) from klaviyo_raw.variants"
    ) == [("S-1", 2, 3)]


def test_the_newest_read_of_a_category_stays(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """An older job that is read again must not bring back an older name."""
    sandbox.world.add(
        Job(
            "category-create",
            "C2",
            NOW - HOUR,
            completed_at=NOW,
            total_count=1,
            completed_count=1,
            related_ids=[related_id("A")],
        )
    )
    sandbox.world.describe(related_id("A"), name="New", updated="2026-11-20T11:00:00+00:00")
    load(kinds=["category-create"])
    sandbox.world.add(
        Job(
            "category-create",
            "C1",
            NOW - 2 * HOUR,
            completed_at=NOW,
            total_count=1,
            completed_count=1,
            related_ids=[related_id("A")],
        )
    )
    sandbox.world.describe(related_id("A"), name="Old", updated="2026-11-20T10:00:00+00:00")
    load(kinds=["category-create"])

    assert warehouse.rows("select name, seen_in_job_id from klaviyo_raw.categories") == [("New", "C2")]


def test_a_category_of_no_known_rank_gives_way(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A row that was stored before there were ranks is replaced by the next read of its category."""
    job = Job("category-create", "C1", NOW - HOUR, completed_at=NOW, total_count=1, related_ids=[related_id("A")])
    sandbox.world.add(job)
    sandbox.world.describe(related_id("A"), name="Old", updated="2026-11-20T10:00:00+00:00")
    load(kinds=["category-create"])
    warehouse.rows("update klaviyo_raw.categories set seen_rank = null")
    sandbox.world.describe(related_id("A"), name="New", updated="2026-11-20T11:00:00+00:00")

    load.refresh(kinds=["category-create"])

    assert warehouse.rows("select name, seen_in_job_id from klaviyo_raw.categories") == [("New", "C1")]


def test_of_two_equal_reads_of_a_category_the_later_stays(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A full refresh brings a name that was changed without its time."""
    job = Job("category-create", "C1", NOW - HOUR, completed_at=NOW, total_count=1, related_ids=[related_id("A")])
    sandbox.world.add(job)
    sandbox.world.describe(related_id("A"), name="Old", updated="2026-11-20T10:00:00+00:00")
    load(kinds=["category-create"])
    sandbox.world.describe(related_id("A"), name="New", updated="2026-11-20T10:00:00+00:00")

    load.refresh(kinds=["category-create"])

    assert warehouse.rows("select name, seen_in_job_id from klaviyo_raw.categories") == [("New", "C1")]


@pytest.mark.parametrize("late", ["category-create", "category-update"])
def test_of_two_reads_of_one_run_the_higher_rank_stays(
    late: str, sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Two kinds of jobs show the same category: its row names the same job, whichever of them was read later."""
    for kind, job_id in (("category-create", "A"), ("category-update", "Z")):
        sandbox.world.add(Job(kind, job_id, NOW - HOUR, completed_at=NOW, related_ids=[related_id("SHOES")]))
    sandbox.faults.append(Fault("slow", "0.5", kind=late, endpoint="detail"))

    load(kinds=["category-create", "category-update"])

    assert warehouse.rows("select category_id, seen_in_job_id from klaviyo_raw.categories") == [
        ("$custom:::$default:::SHOES", "Z")
    ]


@pytest.mark.parametrize("job_ids", [("A", "Z"), ("Z", "A")])
def test_of_two_reads_of_one_listing_the_higher_rank_stays(
    job_ids: tuple[str, str], sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Two jobs of one kind show the same category: its row names the same job, whichever of them is listed first."""
    for hours, job_id in enumerate(job_ids):
        sandbox.world.add(
            Job("category-create", job_id, NOW - hours * HOUR, completed_at=NOW, related_ids=[related_id("SHOES")])
        )

    load(kinds=["category-create"])

    assert warehouse.rows("select category_id, seen_in_job_id from klaviyo_raw.categories") == [
        ("$custom:::$default:::SHOES", "Z")
    ]
