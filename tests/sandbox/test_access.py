"""Keys, scopes, accounts and revisions: who is answered, and in which shape."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests

from klaviyo_sandbox import JobError, Sandbox, related_id
from support.jobs import MINUTE, job
from support.loads import NOW
from support.sandbox_client import CATEGORIES, ITEMS, Client, error_of

OPT_OUT = {"X-Klaviyo-Revision-Fall-Forward-Opt-Out": "1"}


@pytest.fixture
def historic() -> Iterator[Client]:
    """A client of a sandbox that serves retired revisions; it holds 101 jobs of one success and one failure each."""
    with Sandbox(clock=NOW, serve_retired=True) as sandbox:
        client = Client(sandbox)
        sandbox.world.add(
            *(
                job(
                    f"J{number:03}",
                    created_at=NOW - number * MINUTE,
                    total_count=2,
                    completed_count=1,
                    failed_count=1,
                    errors=[JobError("Wrong.", related_id("B"))],
                    related_ids=[related_id("A")],
                )
                for number in range(101)
            ),
            job("D1", kind="item-delete", related_ids=[related_id("A")]),
        )
        with client.session:
            yield client


@pytest.mark.parametrize(
    "authorization", [None, "", "Klaviyo-API-Key pk_wrong", "Bearer pk_sandbox_default", "pk_sandbox_default"]
)
def test_a_wrong_key_is_refused_as_recorded(sandbox: Sandbox, authorization: str | None) -> None:
    """No key, a wrong one or a wrong scheme is a 401 without rate-limit headers."""
    headers = {"revision": "2026-07-15"} | ({} if authorization is None else {"Authorization": authorization})
    response = requests.get(sandbox.base_url + ITEMS, headers=headers, timeout=10)

    assert response.status_code == 401
    assert error_of(response)["code"] == "authentication_failed"
    assert not [name for name in response.headers if name.lower().startswith("ratelimit")]


def test_a_key_without_the_scope_is_refused(sandbox: Sandbox, client: Client) -> None:
    """A right key that may not read catalogs is a 403."""
    sandbox.add_account("narrow", scopes=())

    response = client.get(ITEMS, account="narrow")

    assert (response.status_code, error_of(response)["code"]) == (403, "permission_denied")


def test_accounts_have_jobs_of_their_own(sandbox: Sandbox, client: Client) -> None:
    """The key decides whose jobs are seen."""
    sandbox.add_account("second").world.add(job("S1"))
    sandbox.world.add(job("D1"))

    answers = [client.get(ITEMS, account=account).json()["data"] for account in ("default", "second")]

    assert [[each["id"] for each in answer] for answer in answers] == [["D1"], ["S1"]]


def test_the_revision_is_required(sandbox: Sandbox) -> None:
    """A request without a `revision` header is a 400."""
    headers = {"Authorization": f"Klaviyo-API-Key {sandbox.key}"}

    assert requests.get(sandbox.base_url + ITEMS, headers=headers, timeout=10).status_code == 400


@pytest.mark.parametrize("revision", ["latest", "2026-13-01", "20260715", "2026-7-15", "2026-07-15."])
def test_a_malformed_revision_is_refused(client: Client, revision: str) -> None:
    """Anything but YYYY-MM-DD with an optional suffix is a 400."""
    assert client.get(ITEMS, revision=revision).status_code == 400


def test_a_future_revision_is_a_404(client: Client) -> None:
    """A date after today gives a 404 that only its detail tells from a missing job."""
    response = client.get(ITEMS, revision="2026-11-21")

    assert response.status_code == 404
    assert error_of(response)["detail"] == "Unable to specify a future revision date"


def test_the_newest_known_revision_is_never_future(sandbox: Sandbox, client: Client) -> None:
    """A clock set before its release still serves it."""
    sandbox.clock.set(NOW - timedelta(days=200))

    assert client.get(ITEMS, revision="2026-10-15").status_code == 200
    assert client.get(ITEMS, revision="2026-10-16").status_code == 404


def test_a_retired_revision_falls_forward(sandbox: Sandbox, client: Client) -> None:
    """A retired revision is served as the oldest live one: jobs have an `id` and no `job_id`."""
    sandbox.world.add(job("J1"))

    (retired,) = client.get(ITEMS, revision="2022-10-17").json()["data"]

    assert retired == client.get(ITEMS, revision="2025-01-15").json()["data"][0]
    assert retired["id"] == "J1"
    assert "job_id" not in retired["attributes"]


def test_a_client_can_opt_out_of_falling_forward(client: Client) -> None:
    """With the opt-out header a retired revision is a 410, a live one is served."""
    statuses = [client.get(ITEMS, revision=day, headers=OPT_OUT).status_code for day in ("2024-10-15", "2025-01-15")]

    assert statuses == [410, 200]


def test_retirement_follows_the_clock(sandbox: Sandbox, client: Client) -> None:
    """A revision is retired two years to the day after its release."""
    sandbox.clock.set(NOW.replace(month=10, day=14))
    before = client.get(ITEMS, revision="2024-10-15", headers=OPT_OUT).status_code
    sandbox.clock.set(NOW.replace(month=10, day=15))
    after = client.get(ITEMS, revision="2024-10-15", headers=OPT_OUT).status_code

    assert (before, after) == (200, 410)


@pytest.mark.parametrize("asked", ["2026-07-15", "2026-10-15", "2026-09-01", "2026-07-15.pre"])
def test_the_newest_shape_is_the_recorded_one(historic: Client, asked: str) -> None:
    """From 2026-07-15 on: `id`, linkages without links, no `first` and `last`, nulls, errors with `meta`."""
    response = historic.get(ITEMS, revision=asked)
    page = response.json()

    assert response.headers["Content-Type"] == "application/vnd.api+json"
    assert set(page["links"]) == {"self", "next", "prev"}
    assert page["data"][0]["id"] == "J000"
    assert set(page["data"][0]["relationships"]["items"]) == {"data"}
    assert page["data"][0]["attributes"]["completed_at"] is None
    assert page["data"][0]["attributes"]["errors"][0]["meta"] == {"id": related_id("B")}


def test_the_first_shape_has_the_id_in_the_attributes(historic: Client) -> None:
    """2022-10-17: `attributes.job_id`, no `id`, no nulls, plain JSON, `first` and `last`, paths with a slash."""
    response = historic.get(ITEMS, revision="2022-10-17")
    page = response.json()
    first = page["data"][0]

    assert response.headers["Content-Type"] == "application/json"
    assert ("id" in first, first["attributes"]["job_id"]) == (False, "J000")
    assert "completed_at" not in first["attributes"]
    assert set(page["links"]) == {"self", "first", "last", "next"}
    assert page["links"]["self"].endswith("-jobs/")
    assert set(first["relationships"]["items"]) == {"data"}
    assert set(first["attributes"]["errors"][0]) == {"id", "code", "title", "detail", "source"}


def test_the_first_shape_pages_to_its_end(historic: Client) -> None:
    """2022-10-17: `next` leads to the last page, which has no `next`; `last` is the link to the oldest jobs."""
    first = historic.get(ITEMS, revision="2022-10-17").json()
    second = historic.get(first["links"]["next"], revision="2022-10-17").json()
    last = historic.get(first["links"]["last"], revision="2022-10-17").json()

    assert [each["attributes"]["job_id"] for each in second["data"]] == ["J100"]
    assert "next" not in second["links"]
    assert last["data"][-1]["attributes"]["job_id"] == "J100"
    assert "next" not in last["links"]


@pytest.mark.parametrize(("revision", "media_type"), [("2023-12-15", "json"), ("2024-10-15", "vnd.api+json")])
def test_the_middle_shapes_have_relationship_links(historic: Client, revision: str, media_type: str) -> None:
    """2023-12-15 and 2024-10-15: `id`, relationships with links; deletes have links only."""
    response = historic.get(ITEMS, revision=revision)
    deleted = historic.get("/api/catalog-item-bulk-delete-jobs", revision=revision).json()["data"][0]
    first: dict[str, Any] = response.json()["data"][0]

    assert response.headers["Content-Type"] == f"application/{media_type}"
    assert first["id"] == "J000"
    assert set(first["relationships"]["items"]) == {"data", "links"}
    assert set(deleted["relationships"]["items"]) == {"links"}
    assert ("completed_at" in first["attributes"]) == (revision == "2024-10-15")


def test_only_the_first_shape_knows_the_field_job_id(historic: Client) -> None:
    """`fields[...]=job_id` is taken at 2022-10-17 and refused later, where `id` is taken."""
    name = "fields[catalog-item-bulk-create-job]"
    asked = [("2022-10-17", "job_id"), ("2023-12-15", "job_id"), ("2023-12-15", "id"), ("2026-07-15", "id")]

    statuses = [historic.get(ITEMS, params={name: field}, revision=day).status_code for day, field in asked]

    assert statuses == [200, 400, 400, 200]


def test_errors_come_in_the_media_type_of_the_revision(historic: Client) -> None:
    """A 404 at 2023-12-15 is plain JSON."""
    response = historic.get(f"{CATEGORIES}/nope", revision="2023-12-15")

    assert (response.status_code, response.headers["Content-Type"]) == (404, "application/json")
