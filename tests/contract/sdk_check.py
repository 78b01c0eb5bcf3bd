"""
The sandbox as the official SDK sees it: lists, pages and details must hold what plain HTTP says.

Runs in an environment that holds `klaviyo-api` and nothing of this project; `run_sdk_check.py` makes it.

    python sdk_check.py BASE_URL KEY_OF_CATALOGS KEY_OF_OTHERS
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

# Not installed where types are checked: the SDK has an environment of its own.
from klaviyo_api import KlaviyoAPI  # type: ignore[import-not-found, unused-ignore]

LIST_PATHS = {
    "item-create": "/api/catalog-item-bulk-create-jobs",
    "category-create": "/api/catalog-category-bulk-create-jobs",
}


def main(base_url: str, key: str, key_of_others: str) -> None:
    """Compare, and say in one line how much was compared; exits with 1 at the first difference."""
    sdk = KlaviyoAPI(key, max_retries=1, test_host=base_url)
    catalogs = sdk.Catalogs
    revision = sdk._REVISION

    def raw(url: str, key: str = key) -> dict[str, Any]:
        headers = {"Authorization": f"Klaviyo-API-Key {key}", "revision": revision}
        with urlopen(Request(url, headers=headers), timeout=10) as response:  # noqa: S310
            document: dict[str, Any] = json.load(response)
            return document

    def raw_list(path: str, key: str = key) -> Iterator[dict[str, Any]]:
        url: str | None = base_url + path
        while url is not None:
            page = raw(url, key)
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

    sdk_of_others = KlaviyoAPI(key_of_others, max_retries=1, test_host=base_url)
    others = _compare_others(sdk_of_others, partial(raw_list, key=key_of_others))

    if len(items) <= 200 or not included_count:
        sys.exit("the sandbox holds too little to compare: more than two pages and some included resources are needed")
    sys.stdout.write(
        f"klaviyo-api at revision {revision} agrees with plain HTTP: {len(items)} item-create jobs, "
        f"{len(categories)} category-create jobs with {included_count} included categories, {others}\n"
    )


def _compare_others(sdk: Any, raw_list: Callable[[str], Iterator[Any]]) -> str:
    """Compare the kinds of coupon codes and profiles as far as they differ; return how much was compared."""
    operations = {
        "coupon-code-bulk-create": sdk.Coupons.get_bulk_create_coupon_code_jobs,
        "profile-bulk-import": sdk.Profiles.get_bulk_import_profiles_jobs,
        "profile-suppression-bulk-create": sdk.Profiles.get_bulk_suppress_profiles_jobs,
        "profile-suppression-bulk-delete": sdk.Profiles.get_bulk_unsuppress_profiles_jobs,
    }
    counts = []
    for name, operation in operations.items():
        jobs = [_counts(each) for each in _sdk_list(operation)]
        _same(f"{name} jobs", jobs, [_raw_counts(each) for each in raw_list(f"/api/{name}-jobs")])
        counts.append(len(jobs))
    error_count = 0
    for job in raw_list("/api/profile-bulk-import-jobs"):
        answer = sdk.Profiles.get_errors_for_bulk_import_profiles_job(job["id"], page_size=100)
        errors = [(each.id, each.attributes.code, each.attributes.detail) for each in answer.data]
        page = raw_list(f"/api/profile-bulk-import-jobs/{job['id']}/import-errors?page[size]=100")
        _same(
            f"errors of {job['id']}",
            errors,
            [(each["id"], each["attributes"]["code"], each["attributes"]["detail"]) for each in page],
        )
        error_count += len(errors)
    if min(counts) == 0 or error_count == 0:
        sys.exit("the sandbox holds too little to compare: jobs of every kind and some import errors are needed")
    return f"{sum(counts)} jobs of coupon codes and profiles with {error_count} import errors"


def _counts(resource: Any) -> tuple[Any, ...]:
    attributes = resource.attributes
    names = ("status", "total_count", "completed_count", "failed_count", "skipped_count")
    return (resource.id, *(getattr(attributes, name, None) for name in names))


def _raw_counts(resource: dict[str, Any]) -> tuple[Any, ...]:
    attributes = resource["attributes"]
    names = ("status", "total_count", "completed_count", "failed_count", "skipped_count")
    return (resource["id"], *(attributes.get(name) for name in names))


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
    if len(sys.argv) != 4:
        sys.exit((__doc__ or "").strip())
    main(*sys.argv[1:])
