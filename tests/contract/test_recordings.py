"""
The extractor against the vendor: recorded live answers are loaded, and the views say what happened.

Needs the folder `recordings` in the folder that KLAVIYO_OPENAPI_DIR names; the answers are of 2026-09-04.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from klaviyo_sandbox import Sandbox
from support.loads import Load, Warehouse

FOLDER = os.environ.get("KLAVIYO_OPENAPI_DIR")
if not FOLDER:
    pytest.skip("KLAVIYO_OPENAPI_DIR names no folder with recordings", allow_module_level=True)

RECORDED = {
    "item-create": "get_bulk_create_catalog_items_jobs",
    "item-update": "get_bulk_update_catalog_items_jobs",
    "category-create": "get_bulk_create_categories_jobs",
}


@pytest.fixture
def loaded(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> Warehouse:
    """A warehouse after one run on the recorded lists."""
    for kind, name in RECORDED.items():
        recording = json.loads((Path(FOLDER or "") / "recordings" / f"{name}.200.json").read_text(encoding="utf-8"))
        sandbox.world.replay_list(kind, recording["response"]["body"])
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
