"""Keep the history of Klaviyo's catalog bulk jobs in a SQL warehouse."""

from klaviyo_jobs.errors import KlaviyoJobsError
from klaviyo_jobs.extract.source import klaviyo_jobs

__version__ = "0.1.0"

__all__ = ["KlaviyoJobsError", "__version__", "klaviyo_jobs"]
