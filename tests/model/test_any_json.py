"""Whatever comes: every record is read or rejected, and a peek says what parsing says."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.model.parse import _parse_job, parse_page
from klaviyo_jobs.model.plain import read_plain
from klaviyo_jobs.model.records import Parsed
from support.builders import (
    ITEM_CREATE,
    PLAIN_ERROR,
    body_of,
    job_object,
    parsed_page,
    raw,
)

ODD_TEXT = b"\xff\xfe"


@pytest.mark.parametrize(
    "record",
    [
        json.dumps(job_object(attributes={"odd": "@"})).encode().replace(b"@", ODD_TEXT),
        json.dumps(job_object(attributes={"@": 1})).encode().replace(b"@", ODD_TEXT),
        json.dumps(job_object(attributes={"status": "@"})).encode().replace(b"@", ODD_TEXT),
        json.dumps(job_object(attributes={"errors": [{"meta": {"a": "@"}}]})).encode().replace(b"@", ODD_TEXT),
    ],
    ids=["unknown attribute", "name", "status", "meta of an error"],
)
def test_bytes_that_are_no_text_are_a_fault(record: bytes) -> None:
    """Bytes that are not UTF-8 reject a job or a part of it, whatever member they are in, and never end the page."""
    parsed = parsed_page(job_object("BEFORE"), record, job_object("AFTER"))

    assert [job.job_id for job in parsed.jobs if job.job_id != "J1"] == ["BEFORE", "AFTER"]
    assert parsed.faults


def test_a_value_nested_without_end_is_a_fault() -> None:
    """Nesting deeper than the decoder follows rejects the job, and its neighbours are read."""
    depth = 1_000_000
    record = json.dumps(job_object(attributes={"odd": "@"})).encode()
    record = record.replace(b'"@"', b"[" * depth + b"]" * depth)

    parsed = parsed_page(job_object("BEFORE"), record, job_object("AFTER"))

    assert [job.job_id for job in parsed.jobs] == ["BEFORE", "AFTER"]
    assert len(parsed.faults) == 1


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["", "2026-11-20T10:00:00Z", "2026-11-20", "complete", "P1D", "<integer>"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["value", "id", "type", "pointer", "data", "source", "meta"]),
            children,
            max_size=4,
        )
    ),
    max_leaves=6,
)
MEMBERS = ("type", "id", "attributes", "relationships", "meta", "links")
ATTRIBUTES = (
    *("job_id", "status", "created_at", "completed_at", "expires_at"),
    *("total_count", "completed_count", "failed_count", "errors", "odd"),
)


@st.composite
def job_like(draw: st.DrawFn) -> Any:
    """A job with any of its parts replaced by anything: what passes the first checks and fails a later one."""
    error = st.just(PLAIN_ERROR) | JSON_VALUES
    linkage = st.just({"type": "catalog-item", "id": "a"}) | JSON_VALUES
    record = job_object(
        attributes={"errors": draw(st.lists(error, max_size=3))},
        relationships={"items": {"data": draw(st.lists(linkage, max_size=3))}},
    )
    record["attributes"] |= draw(st.dictionaries(st.sampled_from(ATTRIBUTES), JSON_VALUES, max_size=2))
    return record | draw(st.dictionaries(st.sampled_from(MEMBERS), JSON_VALUES, max_size=1))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("item_create_list_2022-10-17.json", "item-create"),
        ("variant_delete_list_2023-12-15.json", "variant-delete"),
        ("item_create_list_2024-10-15.json", "item-create"),
        ("item_update_list_2026-07-15.json", "item-update"),
    ],
)
def test_a_real_shape_is_read_plainly_as_it_is_read_member_by_member(name: str, kind: str) -> None:
    """Where the one decoding is not sure, it leaves the job to the other."""
    for record in body_of(name)["data"]:
        whole = _parse_job(KINDS[kind], raw(record), "$", Parsed())

        assert read_plain(KINDS[kind], raw(record)) in (None, whole)


def test_the_live_shape_is_plain() -> None:
    """What Klaviyo sends today is read in one decoding, but for the errors that a PHP client had written."""
    records = body_of("item_update_list_2026-07-15.json")["data"]

    assert [read_plain(KINDS["item-update"], raw(record)) is not None for record in records] == [True, True, False]


@settings(deadline=None, database=None)
@given(job_like())
def test_what_is_read_plainly_never_differs(record: Any) -> None:
    """Whatever is in a job: the plain reading leaves it, or reads what is read member by member."""
    plain = read_plain(ITEM_CREATE, raw(record))

    if plain is not None:
        assert plain == _parse_job(ITEM_CREATE, raw(record), "$", Parsed())


CHILD_PATH = re.compile(r"\.(attributes\.errors|relationships\.items\.data)\[\d+\]")


@settings(deadline=None, database=None)
@given(st.lists(JSON_VALUES | job_like(), max_size=5))
def test_any_json_is_read_or_rejected_and_every_record_is_accounted_for(records: list[Any]) -> None:
    """Nothing raises; each record is a job or one fault, and each child of a job is a row or one fault."""
    raws = [raw(record) for record in records]

    parsed = parse_page(ITEM_CREATE, list(enumerate(raws)))

    child_faults = [fault for fault in parsed.faults if CHILD_PATH.search(fault.json_path)]
    job_faults = [fault for fault in parsed.faults if fault not in child_faults]
    assert len(parsed.jobs) + len(job_faults) == len(records)
    assert all(fault.raw in [bytes(each) for each in raws] for fault in job_faults)
    rejected = {int(fault.json_path.split("[")[1].split("]")[0]) for fault in job_faults}
    read = [record for index, record in enumerate(records) if index not in rejected]
    children = sum(
        len(record["attributes"].get("errors") or ())
        + len(((record.get("relationships") or {}).get("items") or {}).get("data") or ())
        for record in read
    )
    assert sum(len(job.errors) + len(job.linkages) for job in parsed.jobs) + len(child_faults) == children
    for job in parsed.jobs:
        assert isinstance(json.loads(job.extra), dict) if job.extra else job.extra is None
        assert len(job.linkages) == len(job.linkage_positions)
    assert all(fault.reason and msgspec.json.decode(fault.raw) is not Ellipsis for fault in parsed.faults)
