"""Keep the history of Klaviyo's bulk jobs in a SQL warehouse."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from klaviyo_jobs.errors import KlaviyoJobsError

if TYPE_CHECKING:
    from klaviyo_jobs.extract.outcomes import ListingOutcome
    from klaviyo_jobs.extract.source import klaviyo_jobs

    __version__: str

# What may have been installed to bring these modules, the fuller one first; distributions/ holds the other.
DISTRIBUTIONS = ("klaviyo-jobs", "klaviyo-jobs-source")

__all__ = ["KlaviyoJobsError", "ListingOutcome", "__version__", "klaviyo_jobs"]


def __getattr__(name: str) -> Any:
    """Look up a name when it is asked for: the source needs dlt, which takes a second that `--help` does not have."""
    if name == "klaviyo_jobs":
        from klaviyo_jobs.extract.source import klaviyo_jobs

        return klaviyo_jobs
    if name == "ListingOutcome":
        from klaviyo_jobs.extract.outcomes import ListingOutcome

        return ListingOutcome
    if name == "__version__":
        return _installed_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _installed_version() -> str:
    """Return the version that was installed, by either of the names under which it is distributed."""
    from importlib import metadata

    for distribution in DISTRIBUTIONS:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return "unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
