"""
Tell the ledger of runs that did not come to their end.

In:     the notes that `lock.py` kept of killed, failed and skipped runs.
Out:    rows of `klaviyo_raw.listings` whose column `error` says how each ended.
"""

from __future__ import annotations

from collections.abc import Iterable

from klaviyo_jobs.model.tables import LISTINGS
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA, Connection
from klaviyo_jobs.warehouse.engines.engine import RunNote


def record_ended_runs(connection: Connection, notes: Iterable[RunNote]) -> None:
    """
    Write down how the runs of *notes* ended, all or none.

    A listing that a killed run had read to its end, and whose load completed, stays complete: only the rest of the
    run is missing. Telling twice changes nothing.
    """
    table = f"{RAW_SCHEMA}.{LISTINGS.name}"
    with connection.transaction():
        for note in notes:
            run_id = note.run_id or f"{note.since}-{note.pid}"
            for account, kind in note.listings:
                key = {"account": account, "kind": kind, "run_id": run_id}
                connection.execute(
                    f"""
                    update {table}
                    set
                        error = coalesce(error, $error),
                        is_complete = is_complete and run_id in (
                            select load_id from {RAW_SCHEMA}._dlt_loads where status = 0
                        )
                    where account = $account and job_kind = $kind and run_id = $run_id
                    """,
                    {**key, "error": note.ending},
                )
                connection.execute(
                    f"""
                    insert into {table} (account, job_kind, run_id, started_at, is_complete, error)
                    select $account, $kind, $run_id, cast($since as timestamptz), false, $error
                    where not exists (
                        select 1 from {table} where account = $account and job_kind = $kind and run_id = $run_id
                    )
                    """,
                    {**key, "error": note.ending, "since": note.since},
                )
