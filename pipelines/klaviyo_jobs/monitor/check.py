"""
Compare what the views say with the thresholds of the settings.

In:     an open warehouse whose views are applied, and thresholds.
Out:    one `Finding` for each thing that was checked: its value, its threshold, and whether that is breached.
Blame:  what this program must hold (`sql/checks/`) breaches always. What Klaviyo said of itself and does not add up
        (`sql/information/`) is told and breaches nothing.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final, NamedTuple

import pendulum

from klaviyo_jobs.errors import ThresholdError
from klaviyo_jobs.model.kinds import DEFAULT_KINDS
from klaviyo_jobs.monitor.measures import AGE, MEASURES, Asked, Finding, ages, findings_of
from klaviyo_jobs.monitor.rows_behind import look_at
from klaviyo_jobs.quantities import age_text
from klaviyo_jobs.settings import CheckSettings
from klaviyo_jobs.warehouse.engines.connection import Connection
from klaviyo_jobs.warehouse.views import read_checks, read_information

# More would not be read.
_MOST_QUERIES: Final = 3
# How the queries say that everything is looked at if there is no `$since`.
_OR_EVER: Final = "cast($since as timestamptz) is null or "
_SHARES: Final = ("failed_share", "limit_share")


def window_of(thresholds: CheckSettings) -> dt.datetime:
    """Return when the window of *thresholds* begins that ends now."""
    return pendulum.now("UTC").subtract(seconds=thresholds.check_window_seconds)


def run_checks(
    connection: Connection,
    thresholds: CheckSettings,
    *,
    since: dt.datetime | None = None,
    kinds: Collection[str] = DEFAULT_KINDS,
    accounts: Collection[str] = (),
    is_narrowed: bool = False,
    is_thorough: bool = False,
) -> list[Finding]:
    """
    Run every check.

    Args:
        connection: Open on a warehouse or on a published copy; nothing is written.
        thresholds: What is no breach, and how far back the window reaches.
        since: When the window begins; as *thresholds* say by default.
        kinds: The job kinds that runs read; findings are about these.
        accounts: The accounts that runs read; if none is named, those that the warehouse knows.
        is_narrowed: Whether the queries of `sql/` look at these accounts and kinds only, too.
        is_thorough: Whether the queries of `sql/` look at all that is kept, and not only at the window.
    """
    since = since or window_of(thresholds)
    asked = Asked(accounts, kinds)
    findings = {measure.check: list(findings_of(connection, measure, thresholds, since, asked)) for measure in MEASURES}
    findings[AGE.check] = list(ages(connection, thresholds, since, asked))
    of_queries = (None if is_thorough else since, asked if is_narrowed else None)
    return [
        *itertools.chain.from_iterable(findings.values()),
        *run_sql_checks(connection, *of_queries),
        *run_sql_checks(connection, *of_queries, is_information=True),
    ]


def run_sql_checks(
    connection: Connection, since: dt.datetime | None, asked: Asked | None = None, *, is_information: bool = False
) -> Iterator[Finding]:
    """
    Yield what each query of `sql/checks/`, or of `sql/information/`, finds in what is known *since* then, or ever.

    Of a check, any row is too many.
    """
    for name, query in (read_information() if is_information else read_checks()).items():
        where = "true"
        values: dict[str, Any] = {"since": since}
        if since is not None:
            # Planners take such a condition for one that half of all rows meet, and read all that is kept.
            query = query.replace(_OR_EVER, "")
        if asked is not None:
            where = "(job_kind is null or list_contains($kinds, job_kind))"
            values["kinds"] = list(asked.kinds)
            if asked.accounts:
                where += " and (account is null or list_contains($accounts, account))"
                values["accounts"] = list(asked.accounts)
        counted = f"select count(*) over (), found.* from ({query.rstrip().rstrip(';')}) as found where {where} limit 1"
        found = connection.execute(counted, values).fetchone()
        if found is None:
            yield Finding(name, None, None, 0, 0, False, "it finds no row", is_information=is_information)
        else:
            count, account, job_kind, job_id, subject, problem = found
            place = " ".join(filter(None, [account, job_kind, job_id]))
            seen = f"{subject}: {problem}{f' ({place})' if place else ''}"
            yield Finding(name, None, None, count, 0, not is_information, seen, is_information=is_information)


def breach_of(findings: list[Finding], since: dt.datetime) -> ThresholdError | None:
    """Return the error of the breached thresholds among *findings*, which count what is known *since* then, or None."""
    breached = [finding for finding in findings if finding.is_breached]
    if not breached:
        return None
    first = breached[0]
    queries = [look_at(finding, since) for finding in breached[:_MOST_QUERIES]]
    return ThresholdError(
        f"{len(breached)} of {len(findings)} checks are breached. First: {describe(first)}.",
        data="what was loaded is as it was.",
        next_step=f"look at: {'; '.join(dict.fromkeys(queries))}. What is known and cannot be mended: "
        "`klaviyo-jobs check --acknowledge`.",
    )


def verdict_of(findings: list[Finding]) -> str:
    """Return in one line whether all is well."""
    breached = [finding for finding in findings if finding.is_breached]
    if not breached:
        return f"ok    all {len(findings)} checks are within their thresholds"
    return f"FAIL  {len(breached)} of {len(findings)} checks; first: {describe(breached[0])}; all: klaviyo-jobs check"


def describe(finding: Finding) -> str:
    """Return *finding* in one line."""
    of_place = f" of {_place_of(finding)}" if _place_of(finding) else ""
    return f"{finding.check}{of_place} is {_described(finding)}"


class Line(NamedTuple):
    """
    A line of the checklist.

    Attributes:
        mark: `ok`, `info` or `known`, or `FAIL`.
        check: The check it is about.
        place: The account and kind it is about, where it is about one.
        text: What was found, and what is allowed.
    """

    mark: str
    check: str
    place: str
    text: str


def checklist(findings: Iterable[Finding]) -> list[Line]:
    """Return a line for each breach, and one for each check without any."""
    lines = []
    for check, group in itertools.groupby(findings, key=lambda finding: finding.check):
        of_check = list(group)
        told = [finding for finding in of_check if finding.is_breached or finding.is_acknowledged]
        lines += [
            Line("FAIL" if finding.is_breached else "known", check, _place_of(finding), _described(finding))
            for finding in told
        ]
        if not told:
            lines.append(_line_of(check, of_check))
    return lines


def render_findings(findings: Iterable[Finding]) -> str:
    """Return the checklist for people."""
    return "\n".join(
        f"{line.mark:<5} {line.check:<20}  {f'{line.place}: ' if line.place else ''}{line.text}"
        for line in checklist(findings)
    )


def _line_of(check: str, findings: list[Finding]) -> Line:
    """Return the line of a check that nothing breaches: the worst that was judged, and how many could not be."""
    judged = [finding for finding in findings if finding.is_judged]
    unjudged = len(findings) - len(judged)
    worst = max(judged or findings, key=lambda finding: finding.value or 0)
    mark = "info" if worst.is_information and worst.value else "ok"
    beside = f"; {unjudged} with too few operations to judge" if unjudged else ""
    return Line(mark, check, "", f"{_described(worst)}{beside}")


def _place_of(finding: Finding) -> str:
    return "/".join(filter(None, [finding.account, finding.job_kind]))


def _described(finding: Finding) -> str:
    value = _with_unit(finding, finding.value)
    if finding.is_information:
        return f"{value} ({finding.seen})"
    return f"{value}, at most {_with_unit(finding, finding.threshold)} ({finding.seen})"


def _with_unit(finding: Finding, value: float | None) -> str:
    """Return *value* in the unit of *finding*: a share in percent, an age in days and hours, else a number."""
    if value is None:
        return "unknown"
    if finding.check in _SHARES:
        return f"{value:.1%}"
    if finding.check == AGE.check:
        return age_text(value)
    if finding.check == "silence":
        return f"{value:,.1f} x the usual pause"
    return f"{value:,.0f}"
