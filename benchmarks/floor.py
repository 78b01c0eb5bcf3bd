"""
The floor: the listing of item-create jobs in the columns of our tables, with nothing that makes it safe.

    python benchmarks/floor.py BASE_URL WAREHOUSE

One connection, typed decoding, Arrow, CREATE TABLE AS. It checks nothing, forgives nothing, knows no second run, and
loads whatever the size in one piece.
"""

from __future__ import annotations

import datetime as dt
import gc
import hashlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import urllib3

KEY = "pk_sandbox_default"
TIME = pa.timestamp("us", tz="UTC")
SHARED = {"account": "default", "job_kind": "item-create"}


class Source(msgspec.Struct):
    """Where in a request an error is."""

    pointer: str | None = None


class Error(msgspec.Struct):
    """An error of a job."""

    id: str | None = None
    code: str | None = None
    title: str | None = None
    detail: str | None = None
    source: Source | None = None
    meta: dict[str, str] | None = None


class Attributes(msgspec.Struct):
    """What a job says of itself."""

    status: str
    created_at: dt.datetime
    total_count: int | None = None
    completed_count: int | None = None
    failed_count: int | None = None
    completed_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    errors: list[Error] = []


class Linkage(msgspec.Struct, gc=False):
    """What a job has dealt with."""

    type: str
    id: str


class Relationship(msgspec.Struct):
    """The linkages of a job."""

    data: list[Linkage] = []


class Job(msgspec.Struct):
    """A job of the listing."""

    id: str
    attributes: Attributes
    relationships: dict[str, Relationship] = {}


class Page(msgspec.Struct):
    """A page of the listing."""

    data: list[Job]
    links: dict[str, str | None]


def tables_of(jobs: list[Job]) -> dict[str, pa.Table]:
    """Return the rows of one page."""
    read_at = dt.datetime.now(dt.UTC)
    errors = [(job.id, place, error) for job in jobs for place, error in enumerate(job.attributes.errors)]
    linkages = [(job.id, job.relationships["items"].data) for job in jobs if "items" in job.relationships]
    attributes = [job.attributes for job in jobs]
    return {
        "jobs": table(
            len(jobs),
            job_id=[job.id for job in jobs],
            **{name: [getattr(each, name) for each in attributes] for name in ("status", "total_count")},
            **{name: [getattr(each, name) for each in attributes] for name in ("completed_count", "failed_count")},
            **{
                name: pa.array([getattr(each, name) for each in attributes], TIME)
                for name in ("created_at", "completed_at", "expires_at")
            },
            created_on=[each.created_at.date() for each in attributes],
            completed_on=[each.completed_at and each.completed_at.date() for each in attributes],
            error_count=[len(each.errors) for each in attributes],
            linkage_count=[len(job.relationships["items"].data) for job in jobs],
            first_seen_at=pa.array([read_at] * len(jobs), TIME),
            last_changed_at=pa.array([read_at] * len(jobs), TIME),
            content_hash=[hashlib.sha256(msgspec.json.encode(job)).hexdigest()[:32] for job in jobs],
            run_id=["1"] * len(jobs),
        ),
        "job_errors": table(
            len(errors),
            job_id=[job_id for job_id, _, _ in errors],
            position=[place for _, place, _ in errors],
            error_id=[error.id for _, _, error in errors],
            code=[error.code for _, _, error in errors],
            title=[error.title for _, _, error in errors],
            detail=[error.detail for _, _, error in errors],
            fingerprint=[error.detail for _, _, error in errors],
            source_pointer=[error.source and error.source.pointer for _, _, error in errors],
            related_id=[error.meta and error.meta.get("id") for _, _, error in errors],
            meta=[error.meta and msgspec.json.encode(error.meta).decode() for _, _, error in errors],
            run_id=["1"] * len(errors),
        ),
        "job_linkages": table(
            sum(len(data) for _, data in linkages),
            job_id=[job_id for job_id, data in linkages for _ in data],
            position=[place for _, data in linkages for place in range(len(data))],
            related_type=[linkage.type for _, data in linkages for linkage in data],
            related_id=[linkage.id for _, data in linkages for linkage in data],
        ),
        "job_observations": table(
            len(jobs),
            job_id=[job.id for job in jobs],
            observed_at=pa.array([read_at] * len(jobs), TIME),
            **{
                name: [getattr(each, name) for each in attributes]
                for name in ("status", "total_count", "completed_count", "failed_count")
            },
        ),
    }


def table(count: int, **columns: Any) -> pa.Table:
    """Return *columns* and those that are the same in all *count* rows."""
    shared = {name: pa.repeat(pa.scalar(value), count) for name, value in SHARED.items()}
    return pa.table({**shared, **columns})


def pages_of(base_url: str) -> Iterator[list[Job]]:
    """Yield the jobs of each page."""
    decode = msgspec.json.Decoder(Page).decode
    headers = {"Authorization": f"Klaviyo-API-Key {KEY}", "revision": "2026-07-15"}
    url: str | None = f"{base_url}/api/catalog-item-bulk-create-jobs"
    with urllib3.PoolManager() as pool:
        while url:
            page = decode(pool.request("GET", url, headers=headers).data)
            yield page.data
            url = page.links["next"]


def write_tables(warehouse: str, pages: Iterable[dict[str, pa.Table]]) -> None:
    """Write the tables of all *pages*, each in one piece."""
    tables: dict[str, list[pa.Table]] = {}
    for page in pages:
        for name, rows in page.items():
            tables.setdefault(name, []).append(rows)
    with duckdb.connect(warehouse) as connection:
        for name, of_table in tables.items():
            connection.register("rows_of_table", pa.concat_tables(of_table))
            connection.execute(f"create table {name} as from rows_of_table")


def main(base_url: str, warehouse: str) -> None:
    """Read all pages, then write all tables."""
    # Nothing here makes cycles, and looking for them would be a tenth of the time.
    gc.disable()
    write_tables(warehouse, map(tables_of, pages_of(base_url)))


if __name__ == "__main__":
    main(*sys.argv[1:])
