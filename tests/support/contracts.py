"""A warehouse of today, put back to what the contract before made of the same rows."""

from __future__ import annotations

from pathlib import Path

import duckdb

STATEMENTS_OF_CONTRACT_1 = (
    # Its views read columns that the tables of contract 1 lack.
    "drop schema if exists klaviyo cascade",
    "drop schema if exists klaviyo_raw_staging cascade",
    *(
        f"alter table klaviyo_raw.jobs drop column {column}"
        for column in (
            *("created_on", "completed_on", "unread_error_count", "unread_linkage_count"),
            *("content_hash", "listed_hash"),
        )
    ),
    "alter table klaviyo_raw.job_errors drop column fingerprint",
    *(
        f"alter table klaviyo_raw.job_linkages add column {column} text"
        for column in ("relationship", "external_id", "run_id")
    ),
    """
    update klaviyo_raw.job_linkages as l
    set
        relationship = replace(split_part(job_kind, '-', 1) || 's', 'ys', 'ies'),
        external_id = nullif(split_part(related_id, ':::', 3), ''),
        run_id = (
            select run_id from klaviyo_raw.jobs as j
            where j.account = l.account and j.job_kind = l.job_kind and j.job_id = l.job_id
        )
    """,
    """
    create table klaviyo_raw.rejected_before as
    select
        account, run_id, row_number() over () as position, job_kind, endpoint, json_path, reason, raw,
        last_rejected_at as rejected_at
    from klaviyo_raw.rejected_records
    """,
    "drop table klaviyo_raw.rejected_records",
    "alter table klaviyo_raw.rejected_before rename to rejected_records",
    "comment on table klaviyo_raw.jobs is 'klaviyo-jobs contract 1'",
    "comment on table klaviyo_raw.listings is null",
)


def put_back_to_contract_1(path: Path) -> None:
    """Make the warehouse at *path* one of contract 1, all at once; what that contract had no place for is lost."""
    with duckdb.connect(str(path)) as connection:
        connection.begin()
        for statement in STATEMENTS_OF_CONTRACT_1:
            connection.execute(statement)
        connection.commit()
