"""
Say what an answer means: it is used, it is asked for again, or it ends the reading.

In:     status, headers and body of an answer, the key blanked out of it.
Out:    nothing for one that is used; `FailedAttemptError` for one that may be better next time; else an error of ours.
Source: Klaviyo guide "Rate limits, status codes, and errors"; live answers recorded 2026-09-04 (revision 2026-07-15).
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import pendulum

from klaviyo_jobs.api.body import first_detail, printable
from klaviyo_jobs.errors import KeyRefusedError, KlaviyoJobsError, RevisionError, StatusError
from klaviyo_jobs.model.kinds import JobKind, kinds_of_scopes
from klaviyo_jobs.model.revisions import DEFAULT_REVISION

# What a server says of what it cannot do, and not of how it fares: 501 Not Implemented, 505 HTTP Version Not Supported.
_LASTING: Final = (501, 505)
UNUSED: Final = "nothing of this answer was used."


class FailedAttemptError(Exception):
    """
    A request that is worth sending again.

    Attributes:
        problem: What happened, to follow the name of the host.
        retry_after: Seconds that the API asks to wait.
        is_throttled: Whether it answered 429.
        is_silence: Whether it did not answer at all.
        is_lasting: Whether the next answer is likely to be the same: one more attempt is all it is worth.
        next_step: What to do if it is; None for what is to be done after any failure.
    """

    def __init__(
        self,
        problem: str,
        *,
        retry_after: float | None = None,
        is_throttled: bool = False,
        is_silence: bool = False,
        is_lasting: bool = False,
        next_step: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retry_after = retry_after
        self.is_throttled = is_throttled
        self.is_silence = is_silence
        self.is_lasting = is_lasting
        self.next_step = next_step


def failure_of(status: int, headers: Mapping[str, str], body: bytes) -> FailedAttemptError | None:
    """Return what makes the request worth sending again, or None if nothing does."""
    if status != 429 and status < 500:
        return None
    return FailedAttemptError(
        f"answered {status}{first_detail(body)}",
        retry_after=parse_retry_after(headers.get("Retry-After")),
        is_throttled=status == 429,
        is_lasting=status in _LASTING,
    )


def error_of(
    where: str, status: int, body: bytes, *, kind: JobKind, account: str, base_url: str, revision: str
) -> KlaviyoJobsError | None:
    """
    Return what an answer means that no retry can change, or None for a 200.

    Args:
        where: What was being read, e.g. `item-create, page 4`.
        kind: What it is a part of.
        account: Whose key was sent.
        revision: The one that was asked for.
    """
    if status == 200:
        return None
    detail = first_detail(body)
    if status in (401, 403):
        scopes = f"the scope{'s' if len(kind.scopes) > 1 else ''} {' and '.join(kind.scopes)}"
        # What a key may not do says nothing of what it may do.
        of_scope = [each.name for each in kinds_of_scopes(kind.scopes)] if status == 403 else []
        needing = f" for {', '.join(of_scope)}: it needs {scopes}" if of_scope else ""
        return KeyRefusedError(
            f"Klaviyo refused the key of account {account!r} ({status}{detail}){needing}.",
            data=f"nothing of {'these kinds' if of_scope else 'this account'} was read after that; "
            "what was read before is loaded.",
            next_step=f"set a private key that has {scopes} "
            "(SOURCES__KLAVIYO_JOBS__API_KEY, or the account's entry in `accounts`).",
            status=status,
        )
    # Revision faults come as 400, 404 or 410, and look like a missing job unless read.
    if status == 410 or "revision" in detail.lower():
        return RevisionError(
            f"{where}: revision {revision} is not served ({status}{detail}).",
            data=UNUSED,
            next_step=f"set `revision` to {DEFAULT_REVISION}, or remove the setting."
            if revision != DEFAULT_REVISION
            else "install a newer klaviyo-jobs, or set `revision` to one that is.",
        )
    if 300 <= status < 400:
        next_step = "set `base_url` to the address that answers by itself; redirects are not followed."
    elif detail:
        next_step = f"check `revision` (now {revision}) and `base_url` (now {base_url})."
    else:
        detail = " without an error of Klaviyo's form"
        next_step = f"check `base_url`: {base_url} does not look like the Klaviyo API."
    return StatusError(
        f"{where}: answered {status}{detail}", status=status, detail=detail, data=UNUSED, next_step=next_step
    )


def parse_retry_after(value: str | None) -> float | None:
    """Read `Retry-After`, given in seconds or as a date; None where there is none or it cannot be read."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - pendulum.now("UTC")).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def network_reason(error: Exception) -> str:
    """Name the failure in a few words: requests and urllib3 wrap the operating system's reason several times over."""
    innermost: BaseException = error
    while (inner := innermost.__cause__ or innermost.__context__) is not None:
        innermost = inner
    text = str(innermost) or str(error)
    return f"{type(error).__name__}: {printable(text)[:200]}" if text else type(error).__name__
