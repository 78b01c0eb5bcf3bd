"""What the warehouse does hold, in the form of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb

from support.histories.api import Row

JOB: Final = "account, job_kind, job_id"
COUNTS: Final = "total_count, completed_count, failed_count, error_count, linkage_count"
# The columns that are compared as they are, and after `run_id` the times that are compared by their run.
QUERIES: Final[dict[str, tuple[str, list[str]]]] = {
    "jobs": (
        f"{JOB}, status, {COUNTS}, epoch_us(created_at), epoch_us(completed_at), epoch_us(expires_at), extra",
        ["first_seen_at", "last_changed_at", "vanished_at"],
    ),
    "job_errors": (f"{JOB}, position, code, detail, related_id", []),
    "job_linkages": (f"{JOB}, position, related_id", []),
    "job_observations": (
        f"{JOB}, row_number() over (partition by {JOB} order by observed_at), status, {COUNTS}",
        ["observed_at"],
    ),
    "categories": ("account, category_id, name, epoch_us(updated_at), seen_in_job_id", []),
    "items": ("account, item_id, title, epoch_us(updated_at), seen_in_job_id", []),
    "listings": (
        "account, job_kind, is_complete, error is not null, "
        "job_count, changed_count, detail_count, rejected_count, request_count, retry_count",
        ["started_at", "finished_at"],
    ),
    "rejected_records": (
        "account, job_kind, endpoint like '%-jobs (page 1)', raw ->> 'id', "
        "coalesce(raw -> 'attributes' ->> 'name', raw -> 'attributes' ->> 'title'), times",
        ["first_rejected_at", "last_rejected_at"],
    ),
}


@dataclass
class Runs:
    """The runs so far: when each began and ended, and what it is called in rows."""

    spans: list[tuple[int, int, int]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def number_at(self, microseconds: int | None) -> int | None:
        """Return the number of the run that was under way; -1 if none was."""
        if microseconds is None:
            return None
        return next((number for begin, end, number in self.spans if begin <= microseconds <= end), -1)


def stored_tables(warehouse: Path, runs: Runs) -> dict[str, list[Row]]:
    """Return the rows of every table: columns, then the number of the run that wrote it, then the runs of its times."""
    tables = {}
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        names = {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}
        for name, (columns, times) in QUERIES.items():
            # A linkage is of the run that its job is of.
            run_id = "null" if name == "job_linkages" else "run_id"
            query = f"select {', '.join([columns, run_id, *(f'epoch_us({time})' for time in times)])}"
            found = connection.execute(f"{query} from klaviyo_raw.{name}").fetchall() if name in names else []
            width = len(times)
            tables[name] = sorted(
                (
                    (
                        *row[: -1 - width],
                        runs.numbers.get(row[-1 - width], row[-1 - width]),
                        *(runs.number_at(time) for time in row[len(row) - width :]),
                    )
                    for row in found
                ),
                key=repr,
            )
    return tables
