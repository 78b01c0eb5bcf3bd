"""Coupon codes, imports and suppressions of profiles: what their endpoints do that those of catalogs do not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from klaviyo_sandbox import Job, JobError, Sandbox
from support.jobs import job
from support.loads import NOW
from support.sandbox_client import Client, error_of, path_of

IMPORTS, SUPPRESSIONS = path_of("profile-import"), path_of("profile-suppress")
HOUR = timedelta(hours=1)


def names(client: Client, path: str, **params: str) -> list[str]:
    """The ids of one page, asked for with *params*: `page_size` is `page[size]`."""
    given = {"page[size]" if name == "page_size" else name: value for name, value in params.items()}
    return [each["id"] for each in client.get(path, params=given).json()["data"]]


def import_of(errors: list[Any]) -> Job:
    """A finished import with these errors."""
    return job("J1", kind="profile-import", total_count=9, failed_count=len(errors), errors=errors, related_ids=["L1"])


def test_an_import_reads_as_recorded(sandbox: Sandbox, client: Client) -> None:
    """Its lists have data, its profiles and errors links only; no errors and no other kind's counts are attributes."""
    sandbox.world.add(import_of([]))

    resource = client.get(f"{IMPORTS}/J1").json()["data"]

    assert list(resource["attributes"]) == [
        *("completed_at", "completed_count", "created_at", "expires_at", "failed_count", "status", "total_count"),
        "started_at",
    ]
    below = f"{sandbox.base_url}{IMPORTS}/J1"
    assert resource["relationships"] == {
        "lists": {
            "data": [{"type": "list", "id": "L1"}],
            "links": {"self": f"{below}/relationships/lists/", "related": f"{below}/lists/"},
        },
        "profiles": {"links": {"self": f"{below}/relationships/profiles/", "related": f"{below}/profiles/"}},
        "import-errors": {"links": {"related": f"{below}/import-errors/"}},
    }


def test_a_suppression_has_skipped_ones_and_no_expiry(sandbox: Sandbox, client: Client) -> None:
    """And no errors; a relationship without data is links only."""
    suppression = job("J1", kind="profile-suppress", total_count=3, completed_count=2, related_ids=None)
    sandbox.world.add(suppression)
    sandbox.world.change("profile-suppress", "J1", skipped_count=1, segment_ids=["S1"])

    resource = client.get(f"{SUPPRESSIONS}/J1").json()["data"]

    assert resource["attributes"] == {
        "completed_at": None,
        "completed_count": 2,
        "created_at": "2026-11-20T11:00:00.000000+00:00",
        "skipped_count": 1,
        "status": "complete",
        "total_count": 3,
    }
    assert {name: each.get("data") for name, each in resource["relationships"].items()} == {
        "lists": None,
        "segments": [{"type": "segment", "id": "S1"}],
    }


def test_what_does_not_expire_stays_listed(sandbox: Sandbox, client: Client) -> None:
    """A suppression of two years ago is there, an import of eight days ago is not."""
    sandbox.world.add(
        Job("profile-suppress", "OLD", NOW - timedelta(days=730)), Job("profile-import", "OLD", NOW - 8 * 24 * HOUR)
    )

    assert (names(client, SUPPRESSIONS), names(client, IMPORTS)) == (["OLD"], [])


@pytest.mark.parametrize(("kind", "sort"), [("profile-import", "created_at"), ("profile-unsuppress", "created")])
def test_lists_may_be_sorted_by_creation(sandbox: Sandbox, client: Client, kind: str, sort: str) -> None:
    """Either way, over all pages; the links keep the sort."""
    sandbox.world.add(*(Job(kind, f"J{number:03}", NOW - number * HOUR / 10) for number in range(250)))
    path = path_of(kind)

    for value, expected in ((sort, range(249, -1, -1)), (f"-{sort}", range(250))):
        pages = client.pages(path, params={"sort": value})
        assert [each["id"] for page in pages for each in page["data"]] == [f"J{number:03}" for number in expected]


def test_other_lists_take_no_sort(client: Client) -> None:
    """Coupon codes and catalogs are sorted by nothing, and suppressions not by the name that imports have for it."""
    for path, sort in ((path_of("coupon-code-create"), "created_at"), (SUPPRESSIONS, "created_at")):
        response = client.get(path, params={"sort": sort})
        assert (response.status_code, error_of(response)["source"]) == (400, {"parameter": "sort"})


def test_a_page_of_imports_has_twenty_or_as_many_as_asked_for(sandbox: Sandbox, client: Client) -> None:
    """Up to a hundred; more, none and letters are refused."""
    sandbox.world.add(*(Job("profile-import", f"J{number}", NOW - number * HOUR / 10) for number in range(120)))

    assert len(names(client, IMPORTS)) == 20
    assert len(names(client, IMPORTS, page_size="100")) == 100
    assert {client.get(f"{IMPORTS}?page[size]={size}").status_code for size in ("0", "101", "x")} == {400}


def test_import_errors_come_in_pages(sandbox: Sandbox, client: Client) -> None:
    """Twenty at a time, in order, with what was sent."""
    errors = [JobError(f"Row {number} is odd.", id=f"E{number}", payload={"row": number}) for number in range(45)]
    sandbox.world.add(import_of(errors))

    pages = client.pages(f"{IMPORTS}/J1/import-errors")

    assert [len(page["data"]) for page in pages] == [20, 20, 5]
    assert pages[2]["data"][4] == {
        "type": "import-error",
        "id": "E44",
        "attributes": {
            "code": "invalid",
            "title": "Invalid input",
            "detail": "Row 44 is odd.",
            "source": {"pointer": "/data"},
            "original_payload": {"row": 44},
        },
    }


def test_fields_leave_the_payload_of_import_errors_out(sandbox: Sandbox, client: Client) -> None:
    """As an allow-list, in its order."""
    sandbox.world.add(import_of([JobError("Odd.", payload={"email": "a@b.example"})]))

    response = client.get(f"{IMPORTS}/J1/import-errors", params={"fields[import-error]": "detail,code"})

    assert response.json()["data"][0]["attributes"] == {"detail": "Odd.", "code": "invalid"}


@pytest.mark.parametrize(
    ("path", "filter_", "expected"),
    [
        (IMPORTS, 'any(status,["queued","cancelled"])', ["J1", "J2"]),
        (IMPORTS, "equals(status,'queued')", ["J1"]),
        (SUPPRESSIONS, 'equals(list_id,"L1")', ["J3"]),
        (SUPPRESSIONS, 'equals(segment_id,"S1")', ["J4"]),
    ],
)
def test_lists_are_filtered(sandbox: Sandbox, client: Client, path: str, filter_: str, expected: list[str]) -> None:
    """By what each endpoint documents."""
    sandbox.world.add(
        Job("profile-import", "J1", NOW - HOUR, "queued"),
        Job("profile-import", "J2", NOW - 2 * HOUR, "cancelled"),
        Job("profile-import", "J5", NOW - 3 * HOUR),
        Job("profile-suppress", "J3", NOW - HOUR, related_ids=["L1"]),
        Job("profile-suppress", "J4", NOW - HOUR, related_ids=None, segment_ids=["S1"]),
    )

    assert names(client, path, filter=filter_) == expected
    assert client.get(path_of("coupon-code-create"), params={"filter": 'any(status,["queued"])'}).status_code == 400


def test_each_kind_needs_its_scopes(sandbox: Sandbox, client: Client) -> None:
    """A key for catalogs and profiles, without lists, reads no imports."""
    sandbox.accounts["default"].scopes = frozenset({"catalogs:read", "profiles:read", "subscriptions:read"})

    statuses = {kind: client.get(path_of(kind)).status_code for kind in ("item-create", "profile-import")}

    assert statuses == {"item-create": 200, "profile-import": 403}
    assert client.get(SUPPRESSIONS).status_code == 200


def test_imports_have_the_slow_limit(client: Client) -> None:
    """Of list, detail and errors alike."""
    assert client.get(IMPORTS).headers["RateLimit-Limit"] == "10, 10;w=1, 150;w=60"
    assert client.get(SUPPRESSIONS).headers["RateLimit-Limit"] == "75, 75;w=1, 750;w=60"
