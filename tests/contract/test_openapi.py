"""
The sandbox against the vendor: its answers validate against Klaviyo's OpenAPI documents and equal recorded answers.

Needs a folder of `openapi-<revision>.json` files with a folder `recordings` in it, named by KLAVIYO_OPENAPI_DIR.
The schemas are closed before use: a member the documents do not name is a failure, not an extra.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import requests
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from klaviyo_sandbox import CATALOG_KINDS, KINDS, Fault, Job, RateLimits, Sandbox
from support.loads import NOW
from support.sandbox_client import Client

FOLDER = os.environ.get("KLAVIYO_OPENAPI_DIR")
if not FOLDER:
    pytest.skip("KLAVIYO_OPENAPI_DIR names no folder of OpenAPI documents", allow_module_level=True)

RECORDINGS = {
    path.stem: json.loads(path.read_text("utf-8")) for path in sorted((Path(FOLDER) / "recordings").glob("*.json"))
}
# Recorded answers of the kinds that the sandbox serves: a kind that it comes to serve brings its recordings along.
SERVED = [
    name
    for name, recorded in RECORDINGS.items()
    if recorded["response"]["status"] == 200
    and any(f"/{kind.collection}" in f"{recorded['request']['path']}/" for kind in KINDS.values())
]
REFUSALS = [name for name, recorded in RECORDINGS.items() if recorded["response"]["status"] != 200]
REVISIONS = ("2022-10-17", "2023-12-15", "2024-10-15", "2026-07-15")
# What is documented of kinds other than those of catalogs is a document of its own, of one revision.
OTHERS = "other-jobs"
SHAPES = [(kind, revision) for kind in CATALOG_KINDS for revision in REVISIONS] + [
    (kind, REVISIONS[-1]) for kind in KINDS if kind not in CATALOG_KINDS
]
DETAILS_PER_KIND = 30

Schema = dict[str, Any]


def _null_page_links(schema: Schema) -> None:
    """Recorded lists have `next` and `prev` null on a last page; the documents type them as strings."""
    links = schema["properties"].get("links")
    if links is not None and "next" in links["properties"]:
        for name in ("next", "prev"):
            links["properties"][name]["nullable"] = True


def _error_meta(schema: Schema) -> None:
    """Recorded job errors have a member `meta` with the failed resource; the documents do not name it."""
    for error in _job_error_schemas(schema):
        error["properties"]["meta"] = {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "string"}},
            "additionalProperties": False,
        }


def _error_members(schema: Schema) -> None:
    """Recorded error bodies have `status`, and some `links` and `meta`; the documents name none of them."""
    errors = schema["properties"].get("errors")
    if errors is not None:
        errors["items"]["properties"] |= {
            "status": {"type": "integer"},
            "links": {"type": "object"},
            "meta": {"type": "object"},
        }


# What the sandbox does otherwise than the documents say, because recorded answers do. Two more facts need no patch, as
# the documents have the members optional: job relationships without `links`, and jobs without `relationships`.
DEVIATIONS: dict[str, tuple[Callable[[Schema], None], ...]] = {
    "2022-10-17": (_error_members,),
    "2023-12-15": (_error_members,),
    "2024-10-15": (_error_members, _null_page_links),
    "2026-07-15": (_error_members, _null_page_links, _error_meta),
}


def _job_error_schemas(schema: Schema) -> Iterator[Schema]:
    data = schema["properties"].get("data", {})
    job = data.get("items", data)
    attributes = job.get("properties", {}).get("attributes", {}).get("properties", {})
    if "errors" in attributes:
        yield attributes["errors"]["items"]


class Documents:
    """The OpenAPI documents, their response schemas resolved, closed and patched with the deviations."""

    def __init__(self, folder: Path) -> None:
        self._documents = {
            revision: json.loads((folder / f"openapi-{revision}.json").read_text(encoding="utf-8"))
            for revision in (*REVISIONS, f"{REVISIONS[-1]}-{OTHERS}")
        }

    def check(self, response: requests.Response, *, revision: str, path: str) -> None:
        """Assert that an answer has the documented media type and body for its status."""
        is_of_catalogs = path.startswith("/api/catalog-")
        document = self._documents[revision if is_of_catalogs else f"{revision}-{OTHERS}"]
        responses = next(item for name, item in document["paths"].items() if name.rstrip("/") == path)["get"][
            "responses"
        ]
        status = str(response.status_code)
        answer = self._resolve(responses.get(status) or responses[f"{status[0]}XX"], document)
        media_type = response.headers["Content-Type"]
        schema = answer["content"][media_type]["schema"]
        for deviate in DEVIATIONS[revision]:
            deviate(schema)
        validator = OAS30Validator(schema, format_checker=oas30_format_checker)
        faults = [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(response.json())]
        assert faults == []

    def _resolve(self, part: Any, document: dict[str, Any]) -> Any:
        """A copy without references and without `allOf`, in which every object with named members takes no others."""
        if isinstance(part, list):
            return [self._resolve(each, document) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            target = document
            for name in part["$ref"].removeprefix("#/").split("/"):
                target = target[name]
            return self._resolve(target, document)
        if "allOf" in part:
            merged: Schema = {"type": "object", "properties": {}, "required": []}
            for each in (self._resolve(each, document) for each in part["allOf"]):
                merged["properties"] |= each["properties"]
                merged["required"] += each.get("required", [])
            return merged | {"additionalProperties": False}
        resolved = {name: self._resolve(each, document) for name, each in part.items()}
        if isinstance(resolved.get("properties"), dict) and "type" in resolved:
            resolved["additionalProperties"] = False
        return resolved


@pytest.fixture(scope="module")
def documents() -> Documents:
    """The documents, read once."""
    return Documents(Path(FOLDER or ""))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of the demo world, in which every status and outcome occurs, serving retired revisions."""
    with Sandbox("demo", clock=NOW, serve_retired=True) as sandbox:
        client = Client(sandbox)
        with client.session:
            yield client


@pytest.fixture(scope="module")
def client_of_others() -> Iterator[Client]:
    """A client of a world in which every kind has jobs in several states."""
    with Sandbox("every-kind", clock=NOW) as sandbox:
        client = Client(sandbox)
        with client.session:
            yield client


@pytest.fixture
def client_of(client: Client, client_of_others: Client) -> Callable[[str], Client]:
    """Return the client of the world in which the kind named has jobs."""
    return lambda kind: client if kind in CATALOG_KINDS else client_of_others


@pytest.mark.parametrize(("kind", "revision"), SHAPES)
def test_every_list_page_validates(
    documents: Documents, client_of: Callable[[str], Client], kind: str, revision: str
) -> None:
    """All pages of all thirteen lists, with and without a filter, are what the documents say."""
    path = f"/api/{KINDS[kind].collection}"
    for params in (None, {"filter": 'equals(status,"complete")'}):
        url: str | None = path
        while url is not None:
            response = client_of(kind).get(url, revision=revision, params=params if url == path else None)
            assert response.status_code == 200
            documents.check(response, revision=revision, path=path)
            url = response.json()["links"].get("next")


@pytest.mark.parametrize(("kind", "revision"), SHAPES)
def test_every_detail_validates(
    documents: Documents, client_of: Callable[[str], Client], kind: str, revision: str
) -> None:
    """Details of jobs in every state, with and without included resources, are what the documents say."""
    facts = KINDS[kind]
    queries = [None, {"include": facts.relationship}] if facts.can_include else [None]
    client = client_of(kind)
    assert client.sandbox.expected(kind)
    for job in client.sandbox.expected(kind)[:DETAILS_PER_KIND]:
        for params in queries:
            response = client.get(f"/api/{facts.collection}/{job.id}", revision=revision, params=params)
            assert response.status_code == 200
            documents.check(response, revision=revision, path=f"/api/{facts.collection}/{{job_id}}")


def test_import_errors_validate(documents: Documents, client_of_others: Client) -> None:
    """Of every import, whole and with the fields that a run asks for."""
    path, sandbox = f"/api/{KINDS['profile-import'].collection}", client_of_others.sandbox
    error_count = 0
    for job in sandbox.expected("profile-import"):
        for params in (None, {"page[size]": "2", "fields[import-error]": "code,title,detail,source"}):
            for page in client_of_others.pages(f"{path}/{job.id}/import-errors", params=params):
                error_count += len(page["data"])
            response = client_of_others.get(f"{path}/{job.id}/import-errors", revision=REVISIONS[-1], params=params)
            documents.check(response, revision=REVISIONS[-1], path=f"{path}/{{id}}/import-errors")
    assert error_count == 2 * sum(len(job.errors or ()) for job in sandbox.expected("profile-import")) > 0


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_refusal_validates(documents: Documents, client: Client, revision: str) -> None:
    """Error bodies of all statuses are what the documents say of 4XX and 5XX."""
    path = "/api/catalog-item-bulk-create-jobs"
    client.sandbox.faults[:] = [Fault("429", path="times"), Fault("status", "500", path="fails")]
    asked: dict[int, requests.Response] = {
        400: client.get(f"{path}?sort=id", revision=revision),
        404: client.get(f"{path}/nope", revision=revision),
        429: client.get(f"{path}?times", revision=revision),
        500: client.get(f"{path}?fails", revision=revision),
    }
    client.sandbox.faults.clear()

    for status, response in asked.items():
        assert response.status_code == status
        documents.check(response, revision=revision, path=path if status != 404 else f"{path}/{{job_id}}")


def test_the_validation_would_notice(documents: Documents, client: Client) -> None:
    """A member too many and a value outside its enum each fail: the closed schemas do bite."""
    path = "/api/catalog-item-bulk-create-jobs"
    for name in ("odd-field", "unknown-status"):
        client.sandbox.faults[:] = [Fault(name)]
        response = client.get(path, revision="2026-07-15")
        client.sandbox.faults.clear()
        with pytest.raises(AssertionError):
            documents.check(response, revision="2026-07-15", path=path)


def test_recorded_lists_and_details_are_among_those_reproduced() -> None:
    """The choice by path finds the recorded answers of eight endpoints, lists and details, and of import errors."""
    assert {
        "get_bulk_create_coupon_code_jobs.200",
        "get_bulk_create_coupon_codes_job.200",
        "get_bulk_import_profiles_job.200",
        "get_bulk_import_profiles_jobs.200",
        "get_bulk_suppress_profiles_jobs.200",
        "get_errors_for_bulk_import_profiles_job.200",
        "get_bulk_create_catalog_items_job.200",
        "get_bulk_create_catalog_items_jobs.200",
        "get_bulk_create_categories_job.200",
        "get_bulk_create_categories_jobs.200",
        "get_bulk_update_catalog_items_job.200",
        "get_bulk_update_catalog_items_jobs.200",
    } <= set(SERVED)


@pytest.mark.parametrize("recording", SERVED)
def test_a_recorded_answer_is_reproduced(recording: str) -> None:
    """Given the recorded jobs, the sandbox answers the recorded request with the recorded body, to the last value."""
    recorded = RECORDINGS[recording]
    body = recorded["response"]["body"]
    resources = body["data"] if isinstance(body["data"], list) else [body["data"]]
    if recorded["request"]["path"].endswith("/import-errors"):
        resources = RECORDINGS["get_bulk_import_profiles_jobs.200"]["response"]["body"]["data"]
    with Sandbox(clock=datetime(2026, 9, 4, 14, tzinfo=UTC), limits=True) as sandbox:
        sandbox.world.add(*(_job_of(resource) for resource in resources))
        for each in body.get("included", ()):
            sandbox.world.describe(each["id"], **each["attributes"])
        query = urlencode(_flat(recorded["request"]["query"]), quote_via=quote, safe="")
        response = Client(sandbox).get(f"{recorded['request']['path']}?{query}", revision="2026-07-15")
        answered = json.loads(response.text.replace(sandbox.base_url, "https://a.klaviyo.com"))

    assert answered == body
    assert [*_keys(answered)] == [*_keys(body)]
    assert {name: response.headers[name] for name in recorded["response"]["headers"]} == recorded["response"]["headers"]


@pytest.mark.parametrize("recording", REFUSALS)
def test_a_recorded_refusal_has_the_same_form(recording: str) -> None:
    """The sandbox's errors have the members, types, code and source form of the recorded ones of the same status."""
    recorded = RECORDINGS[recording]["response"]
    (expected,) = recorded["body"]["errors"]
    with Sandbox(clock=NOW, limits=RateLimits(narrow=(1, 1))) as sandbox:
        client, path = Client(sandbox), "/api/catalog-item-bulk-create-jobs"
        match recorded["status"]:
            case 400:
                response = client.get(f"{path}?sort=id", revision="2026-07-15")
            case 401:
                response = client.get(
                    path, revision="2026-07-15", headers={"Authorization": "Klaviyo-API-Key pk_wrong"}
                )
            case 403:
                sandbox.accounts["default"].scopes = frozenset()
                response = client.get(path, revision="2026-07-15")
            case 404:
                response = client.get(f"{path}/nope", revision="2026-07-15")
            case 429:
                client.get(path, revision="2026-07-15")
                response = client.get(path, revision="2026-07-15")
            case _:
                sandbox.faults.append(Fault("status", "500"))
                response = client.get(path, revision="2026-07-15")
    (error,) = response.json()["errors"]

    assert response.status_code == recorded["status"]
    assert {name.lower() for name in response.headers} >= set(recorded["headers"])
    missing_form = {"links", "meta"} if recorded["status"] == 403 else set()
    assert set(error) == set(expected) - missing_form
    for name in set(error) - {"source", "links", "meta"}:
        assert type(error[name]) is type(expected[name])
    # The recorded 403 is another endpoint's own refusal, the recorded 400 points into a request body.
    if recorded["status"] not in (400, 403):
        assert (error["code"], error["title"], error["source"]) == (
            expected["code"],
            expected["title"],
            expected["source"],
        )


def _job_of(resource: dict[str, Any]) -> Job:
    attributes = resource["attributes"]
    kind = next(kind for kind in KINDS.values() if kind.job_type == resource["type"])
    related = {name: each["data"] for name, each in resource.get("relationships", {}).items() if "data" in each}
    ids = {name: [each["id"] for each in data] for name, data in related.items()}
    times = {
        name: datetime.fromisoformat(attributes[name])
        for name in ("created_at", "completed_at")
        if attributes.get(name) is not None
    }
    # Which attributes were asked for, the recorded request says: not all of them.
    others = {name: attributes[name] for name in kind.fields if name in attributes and not name.endswith("_at")}
    return Job(
        kind=kind.name,
        id=resource["id"],
        related_ids=ids.get(kind.relationship),
        segment_ids=ids.get("segments"),
        **{"created_at": datetime(2026, 9, 4, 13, tzinfo=UTC), **times, **others},
    )


def _flat(query: dict[str, Any]) -> list[tuple[str, str]]:
    """`{"fields": {"a": "b"}, "include": "c"}` as parameters: `fields[a]=b`, `include=c`."""
    pairs = []
    for name, value in query.items():
        pairs += (
            [(f"{name}[{key}]", text) for key, text in value.items()] if isinstance(value, dict) else [(name, value)]
        )
    return pairs


def _keys(value: Any) -> Iterator[str]:
    """Every member name of a document, in the order written, arrays in sequence."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from _keys(each)
    elif isinstance(value, list):
        for each in value:
            yield from _keys(each)
