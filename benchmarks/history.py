"""
Make a warehouse two years old: 400,000 jobs, 19.2M linkages and 800,000 errors before those that it holds.

    python benchmarks/history.py WAREHOUSE [JOBS]

The file is that of a run; its tables get what a run an hour would have left in two years, in the columns they have.
All jobs but those of the run have expired. Nine in ten items that failed succeed later.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

STATEMENTS = """
set memory_limit = '2GB';
set preserve_insertion_order = false;
create temp table history as
select
    range as nth,
    'default' as account,
    'item-create' as job_kind,
    '01H' || lpad(cast(range as varchar), 23, '0') as job_id,
    to_timestamp((epoch(oldest) - 8 * 86400) - (730.0 * 86400) * ({jobs} - range) / {jobs}) as created_at,
    cast(1700000000 + range // 23 as varchar) || '.25' as run_id
from range({jobs}), (select min(created_at) as oldest from klaviyo_raw.jobs);

insert into klaviyo_raw._dlt_loads (load_id, schema_name, status, inserted_at, schema_version_hash)
select run_id, 'klaviyo_jobs', 0, max(created_at), (select any_value(schema_version_hash) from klaviyo_raw._dlt_loads)
from history group by run_id;

insert into klaviyo_raw.listings by name
select
    account, job_kind, run_id, max(created_at) as started_at, max(created_at) + interval 9 seconds as finished_at,
    true as is_complete, 8 as page_count, 700 as job_count, 23 as changed_count, 0 as detail_count,
    0 as rejected_count, 8 as request_count, 0 as retry_count, 0.0 as throttled_seconds, '2026-07-15' as api_revision
from history group by account, job_kind, run_id;

insert into klaviyo_raw.jobs by name
select
    account, job_kind, job_id, 'complete' as status, created_at, created_at + interval 90 seconds as completed_at,
    created_at + interval 7 days as expires_at, cast(created_at at time zone 'UTC' as date) as created_on,
    cast((created_at + interval 90 seconds) at time zone 'UTC' as date) as completed_on, 50 as total_count,
    48 as completed_count, 2 as failed_count, 2 as error_count, 48 as linkage_count, 0 as unread_error_count,
    0 as unread_linkage_count, created_at + interval 1 hour as first_seen_at,
    created_at + interval 1 hour as last_changed_at, md5(job_id) as content_hash, md5('x' || job_id) as listed_hash,
    '2026-07-15' as api_revision, run_id
from history;

insert into klaviyo_raw.job_observations by name
select
    account, job_kind, job_id, last_changed_at as observed_at, status, total_count, completed_count, failed_count,
    error_count, linkage_count, run_id
from klaviyo_raw.jobs where run_id in (select run_id from history);

insert into klaviyo_raw.job_errors by name
select
    account, job_kind, job_id, position, uuid() as error_id, 'invalid' as code, 'Invalid input' as title,
    'The item SKU-' || (nth * 2 + position) % 400000 || ' has no price of kind ' || chr(65 + cast(nth % 12 as int))
        as detail,
    'The item ? has no price of kind ' || chr(65 + cast(nth % 12 as int)) as fingerprint,
    '/data/attributes/items/data/' || position as source_pointer,
    '$custom:::$default:::SKU-' || (nth * 2 + position) % 400000 as related_id,
    '{{"id":"$custom:::$default:::SKU-' || (nth * 2 + position) % 400000 || '"}}' as meta, run_id
from history, (values (0), (1)) as places (position);

insert into klaviyo_raw.job_linkages by name
select
    account, job_kind, job_id, position, 'catalog-item' as related_type,
    '$custom:::$default:::SKU-' || (nth * 97 + position * 31) % 1600000 as related_id
from history, range(48) as places (position);
"""


def main(warehouse: Path, jobs: int = 400_000) -> None:
    """Add the history of *jobs* jobs to *warehouse*."""
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(STATEMENTS.format(jobs=jobs))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
