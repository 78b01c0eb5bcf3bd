"""Real shapes of the API, from the answer to the tables."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from klaviyo_jobs.errors import PagingError, PartialError
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_sandbox import Job as SandboxJob
from klaviyo_sandbox import RawJob, Sandbox
from support.builders import (
    TOO_DEEP,
    body_of,
    job_object,
    utc,
)
from support.loads import NOW, Load, Warehouse

JOB_COLUMNS = (
    "job_id, status, created_at, completed_at, expires_at, total_count, completed_count, failed_count, error_count, "
    "linkage_count, extra"
)
ERROR_COLUMNS = "job_id, position, error_id, code, title, detail, source_pointer, related_id, meta"
LINKAGE_COLUMNS = "job_id, position, relationship, related_type, related_id, external_id"
REJECTED_COLUMNS = "account, json_path, job_kind, endpoint, reason, raw"


def table(warehouse: Warehouse, columns: str, name: str, schema: str = "klaviyo_raw") -> list[tuple[Any, ...]]:
    """Return *columns* of a table or view, in the order of the first two."""
    return warehouse.rows(f"select {columns} from {schema}.{name} order by 1, 2")


def test_the_published_list_of_2022_is_loaded_whole_though_its_next_link_leads_nowhere(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """Both jobs with their errors and linkages are stored; the foreign next link ends the listing as incomplete."""
    sandbox.world.replay_list("item-create", body_of("item_create_list_2022-10-17.json"))

    summary = load(kinds=["item-create"], include=[])

    assert isinstance(summary.error, PagingError)
    assert table(warehouse, JOB_COLUMNS, "jobs") == [
        (
            "labore et velit",
            "queued",
            utc("1991-03-14T07:21:45.120Z"),
            utc("1944-05-23T18:09:11.402Z"),
            utc("1995-12-01T03:44:59.987Z"),
            -71234567,
            -40112233,
            -98765432,
            2,
            2,
            None,
        ),
        (
            "sunt in culpa",
            "processing",
            utc("1997-06-30T23:59:59.999Z"),
            utc("1962-08-05T11:00:00.001Z"),
            utc("1992-02-29T00:00:00.500Z"),
            64000128,
            -31415926,
            27182818,
            2,
            2,
            None,
        ),
    ]
    assert table(warehouse, ERROR_COLUMNS, "job_errors") == [
        (job_id, position, TOO_DEEP, TOO_DEEP, TOO_DEEP, TOO_DEEP, TOO_DEEP, None, None)
        for job_id in ("labore et velit", "sunt in culpa")
        for position in (0, 1)
    ]
    assert table(warehouse, LINKAGE_COLUMNS, "job_linkages", "klaviyo") == [
        (job_id, position, "items", TOO_DEEP, TOO_DEEP, None)
        for job_id in ("labore et velit", "sunt in culpa")
        for position in (0, 1)
    ]
    assert table(warehouse, REJECTED_COLUMNS, "rejected_records") == []
    assert table(warehouse, "job_kind, is_complete, page_count, job_count", "listings") == [
        ("item-create", False, 1, 2)
    ]


def test_one_failed_listing_of_nine_makes_the_run_partial(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """The other eight listings are complete, and the run ends with exit code 5."""
    sandbox.world.replay_list("item-create", body_of("item_create_list_2022-10-17.json"))

    summary = load()

    assert isinstance(summary.error, PartialError)
    assert summary.error.exit_code == 5
    assert warehouse.rows("select job_kind from klaviyo_raw.listings where not is_complete") == [("item-create",)]
    assert warehouse.value("select count(*) from klaviyo_raw.listings where is_complete") == 8


def test_the_published_detail_of_2023_is_kept_as_rejected_records(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """The job keeps what the listing said; the unreadable detail and its categories rest as raw JSON; exit code 5."""
    body = body_of("category_create_detail_2023-12-15.json")
    sandbox.world.add(SandboxJob("category-create", "C1", NOW - dt.timedelta(hours=1), total_count=2))
    sandbox.world.replay_detail("category-create", "C1", body)

    summary = load(kinds=["category-create"])

    assert isinstance(summary.error, PartialError)
    assert summary.error.exit_code == 5
    assert table(warehouse, "job_id, status, created_at, total_count, error_count", "jobs") == [
        ("C1", "complete", NOW - dt.timedelta(hours=1), 2, 0)
    ]
    rejected = table(warehouse, REJECTED_COLUMNS, "rejected_records")
    endpoint = "GET /api/catalog-category-bulk-create-jobs/C1"
    reason = 'expected a date-time, found "<dateTime>"'
    assert [row[:-1] for row in rejected] == [
        ("default", "$.data.attributes.created_at", "category-create", endpoint, reason),
        ("default", "$.included[0].attributes.updated", "category-create", endpoint, reason),
    ]
    # Both included categories are the same placeholders.
    assert [json.loads(row[-1]) for row in rejected] == [body["data"], body["included"][0]]
    assert warehouse.count("categories") == 0


def test_the_recorded_list_of_2026_is_loaded(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Every job, error and linkage of the recorded shape stands in its table, value by value."""
    sandbox.world.replay_list("item-update", body_of("item_update_list_2026-07-15.json"))

    summary = load(kinds=["item-update"])

    assert summary.error is None
    assert table(warehouse, JOB_COLUMNS, "jobs") == [
        (
            "01KFAILED00000000000000003",
            "complete",
            utc("2026-11-19T12:27:32.311875Z"),
            utc("2026-11-19T12:27:42.891019Z"),
            utc("2026-11-26T12:27:32.311875Z"),
            2,
            0,
            2,
            2,
            0,
            None,
        ),
        (
            "01KPROCESSING0000000000001",
            "processing",
            utc("2026-11-20T11:58:12.218277Z"),
            None,
            utc("2026-11-27T11:58:12.218277Z"),
            2,
            0,
            0,
            0,
            0,
            None,
        ),
        (
            "01KSUCCEEDED00000000000002",
            "complete",
            utc("2026-11-20T09:39:27.000001Z"),
            utc("2026-11-20T09:39:41.460610Z"),
            utc("2026-11-27T09:39:27.000001Z"),
            2,
            2,
            0,
            0,
            2,
            None,
        ),
    ]
    assert table(warehouse, ERROR_COLUMNS, "job_errors") == [
        (
            "01KFAILED00000000000000003",
            0,
            "00000001-1111-4222-8333-444444444444",
            "invalid",
            "Invalid input",
            "An item with the id `$custom:::$default:::gone-1` does not exist.",
            "/data/attributes/items/data/id",
            "$custom:::$default:::gone-1",
            # The sandbox writes compact JSON; what it sent is kept as it came.
            '{"id":"$custom:::$default:::gone-1"}',
        ),
        (
            "01KFAILED00000000000000003",
            1,
            "00000002-1111-4222-8333-444444444444",
            "invalid",
            "Invalid input",
            "An item with the id `$custom:::$default:::gone-2` does not exist.",
            "/data/attributes/items/data/id",
            None,
            "[]",
        ),
    ]
    assert table(warehouse, LINKAGE_COLUMNS, "job_linkages", "klaviyo") == [
        ("01KSUCCEEDED00000000000002", 0, "items", "catalog-item", "$custom:::$default:::mug-1", "mug-1"),
        ("01KSUCCEEDED00000000000002", 1, "items", "catalog-item", "$custom:::$default:::mug-2", "mug-2"),
    ]
    assert warehouse.count("rejected_records") == 0


def test_the_recorded_detail_of_2026_is_loaded(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A job under way whose detail includes nothing yet is one row and no child."""
    body = body_of("category_create_detail_2026-07-15.json")
    sandbox.world.replay_list("category-create", {"data": [body["data"]], "links": {"next": None}})
    sandbox.world.replay_detail("category-create", "01KCATEGORIES0000000000004", body)

    summary = load(kinds=["category-create"])

    assert summary.error is None
    assert table(warehouse, JOB_COLUMNS, "jobs") == [
        (
            *("01KCATEGORIES0000000000004", "processing", utc("2026-11-20T11:40:10.622180Z"), None),
            *(utc("2026-11-27T11:40:10.622180Z"), 2, 0, 0, 0, 0, None),
        )
    ]
    assert {
        name: warehouse.count(name) for name in ("job_errors", "job_linkages", "categories", "rejected_records")
    } == {
        "job_errors": 0,
        "job_linkages": 0,
        "categories": 0,
        "rejected_records": 0,
    }


def test_an_included_variant_is_loaded_digit_by_digit(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """Prices, quantities, JSON and microseconds stand in the table as they were served."""
    job = job_object("V1", kind=KINDS["variant-create"])
    resource = (
        '{"type": "catalog-variant", "id": "$custom:::$default:::MUG-S", "attributes": {"price": 9007199254740993.01,'
        ' "inventory_quantity": 0.1, "inventory_policy": 2, "published": true, "images": ["a"],'
        ' "custom_metadata": {"weight": 1.10}, "updated": "2026-02-03T04:05:06.000007+00:00"}}'
    )
    detail = f'{{"data": {json.dumps(job)}, "included": [{resource}]}}'.encode()
    sandbox.world.replay_list("variant-create", {"data": [job]})
    sandbox.world.replay_detail("variant-create", "V1", detail)

    summary = load(kinds=["variant-create"], include=["variants"])

    assert summary.error is None
    assert warehouse.rows(
        """
        select variant_id, seen_in_job_id, price, inventory_quantity, inventory_policy, published, images,
            custom_metadata, updated_at
        from klaviyo_raw.variants
        """
    ) == [
        (
            "$custom:::$default:::MUG-S",
            "V1",
            Decimal("9007199254740993.01"),
            Decimal("0.1"),
            2,
            True,
            '["a"]',
            '{"weight": 1.10}',
            utc("2026-02-03T04:05:06.000007Z"),
        )
    ]


def test_an_unreadable_job_among_readable_ones_is_rejected_and_they_are_loaded(
    sandbox: Sandbox, load: Load, warehouse: Warehouse
) -> None:
    """A job whose count is a word is kept as it came with path and reason; its neighbours are rows; exit code 5."""
    odd = job_object("ODD", attributes={"total_count": "<integer>"})
    sandbox.world.add(
        SandboxJob("item-create", "J1", NOW - dt.timedelta(hours=3)),
        RawJob("item-create", odd, id="ODD", created_at=NOW - dt.timedelta(hours=2)),
        SandboxJob("item-create", "J2", NOW - dt.timedelta(hours=1)),
    )

    summary = load(kinds=["item-create"])

    assert isinstance(summary.error, PartialError)
    assert summary.error.exit_code == 5
    assert table(warehouse, "job_id, status", "jobs") == [("J1", "complete"), ("J2", "complete")]
    assert table(warehouse, REJECTED_COLUMNS, "rejected_records") == [
        (
            "default",
            "$.data[1].attributes.total_count",
            "item-create",
            "GET /api/catalog-item-bulk-create-jobs (page 1)",
            'expected an integer, found "<integer>"',
            json.dumps(odd, separators=(",", ":")),
        )
    ]


@pytest.mark.parametrize(
    ("odd", "json_text"),
    [(b"\xff\xfe", "bytes that are not UTF-8"), (b"\\ud83d", "half a surrogate pair, as of an emoji cut in two")],
    ids=["bytes", "surrogate"],
)
def test_one_odd_text_does_not_stop_a_listing(
    sandbox: Sandbox, load: Load, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, odd: bytes, json_text: str
) -> None:
    """A job that holds a text no table can hold is loaded or rejected, and the other jobs of its page are loaded."""
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BACKOFF_SECONDS", "0.001")
    error = {"id": "E", "detail": "No item @."}
    body = {"data": [job_object("J1"), job_object("ODD", attributes={"errors": [error]}), job_object("J2")]}
    sandbox.world.replay_list("item-create", json.dumps(body).encode().replace(b"@", odd))

    load(kinds=["item-create"])

    loaded = {job_id for (job_id,) in warehouse.rows("select job_id from klaviyo_raw.jobs")}
    assert loaded >= {"J1", "J2"}, json_text
    assert warehouse.value("select is_complete from klaviyo_raw.listings")
