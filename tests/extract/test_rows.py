"""Rows: the declared tables, and one Arrow batch a table from parsed records."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from klaviyo_jobs.extract.rows import (
    RowContext,
    SeenJob,
    row_of_listing,
    rows_of_jobs,
    rows_of_listings,
    rows_of_rejected,
    rows_of_resources,
    rows_of_vanished,
)
from klaviyo_jobs.model.content import content_hash, hash_of
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.model.records import Fault, Job
from klaviyo_jobs.model.tables import ENTITY_TABLES, TABLES, Table
from support.builders import ITEM_CREATE, job_object, parsed_detail, parsed_page, raw

ORIGIN = RowContext("shop_eu", ITEM_CREATE, "1795168800.1", "2026-07-15")
READ_AT = dt.datetime(2026, 11, 20, 12, 0, 0, 7, tzinfo=dt.UTC)
FIRST_SEEN_AT = dt.datetime(2026, 11, 20, 11, tzinfo=dt.UTC)
CREATED_AT = dt.datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=dt.UTC)


def seen(job: Job, **others: Any) -> SeenJob:
    return SeenJob(job=job, read_at=READ_AT, first_seen_at=FIRST_SEEN_AT, last_changed_at=READ_AT, **others)


def job_of(record: Any) -> Job:
    [job] = parsed_page(record).jobs
    return job


def picked(rows: pa.Table, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row[column] for column in columns) for row in rows.to_pylist()]


# The declared tables.


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("jobs", ("account", "job_kind", "job_id")),
        ("job_errors", ("account", "job_kind", "job_id", "position")),
        ("job_linkages", ("account", "job_kind", "job_id", "position")),
        ("job_observations", ("account", "job_kind", "job_id", "observed_at")),
        ("listings", ("account", "job_kind", "run_id")),
        ("rejected_records", ("account", "job_kind", "record_hash")),
        ("categories", ("account", "category_id")),
        ("items", ("account", "item_id")),
        ("variants", ("account", "variant_id")),
        ("coupon_codes", ("account", "coupon_code_id")),
        ("lists", ("account", "list_id")),
    ],
)
def test_a_table_is_known_by_a_natural_key_that_is_never_null(name: str, key: tuple[str, ...]) -> None:
    """The columns of the key are required, all others may be null."""
    table = TABLES[name]

    assert table.key == key
    assert {field.name for field in table.schema if not field.nullable} == set(key)


def test_there_are_eleven_tables() -> None:
    """What a warehouse holds, besides dlt's own."""
    assert list(TABLES) == [
        *("jobs", "job_errors", "job_linkages", "job_observations", "listings", "rejected_records"),
        *("items", "variants", "categories", "coupon_codes", "lists"),
    ]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_row_tells_its_account_and_run(table: Table) -> None:
    """Both are text; a linkage is of the run that its job is of."""
    told = ["account"] if table.name == "job_linkages" else ["account", "run_id"]

    assert [field.name for field in table.schema if field.name in ("account", "run_id")] == told
    assert [table.schema.field(name).type for name in told] == [pa.string()] * len(told)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_type_follows_from_a_columns_name(table: Table) -> None:
    """Times are zoned, to the microsecond; days are dates; counts are integers of 64 bits; flags are flags; money is decimal."""
    for field in table.schema:
        if field.name.endswith("_at"):
            assert field.type == pa.timestamp("us", tz="UTC"), field
        elif field.name.endswith("_on"):
            assert field.type == pa.date32(), field
        elif field.name.endswith("_count") or field.name in ("position", "times"):
            assert field.type == pa.int64(), field
        elif field.name.endswith("_seconds"):
            assert field.type == pa.float64(), field
        elif field.name.startswith("is_") or field.name == "published":
            assert field.type == pa.bool_(), field
        elif field.name in ("price", "inventory_quantity"):
            assert field.type == pa.decimal128(38, 9), field
        elif field.name == "inventory_policy":
            assert field.type == pa.int64(), field
        else:
            assert field.type == pa.string(), field


def test_only_children_of_a_job_are_replaced_job_by_job() -> None:
    """Errors and linkages go and come with their job; every other row is its own."""
    assert {name: table.replaced_by for name, table in TABLES.items() if table.has_tombstones} == {
        "job_errors": ("account", "job_kind", "job_id"),
        "job_linkages": ("account", "job_kind", "job_id"),
    }


# Rows of jobs.


def test_a_job_is_one_row_with_the_counts_of_its_children() -> None:
    """Every column of `jobs`, written out."""
    record = job_object(
        attributes={
            "completed_at": "2026-11-20T10:00:07.5+00:00",
            "expires_at": "2026-11-27T10:00:00.123456+00:00",
            "completed_count": 1,
            "failed_count": 1,
            "errors": [{"id": "E"}],
            "odd": 1,
        },
        relationships={"items": {"data": [{"type": "catalog-item", "id": "$custom:::$default:::A"}]}},
    )

    rows = rows_of_jobs(ORIGIN, [seen(job_of(record), detail_read_at=READ_AT)])

    assert rows["jobs"].schema == TABLES["jobs"].schema
    [row] = rows["jobs"].to_pylist()
    assert row == {
        "account": "shop_eu",
        "job_kind": "item-create",
        "job_id": "J1",
        "status": "complete",
        "created_at": CREATED_AT,
        "completed_at": dt.datetime(2026, 11, 20, 10, 0, 7, 500000, tzinfo=dt.UTC),
        "expires_at": dt.datetime(2026, 11, 27, 10, 0, 0, 123456, tzinfo=dt.UTC),
        "total_count": 2,
        "completed_count": 1,
        "failed_count": 1,
        "error_count": 1,
        "linkage_count": 1,
        "created_on": dt.date(2026, 11, 20),
        "completed_on": dt.date(2026, 11, 20),
        "unread_error_count": 0,
        "unread_linkage_count": 0,
        "first_seen_at": FIRST_SEEN_AT,
        "last_changed_at": READ_AT,
        "vanished_at": None,
        "detail_read_at": READ_AT,
        "started_at": None,
        "skipped_count": None,
        "errors_read_at": None,
        "content_hash": content_hash(job_of(record)),
        "listed_hash": hash_of(raw(record)),
        "api_revision": "2026-07-15",
        "extra": '{"odd":1}',
        "run_id": "1795168800.1",
    }


def test_errors_keep_their_positions() -> None:
    """A position is the place in the answer, also behind an error that could not be read."""
    record = job_object(
        attributes={
            "errors": [
                {"id": "E0", "code": "invalid", "title": "T", "detail": "D", "source": {"pointer": "/data"}},
                "oops",
                {"meta": {"id": "$custom:::$default:::A"}},
            ]
        }
    )

    rows = rows_of_jobs(ORIGIN, [seen(job_of(record))])["job_errors"]

    assert rows.schema == TABLES["job_errors"].schema
    shared = {
        "account": "shop_eu",
        "job_kind": "item-create",
        "job_id": "J1",
        "run_id": "1795168800.1",
        "original_payload": None,
    }
    assert rows.to_pylist() == [
        {
            **shared,
            "position": 0,
            "error_id": "E0",
            "code": "invalid",
            "title": "T",
            "detail": "D",
            "fingerprint": "D",
            "source_pointer": "/data",
            "related_id": None,
            "meta": None,
            "is_removed": None,
        },
        {
            **shared,
            "position": 2,
            "error_id": None,
            "code": None,
            "title": None,
            "detail": None,
            "fingerprint": "no message",
            "source_pointer": None,
            "related_id": "$custom:::$default:::A",
            "meta": '{"id": "$custom:::$default:::A"}',
            "is_removed": None,
        },
    ]


def test_linkages_keep_their_positions() -> None:
    """A position is the place in the answer, also behind a linkage that could not be read."""
    data = [
        {"type": "catalog-item", "id": "$custom:::$default:::A:::B"},
        "oops",
        {"type": "catalog-item", "id": "plain"},
        {"type": "catalog-item"},
    ]

    rows = rows_of_jobs(ORIGIN, [seen(job_of(job_object(relationships={"items": {"data": data}})))])["job_linkages"]

    assert rows.schema == TABLES["job_linkages"].schema
    assert picked(rows, "job_id", "position", "related_type", "related_id") == [
        ("J1", 0, "catalog-item", "$custom:::$default:::A:::B"),
        ("J1", 2, "catalog-item", "plain"),
        ("J1", 3, "catalog-item", None),
    ]
    assert set(picked(rows, "account", "job_kind")) == {("shop_eu", "item-create")}


def test_a_job_without_children_has_a_tombstone_in_their_place() -> None:
    """One row a table tells the merge that what is stored of the job's children goes."""
    rows = rows_of_jobs(ORIGIN, [seen(job_of(job_object()))])

    expected = [("shop_eu", "item-create", "J1", 0, True)]
    columns = ("account", "job_kind", "job_id", "position", "is_removed")
    assert picked(rows["job_errors"], *columns) == expected
    assert picked(rows["job_linkages"], *columns) == expected


def test_only_jobs_without_children_have_tombstones() -> None:
    """Beside one with an error, whose rows replace those before."""
    failed = job_of(job_object("FAILED", attributes={"errors": [{"id": "E"}]}))
    plain = job_of(job_object("PLAIN"))

    rows = rows_of_jobs(ORIGIN, [seen(failed), seen(plain)])["job_errors"]

    assert picked(rows, "job_id", "is_removed") == [("FAILED", None), ("PLAIN", True)]


def test_only_observed_jobs_leave_an_observation() -> None:
    """Status and counts at the time of reading; a job whose counts are those of last time leaves none."""
    counts = {"status": "processing", "total_count": 9, "completed_count": 1, "failed_count": 3}
    processing = job_of(job_object("J1", attributes=counts))
    unchanged = job_of(job_object("J2"))

    rows = rows_of_jobs(ORIGIN, [seen(processing), seen(unchanged, is_observed=False)])["job_observations"]

    assert rows.to_pylist() == [
        {
            "account": "shop_eu",
            "job_kind": "item-create",
            "job_id": "J1",
            "observed_at": READ_AT,
            "status": "processing",
            "total_count": 9,
            "completed_count": 1,
            "failed_count": 3,
            "skipped_count": None,
            "error_count": 0,
            "linkage_count": 0,
            "run_id": "1795168800.1",
        }
    ]


def test_no_jobs_are_no_rows_of_the_declared_schemas() -> None:
    """An empty batch has every column."""
    rows = rows_of_jobs(ORIGIN, [])

    assert {name: (table.num_rows, table.schema) for name, table in rows.items()} == {
        name: (0, TABLES[name].schema) for name in ("jobs", "job_errors", "job_linkages", "job_observations")
    }


# Rows of everything else.


def resources_of(kind: str, attributes: dict[str, Any]) -> list[Any]:
    entity = KINDS[kind].entity
    body = {
        "data": job_object(kind=KINDS[kind]),
        "included": [{"type": entity.resource_type, "id": "R1", "attributes": attributes}],
    }
    return parsed_detail(json.dumps(body).encode(), KINDS[kind]).resources


def test_an_included_category_is_a_row_that_names_the_job() -> None:
    """Its id column is called after the entity."""
    [resource] = resources_of("category-create", {"external_id": "SALE", "name": "Sale", "odd": 1})
    context = RowContext("shop_eu", KINDS["category-create"], "R", "2026-07-15")

    rows = rows_of_resources(context, ENTITY_TABLES["categories"], [("J1", resource)])

    assert rows.schema == TABLES["categories"].schema
    columns = ("account", "category_id", "external_id", "name", "updated_at", "seen_in_job_id", "extra", "run_id")
    assert picked(rows, *columns) == [("shop_eu", "R1", "SALE", "Sale", None, "J1", '{"odd":1}', "R")]


def test_an_included_variant_keeps_its_digits() -> None:
    """Prices and quantities are decimals, JSON is text."""
    [resource] = resources_of(
        "variant-create",
        {"price": 19.99, "inventory_quantity": 3, "inventory_policy": 1, "images": ["a"], "custom_metadata": {}},
    )
    context = RowContext("shop_eu", KINDS["variant-create"], "R", "2026-07-15")

    rows = rows_of_resources(context, ENTITY_TABLES["variants"], [("J1", resource)])

    assert rows.schema == TABLES["variants"].schema
    columns = ("variant_id", "price", "inventory_quantity", "inventory_policy", "images", "custom_metadata")
    assert picked(rows, *columns) == [("R1", Decimal("19.99"), Decimal(3), 1, '["a"]', "{}")]


def test_a_fault_is_a_row_with_its_raw_json() -> None:
    """Bytes that are no text are shown by their replacement: no odd byte can fail the load."""
    rejected = {
        "H1": ("GET /a (page 1)", Fault("$.data[0]", "expected an object, found 7", b"7")),
        "H2": ("GET /a/J1", Fault("$.data.id", "odd", b'"\xff"')),
    }

    rows = rows_of_rejected(ORIGIN, rejected, {}, READ_AT)

    assert rows.schema == TABLES["rejected_records"].schema
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        (
            *("shop_eu", "item-create", "H1", "GET /a (page 1)"),
            *("$.data[0]", "expected an object, found 7", "7", READ_AT, READ_AT, 1, "1795168800.1"),
        ),
        (
            *("shop_eu", "item-create", "H2", "GET /a/J1"),
            *("$.data.id", "odd", '"\N{REPLACEMENT CHARACTER}"', READ_AT, READ_AT, 1, "1795168800.1"),
        ),
    ]


def test_of_a_huge_record_the_first_mebibyte_is_kept() -> None:
    """Five times the largest job that Klaviyo documents; more of it would only fill the warehouse."""
    fault = Fault("$", "odd", b"x" * 1_048_577)

    [row] = rows_of_rejected(ORIGIN, {"H": ("GET /a", fault)}, {}, READ_AT).to_pylist()

    assert row["raw"] == "x" * 1_048_576


def test_a_record_that_was_met_before_keeps_its_first_time_and_counts_on() -> None:
    """One row tells of all the runs that met it."""
    rejected = {key: ("GET /a", Fault("$", "odd", b"7")) for key in ("OLD", "NEW")}

    rows = rows_of_rejected(ORIGIN, rejected, {"OLD": (FIRST_SEEN_AT, 3)}, READ_AT)

    assert picked(rows, "record_hash", "first_rejected_at", "last_rejected_at", "times") == [
        ("OLD", FIRST_SEEN_AT, READ_AT, 4),
        ("NEW", READ_AT, READ_AT, 1),
    ]


def test_days_are_those_of_the_reporting_zone() -> None:
    """A quarter to midnight in UTC is tomorrow in Berlin; a job that has not ended ended on no day."""
    context = RowContext("shop_eu", ITEM_CREATE, "R", "2026-07-15", "Europe/Berlin")
    record = job_object(attributes={"created_at": "2026-11-20T23:45:00+00:00", "status": "queued"})

    rows = rows_of_jobs(context, [seen(job_of(record))])["jobs"]

    assert picked(rows, "created_on", "completed_on") == [(dt.date(2026, 11, 21), None)]


def test_a_listing_leaves_one_row() -> None:
    """With the columns it is given and null for the rest."""
    listing = row_of_listing(ORIGIN, started_at=READ_AT, is_complete=False, error="PagingError: no end.")

    rows = rows_of_listings([listing])

    assert rows.schema == TABLES["listings"].schema
    [row] = rows.to_pylist()
    assert {name: value for name, value in row.items() if value is not None} == {
        "account": "shop_eu",
        "job_kind": "item-create",
        "run_id": "1795168800.1",
        "started_at": READ_AT,
        "is_complete": False,
        "api_revision": "2026-07-15",
        "error": "PagingError: no end.",
    }


def test_a_vanished_job_keeps_what_is_stored_of_it() -> None:
    """Only the time it was missed and the run change."""
    stored = rows_of_jobs(ORIGIN, [seen(job_of(job_object()))])["jobs"]

    rows = rows_of_vanished(stored, "LATER", READ_AT)

    assert rows.schema == TABLES["jobs"].schema
    assert rows.to_pylist() == [{**stored.to_pylist()[0], "vanished_at": READ_AT, "run_id": "LATER"}]


def test_a_column_that_is_not_declared_is_an_error_of_the_program() -> None:
    """Nothing is dropped because a name was mistyped."""
    with pytest.raises(TypeError, match="listings has no column is_done"):
        rows_of_listings([row_of_listing(ORIGIN, is_done=True)])
