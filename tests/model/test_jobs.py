"""A job with its children: what a record needs, what may be missing, and what no column models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from klaviyo_jobs.model.records import Fault, JobError, Linkage
from support.builders import (
    PLAIN_ERROR,
    faults_of,
    job_object,
    parsed_page,
    without,
)

NO_ID = "expected `id`, or `job_id` in the attributes; found neither"
ITEM_CREATE_TYPE = "'catalog-item-bulk-create-job'"


@pytest.mark.parametrize(
    ("record", "path", "reason"),
    [
        (None, "", "expected an object, found null"),
        ([], "", "expected an object, found []"),
        ("J1", "", 'expected an object, found "J1"'),
        (7, "", "expected an object, found 7"),
        ({}, ".attributes", "expected an object, found nothing"),
        (without(job_object(), "attributes"), ".attributes", "expected an object, found nothing"),
        ({**job_object(), "attributes": None}, ".attributes", "expected an object, found null"),
        ({**job_object(), "attributes": []}, ".attributes", "expected an object, found []"),
        (job_object(""), "", NO_ID),
        (without(job_object(), "id"), "", NO_ID),
        (job_object("", attributes={"job_id": ""}), "", NO_ID),
        ({**job_object(), "id": None}, "", NO_ID),
        ({**job_object(), "id": ["J1"]}, ".id", 'expected a string, found ["J1"]'),
        ({**job_object(), "id": True}, ".id", "expected a string, found true"),
        ({**job_object(), "type": "tag"}, ".type", f"expected {ITEM_CREATE_TYPE}, found 'tag'"),
        (without(job_object(), "attributes", "status"), ".attributes.status", "expected a value, found none"),
        (job_object(attributes={"status": None}), ".attributes.status", "expected a value, found none"),
        (job_object(attributes={"status": ""}), ".attributes.status", "expected a value, found none"),
        (job_object(attributes={"status": {"a": 1}}), ".attributes.status", 'expected a string, found {"a":1}'),
        (without(job_object(), "attributes", "created_at"), ".attributes.created_at", "expected a value, found none"),
        (job_object(attributes={"created_at": None}), ".attributes.created_at", "expected a value, found none"),
        (job_object(attributes={"errors": "none"}), ".attributes.errors", 'expected an array, found "none"'),
        (job_object(attributes={"errors": {"a": 1}}), ".attributes.errors", 'expected an array, found {"a": 1}'),
        (job_object(relationships=[1]), ".relationships", "expected an object, found [1]"),
        (job_object(relationships={"items": "x"}), ".relationships.items", 'expected an object, found "x"'),
        (
            job_object(relationships={"items": {"data": {"type": "catalog-item", "id": "X"}}}),
            ".relationships.items.data",
            'expected an array, found {"type": "catalog-item", "id": "X"}',
        ),
    ],
)
def test_a_record_that_is_no_job_is_a_fault_and_its_neighbours_are_read(record: Any, path: str, reason: str) -> None:
    """The fault has the place in the page, the reason and the whole record; the jobs on either side stay."""
    parsed = parsed_page(job_object("BEFORE"), record, job_object("AFTER"))

    assert [job.job_id for job in parsed.jobs] == ["BEFORE", "AFTER"]
    assert parsed.faults == [Fault(f"$.data[1]{path}", reason, json.dumps(record).encode())]


def test_an_id_that_is_a_number_is_read_as_its_digits() -> None:
    """An id is opaque text."""
    [job] = parsed_page(job_object(attributes={"job_id": 3}) | {"id": 17}).jobs

    assert job.job_id == "17"


def test_the_top_level_id_has_precedence_over_the_one_in_the_attributes() -> None:
    """Revisions from 2023-12-15 on identify a job on the top level."""
    [job] = parsed_page(job_object("TOP", attributes={"job_id": "INNER"})).jobs

    assert job.job_id == "TOP"


def test_a_job_without_a_type_is_read() -> None:
    """The listing says what its records are."""
    assert [job.job_id for job in parsed_page(without(job_object(), "type")).jobs] == ["J1"]


@pytest.mark.parametrize(
    ("error", "path", "reason"),
    [
        ("oops", "", 'expected an object, found "oops"'),
        (None, "", "expected an object, found null"),
        ([1], "", "expected an object, found [1]"),
        ({"detail": ["No."]}, ".detail", 'expected a string, found ["No."]'),
        ({"code": False}, ".code", "expected a string, found false"),
        ({"id": {}}, ".id", "expected a string, found {}"),
        ({"source": {"pointer": {"a": 1}}}, ".source.pointer", 'expected a string, found {"a":1}'),
        ({"source": ["/data"]}, ".source.pointer", 'expected a string, found ["/data"]'),
        ({"meta": {"id": ["x"]}}, ".meta.id", 'expected a string, found ["x"]'),
    ],
)
def test_an_unreadable_error_leaves_the_job_and_the_other_errors_in_their_places(
    error: Any, path: str, reason: str
) -> None:
    """Only the one error is rejected; those around it keep the positions they have in the answer."""
    parsed = parsed_page(job_object(attributes={"errors": [PLAIN_ERROR, error, PLAIN_ERROR]}))

    [job] = parsed.jobs
    assert [(each.position, each.error_id) for each in job.errors] == [(0, "E"), (2, "E")]
    assert parsed.faults == [
        Fault(f"$.data[0].attributes.errors[1]{path}", reason, json.dumps(error).encode(), "J1"),
    ]


def test_children_that_could_not_be_read_are_counted() -> None:
    """The counts of a job say what Klaviyo told of it, not what could be stored."""
    items = {"data": [{"type": "catalog-item", "id": "A"}, {"type": "catalog-item", "id": ["x"]}]}
    attributes = {"errors": [PLAIN_ERROR, None, PLAIN_ERROR]}
    [job] = parsed_page(job_object(attributes=attributes, relationships={"items": items})).jobs

    assert (job.error_count, job.linkage_count) == (3, 2)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({}, JobError(0, None, None, None, None, None, None, None)),
        (dict.fromkeys(PLAIN_ERROR), JobError(0, None, None, None, None, None, None, None)),
        ({"code": 17, "title": 2.5}, JobError(0, None, "17", "2.5", None, None, None, None)),
        ({"source": {"value": "/data"}}, JobError(0, None, None, None, None, "/data", None, None)),
        ({"source": {"pointer": {"value": "/x"}}}, JobError(0, None, None, None, None, "/x", None, None)),
        ({"source": {"pointer": None}}, JobError(0, None, None, None, None, None, None, None)),
        ({"meta": None}, JobError(0, None, None, None, None, None, None, None)),
        ({"meta": []}, JobError(0, None, None, None, None, None, None, "[]")),
        ({"meta": {"id": 5, "n": 1.10}}, JobError(0, None, None, None, None, None, "5", '{"id": 5, "n": 1.1}')),
        ({"meta": {"sku": "A"}}, JobError(0, None, None, None, None, None, None, '{"sku": "A"}')),
    ],
)
def test_every_part_of_an_error_is_optional(error: Any, expected: JobError) -> None:
    """Absent, null and wrapped parts are read; `meta` stays the JSON it is, and its id names the entity."""
    parsed = parsed_page(job_object(attributes={"errors": [error]}))

    assert not parsed.faults
    assert parsed.jobs[0].errors == [expected]


def test_an_unreadable_linkage_leaves_the_job_and_the_other_linkages_in_their_places() -> None:
    """Only the linkages that are no objects are rejected; the others keep their positions."""
    data = [{"type": "catalog-item", "id": "a"}, "b", {"type": "catalog-item", "id": ["c"]}, {"type": "x", "id": "d"}]
    parsed = parsed_page(job_object(relationships={"items": {"data": data}}))

    [job] = parsed.jobs
    assert job.linkages == [Linkage("catalog-item", "a"), Linkage("x", "d")]
    assert list(job.linkage_positions) == [0, 3]
    assert parsed.faults == [
        Fault("$.data[0].relationships.items.data[1]", 'expected an object, found "b"', b'"b"', "J1"),
        Fault(
            "$.data[0].relationships.items.data[2].id",
            'expected a string, found ["c"]',
            b'{"type": "catalog-item", "id": ["c"]}',
            "J1",
        ),
    ]


@pytest.mark.parametrize(
    ("linkage", "expected"),
    [
        ({"type": "catalog-item"}, Linkage("catalog-item", None)),
        ({"id": "a"}, Linkage(None, "a")),
        ({"type": None, "id": None}, Linkage(None, None)),
        ({"type": {"value": "catalog-item"}, "id": {"value": "a"}}, Linkage("catalog-item", "a")),
        ({"type": "catalog-item", "id": 17}, Linkage("catalog-item", "17")),
    ],
)
def test_a_linkage_with_half_its_parts_is_kept(linkage: Any, expected: Linkage) -> None:
    """A linkage without id or type still counts, and wrapped parts are read."""
    parsed = parsed_page(job_object(relationships={"items": {"data": [linkage]}}))

    assert not parsed.faults
    assert parsed.jobs[0].linkages == [expected]
    assert list(parsed.jobs[0].linkage_positions) == [0]


@pytest.mark.parametrize("name", ["errors", "linkages"])
def test_null_for_children_is_none(name: str) -> None:
    """`errors: null` and `data: null` are empty."""
    [job] = parsed_page(job_object(attributes={"errors": None}, relationships={"items": {"data": None}})).jobs

    assert getattr(job, name) == []


def test_a_rejected_job_leaves_no_faults_of_its_children() -> None:
    """One record is one rejected record: its raw JSON holds the children as well."""
    parsed = parsed_page(job_object(attributes={"errors": ["oops"]}, relationships={"items": {"data": 5}}))

    assert faults_of(parsed) == [("$.data[0].relationships.items.data", "expected an array, found 5")]


def test_unknown_members_go_to_extra_under_their_names_and_places() -> None:
    """Unknown attributes stand under their names, unknown members elsewhere under the place they have in the job."""
    record = job_object(
        attributes={
            "priority": {"level": 3, "labels": ["a", None]},
            "note": None,
            "errors": [PLAIN_ERROR, {"source": {"pointer": "/data", "parameter": "q"}, "status": 400, "links": {}}],
        },
        meta={"region": "eu"},
        relationships={"items": {"data": []}, "tags": {"data": [{"type": "tag", "id": "t"}]}},
    )

    parsed = parsed_page(record)

    assert not parsed.faults
    assert json.loads(parsed.jobs[0].extra or "") == {
        "priority": {"level": 3, "labels": ["a", None]},
        "note": None,
        "/meta": {"region": "eu"},
        "/attributes/errors/1/source": {"parameter": "q"},
        "/attributes/errors/1/status": 400,
        "/attributes/errors/1/links": {},
        "/relationships/tags": {"data": [{"type": "tag", "id": "t"}]},
    }
    assert parsed.unmodelled >= {"priority", "note", "/meta", "/relationships/tags"}


def test_a_job_without_unknown_members_has_no_extra() -> None:
    """`links` and `job_id` are known."""
    [job] = parsed_page(job_object(attributes={"job_id": "J1"}, links={"self": "https://a.klaviyo.com/x"})).jobs

    assert job.extra is None


def test_numbers_in_extra_keep_their_digits() -> None:
    """Unknown attributes pass through undecoded: no digit of a large or fine number is lost."""
    record = json.dumps(job_object(attributes={"odd": 0})).replace('"odd": 0', '"odd": 12345678901234567890.10')

    [job] = parsed_page(record.encode()).jobs

    assert job.extra == '{"odd":12345678901234567890.10}'
