"""
How one listing goes or went: what it counts, and what else there is to tell.

In:     nothing; whoever reads a listing fills it in.
Out:    columns of `klaviyo_raw.listings`, and what a run says of the listing when it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

from klaviyo_jobs.api.client import Meter
from klaviyo_jobs.api.pacing import Budget
from klaviyo_jobs.errors import KlaviyoJobsError
from klaviyo_jobs.model.kinds import JobKind
from klaviyo_jobs.model.tables import LISTINGS


@dataclass(slots=True)
class ListingCounts(Meter):
    """
    What one listing counts. Every public field, those of `Meter` included, is a column of `klaviyo_raw.listings`.

    Attributes:
        page_count: Pages read.
        job_count: Jobs that they showed.
        changed_count: Jobs among them that were new or changed.
        detail_count: Details and pages of errors read; in a dry run, those that a run would read.
        rejected_count: Records that could not be read.
    """

    page_count: int = 0
    job_count: int = 0
    changed_count: int = 0
    detail_count: int = 0
    rejected_count: int = 0


_COUNTS: Final = [name for name in LISTINGS.schema.names if name in {each.name for each in fields(ListingCounts)}]


@dataclass(slots=True, kw_only=True)
class ListingOutcome(ListingCounts):
    """
    How one listing goes or went: what it counts, and what else there is to tell.

    Attributes:
        unmodelled: Names of members that no column models; their values are in the columns `extra`.
        error: What ended it early, or kept it from reading details.
        budget: What its requests are taken from.
        listed_share: About how much of its list is read, 0 to 1; None as long as nothing tells.
        wanted_count: How many details and pages of errors the jobs ask for that were found so far.
    """

    account: str
    kind: JobKind
    is_complete: bool = False
    unmodelled: set[str] = field(default_factory=set)
    error: KlaviyoJobsError | None = None
    budget: Budget | None = None
    listed_share: float | None = None
    wanted_count: int = 0

    @property
    def sent_count(self) -> int:
        """Requests sent, retries aside; their answers may still be under way, or wait for their turn to be taken."""
        return self.request_count - self.retry_count

    @property
    def is_under_way(self) -> bool:
        """Whether it is still being read."""
        return not self.is_complete and self.error is None

    @property
    def name(self) -> str:
        """The listing's name in messages and logs, e.g. `default/item-create`."""
        return f"{self.account}/{self.kind.name}"

    def columns(self) -> dict[str, Any]:
        """Return the outcome in columns of `klaviyo_raw.listings`, which are the members of its JSON object too."""
        return {
            "is_complete": self.is_complete,
            **{name: getattr(self, name) for name in _COUNTS},
            "error": self.error.headline if self.error else None,
        }
