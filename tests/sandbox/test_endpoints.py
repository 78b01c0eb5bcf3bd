"""Lists and details: paths, paging, filter, fields, include, and what is refused."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pytest

from klaviyo_sandbox import KINDS, JobError, RawJob, Sandbox, related_id
from support.jobs import add_jobs, job
from support.sandbox_client import CATEGORIES, ITEMS, Client, error_of, path_of


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_list_and_a_detail(sandbox: Sandbox, client: Client, kind: str) -> None:
    """All thirteen kinds answer under their own path and type."""
    sandbox.world.add(job("J1", kind=kind))

    listed = client.get(path_of(kind)).json()["data"]
    detail = client.get(path_of(kind, "J1")).json()["data"]

    assert listed == [detail]
    assert (detail["type"], detail["id"]) == (KINDS[kind].job_type, "J1")


def test_a_trailing_slash_makes_no_difference(sandbox: Sandbox, client: Client) -> None:
    """Both path forms are answered, for lists and details."""
    sandbox.world.add(job("J1"))

    for path in (ITEMS, f"{ITEMS}/J1"):
        assert client.get(path).json() == client.get(f"{path}/").json()


def test_a_job_reads_as_recorded(sandbox: Sandbox, client: Client) -> None:
    """The resource object has the recorded members, in the recorded forms."""
    failure = JobError(
        "An item with the id `B` does not exist.",
        related_id("B"),
        id="E1",
        pointer="/data/attributes/items/data/id",
    )
    sandbox.world.add(
        job("J1", total_count=2, completed_count=1, failed_count=1, related_ids=[related_id("A")], errors=[failure])
    )

    assert client.get(f"{ITEMS}/J1").json()["data"] == {
        "type": "catalog-item-bulk-create-job",
        "id": "J1",
        "attributes": {
            "completed_at": None,
            "completed_count": 1,
            "created_at": "2026-11-20T11:00:00.000000+00:00",
            "errors": [
                {
                    "id": "E1",
                    "code": "invalid",
                    "meta": {"id": "$custom:::$default:::B"},
                    "title": "Invalid input",
                    "detail": "An item with the id `B` does not exist.",
                    "source": {"pointer": "/data/attributes/items/data/id"},
                }
            ],
            "expires_at": "2026-11-27T11:00:00.000000+00:00",
            "failed_count": 1,
            "status": "complete",
            "total_count": 2,
        },
        "relationships": {"items": {"data": [{"type": "catalog-item", "id": "$custom:::$default:::A"}]}},
        "links": {"self": f"{sandbox.base_url}{ITEMS}/J1/"},
    }


def test_lists_come_newest_first_in_pages_of_100(sandbox: Sandbox, client: Client) -> None:
    """205 jobs are three pages; nothing is lost, doubled or out of order."""
    ids = add_jobs(sandbox, 205)

    pages = client.pages(ITEMS)

    assert [len(page["data"]) for page in pages] == [100, 100, 5]
    assert [each["id"] for page in pages for each in page["data"]] == ids


def test_the_next_link_keeps_the_query_and_adds_an_opaque_cursor(sandbox: Sandbox, client: Client) -> None:
    """`links.next` is absolute and percent-encoded; its cursor is unpadded base64url of `next::id::<id>`."""
    add_jobs(sandbox, 101)

    first = client.get(ITEMS, params={"filter": 'equals(status,"complete")'}).json()

    cursor = base64.urlsafe_b64encode(b"next::id::J099").decode().rstrip("=")
    assert first["links"] == {
        "self": f"{sandbox.base_url}{ITEMS}?filter=equals%28status%2C%22complete%22%29",
        "next": f"{sandbox.base_url}{ITEMS}?filter=equals%28status%2C%22complete%22%29&page%5Bcursor%5D={cursor}",
        "prev": None,
    }


def test_an_only_page_has_null_links(client: Client) -> None:
    """On a last and first page `next` and `prev` are present and null."""
    page = client.get(ITEMS).json()

    assert page["data"] == []
    assert (page["links"]["next"], page["links"]["prev"]) == (None, None)


def test_a_full_page_may_be_the_last(sandbox: Sandbox, client: Client) -> None:
    """A hundred jobs are one page: no link leads to an empty one."""
    add_jobs(sandbox, 100)

    assert [len(page["data"]) for page in client.pages(ITEMS)] == [100]


def test_the_previous_link_leads_back(sandbox: Sandbox, client: Client) -> None:
    """`links.prev` of page two is page one again."""
    add_jobs(sandbox, 150)
    first, second = client.pages(ITEMS)

    back = client.get(second["links"]["prev"]).json()

    assert back["data"] == first["data"]
    assert back["links"]["next"] == first["links"]["next"]
    assert back["links"]["prev"] is None


def test_a_cursor_outlives_its_job(sandbox: Sandbox, client: Client) -> None:
    """A job that goes away between two pages costs no other job."""
    ids = add_jobs(sandbox, 150)
    first = client.get(ITEMS).json()
    sandbox.world.remove("item-create", "J099")

    second = client.get(first["links"]["next"]).json()

    assert [each["id"] for each in second["data"]] == ids[100:]


@pytest.mark.parametrize("quote", ['"', "'"])
def test_the_status_filter_takes_either_quote(sandbox: Sandbox, client: Client, quote: str) -> None:
    """`equals(status,...)` keeps jobs in that status only."""
    sandbox.world.add(job("J1"), job("J2", status="processing"))

    page = client.get(ITEMS, params={"filter": f"equals(status,{quote}processing{quote})"}).json()

    assert [each["id"] for each in page["data"]] == ["J2"]


@pytest.mark.parametrize(
    ("path", "parameter", "value"),
    [
        (ITEMS, "filter", 'greater-than(created_at,"2026-01-01")'),
        (ITEMS, "filter", 'equals(status,"paused")'),
        (ITEMS, "filter", "equals(status,\"complete')"),
        (ITEMS, "sort", "created_at"),
        (ITEMS, "include", "items"),
        (ITEMS, "fields[catalog-item]", "title"),
        (ITEMS, "fields[catalog-item-bulk-create-job]", "status,owner"),
        (f"{ITEMS}/J1", "include", "categories"),
        (f"{ITEMS}/J1", "fields[catalog-item]", "colour"),
        (f"{ITEMS}/J1", "filter", 'equals(status,"complete")'),
        ("/api/catalog-item-bulk-delete-jobs/J1", "include", "items"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(client: Client, path: str, parameter: str, value: str) -> None:
    """Anything a list or detail does not take is a 400 whose source names the parameter."""
    response = client.get(path, params={parameter: value})

    error = error_of(response)
    assert (response.status_code, error["code"], error["title"]) == (400, "invalid", "Invalid input.")
    assert error["source"] == {"parameter": parameter}


def test_a_doubled_parameter_is_refused(client: Client) -> None:
    """A client that adds its parameters to a link that holds them already is told so."""
    query = "filter=equals(status,'complete')"

    assert client.get(f"{ITEMS}?{query}&{query}").status_code == 400


def test_a_page_size_is_refused_as_recorded(client: Client) -> None:
    """`page[size]` is a 400 that points at an attribute."""
    response = client.get(ITEMS, params={"page[size]": "10"})

    error = error_of(response)
    assert response.status_code == 400
    assert error["detail"] == "'page_size' is not a valid field for the resource 'catalog-item-bulk-create-job'"
    assert error["source"] == {"pointer": "/data/attributes/page_size"}


@pytest.mark.parametrize("cursor", ["", "J1", "%%%", "bmV4dDo6aWQ6OkoyMg", "bmV4dDo6aWQ6OkoyMg%3D%3D"])
def test_a_bad_cursor_is_refused_as_reported(client: Client, cursor: str) -> None:
    """A cursor that no page has handed out is a 400."""
    response = client.get(ITEMS, params={"page[cursor]": cursor})

    error = error_of(response)
    assert response.status_code == 400
    assert (error["detail"], error["source"]) == ("Invalid cursor provided.", {"pointer": "/data/"})


def test_fields_narrow_the_attributes(sandbox: Sandbox, client: Client) -> None:
    """Sparse fieldsets keep the named attributes only."""
    sandbox.world.add(job("J1"))

    page = client.get(ITEMS, params={"fields[catalog-item-bulk-create-job]": "status,total_count"}).json()

    assert page["data"][0]["attributes"] == {"status": "complete", "total_count": 0}


def test_a_detail_includes_what_has_succeeded(sandbox: Sandbox, client: Client) -> None:
    """`include=categories` adds one resource per linkage, with the documented attributes."""
    sandbox.world.add(job("J1", kind="category-create", related_ids=[related_id("A"), related_id("B")]))

    document = client.get(f"{CATEGORIES}/J1", params={"include": "categories"}).json()

    assert [each["id"] for each in document["included"]] == [related_id("A"), related_id("B")]
    assert {tuple(each["attributes"]) for each in document["included"]} == {("external_id", "name", "updated")}


def test_nothing_is_included_unasked(sandbox: Sandbox, client: Client) -> None:
    """Without `include` there is no `included`; with it, an empty job has an empty one."""
    sandbox.world.add(job("J1", kind="category-create"))

    assert "included" not in client.get(f"{CATEGORIES}/J1").json()
    assert client.get(f"{CATEGORIES}/J1", params={"include": "categories"}).json()["included"] == []


def test_fields_narrow_included_resources(sandbox: Sandbox, client: Client) -> None:
    """`fields[related type]` applies to what is included."""
    sandbox.world.add(job("J1", related_ids=[related_id("A")]))

    document = client.get(f"{ITEMS}/J1", params={"include": "items", "fields[catalog-item]": "title,price"}).json()

    assert set(document["included"][0]["attributes"]) == {"title", "price"}


def test_included_resources_can_be_described(sandbox: Sandbox, client: Client) -> None:
    """`describe` sets attributes, also after the resource was served once."""
    sandbox.world.add(job("J1", kind="category-create", related_ids=[related_id("A")]))
    names = []
    for name in ("Shoes", "Boots"):
        sandbox.world.describe(related_id("A"), name=name)
        document = client.get(f"{CATEGORIES}/J1", params={"include": "categories"}).json()
        names.append(document["included"][0]["attributes"]["name"])

    assert names == ["Shoes", "Boots"]


def test_a_detail_links_to_itself_with_its_query(sandbox: Sandbox, client: Client) -> None:
    """The top-level `links.self` of a detail has no slash at its end and keeps the query."""
    sandbox.world.add(job("J1"))

    link = client.get(f"{ITEMS}/J1/", params={"include": "items"}).json()["links"]["self"]

    assert link == f"{sandbox.base_url}{ITEMS}/J1?include=items"


def test_links_carry_the_host_the_client_used(sandbox: Sandbox, client: Client) -> None:
    """Absolute links start with the Host header of the request."""
    link = client.get(ITEMS, headers={"Host": "localhost:1234"}).json()["links"]["self"]

    assert urlsplit(link).netloc == "localhost:1234"


def test_an_unknown_job_is_a_404_as_recorded(client: Client) -> None:
    """Any id that is not there, well-formed or not, gives the recorded error."""
    response = client.get(f"{ITEMS}/nope")

    error = error_of(response)
    assert response.status_code == 404
    assert error.pop("id")
    assert error == {
        "status": 404,
        "code": "not_found",
        "title": "Not found.",
        "detail": "A catalog-item bulk create job with id nope does not exist.",
        "source": {"pointer": "/data/"},
    }


def test_other_paths_are_not_there(client: Client) -> None:
    """Only the job endpoints exist."""
    assert [client.get(path).status_code for path in ("/", "/api/catalog-items", f"{ITEMS}/J1/items")] == [404] * 3


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_jobs_can_only_be_read(client: Client, method: str) -> None:
    """Every method but GET is a 405."""
    response = client.get(ITEMS, method=method)

    assert (response.status_code, response.headers["Allow"]) == (405, "GET")


def test_a_raw_job_is_served_as_it_is(sandbox: Sandbox, client: Client) -> None:
    """Odd resource objects pass through untouched, in lists and details, beside ordinary jobs."""
    odd = {"type": 7, "id": "R1", "attributes": {"created_at": "2026-11-20T11:30:00+00:00", "status": "\ud800 é"}}
    sandbox.world.add(job("J1"), RawJob("item-create", odd))

    assert client.get(ITEMS).json()["data"][0] == odd
    assert client.get(f"{ITEMS}/R1").json()["data"] == odd


def test_whole_answers_can_be_replayed(sandbox: Sandbox, client: Client) -> None:
    """A given body is served for the first page, for a cursor, and for a detail."""
    sandbox.world.replay_list("item-create", {"data": [1]})
    sandbox.world.replay_list("item-create", b'{"data": [2] }', cursor="two")
    sandbox.world.replay_detail("item-create", "J1", {"data": 3})

    assert client.get(ITEMS).json() == {"data": [1]}
    assert client.get(ITEMS, params={"page[cursor]": "two"}).content == b'{"data": [2] }'
    assert client.get(f"{ITEMS}/J1").json() == {"data": 3}


def test_the_query_of_a_followed_link_is_the_one_it_holds(sandbox: Sandbox, client: Client) -> None:
    """Following `links.next` sends the filter once and the cursor once."""
    add_jobs(sandbox, 101)

    client.pages(ITEMS, params={"filter": 'equals(status,"complete")'})

    followed = parse_qs(sandbox.requests[1].raw_query)
    assert {name: len(values) for name, values in followed.items()} == {"filter": 1, "page[cursor]": 1}
