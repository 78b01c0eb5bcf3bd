"""Real shapes of the API, each read as a whole: revision by revision, value by value."""

from __future__ import annotations

import json

from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.model.records import Job, JobError, Linkage, Parsed
from support.builders import (
    TOO_DEEP,
    body_of,
    faults_of,
    parsed_detail,
    parsed_page,
    utc,
)


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
