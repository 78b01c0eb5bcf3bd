"""The grain that each view's file declares, on rows in which everything occurs more than once."""

from __future__ import annotations

import itertools
import re
from datetime import timedelta
from pathlib import Path

import pytest

from klaviyo_jobs.warehouse.views import LAYERS, find_sql
from support.views import Warehouse, at

FILES = [file for layer in LAYERS for file in sorted((find_sql() / layer).glob("*.sql"))]
GRAIN = re.compile(r"^-- Grain: +(?:one row per \(([\w, ]+)\)|(exactly one row))", re.MULTILINE)
STATUSES = ("complete", "cancelled", "processing", "queued")


@pytest.fixture
def crowded(warehouse: Warehouse) -> Warehouse:
    """Two accounts and two kinds with the same job ids, entities that fail in several jobs, and listings of two runs."""
    start = at("2026-07-01 00:00")
    for account, kind in itertools.product(("eu", "us"), ("item-create", "category-update")):
        place = {"account": account, "job_kind": kind}
        for number in range(24):
            job = {**place, "job_id": f"J{number}"}
            created_at = start + timedelta(hours=7 * (number // 2))
            ended_at = created_at + timedelta(minutes=number) if number % 4 < 2 else None
            warehouse.jobs(
                {
                    **job,
                    "status": STATUSES[number % 4],
                    "created_at": created_at,
                    "completed_at": ended_at,
                    "total_count": 4,
                    "completed_count": 2,
                    "failed_count": 2,
                }
            )
            for position in range(2):
                related_id = f"$custom:::$default:::S{(number + position) % 5}"
                warehouse.insert(
                    "job_errors", {**job, "position": position, "related_id": related_id, "detail": "Odd."}
                )
                warehouse.insert("job_linkages", {**job, "position": position, "related_id": related_id})
                warehouse.insert("job_observations", {**job, "observed_at": created_at + timedelta(hours=position)})
        for run_id in ("R1", "R2"):
            warehouse.insert("listings", {**place, "run_id": run_id, "started_at": start, "finished_at": start})
    for account, position in itertools.product(("eu", "us"), range(2)):
        warehouse.insert("rejected_records", {"account": account, "position": position, "rejected_at": start})
    return warehouse


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_view_has_one_row_per_grain(crowded: Warehouse, file: Path) -> None:
    """Neither a join nor a window makes two rows of one."""
    declared = GRAIN.search(file.read_text(encoding="utf-8"))
    assert declared is not None
    columns = declared[1] or "1"

    [(rows, grains)] = crowded.rows(f"select count(*), count(distinct ({columns})) from klaviyo.{file.stem}")

    assert rows == grains
    assert rows > (0 if declared[2] else 1)
