"""A history: changes of the API, runs, and a comparison after each."""

from __future__ import annotations

import datetime as dt
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import Settings
from klaviyo_sandbox import Fault, Sandbox
from support.histories.api import ACCOUNTS, KINDS, Api, Change, JobKey, Shown, microseconds
from support.histories.model import Model, Seen
from support.histories.tables import JOB, QUERIES, Runs, stored_tables

# What can go wrong for one listing in one run: the sandbox's fault, its argument, the endpoint and how often.
TROUBLES: Final[dict[str, tuple[str, str, str, int | None]]] = {
    "the listing fails": ("status", "500", "list", None),
    "the listing fails twice": ("status", "503", "list", 2),
    "the listing does not end": ("repeat-link", "", "list", None),
    "the details are gone": ("expired-job", "", "detail", None),
    "the details fail": ("status", "500", "detail", None),
    "a detail fails": ("status", "500", "detail", None),
}
KEY_IS_REFUSED: Final = "the second key is refused"


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong in one run: with a listing, with the detail of one job, or with a key."""

    what: str
    key: JobKey

    def faults(self) -> list[Fault]:
        """Return the sandbox's faults that make it so."""
        if self.what == KEY_IS_REFUSED:
            return []
        account, kind, job_id = self.key
        name, argument, endpoint, times = TROUBLES[self.what]
        path = f"/{job_id}" if self.what == "a detail fails" else None
        return [Fault(name, argument, kind, endpoint, account, path, times=times)]


@dataclass(frozen=True)
class Step:
    """
    What happens to the API, and how the run after it goes.

    Attributes:
        is_late: Whether the changes come while the run is under way: after its listings, before its details.
    """

    changes: Sequence[Change]
    troubles: Sequence[Trouble] = ()
    labels: Sequence[str] = ACCOUNTS
    kinds: Sequence[str] = tuple(KINDS)
    include: Sequence[str] | None = None
    is_full: bool = False
    is_late: bool = False


class History:
    """One warehouse that is loaded from one sandbox, and the model of what it has to hold."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.api = Api(sandbox)
        self.model = Model()
        self.runs = Runs()
        self.number = 0
        self.warehouse = folder / "warehouse.duckdb"
        self._earlier = folder / "earlier.duckdb"

    def play(self, step: Step, *, cut: Mapping[str, str] | None = None) -> None:
        """
        Let the changes of *step* happen, run, and compare every table with the model.

        Args:
            step: What happens.
            cut: What a first run left in each table when it was killed; the run that is compared comes after it.
        """
        self.number += 1
        if step.is_late:
            listed = self.api.listed()
            with self.api.frozen_listings():
                for change in step.changes:
                    if change.what != "spoil":  # what counts when only the detail cannot be read is left open
                        self.api.apply(change)
                self._run(step)
        else:
            for change in step.changes:
                self.api.apply(change)
            listed = self.api.listed()
            if cut:
                self._run_and_cut(step, cut)
            self._run(step)
        for account in step.labels:
            for kind in step.kinds:
                self._read(step, account, kind, listed)
        # The killed run saw what the next one saw.
        if cut and cut["listings"] == "new":
            self.model.listings += [row for row in self.model.listings if row[-1] == self.number]
        if cut and cut["rejected_records"] == "new":
            for met in self.model.rejected.values():
                met.times += met.last == self.number
        expected, actual = self.model.tables(), stored_tables(self.warehouse, self.runs)
        for name in QUERIES:
            assert actual[name] == expected[name], name

    def _run(self, step: Step) -> str:
        sandbox = self.api.sandbox
        keys = {label: sandbox.accounts[label].key for label in ACCOUNTS}
        if any(trouble.what == KEY_IS_REFUSED for trouble in step.troubles):
            keys["second"] = "pk_wrong"
        sandbox.faults[:] = [fault for trouble in step.troubles for fault in trouble.faults()]
        sandbox.reset_requests()
        begin = dt.datetime.now(dt.UTC)
        summary = run(
            Settings(
                base_url=sandbox.base_url,
                accounts=keys,
                kinds=[*step.kinds],
                include=None if step.include is None else [*step.include],
            ),
            self.warehouse,
            labels=step.labels,
            full_refresh=step.is_full,
        )
        end = dt.datetime.now(dt.UTC)
        sandbox.faults.clear()
        self.runs.spans.append((microseconds(begin), microseconds(end), self.number))
        self.runs.numbers[summary.run_id] = self.number
        return summary.run_id

    def _read(self, step: Step, account: str, kind: str, listed: Mapping[JobKey, Shown]) -> None:
        """Tell the model what the run saw of a listing, and check that it asked for the details it had to."""
        is_refused = account == "second" and any(trouble.what == KEY_IS_REFUSED for trouble in step.troubles)
        troubles = {each.what for each in step.troubles if each.key[:2] == (account, kind)}
        has_pages = not is_refused and "the listing fails" not in troubles
        is_complete = has_pages and "the listing does not end" not in troubles
        label = None if is_refused else account
        calls = [call for call in self.api.sandbox.requests if (call.account, call.kind) == (label, kind)]
        statuses: dict[str, set[int]] = defaultdict(set)
        for call in calls:
            if call.job_id:
                statuses[call.job_id].add(call.status)
        seen = Seen(
            account,
            kind,
            listed={key[2]: shown for key, shown in listed.items() if key[:2] == (account, kind)} if has_pages else {},
            is_complete=is_complete,
            has_failed=not is_complete or {500} in statuses.values(),
            details={job_id: self.api.jobs[account, kind, job_id] for job_id in statuses if 200 in statuses[job_id]},
            entities=self.api.entities,
            includes=KINDS[kind] in (["categories"] if step.include is None else step.include),
            is_full=step.is_full,
            calls=[f"{call.path}?{call.raw_query}" for call in calls],
        )
        taken = self.model.read(self.number, seen)
        wanted = taken if seen.includes else set()
        # After one detail was given up, no more need be asked for.
        assert statuses.keys() <= wanted if {500} in statuses.values() else statuses.keys() == wanted, (account, kind)

    def _run_and_cut(self, step: Step, cut: Mapping[str, str]) -> None:
        """
        Run, and leave what a kill would: each table as after the run, as before it, or with the old rows gone only.

        The last is what a kill leaves where a merge deletes and inserts in two transactions.
        """
        has_earlier = self.warehouse.exists()
        if has_earlier:
            shutil.copy(self.warehouse, self._earlier)
        run_id = self._run(step)
        with duckdb.connect(str(self.warehouse)) as connection:
            if has_earlier:
                connection.execute(f"attach '{self._earlier}' as earlier (read_only)")
            taken = f"select {JOB} from klaviyo_raw.jobs where run_id = '{run_id}' and vanished_at is null"
            connection.execute(f"create temp table taken as {taken}")
            for name, fate in cut.items():
                if fate == "new":
                    continue
                kept = f"from earlier.klaviyo_raw.{name}" if has_earlier else f"from klaviyo_raw.{name} limit 0"
                if has_earlier and fate == "gone" and name in ("job_errors", "job_linkages"):
                    kept += f" where ({JOB}) not in (from taken)"
                elif has_earlier and fate == "gone" and name == "categories":
                    written = f"select account, category_id from klaviyo_raw.categories where run_id = '{run_id}'"
                    kept += f" where (account, category_id) not in ({written})"
                connection.execute(f"create or replace temp table kept as {kept}")
                connection.execute(f"delete from klaviyo_raw.{name}")
                connection.execute(f"insert into klaviyo_raw.{name} by name from kept")
            connection.execute("delete from klaviyo_raw._dlt_loads where load_id = ?", [run_id])
