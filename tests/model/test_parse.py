"""Parsing: every shape the API has had is read, every fault is named, and nothing is dropped on the way."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_jobs.errors import PagingError, PartialError
from klaviyo_jobs.model.kinds import ENTITIES, KINDS
from klaviyo_jobs.model.parse import parse_page, peek_state
from klaviyo_jobs.model.records import Fault, Job, JobError, Linkage, Parsed, Resource, external_id_of
from klaviyo_sandbox import Job as SandboxJob
from klaviyo_sandbox import RawJob, Sandbox
from support.builders import ITEM_CREATE, body_of, faults_of, job_object, parsed_detail, parsed_page, raw, without
from support.loads import NOW, Load, Warehouse

TOO_DEEP = "<Error: Too many levels of nesting to fake this schema>"


def utc(text: str) -> dt.datetime:
    """Return the time that *text* names."""
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)


# Real shapes, each as a whole.


def test_the_published_list_of_2022_is_read_with_wrapped_members_negative_counts_and_odd_dates() -> None:
    """Revision 2022-10-17: `job_id` in the attributes is the id, `{"value": x}` is x, and no number or date is odd."""
    parsed = parsed_page(*body_of("item_create_list_2022-10-17.json")["data"])

    wrapped_errors = [
        JobError(position, TOO_DEEP, TOO_DEEP, TOO_DEEP, TOO_DEEP, TOO_DEEP, None, None) for position in (0, 1)
    ]
    wrapped_linkages = [Linkage(TOO_DEEP, TOO_DEEP), Linkage(TOO_DEEP, TOO_DEEP)]
    assert parsed == Parsed(
        jobs=[
            Job(
                job_id="labore et velit",
                status="queued",
                created_at=utc("1991-03-14T07:21:45.120Z"),
                completed_at=utc("1944-05-23T18:09:11.402Z"),
                expires_at=utc("1995-12-01T03:44:59.987Z"),
                total_count=-71234567,
                completed_count=-40112233,
                failed_count=-98765432,
                errors=wrapped_errors,
                linkages=wrapped_linkages,
                linkage_positions=[0, 1],
            ),
            Job(
                job_id="sunt in culpa",
                status="processing",
                created_at=utc("1997-06-30T23:59:59.999Z"),
                completed_at=utc("1962-08-05T11:00:00.001Z"),
                expires_at=utc("1992-02-29T00:00:00.500Z"),
                total_count=64000128,
                completed_count=-31415926,
                failed_count=27182818,
                errors=wrapped_errors,
                linkages=wrapped_linkages,
                linkage_positions=[0, 1],
            ),
        ]
    )


def test_the_published_detail_of_2023_ends_as_one_fault_for_the_job_and_one_for_each_category() -> None:
    """Revision 2023-12-15: placeholders are no numbers or dates; each record is named by path and kept as raw JSON."""
    body = body_of("category_create_detail_2023-12-15.json")

    parsed = parsed_detail(body, KINDS["category-create"])

    assert not parsed.jobs
    assert not parsed.resources
    assert faults_of(parsed) == [
        ("$.data.attributes.created_at", 'expected a date-time, found "<dateTime>"'),
        ("$.included[0].attributes.updated", 'expected a date-time, found "<dateTime>"'),
        ("$.included[1].attributes.updated", 'expected a date-time, found "<dateTime>"'),
    ]
    assert [json.loads(fault.raw) for fault in parsed.faults] == [body["data"], *body["included"]]


def test_the_recorded_list_of_2026_is_read() -> None:
    """Revision 2026-07-15: relationships absent or empty, `completed_at` null, and `errors[].meta` naming the item."""
    parsed = parsed_page(*body_of("item_update_list_2026-07-15.json")["data"], kind=KINDS["item-update"])

    assert parsed == Parsed(
        jobs=[
            Job(
                job_id="01KPROCESSING0000000000001",
                status="processing",
                created_at=utc("2026-11-20T11:58:12.218277Z"),
                completed_at=None,
                expires_at=utc("2026-11-27T11:58:12.218277Z"),
                total_count=2,
                completed_count=0,
                failed_count=0,
                linkage_positions=range(0),
            ),
            Job(
                job_id="01KSUCCEEDED00000000000002",
                status="complete",
                created_at=utc("2026-11-20T09:39:27.000001Z"),
                completed_at=utc("2026-11-20T09:39:41.460610Z"),
                expires_at=utc("2026-11-27T09:39:27.000001Z"),
                total_count=2,
                completed_count=2,
                failed_count=0,
                linkages=[
                    Linkage("catalog-item", "$custom:::$default:::mug-1"),
                    Linkage("catalog-item", "$custom:::$default:::mug-2"),
                ],
                linkage_positions=range(2),
            ),
            Job(
                job_id="01KFAILED00000000000000003",
                status="complete",
                created_at=utc("2026-11-19T12:27:32.311875Z"),
                completed_at=utc("2026-11-19T12:27:42.891019Z"),
                expires_at=utc("2026-11-26T12:27:32.311875Z"),
                total_count=2,
                completed_count=0,
                failed_count=2,
                errors=[
                    JobError(
                        position=0,
                        error_id="00000001-1111-4222-8333-444444444444",
                        code="invalid",
                        title="Invalid input",
                        detail="An item with the id `$custom:::$default:::gone-1` does not exist.",
                        source_pointer="/data/attributes/items/data/id",
                        related_id="$custom:::$default:::gone-1",
                        meta='{"id": "$custom:::$default:::gone-1"}',
                    ),
                    JobError(
                        position=1,
                        error_id="00000002-1111-4222-8333-444444444444",
                        code="invalid",
                        title="Invalid input",
                        detail="An item with the id `$custom:::$default:::gone-2` does not exist.",
                        source_pointer="/data/attributes/items/data/id",
                        related_id=None,
                        meta="[]",
                    ),
                ],
            ),
        ]
    )


def test_the_recorded_detail_of_2026_is_read() -> None:
    """Revision 2026-07-15: the detail of a job under way has `included: []` and `data: []`."""
    parsed = parsed_detail(body_of("category_create_detail_2026-07-15.json"), KINDS["category-create"])

    assert parsed == Parsed(
        jobs=[
            Job(
                job_id="01KCATEGORIES0000000000004",
                status="processing",
                created_at=utc("2026-11-20T11:40:10.622180Z"),
                completed_at=None,
                expires_at=utc("2026-11-27T11:40:10.622180Z"),
                total_count=2,
                completed_count=0,
                failed_count=0,
                linkage_positions=range(0),
            )
        ]
    )


def test_a_delete_list_of_2023_is_read() -> None:
    """Revision 2023-12-15: a relationship with links only has no linkages, and a time without a zone is UTC."""
    parsed = parsed_page(*body_of("variant_delete_list_2023-12-15.json")["data"], kind=KINDS["variant-delete"])

    assert parsed == Parsed(
        jobs=[
            Job(
                job_id="VD1",
                status="complete",
                created_at=utc("2023-12-20T08:15:00Z"),
                completed_at=utc("2023-12-20T08:15:30Z"),
                expires_at=utc("2023-12-27T08:15:00Z"),
                total_count=10,
                completed_count=9,
                failed_count=1,
                errors=[
                    JobError(0, "E1", "invalid", "Invalid input", "A variant does not exist.", "/data", None, None)
                ],
            ),
            Job(
                job_id="VD2",
                status="queued",
                created_at=utc("2023-12-20T08:20:00Z"),
                completed_at=None,
                expires_at=None,
                total_count=3,
                completed_count=0,
                failed_count=0,
            ),
        ]
    )


def test_a_list_of_2024_is_read() -> None:
    """Revision 2024-10-15: counts, times and `errors` may be null, and a pointer may be absent."""
    parsed = parsed_page(*body_of("item_create_list_2024-10-15.json")["data"])

    assert parsed == Parsed(
        jobs=[
            Job(
                job_id="IC1",
                status="processing",
                created_at=utc("2024-10-20T08:15:00Z"),
                completed_at=None,
                expires_at=None,
                total_count=4,
                completed_count=None,
                failed_count=None,
                linkage_positions=range(0),
            ),
            Job(
                job_id="IC2",
                status="cancelled",
                created_at=utc("2024-10-20T01:00:00Z"),
                completed_at=utc("2024-10-20T01:30:00Z"),
                expires_at=utc("2024-10-27T01:00:00Z"),
                total_count=1,
                completed_count=0,
                failed_count=1,
                errors=[JobError(0, "E2", "invalid", "Invalid input", "Refused.", None, None, None)],
            ),
        ]
    )


# The same shapes from the API to the tables.

JOB_COLUMNS = (
    "job_id, status, created_at, completed_at, expires_at, total_count, completed_count, failed_count, error_count, "
    "linkage_count, extra"
)
ERROR_COLUMNS = "job_id, position, error_id, code, title, detail, source_pointer, related_id, meta"
LINKAGE_COLUMNS = "job_id, position, relationship, related_type, related_id, external_id"
REJECTED_COLUMNS = "account, position, job_kind, endpoint, json_path, reason, raw"


def table(warehouse: Warehouse, columns: str, name: str) -> list[tuple[Any, ...]]:
    """Return *columns* of a raw table, in the order of the first two."""
    return warehouse.rows(f"select {columns} from klaviyo_raw.{name} order by 1, 2")


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
    assert table(warehouse, LINKAGE_COLUMNS, "job_linkages") == [
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
        ("default", 0, "category-create", endpoint, "$.data.attributes.created_at", reason),
        ("default", 1, "category-create", endpoint, "$.included[0].attributes.updated", reason),
        ("default", 2, "category-create", endpoint, "$.included[1].attributes.updated", reason),
    ]
    assert [json.loads(row[-1]) for row in rejected] == [body["data"], *body["included"]]
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
    assert table(warehouse, LINKAGE_COLUMNS, "job_linkages") == [
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
            0,
            "item-create",
            "GET /api/catalog-item-bulk-create-jobs (page 1)",
            "$.data[1].attributes.total_count",
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


# Values one by one.


@pytest.mark.parametrize("status", ["queued", "processing", "complete", "cancelled", "paused", "COMPLETE", "完了"])
def test_any_status_is_kept_as_it_is(status: str) -> None:
    """A status that no revision names is data, not a fault."""
    [job] = parsed_page(job_object(attributes={"status": status})).jobs

    assert job.status == status


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T10:00:00.123456+00:00", "2026-11-20T10:00:00.123456+00:00"),
        ("2026-11-20T10:00:00.000001Z", "2026-11-20T10:00:00.000001+00:00"),
        ("2026-11-20T10:00:00", "2026-11-20T10:00:00+00:00"),
        ("2026-11-20T10:00:00+0000", "2026-11-20T10:00:00+00:00"),
        ("2026-11-20T10:00:00.5-0330", "2026-11-20T13:30:00.500000+00:00"),
        ("2026-11-20T10:00:00+05:45", "2026-11-20T04:15:00+00:00"),
        ("2026-11-20T10:00Z", "2026-11-20T10:00:00+00:00"),
        ("1944-10-11T09:03:26.339Z", "1944-10-11T09:03:26.339000+00:00"),
    ],
)
def test_a_time_is_read_as_utc_to_the_microsecond(text: str, expected: str) -> None:
    """Any offset is turned into UTC, a time without one is UTC, and no digit of the microseconds is lost."""
    [job] = parsed_page(job_object(attributes={"created_at": text})).jobs

    assert job.created_at.isoformat() == expected
    assert job.created_at.utcoffset() == dt.timedelta(0)


@pytest.mark.parametrize("name", ["created_at", "completed_at", "expires_at"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("<dateTime>", '"<dateTime>"'),
        ("", '""'),
        ("2026-11-20", '"2026-11-20"'),
        ("10:00:00", '"10:00:00"'),
        ("P1D", '"P1D"'),
        ("2026-13-20T10:00:00Z", '"2026-13-20T10:00:00Z"'),
        ("2026-02-30T10:00:00Z", '"2026-02-30T10:00:00Z"'),
        ("0001-01-01T00:00:00+14:00", '"0001-01-01T00:00:00+14:00"'),
        ("9999-12-31T23:59:59-10:00", '"9999-12-31T23:59:59-10:00"'),
        ("2026-11-20T10:00:00Z/2026-11-21T10:00:00Z", '"2026-11-20T10:00:00Z/2026-11-21T10:00:00Z"'),
        # pendulum.parse takes this for the present moment.
        ("now", '"now"'),
        (1795168800, "1795168800"),
        (1795168800.5, "1795168800.5"),
        (True, "true"),
        ([], "[]"),
        ({"seconds": 1}, '{"seconds":1}'),
    ],
)
def test_what_is_no_date_time_is_a_fault(name: str, value: Any, shown: str) -> None:
    """A date alone, a duration, a number, an impossible or an unrepresentable time rejects the job by its path."""
    parsed = parsed_page(job_object(attributes={name: value}))

    assert not parsed.jobs
    assert faults_of(parsed) == [(f"$.data[0].attributes.{name}", f"expected a date-time, found {shown}")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (-92250684, -92250684),
        (2.0, 2),
        (2**63 - 1, 9223372036854775807),
        (-(2**63), -9223372036854775808),
        (None, None),
        ({"value": 3}, 3),
        ({"value": None}, None),
    ],
)
def test_a_count_is_any_integer_of_64_bits_or_nothing(value: Any, expected: int | None) -> None:
    """Negative counts and `2.0` are integers; null is no count."""
    [job] = parsed_page(job_object(attributes={"completed_count": value})).jobs

    assert job.completed_count == expected


@pytest.mark.parametrize("name", ["total_count", "completed_count", "failed_count"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("<integer>", '"<integer>"'),
        ("5", '"5"'),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        (2**63, "9223372036854775808"),
        (-(2**63) - 1, "-9223372036854775809"),
        (2**70, "1180591620717411303424"),
        ([], "[]"),
        ({}, "{}"),
        ({"value": {"value": 1}}, '{"value":1}'),
        ("x" * 80, '"' + "x" * 56 + "..."),
    ],
)
def test_what_is_no_count_is_a_fault(name: str, value: Any, shown: str) -> None:
    """A word, a flag, a fraction or more than 64 bits rejects the job by its path; long values are shown in part."""
    parsed = parsed_page(job_object(attributes={name: value}))

    assert not parsed.jobs
    assert faults_of(parsed) == [(f"$.data[0].attributes.{name}", f"expected an integer, found {shown}")]


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


# Children.

PLAIN_ERROR = {"id": "E", "code": "invalid", "title": "Invalid input", "detail": "No.", "source": {"pointer": "/data"}}


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
        Fault(f"$.data[0].attributes.errors[1]{path}", reason, json.dumps(error).encode()),
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({}, JobError(0, None, None, None, None, None, None, None)),
        (dict.fromkeys(PLAIN_ERROR), JobError(0, None, None, None, None, None, None, None)),
        ({"code": 17, "title": 2.5}, JobError(0, None, "17", "2.5", None, None, None, None)),
        ({"source": {"value": "/data"}}, JobError(0, None, None, None, None, "/data", None, None)),
        ({"source": {"pointer": {"value": "/x"}}}, JobError(0, None, None, None, None, "/x", None, None)),
        ({"source": {"pointer": None}}, JobError(0, None, None, None, None, None, None, None)),
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
        Fault("$.data[0].relationships.items.data[1]", 'expected an object, found "b"', b'"b"'),
        Fault(
            "$.data[0].relationships.items.data[2].id",
            'expected a string, found ["c"]',
            b'{"type": "catalog-item", "id": ["c"]}',
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


# What no column models.


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


# Included resources.


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
            entity=ENTITIES[0],
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
            entity=ENTITIES[2],
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


@pytest.mark.parametrize(
    ("related_id", "expected"),
    [
        ("$custom:::$default:::SKU-1", "SKU-1"),
        ("$shopify:::$default:::a:::b", "a:::b"),
        ("$custom:::$default:::", ""),
        ("SKU-1", None),
        ("a:::b", None),
        ("", None),
        (None, None),
    ],
)
def test_the_external_id_is_what_follows_integration_and_catalog(related_id: str | None, expected: str | None) -> None:
    """A compound id has three parts; the shop's own may hold the separator."""
    assert external_id_of(related_id) == expected


# Whatever comes.

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
    depth = 100_000
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


# What is glimpsed before parsing.


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("item_create_list_2022-10-17.json", "item-create"),
        ("variant_delete_list_2023-12-15.json", "variant-delete"),
        ("item_create_list_2024-10-15.json", "item-create"),
        ("item_update_list_2026-07-15.json", "item-update"),
    ],
)
def test_a_glimpse_of_a_real_shape_is_what_parsing_says_or_nothing(name: str, kind: str) -> None:
    """An unchanged job is told by a glimpse; where the glimpse is not sure, the job is parsed."""
    for record in body_of(name)["data"]:
        [job] = parsed_page(record, kind=KINDS[kind]).jobs

        assert peek_state(KINDS[kind], raw(record)) in (None, (job.job_id, job.state))


def test_a_plain_job_is_glimpsed() -> None:
    """The live shape does not have to be parsed to be known."""
    for record in body_of("item_update_list_2026-07-15.json")["data"]:
        assert peek_state(KINDS["item-update"], raw(record)) is not None


@settings(deadline=None, database=None)
@given(job_like())
def test_a_glimpse_never_differs_from_what_parsing_says(record: Any) -> None:
    """Whatever is in a job: a glimpse gives nothing, or the very id and state, unless parsing finds a fault."""
    glimpse = peek_state(ITEM_CREATE, raw(record))

    parsed = parse_page(ITEM_CREATE, [(0, raw(record))])
    if glimpse is not None and not parsed.faults:
        [job] = parsed.jobs
        assert glimpse == (job.job_id, job.state)


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
