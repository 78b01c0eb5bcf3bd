"""
What a run is to end with, when some of its listings failed.

In:     one outcome a listing.
Out:    the error that is common to all, or one that names the listings that failed and what the key lacks for them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from klaviyo_jobs.errors import KeyRefusedError, KlaviyoJobsError, PartialError
from klaviyo_jobs.extract.outcomes import ListingOutcome
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA


def failure_of(outcomes: Sequence[ListingOutcome]) -> KlaviyoJobsError | None:
    """Return the error common to all listings, PartialError if only some failed, or None."""
    failed = {outcome.name: outcome.error for outcome in outcomes if outcome.error}
    first = next(iter(failed.values()), None)
    if first is None:
        return None
    if len(failed) == len(outcomes) and len({error.exit_code for error in failed.values()}) == 1:
        return first
    return PartialError(
        f"{len(failed)} of {len(outcomes)} listings failed ({_names_of(outcomes)}). First: {first.headline}",
        data=f"everything else is loaded; each failure stands in {RAW_SCHEMA}.listings, column error.",
        next_step=_next_step(outcomes, first),
    )


def _next_step(outcomes: Sequence[ListingOutcome], first: KlaviyoJobsError) -> str | None:
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    refusals = [error for error in errors if isinstance(error, KeyRefusedError)]
    if len(refusals) < len(errors):
        return "run again; what was read before is not read again."
    if not all(refusal.is_of_scope for refusal in refusals):
        return first.next_step
    scopes = dict.fromkeys(scope for outcome in outcomes if outcome.error for scope in outcome.kind.scopes)
    if len(scopes) == 1:
        return first.next_step
    return f"set a private key that has the scopes {', '.join(scopes)} too, or leave these kinds out of `kinds`."


def _names_of(outcomes: Sequence[ListingOutcome]) -> str:
    """Name the failed listings, in one word those of an account of which all failed."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for outcome in outcomes:
        kinds[outcome.account] += [outcome.kind.name] if outcome.error else []
    asked = Counter(outcome.account for outcome in outcomes)
    return ", ".join(
        f"{account}: {'all' if len(failed) == asked[account] else ', '.join(failed)}"
        for account, failed in kinds.items()
        if failed
    )
