"""
Tell the ledger of runs that did not come to their end.

In:     the notes that `lock.py` kept of killed, failed and skipped runs.
Out:    rows of `klaviyo_raw.listings` whose column `error` says how each ended.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from klaviyo_jobs.model.tables import LISTINGS
from klaviyo_jobs.warehouse.engines.duckdb import RAW_SCHEMA, Connection, transaction


class RunNote(msgspec.Struct):
    """
    Who a run is, and how far it has got.

    Attributes:
        pid: Its process.
        host: The machine it runs on.
        since: When it asked for the lock (ISO 8601, UTC).
        command: What was called, without its arguments' values.
        listings: Account and kind of each listing it is to read.
        step: The step it is in, or was in when it ended.
        run_id: dlt's load id, once there is one.
        is_skipped: Whether it found the lock taken and did nothing.
        holder_pid: The process that held the lock then.
        failure: The error that ended it, if it was one and no kill.
        working_directory: Its folder for dlt, which it throws away when it ends.
    """

    pid: int
    host: str
    since: str
    command: str
    listings: list[tuple[str, str]] = []
    step: str = "lock"
    run_id: str = ""
    is_skipped: bool = False
    holder_pid: int = 0
    failure: str = ""
    working_directory: str = ""

    @property
    def ending(self) -> str:
        """How the run ended, for the ledger."""
        if self.is_skipped:
            return f"skipped: process {self.holder_pid} held the lock."
        if self.failure:
            return f"failed at step {self.step}: {self.failure}"
        return f"interrupted: process {self.pid} on {self.host} ended at step {self.step}."


def record_ended_runs(connection: Connection, notes: Iterable[RunNote]) -> None:
    """
    Write down how the runs of *notes* ended, all or none.

    A listing that a killed run had read to its end, and whose load completed, stays complete: only the rest of the
    run is missing. Telling twice changes nothing.
    """
    table = f"{RAW_SCHEMA}.{LISTINGS.name}"
    with transaction(connection):
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
                        from {table} where account = $account and job_kind = $kind and run_id = $run_id
                    )
                    """,
                    {**key, "error": note.ending, "since": note.since},
                )
