"""
An independent model of the daily and hourly views: in plain Python, one job after the other, slow and without SQL.

In:     rows of the raw tables, as dicts with the usual nulls, and a time zone.
Out:    the rows of each view, as sets of tuples.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

Row = dict[str, Any]
WEEK = dt.timedelta(days=7)
HOUR = dt.timedelta(hours=1)


class Place(NamedTuple):
    """Whose job it is, and of which kind."""

    account: str
    job_kind: str


class Hour(NamedTuple):
    """An hour of the zone: its first moment in UTC, its day and its number there."""

    hour_utc: dt.datetime
    day: dt.date
    number: int


@dataclass(frozen=True)
class Ending:
    """How a job ended, and when, in UTC."""

    outcome: str
    at: dt.datetime | None

    @property
    def is_finished(self) -> bool:
        """Whether it ended by itself."""
        return self.outcome not in ("vanished", "in_progress")


def failed_of(job: Row) -> int:
    """How many operations failed: by the count, else by the errors."""
    known = [value for value in (job["failed_count"], job["error_count"]) if value is not None]
    return max(known[0], 0) if known else 0


def completed_of(job: Row) -> int:
    """How many operations succeeded."""
    return max(job["completed_count"] or 0, 0)


def ending_of(job: Row, observations: Iterable[Row], now: dt.datetime) -> Ending:
    """How *job* ended."""
    status, completed_at = job["status"], job["completed_at"]
    if status in ("complete", "cancelled") or (status not in ("queued", "processing") and completed_at):
        seen = [each["observed_at"] for each in observations if each["status"] in ("complete", "cancelled")]
        at = completed_at or (min(seen) if seen else None) or job["last_changed_at"] or job["first_seen_at"]
        return Ending(outcome_of(job), at)
    forgotten_at = job["expires_at"] or job["created_at"] + WEEK
    if job["vanished_at"] or forgotten_at <= now:
        return Ending("vanished", min(filter(None, (job["vanished_at"], forgotten_at))))
    return Ending("in_progress", None)


def outcome_of(job: Row) -> str:
    """What is said of a job that finished."""
    if job["status"] == "cancelled":
        return "cancelled"
    total, failed = job["total_count"] or 0, failed_of(job)
    if total > 0 and failed >= total:
        return "failed"
    if total > 0 and job["completed_count"] is not None and completed_of(job) + failed < total:
        return "incomplete"
    if failed == 0:
        return "succeeded"
    return "failed" if job["completed_count"] == 0 else "partly_failed"


class Model:
    """The answers of every daily and hourly view."""

    def __init__(self, tables: dict[str, list[Row]], zone: ZoneInfo, now: dt.datetime) -> None:
        self.zone = zone
        self.jobs = tables["jobs"]
        self.errors = tables["job_errors"]
        observations = defaultdict(list)
        for row in tables["job_observations"]:
            observations[row["account"], row["job_kind"], row["job_id"]].append(row)
        self.endings = [
            ending_of(job, observations[job["account"], job["job_kind"], job["job_id"]], now) for job in self.jobs
        ]
        self.listed: dict[Place, list[dt.datetime]] = defaultdict(list)
        for row in tables["listings"]:
            if row["is_complete"]:
                self.listed[Place(row["account"], row["job_kind"])].append(row["finished_at"])

    def day(self, moment: dt.datetime) -> dt.date:
        """The day of *moment* in the zone."""
        return moment.astimezone(self.zone).date()

    def hour(self, moment: dt.datetime) -> Hour:
        """The hour of *moment* in the zone."""
        local = moment.astimezone(self.zone)
        into = dt.timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return Hour((moment - into).replace(tzinfo=None), local.date(), local.hour)

    def _known_moments(self, place: Place, step: dt.timedelta) -> Iterator[dt.datetime]:
        """Yield moments of all that listings know, no further apart than *step*, from the first job or listing on."""
        for time in self.listed[place]:
            moment = time - WEEK
            while moment <= time:
                yield moment
                moment += step
            yield time

    def known_days(self, place: Place) -> set[dt.date]:
        """The days on which no job means that there was none."""
        days = {self.day(moment) for moment in self._known_moments(place, HOUR)}
        return {day for day in days if self._has_begun(place, day, self.day)}

    def known_hours(self, place: Place) -> set[Hour]:
        """The hours in which no job means that there was none."""
        hours = {self.hour(moment) for moment in self._known_moments(place, dt.timedelta(minutes=15))}
        return {hour for hour in hours if self._has_begun(place, hour.hour_utc, lambda time: self.hour(time).hour_utc)}

    def _has_begun(self, place: Place, when: Any, bucket: Any) -> bool:
        """Whether *when* is not before the first listing, or the first job."""
        created = [job["created_at"] for job in self.jobs if Place(job["account"], job["job_kind"]) == place]
        return bool(when >= bucket(min(self.listed[place])) or any(bucket(time) <= when for time in created))

    def _events(self) -> Iterator[tuple[Place, dt.datetime, Row]]:
        """Yield what happened to whom and when: a creation, an end."""
        for job, ending in zip(self.jobs, self.endings, strict=True):
            place = Place(job["account"], job["job_kind"])
            yield place, job["created_at"], {"jobs_created": 1, "operations_created": job["total_count"] or 0}
            if ending.at and ending.is_finished:
                counts = {"operations_completed": completed_of(job), "operations_failed": failed_of(job)}
                yield place, ending.at, {"jobs_finished": 1, **counts}
            elif ending.at:
                yield place, ending.at, {"jobs_vanished": 1}

    MEASURES = (
        *("jobs_created", "operations_created", "jobs_finished", "jobs_vanished"),
        *("operations_completed", "operations_failed"),
    )

    def throughput(self, *, hourly: bool) -> set[tuple[Any, ...]]:
        """Rows of job_throughput_daily, or of job_throughput_hourly."""
        sums: dict[tuple[Any, ...], dict[str, int]] = {}
        for place in list(self.listed):
            for bucket in self.known_hours(place) if hourly else [(day,) for day in self.known_days(place)]:
                sums[(*place, *bucket)] = dict.fromkeys(self.MEASURES, 0)
        for place, when, counts in self._events():
            bucket = self.hour(when) if hourly else (self.day(when),)
            row = sums.setdefault((*place, *bucket), dict.fromkeys(self.MEASURES, 0))
            for name, count in counts.items():
                row[name] += count
        return {(*key, *row.values()) for key, row in sums.items()}

    def _ended_on(self) -> dict[tuple[Any, ...], list[tuple[Row, Ending]]]:
        """Which jobs ended on each day, days on which none did included."""
        days: dict[tuple[Any, ...], list[tuple[Row, Ending]]] = {
            (*place, day): [] for place in list(self.listed) for day in self.known_days(place)
        }
        for job, ending in zip(self.jobs, self.endings, strict=True):
            if ending.at:
                days.setdefault((job["account"], job["job_kind"], self.day(ending.at)), []).append((job, ending))
        return days

    def failure_rates(self) -> set[tuple[Any, ...]]:
        """Rows of job_failure_rates_daily."""
        rows = set()
        for key, ended in self._ended_on().items():
            outcomes = [ending.outcome for _, ending in ended]
            complete = [job for job, ending in ended if ending.outcome not in ("cancelled", "vanished")]
            weighed = [job for job in complete if (job["total_count"] or 0) > 0]
            total, failed = sum(job["total_count"] for job in weighed), sum(map(failed_of, weighed))
            names = ("cancelled", "failed", "partly_failed", "incomplete", "vanished")
            counts = [len(complete), *(outcomes.count(name) for name in names)]
            rows.add((*key, *counts, total, failed, failed / total if total else None))
        return rows

    def latencies(self) -> set[tuple[Any, ...]]:
        """Rows of job_latency_daily, seconds to a thousandth."""
        rows = set()
        days = self._ended_on()
        known = {(*place, day) for place in list(self.listed) for day in self.known_days(place)}
        for key, ended in days.items():
            finished = [job for job, ending in ended if ending.is_finished]
            if not finished and key not in known:
                continue
            seconds = sorted(
                (job["completed_at"] - job["created_at"]).total_seconds()
                for job in finished
                if job["completed_at"] and job["completed_at"] >= job["created_at"]
            )
            quantiles = [_quantile(seconds, share) for share in (0.5, 0.95, 0.99, 1)]
            rows.add((*key, len(finished), *quantiles))
        return rows

    def coverage(self) -> set[tuple[Any, ...]]:
        """Rows of listing_coverage."""
        rows = set()
        for place in list(self.listed):
            known = self.known_days(place)
            created = [self.day(job["created_at"]) for job in self.jobs if (job["account"], job["job_kind"]) == place]
            day, last = min([*known, *created]), max(known)
            while day <= last:
                rows.add((*place, day, day in known))
                day += dt.timedelta(days=1)
        return rows

    def error_trend(self) -> set[tuple[Any, ...]]:
        """Rows of error_trend_daily."""
        days = {(job["account"], job["job_kind"], job["job_id"]): self.day(job["created_at"]) for job in self.jobs}
        found = defaultdict(list)
        for error in self.errors:
            key = (error["account"], error["job_kind"], error["job_id"])
            if key in days:
                found[key[0], key[1], error["fingerprint"], days[key]].append(error["job_id"])
        return {
            (*key, len(ids), len(set(ids)), key[3] == min(other[3] for other in found if other[:3] == key[:3]))
            for key, ids in found.items()
        }

    def backlog(self) -> set[tuple[Any, ...]]:
        """Rows of job_backlog_hourly: place, hour, in progress at its start, at most, at most in the account."""
        last_days = {place: max(self.known_days(place)) for place in list(self.listed)}
        spans: dict[Place, list[tuple[dt.datetime, dt.datetime]]] = defaultdict(list)
        hours: dict[Place, set[Hour]] = {place: self.known_hours(place) for place in list(self.listed)}
        for job, ending in zip(self.jobs, self.endings, strict=True):
            place, begin = Place(job["account"], job["job_kind"]), job["created_at"]
            if ending.outcome != "in_progress" and (ending.at is None or ending.at <= begin):
                continue
            hours.setdefault(place, set()).add(self.hour(begin))
            if ending.at:
                hours[place].add(self.hour(ending.at))
            # One that has not ended lasts for the day of the last listing, or for its own where that is later.
            last_day = max(self.day(begin), last_days.get(place, dt.date.min))
            spans[place].append((begin, ending.at or self._end_of(last_day)))
        rows = set()
        for place, of_place in hours.items():
            for hour in of_place:
                moments = self._moments_of(hour)
                own = spans[place]
                account = [span for other, found in spans.items() if other.account == place.account for span in found]
                rows.add((*place, hour.hour_utc, _at(own, moments[0]), _most(own, *moments), _most(account, *moments)))
        return rows

    def _end_of(self, day: dt.date) -> dt.datetime:
        midnight = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), self.zone)
        return midnight.astimezone(dt.UTC) - dt.timedelta(microseconds=1)

    def _moments_of(self, hour: Hour) -> tuple[dt.datetime, dt.datetime]:
        """The first moment that is in *hour*, and the first after it: not 60 minutes apart when clocks change."""
        begin = hour.hour_utc.replace(tzinfo=dt.UTC)
        inside = [
            moment
            for minutes in range(0, 121, 15)
            for moment in (begin + dt.timedelta(minutes=minutes - 30),)
            if self.hour(moment) == hour
        ]
        return min(inside), max(inside) + dt.timedelta(minutes=15)


def _at(spans: list[tuple[dt.datetime, dt.datetime]], moment: dt.datetime) -> int:
    """How many of *spans* have begun before *moment*, and not ended."""
    return sum(begin < moment <= end for begin, end in spans)


def _most(spans: list[tuple[dt.datetime, dt.datetime]], begin: dt.datetime, end: dt.datetime) -> int:
    """How many of *spans* hold at one moment between *begin* and *end*, at most."""
    changes = [begin, *(moment for span in spans for moment in span if begin <= moment < end)]
    return max([_at(spans, begin), *(sum(first <= moment < last for first, last in spans) for moment in changes)])


def _quantile(values: list[float], share: float) -> float | None:
    """The *share* quantile of sorted *values*, interpolated between neighbours, to a thousandth."""
    if not values:
        return None
    place = share * (len(values) - 1)
    low, high = values[math.floor(place)], values[math.ceil(place)]
    return round(low + (high - low) * (place - math.floor(place)), 3)
