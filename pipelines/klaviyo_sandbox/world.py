"""
What one account's API holds: jobs by kind, what was said of catalog resources, and answers to replay.

In:     jobs, plans and raw resource objects; tests add, change and remove them while the server runs.
Out:    pages and single jobs at a given time, newest first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from threading import RLock
from typing import Any, NamedTuple

from klaviyo_sandbox.jobs import Entry, Job, RawJob
from klaviyo_sandbox.kinds import KINDS, check_kind

PAGE_SIZE = 100
THE_END = "end"


class _SortKey(NamedTuple):
    """Where a job stands in its list: jobs created at the same time are ordered by their ids."""

    created_at: datetime
    job_id: str


@dataclass(frozen=True, slots=True)
class Page:
    """Up to 100 entries, newest first, and whether there are more on either side."""

    entries: list[Entry]
    has_next: bool
    has_previous: bool


@dataclass(slots=True)
class _Listing:
    """
    The entries of one kind.

    `sort_keys` outlives the entries: a cursor made from a job stays good after that job is gone.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    sort_keys: dict[str, _SortKey] = field(default_factory=dict)
    order: list[_SortKey] = field(default_factory=list)


class World:
    """
    The jobs of one account. Safe to edit from a test while the server answers.

    Adding a job under an id that is taken replaces the old one.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._lock = RLock()
        self._listings = {kind: _Listing() for kind in KINDS}
        self._described_attributes: dict[str, dict[str, Any]] = {}
        self._list_replays: dict[tuple[str, str | None], Any] = {}
        self._detail_replays: dict[tuple[str, str], Any] = {}
        self._errors_replays: dict[tuple[str, str, str | None], Any] = {}
        self.attributes_version = 0
        self.add(*entries)

    def add(self, *entries: Entry) -> None:
        """Put in jobs (`Job`), plans (`JobPlan`) or raw resource objects (`RawJob`)."""
        with self._lock:
            for entry in entries:
                listing = self._listings[entry.kind]
                listing.entries[entry.id] = entry
                listing.sort_keys[entry.id] = _SortKey(entry.created_at, entry.id)
            for kind in {entry.kind for entry in entries}:
                self._sort(kind)

    def remove(self, kind: str, job_id: str) -> None:
        """
        Take one job out, as if it had expired.

        Raises:
            KeyError: There is no such job.
        """
        with self._lock:
            del self._listings[kind].entries[job_id]
            self._sort(kind)

    def clear(self) -> None:
        """Take everything out: jobs, described attributes and answers to replay."""
        with self._lock:
            for kind, listing in self._listings.items():
                listing.entries.clear()
                self._sort(kind)
            self.clear_replays()
            self._described_attributes.clear()
            self.attributes_version += 1

    def change(self, kind: str, job_id: str, **changes: Any) -> None:
        """
        Give one job or plan other values, e.g. `change("item-create", "J1", status="complete")`.

        Raises:
            KeyError: There is no such job.
            TypeError: It is a raw resource object, or a name is not an attribute.
        """
        with self._lock:
            entry = self._listings[kind].entries[job_id]
            if isinstance(entry, RawJob):
                raise TypeError(f"{kind} {job_id} is a raw resource object; add a new one in its place")
            self.add(replace(entry, **changes))

    def describe(self, related_id: str, **attributes: Any) -> None:
        """Say what the attributes of one catalog resource are; those not named keep their made-up values."""
        with self._lock:
            self._described_attributes.setdefault(related_id, {}).update(attributes)
            self.attributes_version += 1

    def described_attributes(self, related_id: str) -> dict[str, Any]:
        """What `describe` has said of one catalog resource."""
        with self._lock:
            return dict(self._described_attributes.get(related_id, {}))

    def clear_replays(self) -> None:
        """Answer every list and detail from the world's jobs again."""
        with self._lock:
            self._list_replays.clear()
            self._detail_replays.clear()
            self._errors_replays.clear()

    def replay_list(self, kind: str, body: Any, *, cursor: str | None = None) -> None:
        """
        Answer the list of *kind* with *body* from now on.

        Args:
            kind: The list.
            body: JSON data, or bytes sent untouched.
            cursor: Answer only the request that carries this `page[cursor]`; none for the first page.
        """
        check_kind(kind)
        with self._lock:
            self._list_replays[kind, cursor] = body

    def replay_detail(self, kind: str, job_id: str, body: Any) -> None:
        """Answer the detail of one job with *body*, JSON data or bytes, from now on."""
        check_kind(kind)
        with self._lock:
            self._detail_replays[kind, job_id] = body

    def replay_errors(self, kind: str, job_id: str, body: Any, *, cursor: str | None = None) -> None:
        """Answer the list of one job's import errors with *body*, as `replay_list` does a list of jobs."""
        check_kind(kind)
        with self._lock:
            self._errors_replays[kind, job_id, cursor] = body

    def replay_of_list(self, kind: str, cursor: str | None) -> Any | None:
        """What `replay_list` was given, or none."""
        with self._lock:
            return self._list_replays.get((kind, cursor))

    def replay_of_detail(self, kind: str, job_id: str) -> Any | None:
        """What `replay_detail` was given, or none."""
        with self._lock:
            return self._detail_replays.get((kind, job_id))

    def replay_of_errors(self, kind: str, job_id: str, cursor: str | None) -> Any | None:
        """What `replay_errors` was given, or none."""
        with self._lock:
            return self._errors_replays.get((kind, job_id, cursor))

    def job(self, kind: str, job_id: str, now: datetime) -> Job:
        """
        One job as the API holds it at *now*.

        Raises:
            KeyError: There is none, or it is a raw resource object, or it is not listed at *now*.
        """
        entry = self.find(kind, job_id, now)
        if entry is None or isinstance(entry, RawJob):
            raise KeyError(job_id)
        return entry.at(now)

    def jobs(self, kind: str, now: datetime) -> list[Job]:
        """The jobs of *kind* that the API holds at *now*, newest first; raw resource objects are left out."""
        with self._lock:
            entries = [entry for entry in self._newest_first(kind) if entry.is_listed(now)]
        return [entry.at(now) for entry in entries if not isinstance(entry, RawJob)]

    def counts(self, now: datetime) -> dict[str, int]:
        """How many jobs of each kind are listed at *now*."""
        with self._lock:
            return {kind: sum(entry.is_listed(now) for entry in self._newest_first(kind)) for kind in KINDS}

    def find(self, kind: str, job_id: str, now: datetime) -> Entry | None:
        """The entry behind a detail request, or none."""
        with self._lock:
            entry = self._listings[kind].entries.get(job_id)
        return entry if entry is not None and entry.is_listed(now) else None

    def page(
        self,
        kind: str,
        now: datetime,
        *,
        passes: Callable[[Job], bool] | None = None,
        after: str | None = None,
        before: str | None = None,
        size: int = PAGE_SIZE,
        is_ascending: bool = False,
    ) -> Page:
        """
        One page of a list.

        Args:
            kind: The list.
            now: When.
            passes: Only jobs of which this is true; a raw resource object is none.
            after: Start behind this job id.
            before: End in front of this job id; `THE_END` for the last page.
            size: How many jobs at most.
            is_ascending: The oldest first.
        Raises:
            KeyError: *after* or *before* was never the id of a job.
        """
        with self._lock:
            listing = self._listings[kind]
            count = len(listing.order)

            def matching(positions: Iterable[int]) -> Iterator[Entry]:
                """The entries at *positions* of the order in which the list is served."""
                for position in positions:
                    key = listing.order[position if is_ascending else count - 1 - position]
                    entry = listing.entries[key.job_id]
                    if entry.is_listed(now) and (passes is None or _passes(entry, now, passes)):
                        yield entry

            def place_of(job_id: str) -> tuple[int, int]:
                """The first place that is not before the job's, and the first that is behind it."""
                key = listing.sort_keys[job_id]
                left, right = bisect_left(listing.order, key), bisect_right(listing.order, key)
                return (left, right) if is_ascending else (count - right, count - left)

            if before is None:
                start = 0 if after is None else place_of(after)[1]
                found = list(islice(matching(range(start, count)), size + 1))
                has_previous = any(matching(range(start - 1, -1, -1)))
                return Page(found[:size], has_next=len(found) > size, has_previous=has_previous)
            end = count if before == THE_END else place_of(before)[0]
            found = list(islice(matching(range(end - 1, -1, -1)), size + 1))
            has_next = any(matching(range(end, count)))
            return Page(found[:size][::-1], has_next=has_next, has_previous=len(found) > size)

    def _newest_first(self, kind: str) -> Iterator[Entry]:
        listing = self._listings[kind]
        return (listing.entries[key.job_id] for key in reversed(listing.order))

    def _sort(self, kind: str) -> None:
        listing = self._listings[kind]
        listing.order = sorted(listing.sort_keys[job_id] for job_id in listing.entries)


def _passes(entry: Entry, now: datetime, passes: Callable[[Job], bool]) -> bool:
    return not isinstance(entry, RawJob) and passes(entry.at(now))
