"""Two warehouses, row by row, and the first with what the API told: what is not as it must be, in words."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import duckdb

from chaos.report import Ended
from chaos.story import JobKey, Row, Story, errors_of, state_of

CHECKS: Final = Path(__file__).resolve().parents[2] / "sql" / "checks"
COMPARED: Final = ("jobs", "job_errors", "job_linkages", "categories", "rejected_records")
VIEWS: Final = ("job_throughput_daily", "job_failure_rates_daily")
_TIMES_OF_RUNS: Final = (
    *("first_seen_at", "last_changed_at", "vanished_at", "detail_read_at", "errors_read_at"),
    *("first_rejected_at", "last_rejected_at"),
)
# What tells of runs, of which the killed side had more, and not of the API.
_OF_RUNS: Final = ("run_id", "_dlt_id", "_dlt_load_id", "times", "listed_hash")
_OBSERVATION: Final = "status, total_count, completed_count, failed_count, skipped_count, error_count, linkage_count"


class Comparison:
    """Two warehouses together, each opened for reading only; `differences` says in words what is not as it must be."""

    def __init__(
        self,
        killed: Path,
        twin: Path,
        story: Story,
        gone: set[JobKey],
        ever_gone: set[JobKey],
        ignored: Sequence[str] = (),
    ) -> None:
        self.differences: list[str] = []
        self._ignored = (*_OF_RUNS, *ignored)
        self._story = story
        self._gone = gone
        self._connection = duckdb.connect(str(killed), read_only=True)
        self._connection.execute("set timezone = 'UTC'")
        self._connection.execute(f"attach '{twin}' as twin (read_only)")
        self._killed = f'"{killed.stem}".klaviyo_raw'
        self._twin = "twin.klaviyo_raw"
        self._connection.execute("create temp table gone (job_kind text, job_id text)")
        self._connection.execute("create temp table gone_categories (category_id text)")
        if gone:
            self._connection.executemany("insert into gone values (?, ?)", sorted(gone))
        if ever_gone:
            touched = sorted({related for key in ever_gone for related in story.plans[key].related_ids})
            self._connection.execute("insert into gone_categories select unnest(?)", [touched])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def compare(self, good: Sequence[str], ended: Ended) -> None:
        """Compare all; *good* are the ids of the runs that ended well."""
        self.compare_tables()
        self.compare_with_api()
        self.compare_observations()
        self.compare_ledger(good, ended)
        self.run_checks()

    def rows(self, query: str) -> list[Row]:
        """Return the rows of *query*."""
        return self._connection.execute(query).fetchall()

    def compare_tables(self) -> None:
        """The tables hold the same rows."""
        for table in COMPARED:
            columns = self._columns(self._killed, table)
            if columns != self._columns(self._twin, table):
                self.differences.append(f"{table} has other columns than the twin's: {columns}")
                continue
            chosen = ", ".join(
                f"{name} is null as {name}_is_null" if name in _TIMES_OF_RUNS else name
                for name in columns
                if name not in self._ignored
            )
            where = ""
            if "job_id" in columns:
                where = "where (job_kind, job_id) not in (from gone)"
            elif table == "categories":
                where = "where category_id not in (from gone_categories)"
            ours, theirs = (f"select {chosen} from {schema}.{table} {where}" for schema in (self._killed, self._twin))
            for what, query in (
                ("more than the twin", f"({ours}) except all ({theirs})"),
                ("less than the twin", f"({theirs}) except all ({ours})"),
            ):
                if found := self.rows(f"select * from ({query}) order by all limit 4"):
                    self.differences.append(f"{table}: {what}: {found}")
        self._find(
            "jobs seen or changed later than in the twin, or changed before they were seen",
            f"""
            select k.job_kind, k.job_id, k.first_seen_at, t.first_seen_at, k.last_changed_at, t.last_changed_at
            from {self._killed}.jobs as k join {self._twin}.jobs as t using (account, job_kind, job_id)
            where (job_kind, job_id) not in (from gone) and (
                k.first_seen_at > t.first_seen_at or k.last_changed_at > t.last_changed_at
                or k.first_seen_at > k.last_changed_at or k.detail_read_at < k.first_seen_at
                or k.errors_read_at < k.first_seen_at
            )
            """,
        )
        for view in VIEWS if not self._gone else ():
            ours, theirs = f"from klaviyo.{view}", f"from twin.klaviyo.{view}"
            self._find(f"view {view}", f"(({ours}) except all ({theirs})) union all (({theirs}) except all ({ours}))")

    def compare_with_api(self) -> None:
        """Every job is as the API shows it, or as it showed it last before it left; its children are those of that state."""
        listed = self._story.listed()
        children: dict[str, dict[JobKey, list[str]]] = {
            "job_errors": defaultdict(list),
            "job_linkages": defaultdict(list),
        }
        for table, of_jobs in children.items():
            told = "error_id" if table == "job_errors" else "related_id"
            for kind, job_id, related in self.rows(
                f"select job_kind, job_id, {told} from {self._killed}.{table} order by job_kind, job_id, position"
            ):
                of_jobs[kind, job_id].append(related)
        missing = set(listed)
        for kind, job_id, has_vanished, *state in self.rows(
            f"select job_kind, job_id, vanished_at is not null, {_OBSERVATION} from {self._killed}.jobs"
        ):
            key = (kind, job_id)
            missing.discard(key)
            states = [listed[key]] if key in listed else self._story.states_of(key)
            true = [job for job in states if state_of(job) == tuple(state)]
            if not true:
                self.differences.append(
                    f"jobs: {key} is {state}, which the API {'does' if key in listed else 'did'} not show"
                )
                continue
            if has_vanished != (key not in listed and state[0] not in ("complete", "cancelled")):
                self.differences.append(f"jobs: {key} ({state[0]}) has vanished: {has_vanished}")
            errors = [errors_of(job) for job in true]
            if children["job_errors"][key] not in errors:
                self.differences.append(f"job_errors of {key}: {children['job_errors'][key]}, not {errors[0]}")
            if children["job_linkages"][key] not in [list(job.related_ids or ()) for job in true]:
                self.differences.append(
                    f"job_linkages of {key}, {state}: {len(children['job_linkages'][key])} other rows"
                )
        if missing:
            self.differences.append(f"jobs: missing: {sorted(missing)[:4]}")

    def compare_observations(self) -> None:
        """All of the twin's are there, none twice in a row, and each is true, in the order in which the API showed them."""
        ours, theirs = self._observations(self._killed), self._observations(self._twin)
        for key in sorted(set(ours) | set(theirs)):
            mine = ours.get(key, [])
            if lost := _not_within(theirs.get(key, []), mine):
                self.differences.append(f"job_observations of {key}: {lost} is lost; there are {mine}")
            if any(one == other for one, other in itertools.pairwise(mine)):
                self.differences.append(f"job_observations of {key}: one stands twice in a row: {mine}")
            if invented := _not_within(mine, [state_of(job) for job in self._story.states_of(key)], may_repeat=True):
                self.differences.append(f"job_observations of {key}: {invented} was not shown then: {mine}")
        self._find(
            "jobs whose last observation is another state than their row",
            f"""
            with last as (
                select *, row_number() over (partition by account, job_kind, job_id order by observed_at desc) as nth
                from {self._killed}.job_observations
            )
            select job_kind, job_id, {", ".join(f"(j.{name}, l.{name})" for name in _OBSERVATION.split(", "))}
            from {self._killed}.jobs as j
            left join (from last where nth = 1) as l using (account, job_kind, job_id)
            where row({", ".join(f"j.{name}" for name in _OBSERVATION.split(", "))})
                is distinct from row({", ".join(f"l.{name}" for name in _OBSERVATION.split(", "))})
            """,
        )

    def run_checks(self) -> None:
        """The project's own checks find nothing."""
        for path in sorted(CHECKS.glob("*.sql")):
            query = path.read_text().strip().rstrip(";").replace("$since", "null")
            self._find(f"sql/checks/{path.name}", query)

    def compare_ledger(self, good: Sequence[str], ended: Ended) -> None:
        """Every good run has its rows, every other row tells of a run that was killed, skipped or failed."""
        listings = self.rows(f"select run_id, job_kind, is_complete, coalesce(error, '') from {self._killed}.listings")
        complete = Counter(run_id for run_id, _, is_complete, error in listings if is_complete and not error)
        for run_id in good:
            if complete[run_id] != len(self._story.kinds):
                self.differences.append(f"listings: {complete[run_id]} complete rows of the good run {run_id}")
        others = {run_id for run_id in complete if run_id not in good}
        if len(others) > ended.maybe_loaded:
            self.differences.append(
                f"listings: complete rows of {others}, but {ended.maybe_loaded} killed runs can have loaded"
            )
        for word, least, most in (
            ("interrupted", ended.surely_interrupted, ended.maybe_interrupted),
            ("skipped", ended.surely_skipped, ended.skipped),
        ):
            for kind in self._story.kinds:
                count = sum(row[1] == kind and row[3].startswith(word) for row in listings)
                if not least <= count <= most:
                    self.differences.append(f"listings: {count} rows of {kind} say {word}, not {least} to {most}")
        told = ("interrupted", "skipped")
        if odd := [row for row in listings if row[3] and not row[3].startswith(told) and not ended.failed]:
            self.differences.append(f"listings: {odd[:4]}")
        twin = self.rows(
            f"select job_kind, job_count, page_count from {self._twin}.listings order by started_at desc limit {len(self._story.kinds)}"
        )
        last = self.rows(
            f"select job_kind, job_count, page_count from {self._killed}.listings where run_id = '{good[-1]}'"
        )
        if sorted(twin) != sorted(last):
            self.differences.append(f"listings: the good run read {sorted(last)}, the twin {sorted(twin)}")

    def _find(self, what: str, query: str) -> None:
        if found := self.rows(f"select * from ({query}) limit 4"):
            self.differences.append(f"{what}: {found}")

    def _columns(self, schema: str, table: str) -> list[str]:
        catalog, name = schema.replace('"', "").split(".")
        found = self._connection.execute(
            "select column_name from duckdb_columns() where database_name = ? and schema_name = ? and table_name = ? "
            "order by column_name",
            (catalog, name, table),
        )
        return [column for (column,) in found.fetchall()]

    def _observations(self, schema: str) -> dict[JobKey, list[Row]]:
        observations = defaultdict(list)
        for kind, job_id, *state in self.rows(
            f"select job_kind, job_id, {_OBSERVATION} from {schema}.job_observations order by job_kind, job_id, observed_at"
        ):
            observations[kind, job_id].append(tuple(state))
        return observations


def _not_within(wanted: Sequence[Row], states: Sequence[Row], *, may_repeat: bool = False) -> Row | None:
    """Return the first of *wanted* that is not among *states* behind those before it, or None; repeats count as one."""
    place = 0
    for state in wanted:
        while place < len(states) and states[place] != state:
            place += 1
        if place == len(states):
            return state
        place += not may_repeat
    return None


def differences_of_copy(warehouse: Path, copy: Path) -> list[str]:
    """Return what the published copy holds more or less than the warehouse."""
    with duckdb.connect(str(copy), read_only=True) as connection:
        connection.execute(f"attach '{warehouse}' as warehouse (read_only)")
        return [
            f"the published copy of {table} differs"
            for table in (*COMPARED, "job_observations", "listings")
            if connection.execute(
                f"((from klaviyo_raw.{table}) except all (from warehouse.klaviyo_raw.{table})) union all "
                f"((from warehouse.klaviyo_raw.{table}) except all (from klaviyo_raw.{table})) limit 1"
            ).fetchone()
        ]
