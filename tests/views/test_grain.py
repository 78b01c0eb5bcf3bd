"""The grain that each view's file declares, on rows in which everything occurs more than once."""

from __future__ import annotations

import itertools
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from klaviyo_jobs.warehouse.views import LAYERS, find_sql
from support.views import Warehouse, at

FILES = [file for layer in LAYERS for file in sorted((find_sql() / layer).glob("*.sql"))]
GRAIN = re.compile(r"^-- Grain: +(?:one row per \(([\w, ]+)\)|(exactly one row))", re.MULTILINE)
STATUSES = ("complete", "cancelled", "processing", "queued")


@pytest.fixture(scope="module")
def crowded(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """Two accounts and two kinds with the same job ids, entities that fail in several jobs, and listings of two runs."""
    path = tmp_path_factory.mktemp("grain") / "warehouse.duckdb"
    shutil.copy(pristine, path)
    start = at("2026-07-01 00:00")
    rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for account, kind in itertools.product(("eu", "us"), ("item-create", "category-update")):
        place = {"account": account, "job_kind": kind}
        for number in range(24):
            job = {**place, "job_id": f"J{number}"}
            created_at = start + timedelta(hours=7 * (number // 2))
            rows["jobs"].append(
                {
                    **job,
                    "status": STATUSES[number % 4],
                    "created_at": created_at,
                    "expires_at": at("2100-01-01 00:00"),
                    "completed_at": created_at + timedelta(minutes=number) if number % 4 < 2 else None,
                    "total_count": 4,
                    "completed_count": 2,
                    "failed_count": 2,
                }
            )
            for position in range(2):
                child = {**job, "position": position, "related_id": f"$custom:::$default:::S{(number + position) % 5}"}
                rows["job_errors"].append({**child, "detail": "Odd."})
                rows["job_linkages"].append(child)
                rows["job_observations"].append({**job, "observed_at": created_at + timedelta(hours=position)})
        rows["listings"] += [
            {**place, "run_id": f"R{days}", "started_at": time, "finished_at": time}
            for days in (0, 0.5, 3, 20)
            for time in (start + timedelta(days=days),)
        ]
    rows["rejected_records"] = [
        {"account": account, "record_hash": f"H{number}", "last_rejected_at": start}
        for account, number in itertools.product(("eu", "us"), range(2))
    ]
    warehouse = Warehouse(path)
    for table, of_table in rows.items():
        warehouse.insert(table, *of_table)
    warehouse.apply(reporting_timezone="Europe/Berlin")
    yield warehouse
    warehouse.connection.close()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_view_has_one_row_per_grain(crowded: Warehouse, file: Path) -> None:
    """Neither a join nor a window makes two rows of one."""
    declared = GRAIN.search(file.read_text(encoding="utf-8"))
    assert declared is not None
    columns = declared[1] or "1"

    [(rows, grains)] = crowded.rows(f"select count(*), count(distinct ({columns})) from klaviyo.{file.stem}")

    assert rows == grains
    assert rows > (0 if declared[2] else 1)
