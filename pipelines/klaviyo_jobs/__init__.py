"""Keep the history of Klaviyo's bulk jobs in a SQL warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from klaviyo_jobs.errors import KlaviyoJobsError

if TYPE_CHECKING:
    from klaviyo_jobs.extract.outcomes import ListingOutcome
    from klaviyo_jobs.extract.source import klaviyo_jobs

__version__ = "0.1.0"

__all__ = ["KlaviyoJobsError", "ListingOutcome", "__version__", "klaviyo_jobs"]


def __getattr__(name: str) -> Any:
    """Import the source when it is asked for: it needs dlt, which takes a second that `--help` does not have."""
    if name == "klaviyo_jobs":
        from klaviyo_jobs.extract.source import klaviyo_jobs

        return klaviyo_jobs
    if name == "ListingOutcome":
        from klaviyo_jobs.extract.outcomes import ListingOutcome

        return ListingOutcome
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
