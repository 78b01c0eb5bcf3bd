"""
The extractor against the vendor: recorded live answers are loaded, and the views say what happened.

Needs the folder `recordings` in the folder that KLAVIYO_OPENAPI_DIR names; the answers are of 2026-09-04.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import pytest

from klaviyo_sandbox import Sandbox
from support.loads import Load, Warehouse

FOLDER = os.environ.get("KLAVIYO_OPENAPI_DIR")
if not FOLDER:
    pytest.skip("KLAVIYO_OPENAPI_DIR names no folder with recordings", allow_module_level=True)

OTHERS = {
    "coupon-code-create": "get_bulk_create_coupon_code_jobs",
    "profile-import": "get_bulk_import_profiles_jobs",
    "profile-suppress": "get_bulk_suppress_profiles_jobs",
}
RECORDED = {
    "item-create": "get_bulk_create_catalog_items_jobs",
    "item-update": "get_bulk_update_catalog_items_jobs",
    "category-create": "get_bulk_create_categories_jobs",
}


def body_of(name: str) -> Any:
    """The recorded body of a successful answer."""
    path = Path(FOLDER or "") / "recordings" / f"{name}.200.json"
    return json.loads(path.read_text(encoding="utf-8"))["response"]["body"]


@pytest.fixture
def loaded(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> Warehouse:
    """A warehouse after one run on the recorded lists."""
    for kind, name in RECORDED.items():
        sandbox.world.replay_list(kind, body_of(name))
    assert load(kinds=list(RECORDED)).rejected_count == 0
    return warehouse


def test_the_job_that_failed_whole_has_a_failed_share_of_one(loaded: Warehouse) -> None:
    """Klaviyo calls it complete; two of its two operations failed."""
    assert loaded.rows(
        "select job_kind, status, outcome, total_count, completed_count, failed_count, failed_share, error_count "
        "from klaviyo.jobs where outcome <> 'succeeded'"
    ) == [("item-update", "complete", "failed", 2, 0, 2, 1.0, 2)]


def test_both_of_its_items_are_named_as_failing(loaded: Warehouse) -> None:
    """By the ids that the answer's undocumented `meta` holds; the updates that succeeded later were of other items."""
    assert loaded.rows(
        "select job_kind, related_type, external_id, failures, is_repaired from klaviyo.failing_entities order by 3"
    ) == [
        ("item-update", "catalog-item", "sdk-smoke-0904a3db-bitem1", 1, False),
        ("item-update", "catalog-item", "sdk-smoke-0904a3db-bitem2", 1, False),
    ]


def test_all_recorded_jobs_are_there(loaded: Warehouse) -> None:
    """As many as the lists show, with their linkages."""
    assert loaded.rows(
        "select job_kind, count(*), sum(linkage_count) from klaviyo.jobs group by job_kind order by job_kind"
    ) == [("category-create", 3, 6), ("item-create", 3, 6), ("item-update", 3, 4)]


@pytest.fixture
def others(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> Warehouse:
    """A warehouse after one run on the recorded lists, details and errors of coupon codes and profiles."""
    for kind, name in OTHERS.items():
        sandbox.world.replay_list(kind, body_of(name))
    coupons, imported = body_of("get_bulk_create_coupon_codes_job"), body_of("get_bulk_import_profiles_job")
    sandbox.world.replay_detail("coupon-code-create", coupons["data"]["id"], coupons)
    sandbox.world.replay_detail("profile-import", imported["data"]["id"], imported)
    for job in body_of(OTHERS["profile-import"])["data"]:
        sandbox.world.replay_errors("profile-import", job["id"], body_of("get_errors_for_bulk_import_profiles_job"))
    assert load(kinds=list(OTHERS), include=["lists", "coupon-codes"]).rejected_count == 0
    return warehouse


def test_other_kinds_load_as_they_are(others: Warehouse) -> None:
    """Jobs with the attributes that were asked for; the import's detail, which lacks its creation, has the list's."""
    assert others.rows(
        """
        select job_kind, created_at_utc, status, total_count, completed_count, linkage_count
        from klaviyo.jobs where job_id in (
            '01M1PAB7CT6X3ZS6R36792JN7Y',
            'V0JoWEhOX21haW50ZW5hbmNlLlBIV0tSRC4xNzg4NTI5MjAxLkVHZEk1Tw',
            '01M1P99Z98RV4PM1XK5YBS9E31'
        ) order by 1
        """
    ) == [
        ("coupon-code-create", utc("2026-09-04T13:39:48.271058"), "processing", 5, 0, 0),
        ("profile-import", utc("2026-09-04T13:40:01.031525"), "queued", 3, 0, 1),
        ("profile-suppress", utc("2026-09-04T13:21:38.601091"), "complete", 0, None, 1),
    ]
    assert others.value("select count(*) from klaviyo.jobs") == sum(
        len(body_of(name)["data"]) for name in OTHERS.values()
    )


def test_nothing_of_other_kinds_is_left_over(others: Warehouse) -> None:
    """Every member that is recorded has a column, or is a link."""
    assert others.rows("select job_id, extra from klaviyo_raw.jobs where extra is not null") == []


def test_the_included_list_is_kept(others: Warehouse) -> None:
    """With each of its attributes."""
    assert others.rows(
        "select list_id, name, opt_in_process, created_at, updated_at, extra from klaviyo_raw.lists"
    ) == [
        (
            "YafG4m",
            "sdk-smoke-09047c86-list-renamed",
            "single_opt_in",
            utc("2026-09-04T13:39:28+00:00"),
            utc("2026-09-04T13:39:31+00:00"),
            None,
        )
    ]


def utc(text: str) -> dt.datetime:
    """The time that *text* names, with a zone where it has one."""
    return dt.datetime.fromisoformat(text)
