"""
The listing of item-create jobs as the official SDK reads it, put into Arrow tables and written as the floor does.

    python benchmarks/sdk.py BASE_URL WAREHOUSE

Runs in an environment that holds `klaviyo-api`, `pyarrow`, `duckdb`, `msgspec` and `urllib3`.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
from floor import KEY, write_tables
from floor import table as table_of

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
    """Return the rows of one page."""
    now = dt.datetime.now(dt.UTC)
    said = [job.attributes for job in jobs]
    errors = [(job.id, place, error) for job in jobs for place, error in enumerate(job.attributes.errors or ())]
    listed = [(job.id, (job.relationships.items.data if job.relationships else None) or []) for job in jobs]
    shared = {
        "job_id": [job.id for job in jobs],
        **{
            name: [getattr(each, name) for each in said]
            for name in ("status", "total_count", "completed_count", "failed_count")
        },
    }
    return {
        "jobs": table_of(
            len(jobs),
            **shared,
            **{name: [getattr(each, name) for each in said] for name in ("created_at", "completed_at", "expires_at")},
            error_count=[len(each.errors or ()) for each in said],
            linkage_count=[len(data) for _, data in listed],
        ),
        "job_errors": table_of(
            len(errors),
            job_id=[job_id for job_id, _, _ in errors],
            position=[place for _, place, _ in errors],
            **{name: [getattr(error, name) for _, _, error in errors] for name in ("id", "code", "title", "detail")},
            source_pointer=[error.source.pointer for _, _, error in errors],
        ),
        "job_linkages": table_of(
            sum(len(data) for _, data in listed),
            job_id=[job_id for job_id, data in listed for _ in data],
            position=[place for _, data in listed for place in range(len(data))],
            related_type=[str(getattr(each.type, "value", each.type)) for _, data in listed for each in data],
            related_id=[each.id for _, data in listed for each in data],
        ),
        "job_observations": table_of(len(jobs), **shared, observed_at=[now] * len(jobs)),
    }


def main(base_url: str, warehouse: str) -> None:
    """Read all pages, then write all tables."""
    write_tables(warehouse, map(tables_of, pages_of(base_url)))


if __name__ == "__main__":
    main(*sys.argv[1:])
