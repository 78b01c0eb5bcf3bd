"""Included items, variants and categories: every attribute by its column, and their compound ids."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.model.records import Parsed, Resource
from support.builders import (
    faults_of,
    job_object,
    parsed_detail,
    utc,
)


def included(kind: str, attributes: str, resource_type: str | None = None, resource_id: str = "R1") -> Parsed:
    """Parse a detail of *kind* that includes one resource with *attributes*, given as JSON text."""
    job_kind = KINDS[kind]
    job = json.dumps(job_object(kind=job_kind))
    resource = (
        f'{{"type": "{resource_type or job_kind.entity.resource_type}", "id": "{resource_id}", '
        f'"attributes": {attributes}, "links": {{"self": "x"}}}}'
    )
    return parsed_detail(f'{{"data": {job}, "included": [{resource}]}}'.encode(), job_kind)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("19.90", "19.900000000"),
        ("0.1", "0.100000000"),
        ("1234567.123456789", "1234567.123456789"),
        ("-0.5", "-0.500000000"),
        ("1e3", "1000.000000000"),
        ("5", "5.000000000"),
        ("9007199254740993.01", "9007199254740993.010000000"),
        # More than the 28 digits of decimal's default precision.
        ("12345678901234567890.123456789", "12345678901234567890.123456789"),
        ("99999999999999999999999999999.999999999", "99999999999999999999999999999.999999999"),
    ],
)
def test_a_price_is_read_digit_by_digit(number: str, expected: str) -> None:
    """Money never passes through a float: every digit that decimal(38, 9) holds is kept."""
    parsed = included("item-create", f'{{"price": {number}}}')

    assert not parsed.faults
    assert str(parsed.resources[0].columns["price"]) == expected


@pytest.mark.parametrize("number", ["1e29", "1E400", "-1e30", "true", "[]", '"<number>"', '"NaN"', '"Infinity"'])
def test_what_is_no_price_is_a_fault(number: str) -> None:
    """A number beyond decimal(38, 9), a flag or a word rejects the resource by its path; the job stays."""
    parsed = included("item-create", f'{{"price": {number}}}')

    assert [job.job_id for job in parsed.jobs] == ["J1"]
    assert not parsed.resources
    assert faults_of(parsed) == [("$.included[0].attributes.price", f"expected a number, found {number}")]


def test_an_included_item_is_read_column_by_column() -> None:
    """Images and metadata stay the JSON they are; unknown attributes and members go to extra."""
    parsed = included(
        "item-create",
        '{"external_id": "MUG", "title": "Mug", "description": "A mug", "price": 9.5, "url": "https://shop.example/m",'
        ' "image_full_url": "", "image_thumbnail_url": null, "images": ["a", "b"],'
        ' "custom_metadata": {"weight": 1.10, "on sale": true}, "published": false,'
        ' "created": "2026-01-02T03:04:05.000006+00:00", "updated": "2026-02-03T04:05:06+00:00", "brand": "Ours"}',
    )

    assert parsed.resources == [
        Resource(
            entity=KINDS["item-create"].entity,
            resource_id="R1",
            columns={
                "external_id": "MUG",
                "title": "Mug",
                "description": "A mug",
                "price": Decimal("9.5"),
                "url": "https://shop.example/m",
                "image_full_url": "",
                "image_thumbnail_url": None,
                "images": '["a", "b"]',
                "custom_metadata": '{"weight": 1.10, "on sale": true}',
                "published": False,
                "created_at": utc("2026-01-02T03:04:05.000006Z"),
                "updated_at": utc("2026-02-03T04:05:06Z"),
            },
            extra='{"brand":"Ours"}',
        )
    ]


def test_an_included_variant_has_its_stock_columns() -> None:
    """SKU, policy and quantity are read beside what a variant shares with an item."""
    parsed = included(
        "variant-update", '{"sku": "MUG-S", "inventory_policy": 1, "inventory_quantity": 2.5, "title": "Small mug"}'
    )

    columns = parsed.resources[0].columns
    assert {name: value for name, value in columns.items() if value is not None} == {
        "sku": "MUG-S",
        "inventory_policy": 1,
        "inventory_quantity": Decimal("2.5"),
        "title": "Small mug",
    }


def test_an_included_category_is_read() -> None:
    """A category has an external id, a name and the time of its last update."""
    parsed = included(
        "category-create", '{"external_id": "SALE", "name": "Sale", "updated": "2026-02-03T04:05:06.7+00:00"}'
    )

    assert parsed.resources == [
        Resource(
            entity=KINDS["category-create"].entity,
            resource_id="R1",
            columns={"external_id": "SALE", "name": "Sale", "updated_at": utc("2026-02-03T04:05:06.700Z")},
            extra=None,
        )
    ]


@pytest.mark.parametrize("attributes", ["null", "{}"])
def test_a_resource_without_attributes_is_kept_by_its_id(attributes: str) -> None:
    """Every attribute is optional."""
    [resource] = included("category-create", attributes).resources

    assert (resource.resource_id, resource.columns) == (
        "R1",
        {"external_id": None, "name": None, "updated_at": None},
    )


def test_a_resource_of_another_type_is_rejected() -> None:
    """A detail of a category job includes categories only."""
    parsed = included("category-create", "{}", resource_type="catalog-item")

    assert faults_of(parsed) == [("$.included[0].type", "expected 'catalog-category', found 'catalog-item'")]


def test_a_resource_without_an_id_is_rejected() -> None:
    """Without its id a resource has no row of its own."""
    assert faults_of(included("category-create", "{}", resource_id="")) == [
        ("$.included[0].id", "expected an id, found none")
    ]
