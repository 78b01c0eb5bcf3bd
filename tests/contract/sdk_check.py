"""
The sandbox as the official SDK sees it: lists, pages and details must hold what plain HTTP says.

Runs in an environment that holds `klaviyo-api` and nothing of this project; `run_sdk_check.py` makes it.

    python sdk_check.py BASE_URL KEY
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

# Not installed where types are checked: the SDK has an environment of its own.
from klaviyo_api import KlaviyoAPI  # type: ignore[import-not-found, unused-ignore]

LIST_PATHS = {
    "item-create": "/api/catalog-item-bulk-create-jobs",
    "category-create": "/api/catalog-category-bulk-create-jobs",
}


def main(base_url: str, key: str) -> None:
    """Compare, and say in one line how much was compared; exits with 1 at the first difference."""
    sdk = KlaviyoAPI(key, max_retries=1, test_host=base_url)
    catalogs = sdk.Catalogs
    revision = sdk._REVISION

    def raw(url: str) -> dict[str, Any]:
        headers = {"Authorization": f"Klaviyo-API-Key {key}", "revision": revision}
        with urlopen(Request(url, headers=headers), timeout=10) as response:  # noqa: S310
            document: dict[str, Any] = json.load(response)
            return document

    def raw_list(path: str) -> Iterator[dict[str, Any]]:
        url: str | None = base_url + path
        while url is not None:
            page = raw(url)
            yield from page["data"]
            url = page["links"]["next"]

    items = [_job(each) for each in _sdk_list(catalogs.get_bulk_create_catalog_items_jobs)]
    _same("item-create jobs", items, [_raw_job(each) for each in raw_list(LIST_PATHS["item-create"])])

    categories = [_job(each) for each in _sdk_list(catalogs.get_bulk_create_categories_jobs)]
    _same("category-create jobs", categories, [_raw_job(each) for each in raw_list(LIST_PATHS["category-create"])])

    included_count = 0
    for job_id, *_ in categories:
        document = raw(f"{base_url}{LIST_PATHS['category-create']}/{job_id}?include=categories")
        answer = catalogs.get_bulk_create_categories_job(job_id, include=["categories"])
        _same(f"job {job_id}", _job(answer.data), _raw_job(document["data"]))
        included = [(each.id, each.attributes.name) for each in answer.included or []]
        expected = [(each["id"], each["attributes"]["name"]) for each in document["included"]]
        _same(f"included resources of {job_id}", included, expected)
        included_count += len(included)

    if len(items) <= 200 or not included_count:
        sys.exit("the sandbox holds too little to compare: more than two pages and some included resources are needed")
    sys.stdout.write(
        f"klaviyo-api at revision {revision} agrees with plain HTTP: {len(items)} item-create jobs, "
        f"{len(categories)} category-create jobs with {included_count} included categories\n"
    )


def _sdk_list(operation: Any) -> Iterator[Any]:
    """Every job of a list. The SDK takes cursors out of https links only, so that is done here."""
    cursor: str | None = None
    while True:
        page = operation() if cursor is None else operation(page_cursor=cursor)
        yield from page.data
        if not page.links.next:
            return
        cursor = parse_qs(urlsplit(page.links.next).query)["page[cursor]"][0]


def _job(resource: Any) -> tuple[Any, ...]:
    attributes, relationships = resource.attributes, resource.relationships
    related = None
    if relationships is not None:
        relationship = relationships.items if "item" in resource.type else relationships.categories
        related = [linkage.id for linkage in relationship.data]
    return (
        resource.id,
        attributes.status,
        attributes.total_count,
        attributes.completed_count,
        attributes.failed_count,
        [error.detail for error in attributes.errors],
        related,
    )


def _raw_job(resource: dict[str, Any]) -> tuple[Any, ...]:
    attributes, relationships = resource["attributes"], resource.get("relationships")
    related = None
    if relationships is not None:
        (relationship,) = relationships.values()
        related = [linkage["id"] for linkage in relationship["data"]]
    return (
        resource["id"],
        attributes["status"],
        attributes["total_count"],
        attributes["completed_count"],
        attributes["failed_count"],
        [error["detail"] for error in attributes["errors"]],
        related,
    )


def _same(what: str, sdk: object, plain: object) -> None:
    if sdk != plain:
        sys.exit(f"{what}: the SDK reads\n  {sdk}\nplain HTTP says\n  {plain}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit((__doc__ or "").strip())
    main(*sys.argv[1:])
