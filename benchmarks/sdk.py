"""
The listing of item-create jobs as the official SDK reads it, put into the tables of the floor and written as it does.

The SDK has no member for what an error says in `meta`: the columns made of it are null.

    python benchmarks/sdk.py BASE_URL WAREHOUSE

Runs in an environment that holds `klaviyo-api`, `pyarrow`, `duckdb`, `msgspec` and `urllib3`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
from floor import KEY, SHARED, write_tables

# Not installed where types are checked: the SDK has an environment of its own.
from klaviyo_api import KlaviyoAPI  # type: ignore[import-not-found, unused-ignore]


def pages_of(base_url: str) -> Iterator[list[Any]]:
    """Yield the jobs of each page."""
    catalogs = KlaviyoAPI(KEY, max_retries=1, test_host=base_url).Catalogs
    cursor: str | None = None
    while True:
        answer = catalogs.get_bulk_create_catalog_items_jobs(**({"page_cursor": cursor} if cursor else {}))
        yield answer.data
        if not answer.links.next:
            return
        cursor = parse_qs(urlsplit(answer.links.next).query)["page[cursor]"][0]


def tables_of(jobs: Sequence[Any]) -> dict[str, pa.Table]:
    """Return the rows of one page: a dictionary each, as one would write them, and Arrow's tables of these."""
    now = dt.datetime.now(dt.UTC)
    rows: dict[str, list[dict[str, Any]]] = {
        "jobs": [],
        "job_errors": [],
        "job_linkages": [],
        "job_observations": [],
    }
    for job in jobs:
        said, linkages = job.attributes, (job.relationships.items.data if job.relationships else None) or []
        shared = {
            **SHARED,
            "job_id": job.id,
            "status": said.status,
            "total_count": said.total_count,
            "completed_count": said.completed_count,
            "failed_count": said.failed_count,
        }
        rows["jobs"].append(
            {
                **shared,
                "created_at": said.created_at,
                "completed_at": said.completed_at,
                "expires_at": said.expires_at,
                "created_on": said.created_at.date(),
                "completed_on": said.completed_at and said.completed_at.date(),
                "error_count": len(said.errors or ()),
                "linkage_count": len(linkages),
                "first_seen_at": now,
                "last_changed_at": now,
                "content_hash": hashlib.sha256(job.model_dump_json().encode()).hexdigest()[:32],
                "run_id": "1",
            }
        )
        rows["job_observations"].append({**shared, "observed_at": now})
        rows["job_errors"] += [
            {
                **SHARED,
                "job_id": job.id,
                "position": position,
                "error_id": error.id,
                "code": error.code,
                "title": error.title,
                "detail": error.detail,
                "fingerprint": error.detail,
                "source_pointer": error.source.pointer,
                "related_id": None,
                "meta": None,
                "run_id": "1",
            }
            for position, error in enumerate(said.errors or ())
        ]
        rows["job_linkages"] += [
            {
                **SHARED,
                "job_id": job.id,
                "position": position,
                "related_type": str(getattr(each.type, "value", each.type)),
                "related_id": each.id,
            }
            for position, each in enumerate(linkages)
        ]
    return {name: pa.Table.from_pylist(of_table) for name, of_table in rows.items() if of_table}


def main(base_url: str, warehouse: str) -> None:
    """Read all pages, then write all tables."""
    write_tables(warehouse, map(tables_of, pages_of(base_url)))


if __name__ == "__main__":
    main(*sys.argv[1:])
