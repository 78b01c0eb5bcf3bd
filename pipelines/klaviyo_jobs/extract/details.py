"""
Read what a listing does not show of a job: its detail with included resources, and errors that are a list of their own.

In:     a job as listed, and what is asked for.
Out:    `Rest`: what was read of it, or nothing where nothing had to be.
Never:  what an import was sent, unless it is asked for: personal data, which stays out of every row, log and message.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from klaviyo_jobs.api.client import Answer, Client, Meter
from klaviyo_jobs.api.paging import Below, iter_pages
from klaviyo_jobs.extract.questions import KnownJob
from klaviyo_jobs.model.kinds import JobKind
from klaviyo_jobs.model.parse import DetailBody, decode_detail, parse_import_errors
from klaviyo_jobs.model.records import Fault, Job, JobError

# The most that the API gives.
_ERRORS_A_PAGE: Final = 100


@dataclass(slots=True)
class ErrorsRead:
    """
    The errors of one job, read to their end.

    Attributes:
        faults: What could not be read, each with the endpoint that it came from.
        page_count: Requests that it took, retries aside.
    """

    errors: list[JobError] = field(default_factory=list)
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    page_count: int = 0
    read_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Rest:
    """What was read of a job beyond the listing; None for what did not have to be."""

    detail: Answer[DetailBody] | None = None
    errors: ErrorsRead | None = None


class RestReader:
    """
    Reads the rest of jobs of one listing, in any thread.

    Args:
        includes: Whether details are read, with their included resources.
        keeps_payload: Whether what an import was sent is asked for.
        meter: Counts the requests.
    """

    def __init__(
        self, client: Client, kind: JobKind, meter: Meter, *, includes: bool, keeps_payload: bool = False
    ) -> None:
        self._client = client
        self._kind = kind
        self._meter = meter
        self._includes = includes
        self._keeps_payload = keeps_payload

    @property
    def reads_anything(self) -> bool:
        """Whether there can be anything to read of any job."""
        return self._includes or self._kind.errors_path is not None

    def is_lacking(self, job: Job, known: KnownJob) -> bool:
        """Tell whether some of the rest of *job* was not read when it was stored as *known*."""
        if self._includes and known.detail_read_at is None:
            return True
        return self.wants_errors(job) and known.errors_read_at is None

    def wants_errors(self, job: Job) -> bool:
        """Tell whether *job* has, or may have, errors that the listing does not show."""
        return self._kind.errors_path is not None and job.failed_count != 0

    def calls_for(self, job: Job) -> int:
        """Return how many requests `fetch` will send for *job*, as far as its count of failures tells."""
        pages = -(-max(job.failed_count or 1, 1) // _ERRORS_A_PAGE) if self.wants_errors(job) else 0
        return self._includes + pages

    def detail_path(self, job_id: str) -> str:
        """Return where the detail of a job is."""
        return f"{self._kind.list_path}/{quote(job_id, safe='')}"

    def fetch(self, job: Job) -> Rest:
        """Read the rest of *job*; what `Client.fetch` raises, be it at the detail or at the errors."""
        included = self._kind.included
        detail = self._fetch_detail(job.job_id, included.plural) if self._includes and included else None
        return Rest(detail, self._fetch_errors(job.job_id) if self.wants_errors(job) else None)

    def _fetch_detail(self, job_id: str, include: str) -> Answer[DetailBody]:
        return self._client.fetch(
            f"{self._kind.name}, job {job_id}",
            self.detail_path(job_id),
            decode_detail,
            kind=self._kind,
            meter=self._meter,
            params={"include": include},
        )

    def _fetch_errors(self, job_id: str) -> ErrorsRead:
        path = f"{self.detail_path(job_id)}/{self._kind.errors_path}"
        read = ErrorsRead()
        position = 0
        for page in iter_pages(self._client, self._kind, self._meter, self._errors_of(job_id, path), is_ahead=False):
            data = [(position + index, self._client.blank(raw)) for index, raw in enumerate(page.data)]
            position += len(data)
            parsed = parse_import_errors(self._kind, job_id, data, keeps_payload=self._keeps_payload)
            read.errors += parsed.errors
            read.faults += [(f"{path} (page {page.number})", fault) for fault in parsed.faults]
            read.page_count, read.read_at = page.number, page.received_at
        return read

    def _errors_of(self, job_id: str, path: str) -> Below:
        payload = self._kind.payload_field
        fields = (*self._kind.error_fields, *([payload] if payload and self._keeps_payload else []))
        params = {"fields[import-error]": ",".join(fields), "page[size]": str(_ERRORS_A_PAGE)}
        return Below(path, f"{self._kind.name}, errors of job {job_id}", params)
