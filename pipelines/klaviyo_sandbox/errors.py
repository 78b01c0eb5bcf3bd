"""
What the API says when it refuses: one exception, and the wording of every refusal.

Source: recorded answers (400, 401, 403, 404, 429, 500); wordings nobody recorded are marked so below.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from klaviyo_sandbox.kinds import JobKind

_RATE_LIMIT_GUIDE = "https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling#rate-limits"


class ApiError(Exception):
    """A request that is answered with a JSON:API error."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str | None = None,
        *,
        source: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """
        Args:
            status: The HTTP status, repeated in the body.
            code: The vendor's word for the fault.
            title: A sentence.
            detail: A sentence, the title again unless given.
            source: `pointer` or `parameter`; the pointer `/data/` unless given.
            extra: More members of the error: `links`, `meta`.
            headers: Sent along.
        """
        super().__init__(detail or title)
        self.status = status
        self.headers = headers or {}
        self._error = {
            "status": status,
            "code": code,
            "title": title,
            "detail": detail or title,
            "source": source or {"pointer": "/data/"},
            **(extra or {}),
        }

    def document(self) -> dict[str, Any]:
        """The body, with a new error id."""
        return {"errors": [{"id": str(uuid4()), **self._error}]}


def invalid_input(detail: str, *, parameter: str | None = None, pointer: str = "/data/") -> ApiError:
    """400: a query parameter or a header is wrong."""
    source = {"pointer": pointer} if parameter is None else {"parameter": parameter}
    return ApiError(400, "invalid", "Invalid input.", detail, source=source, extra={"links": {}, "meta": {}})


def invalid_cursor() -> ApiError:
    """400: `page[cursor]` is none that a page has handed out."""
    return ApiError(400, "invalid", "Invalid input.", "Invalid cursor provided.")


def wrong_key() -> ApiError:
    """401: no key, or not one of ours."""
    return ApiError(401, "authentication_failed", "Incorrect authentication credentials.")


def missing_scope() -> ApiError:
    """403: the key may not read what the kind needs. The wording for a missing scope was not recorded."""
    return ApiError(403, "permission_denied", "You do not have permission to perform this action.")


def no_such_job(kind: JobKind, job_id: str) -> ApiError:
    """404: no job has this id, or it has expired."""
    detail = f"A {kind.job_type.replace('-bulk-', ' bulk ').replace('-job', ' job')} with id {job_id} does not exist."
    return ApiError(404, "not_found", "Not found.", detail)


def not_found(detail: str) -> ApiError:
    """404: anything but a job."""
    return ApiError(404, "not_found", "Not found.", detail)


def wrong_method(method: str) -> ApiError:
    """405: jobs can only be read here. Not recorded."""
    return ApiError(405, "method_not_allowed", f'Method "{method}" not allowed.', headers={"Allow": "GET"})


def retired_revision(revision: str) -> ApiError:
    """410: the client has opted out of falling forward. The body was not recorded."""
    return ApiError(410, "gone", "Gone.", f"Revision {revision} has been retired.")


def throttled(retry_after: str | None, *, seconds: int = 1) -> ApiError:
    """
    429: too many requests.

    Args:
        retry_after: The header's value; none to leave the header out.
        seconds: The wait that the sentence names.
    """
    unit = "second" if seconds == 1 else "seconds"
    return ApiError(
        429,
        "throttled",
        "Request was throttled.",
        f"Request was throttled. Expected available in {seconds} {unit}.",
        source={"pointer": "/data"},
        extra={"links": {"type": _RATE_LIMIT_GUIDE}, "meta": {}},
        headers={} if retry_after is None else {"Retry-After": retry_after},
    )


def server_error(status: int) -> ApiError:
    """5xx, in the recorded form of a 500."""
    return ApiError(status, "error", "A server error occurred.")
