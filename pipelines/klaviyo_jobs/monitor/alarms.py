"""
Tell breaches that are new from those that last, are known, or have ended.

In:     the findings of a check, and the alarms that earlier ones noted.
Out:    the findings, with what is known marked so; the alarms to be noted now; and whether there is something to tell.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from klaviyo_jobs.monitor.measures import Finding
from klaviyo_jobs.warehouse.alarms import Alarm, Place, read_alarms
from klaviyo_jobs.warehouse.engines.connection import Connection


@dataclass(frozen=True, slots=True)
class Followed:
    """
    What has become of the alarms.

    Attributes:
        findings: Those of the check; a breach that is known is breached no more.
        alarms: What is to be noted: a breach that lasts, each once.
        is_due: Whether a webhook and a failing ping are to tell of it: of a change, or again after a while.
        has_recovered: Whether what was told last has ended, all of it.
    """

    findings: list[Finding]
    alarms: list[Alarm]
    is_due: bool
    has_recovered: bool


def follow(
    findings: Sequence[Finding],
    noted: Mapping[Place, Alarm],
    now: dt.datetime,
    *,
    repeat_after: float,
    acknowledges: bool = False,
) -> Followed:
    """
    Compare *findings* with the alarms *noted* by earlier checks.

    Args:
        repeat_after: After how many seconds what has not changed is told again.
        acknowledges: Whether somebody says now that every breach among the findings is known.
    """
    told = {place for place, alarm in noted.items() if alarm.told_at and not alarm.acknowledged_at}
    followed: list[Finding] = []
    alarms: dict[Place, Alarm] = {}
    for finding in findings:
        place = Place(finding.check, finding.account, finding.job_kind)
        before = noted.get(place)
        if not finding.is_breached:
            followed.append(finding)
        elif acknowledges or (before and before.is_known_as(finding.value, finding.subject)):
            since = before.since if before else now
            known = Alarm(place, finding.value, finding.subject, since, None, now)
            alarms[place] = known if acknowledges or before is None else before
            followed.append(replace(finding, is_breached=False, is_acknowledged=True))
        else:
            lasts = before is not None and before.acknowledged_at is None
            since, told_at = (before.since, before.told_at) if before and lasts else (now, None)
            alarms[place] = Alarm(place, finding.value, finding.subject, since, told_at)
            followed.append(finding)
    loud = {place: alarm for place, alarm in alarms.items() if alarm.acknowledged_at is None}
    last_told = [alarm.told_at for alarm in loud.values() if alarm.told_at]
    is_due = loud.keys() != told or (bool(loud) and (now - min(last_told)).total_seconds() >= repeat_after)
    if is_due:
        alarms |= {place: alarm._replace(told_at=now) for place, alarm in loud.items()}
    return Followed(followed, list(alarms.values()), is_due, has_recovered=bool(told) and not loud and not acknowledges)


def with_known(findings: Sequence[Finding], connection: Connection) -> list[Finding]:
    """Return *findings* as `check` has them: what was acknowledged, and has not changed since, is breached no more."""
    return follow(findings, read_alarms(connection), dt.datetime.now(dt.UTC), repeat_after=0).findings
