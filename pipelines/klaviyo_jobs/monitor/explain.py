"""
Tell all that the warehouse knows of one id: of a job, or of a resource that jobs have named.

In:     an open warehouse whose views are applied, and an id.
Out:    what it is and what happened to it, in the order of time; nothing is printed here.
Cost:   a look at the id of each linkage, and the rows of those that are meant: your own id is a part of Klaviyo's, and
        the views would take apart that of every row that is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from klaviyo_jobs.warehouse.engines.connection import Connection

# More would not be read; how many there are is said.
_MOST_ERRORS: Final = 20
_COUNTS: Final = ("total_count", "completed_count", "failed_count")

_JOBS: Final = "select * from klaviyo.jobs where job_id = $id order by account, job_kind"
_OBSERVATIONS: Final = """
    select observed_at_utc, status, total_count, completed_count, failed_count
    from klaviyo.job_observations
    where account = $account and job_kind = $job_kind and job_id = $id
    order by observed_at_utc
"""
_ERRORS: Final = f"""
    select position, code, title, detail, related_id
    from klaviyo.job_errors
    where account = $account and job_kind = $job_kind and job_id = $id
    order by position
    limit {_MOST_ERRORS}
"""
# Ids that may be meant; of those that end as Klaviyo's with this one of yours, the views know which do.
_NAMED: Final = """
    select related_id from klaviyo_raw.job_linkages where related_id = $id or ends_with(related_id, $ending)
    union
    select related_id from klaviyo_raw.job_errors where related_id = $id or ends_with(related_id, $ending)
    order by related_id
"""
_HISTORY: Final = """
    select account, related_type, related_id, external_id, at_utc, job_kind, job_id, operation, result, detail
    from klaviyo.entity_history
    where related_id = $related_id and (related_id = $id or external_id = $id)
    order by account, related_type, at_utc, job_kind, job_id
"""
_FAILING: Final = """
    select account, related_type, failures, is_repaired, repaired_utc, repaired_by_job_id
    from klaviyo.failing_entities
    where related_id = $related_id
"""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: when (naive UTC, None if nobody knows), what, in a few words, and to which job."""

    at_utc: Any
    what: str
    job_kind: str | None = None
    job_id: str | None = None


@dataclass(slots=True)
class Explained:
    """
    One thing that an id names.

    Attributes:
        sort: `job` or `resource`.
        account: The account that it belongs to.
        name: What it is, for people.
        facts: What is known of it, by the names of columns.
        timeline: What happened, in the order of time.
        errors: Errors of a job, at most twenty.
    """

    sort: str
    account: str
    name: str
    facts: dict[str, Any]
    timeline: list[Event] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)

    def as_object(self) -> dict[str, Any]:
        """Return it as JSON has it, times as texts."""
        return asdict(self)


def explain(connection: Connection, identifier: str) -> list[Explained]:
    """Return what *identifier* names: jobs first, then resources by Klaviyo's id or by your own; none if nothing."""
    jobs = [_job(connection, row, identifier) for row in _rows(connection, _JOBS, id=identifier)]
    named = _rows(connection, _NAMED, id=identifier, ending=f":::{identifier}")
    return [*jobs, *(found for row in named for found in _resources(connection, identifier, row["related_id"]))]


def _job(connection: Connection, row: dict[str, Any], identifier: str) -> Explained:
    key = {"account": row["account"], "job_kind": row["job_kind"], "id": identifier}
    events = [Event(row["created_at_utc"], "created")]
    for seen in _rows(connection, _OBSERVATIONS, **key):
        done = seen["completed_count"], seen["total_count"]
        progress = "" if None in done else f", {done[0]:,} of {done[1]:,} operations done"
        failed = f", {seen['failed_count']:,} failed" if seen["failed_count"] else ""
        events.append(Event(seen["observed_at_utc"], f"seen {seen['status'] or 'without a status'}{progress}{failed}"))
    for column, what in (
        ("completed_at_utc", "completed"),
        ("vanished_at_utc", "not in a complete listing any more: vanished"),
        ("expires_at_utc", "forgotten by Klaviyo"),
    ):
        if row[column] is not None:
            events.append(Event(row[column], what))
    return Explained(
        "job",
        row["account"],
        f"{row['job_kind']} job {identifier}",
        row,
        sorted(events, key=lambda event: (event.at_utc is None, event.at_utc)),
        _rows(connection, _ERRORS, **key),
    )


def _resources(connection: Connection, identifier: str, related_id: str) -> Iterator[Explained]:
    """Yield what *related_id* is, in each account, if *identifier* names it."""
    found: dict[tuple[str, str | None], Explained] = {}
    for row in _rows(connection, _HISTORY, id=identifier, related_id=related_id):
        key = row["account"], row["related_type"]
        if key not in found:
            facts = {name: row[name] for name in ("related_type", "related_id", "external_id")}
            name = f"{row['related_type'] or 'resource'} {row['external_id'] or row['related_id']}"
            found[key] = Explained("resource", row["account"], name, facts | {"succeeded": 0, "failed": 0})
        explained = found[key]
        explained.facts[row["result"]] += 1
        detail = f": {row['detail']}" if row["detail"] else ""
        what = f"{row['operation']} {row['result']}{detail}"
        explained.timeline.append(Event(row["at_utc"], what, row["job_kind"], row["job_id"]))
    if any(each.facts["failed"] for each in found.values()):
        for row in _rows(connection, _FAILING, related_id=related_id):
            key = row["account"], row["related_type"]
            if key in found:
                found[key].facts |= {name: row[name] for name in ("is_repaired", "repaired_utc", "repaired_by_job_id")}
    yield from found.values()


def verdict_of(explained: Explained) -> str:
    """Return in one line how it stands."""
    facts = explained.facts
    if explained.sort == "job":
        counts = ", ".join(f"{facts[name]:,} {name.split('_')[0]}" for name in _COUNTS if facts[name] is not None)
        took = "" if facts["duration_seconds"] is None else f", after {facts['duration_seconds']:,.0f} s"
        return f"{facts['outcome'].replace('_', ' ')}{took}" + (f": operations {counts}" if counts else "")
    counts = f"succeeded {_times(facts['succeeded'])}, failed {_times(facts['failed'])}"
    if "is_repaired" not in facts:
        return counts
    if facts["is_repaired"]:
        return f"{counts}; repaired by job {facts['repaired_by_job_id']}"
    return f"{counts}; not repaired since"


def _times(count: int) -> str:
    return f"{count:,} {'time' if count == 1 else 'times'}"


def _rows(connection: Connection, query: str, **values: Any) -> list[dict[str, Any]]:
    result = connection.execute(query, values)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
