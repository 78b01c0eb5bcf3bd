"""Jobs of coupon codes and profiles: each member that the API documents has a place, and the hash knows what changed."""

from __future__ import annotations

from typing import Any

import pytest

from klaviyo_jobs.model.content import content_hash
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.model.records import Job, Linkage
from support.builders import job_object, parsed_page, utc

LINKS = {"self": "https://a.klaviyo.com/x/relationships/y/", "related": "https://a.klaviyo.com/x/y/"}
DONE = "2026-11-20T10:01:00+00:00"


def parsed(kind: str, attributes: Any, relationships: Any) -> Job:
    """Parse one job of *kind*."""
    record = job_object(kind=KINDS[kind], attributes=attributes, relationships=relationships)
    [job] = parsed_page(record, kind=KINDS[kind]).jobs
    return job


def test_every_documented_member_of_an_import_has_a_column() -> None:
    """Its lists are linkages; profiles and errors are links, which are not kept."""
    job = parsed(
        "profile-import",
        {
            "completed_at": DONE,
            "expires_at": "2026-11-27T10:00:00+00:00",
            "started_at": "2026-11-20T10:00:30+00:00",
            "completed_count": 1,
            "failed_count": 1,
        },
        {
            "lists": {"data": [{"type": "list", "id": "L1"}], "links": LINKS},
            "profiles": {"links": LINKS},
            "import-errors": {"links": {"related": LINKS["related"]}},
        },
    )

    assert (job.completed_at, job.started_at) == (utc(DONE), utc("2026-11-20T10:00:30+00:00"))
    assert (job.total_count, job.completed_count, job.failed_count, job.skipped_count) == (2, 1, 1, None)
    assert (job.linkages, job.extra) == ([Linkage("list", "L1")], None)


def test_every_documented_member_of_a_suppression_has_a_column() -> None:
    """Lists and segments one after the other, whichever of them has data."""
    job = parsed(
        "profile-suppress",
        {"completed_at": DONE, "completed_count": 1, "skipped_count": 1},
        {"lists": {"links": LINKS}, "segments": {"data": [{"type": "segment", "id": "G1"}], "links": LINKS}},
    )

    assert (job.completed_count, job.failed_count, job.skipped_count) == (1, None, 1)
    assert (job.linkages, list(job.linkage_positions), job.extra) == ([Linkage("segment", "G1")], [0], None)


def test_ids_of_profiles_and_errors_are_kept_should_they_come() -> None:
    """The documents have them, recorded answers do not: as JSON among what no column models."""
    job = parsed(
        "profile-import",
        {},
        {
            "profiles": {"data": [{"type": "profile", "id": "P1"}], "links": LINKS},
            "import-errors": {"data": [{"type": "import-error", "id": "E1"}]},
        },
    )

    assert job.extra == (
        '{"/relationships/profiles/data":[{"type": "profile", "id": "P1"}],'
        '"/relationships/import-errors/data":[{"type": "import-error", "id": "E1"}]}'
    )


def test_counts_of_other_kinds_are_no_counts_of_a_job() -> None:
    """They are kept as JSON: a suppression has no failures, an item no skipped ones."""
    suppression = parsed("profile-unsuppress", {"failed_count": 3, "errors": []}, {})
    item = parsed("item-create", {"skipped_count": 3, "started_at": DONE}, {})

    assert (suppression.failed_count, suppression.extra) == (None, '{"failed_count":3,"errors":[]}')
    assert (item.skipped_count, item.started_at, item.extra) == (
        None,
        None,
        f'{{"skipped_count":3,"started_at":"{DONE}"}}',
    )


def test_a_linkage_that_cannot_be_read_leaves_its_place_free() -> None:
    """Those of the next relationship go on behind it."""
    job = parsed(
        "profile-suppress",
        {},
        {
            "lists": {"data": [{"type": "list", "id": "L1"}, "odd", {"type": "list", "id": "L2"}]},
            "segments": {"data": [{"type": "segment", "id": "G1"}]},
        },
    )

    assert [each.id for each in job.linkages] == ["L1", "L2", "G1"]
    assert (list(job.linkage_positions), job.unread_linkage_count) == ([0, 2, 3], 1)


@pytest.mark.parametrize("changed", [{"skipped_count": 2}, {"skipped_count": 0}, {}])
def test_another_count_of_skipped_ones_is_another_content(changed: dict[str, int]) -> None:
    """None at all is not 0."""
    before = parsed("profile-suppress", {"skipped_count": 1}, {})

    assert content_hash(parsed("profile-suppress", changed, {})) != content_hash(before)


def test_hashes_of_catalog_jobs_are_what_they_were() -> None:
    """They are stored: another way of making them would take every job for changed."""
    [job] = parsed_page(job_object(attributes={"completed_count": 2, "failed_count": 0})).jobs

    assert content_hash(job) == "c51efa42d041fec1114b7492f0d48435"
