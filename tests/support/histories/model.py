"""The model: what the warehouse has to hold, written from the words of the design."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from klaviyo_sandbox import related_id
from support.histories.api import FINISHED, KINDS, Entity, JobKey, Row, Shown, entity_id_of, microseconds
from support.histories.tables import QUERIES


@dataclass(frozen=True)
class Seen:
    """
    What one run saw of one listing.

    Attributes:
        listed: The jobs on the pages that came, by id; none if no page came.
        is_complete: Whether the last page came.
        has_failed: Whether the listing, or a detail, was given up.
        details: The jobs whose details were answered, as those showed them.
        includes: Whether the run reads details of this kind.
        is_full: Whether it was told to read all again.
        calls: The paths that were asked for, repeats included.
    """

    account: str
    kind: str
    listed: Mapping[str, Shown]
    is_complete: bool
    has_failed: bool
    details: Mapping[str, Shown]
    entities: Mapping[tuple[str, str], Entity]
    includes: bool
    is_full: bool
    calls: list[str]


@dataclass
class Kept:
    """What is kept of a job: how it was last read, and the runs in which things happened to it."""

    shown: Shown
    first_seen: int
    last_changed: int
    read: int
    written: int
    vanished: int | None = None
    has_detail: bool = False


@dataclass
class Rejected:
    """A record that could not be read: how many runs met it, and the first and the last of them."""

    times: int
    first: int
    last: int


@dataclass
class Model:
    """The rules of the design. Runs are numbers."""

    jobs: dict[JobKey, Kept] = field(default_factory=dict)
    observations: dict[JobKey, list[Row]] = field(default_factory=lambda: defaultdict(list))
    entities: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    listings: list[Row] = field(default_factory=list)
    rejected: dict[Row, Rejected] = field(default_factory=dict)

    def read(self, number: int, seen: Seen) -> set[str]:
        """Take in what run *number* saw of a listing, and return the ids of the jobs that were new or changed to it."""
        readable = {job_id: shown for job_id, shown in seen.listed.items() if shown.is_readable}
        taken = {job_id for job_id, shown in readable.items() if seen.is_full or self._is_news(seen, job_id, shown)}
        for job_id in taken:
            self._take(number, seen, job_id)
        if seen.is_complete and len(readable) == len(seen.listed):
            for key, kept in self.jobs.items():
                is_open = kept.shown.status not in FINISHED and kept.vanished is None
                if key[:2] == (seen.account, seen.kind) and key[2] not in readable and is_open:
                    kept.vanished = kept.written = number
        rejected = {*self._rejections(seen, taken)}
        for each in rejected:
            met = self.rejected.setdefault((seen.account, seen.kind, *each), Rejected(0, number, number))
            met.times, met.last = met.times + 1, number
        counts = (len(readable), len(taken), len(seen.details), len(rejected))
        requests = (len(seen.calls), len(seen.calls) - len(set(seen.calls)))
        self.listings.append(
            (seen.account, seen.kind, seen.is_complete, seen.has_failed, *counts, *requests, number, number, number)
        )
        return taken

    def _is_news(self, seen: Seen, job_id: str, shown: Shown) -> bool:
        """Tell whether a listed job is new, changed, back again, or lacks its detail."""
        kept = self.jobs.get((seen.account, seen.kind, job_id))
        return (
            kept is None
            or kept.vanished is not None
            or kept.shown.content != shown.content
            or (seen.includes and not kept.has_detail)
        )

    def _take(self, number: int, seen: Seen, job_id: str) -> None:
        key = (seen.account, seen.kind, job_id)
        shown, kept = seen.details.get(job_id, seen.listed[job_id]), self.jobs.get(key)
        has_changed = not kept or kept.shown.content != shown.content
        self.jobs[key] = Kept(
            shown,
            first_seen=kept.first_seen if kept else number,
            last_changed=kept.last_changed if kept and not has_changed else number,
            read=number,
            written=number,
            has_detail=job_id in seen.details
            # A run that reads no details does not forget that an unchanged job's was read.
            or bool(kept and kept.has_detail and not has_changed and not seen.includes),
        )
        history = self.observations[key]
        if not history or history[-1][:-2] != shown.observation:
            history.append((*shown.observation, number, number))
        if job_id in seen.details:
            self._include(number, seen, job_id)

    def _include(self, number: int, seen: Seen, job_id: str) -> None:
        for letter in seen.details[job_id].letters:
            entity_id = entity_id_of(KINDS[seen.kind], letter)
            entity = seen.entities[seen.account, entity_id]
            if not isinstance(entity.updated_at, str):
                key = (KINDS[seen.kind], seen.account, entity_id)
                updated_at = entity.updated_at and microseconds(entity.updated_at)
                held_updated_at, held_job_id = self.entities[key][1:3] if key in self.entities else (None, "")
                # The newest read stays: by the time of the update, then by the job it came with.
                if (updated_at or 0, job_id) >= (held_updated_at or 0, held_job_id):
                    self.entities[key] = (entity.name, updated_at, job_id, number)

    def _rejections(self, seen: Seen, taken: set[str]) -> Iterator[Row]:
        """
        Yield each record that cannot be read: whether a page shows it, its id and its name.

        A job that has not changed is not looked into. An entity is met once, with however many jobs it comes.
        """
        for job_id, shown in seen.listed.items():
            if not shown.is_readable:
                yield (True, job_id, None)
            elif shown.has_bad_error and job_id in taken:
                yield (True, f"error of {job_id}", None)
        for shown in seen.details.values():
            for letter in shown.letters:
                entity_id = entity_id_of(KINDS[seen.kind], letter)
                entity = seen.entities[seen.account, entity_id]
                if isinstance(entity.updated_at, str):
                    yield (False, entity_id, entity.name)

    def tables(self) -> dict[str, list[Row]]:
        """Return the rows of every table, in the form of `stored_tables`."""
        rows: dict[str, list[Row]] = {name: [] for name in QUERIES}
        for key, kept in self.jobs.items():
            shown, relationship = kept.shown, KINDS[key[1]]
            extra = None if shown.level is None else json.dumps({"level": shown.level}, separators=(",", ":"))
            runs = (kept.written, kept.first_seen, kept.last_changed, kept.vanished)
            rows["jobs"].append((*key, *shown.observation, *shown.times, extra, *runs))
            for position, text in enumerate(shown.error_details, start=int(shown.has_bad_error)):
                rows["job_errors"].append((*key, position, "invalid", text, related_id("E"), kept.read))
            for position, letter in enumerate(shown.letters):
                rows["job_linkages"].append((*key, position, entity_id_of(relationship, letter), None))
        for key, history in self.observations.items():
            rows["job_observations"] += [(*key, place, *each) for place, each in enumerate(history, start=1)]
        for (relationship, *entity_key), row in self.entities.items():
            rows[relationship].append((*entity_key, *row))
        rows["listings"] = self.listings
        rows["rejected_records"] = [
            (*record, met.times, met.last, met.first, met.last) for record, met in self.rejected.items()
        ]
        return {name: sorted(of_table, key=repr) for name, of_table in rows.items()}
