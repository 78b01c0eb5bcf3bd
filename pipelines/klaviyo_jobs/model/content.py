"""
Tell by a hash whether what the API says of a job is what was stored of it.

In:     a job with its errors and linkages, as parsed or as stored.
Out:    `content_hash`, over every value that is stored and no byte that means nothing, such as the order of members;
        `hash_of` and `record_hash`, over bytes as they are.
Kept:   all stand in the warehouse, so another way of making them takes every job for changed once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any, Final

import msgspec

from klaviyo_jobs.model.records import Fault, Job, microseconds_of
from klaviyo_jobs.model.values import UNDECODABLE

_encode: Final = msgspec.json.Encoder().encode
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode
# Numbers digit by digit: a float would take one price for another.
_decode: Final = msgspec.json.Decoder(float_hook=lambda digits: ("number", digits)).decode


def hash_of(content: bytes | msgspec.Raw) -> str:
    """Return 128 bits of the SHA-256 of *content*, in hexadecimal digits."""
    return hashlib.sha256(content, usedforsecurity=False).hexdigest()[:32]


def content_hash(job: Job) -> str:
    """Return the hash of all that is stored of what a listing or a detail says of *job*."""
    errors = [
        (
            error.position,
            error.error_id,
            error.code,
            error.title,
            error.detail,
            error.source_pointer,
            error.related_id,
            _normal(error.meta),
        )
        for error in job.errors
    ]
    is_whole = not job.unread_linkage_count
    return hash_of(
        _encode(
            (
                job.status,
                *_times(job.created_at, job.completed_at, job.expires_at),
                (job.total_count, job.completed_count, job.failed_count),
                (job.unread_error_count, job.unread_linkage_count),
                _normal(job.extra),
                errors,
                # Nearly always 0, 1, 2 ...
                None if is_whole else list(job.linkage_positions),
                job.linkages,
                # Of the kinds that have such only: the hashes of all others are stored, and stay what they are.
                *(() if job.skipped_count is None else (("skipped", job.skipped_count),)),
                *(() if job.started_at is None else (("started", microseconds_of(job.started_at)),)),
            )
        )
    )


def record_hash(fault: Fault) -> str:
    """Return the hash of a record that could not be read, wherever on a page it stands; one of a job is the job's."""
    return hash_of(fault.raw if fault.job_id is None else fault.job_id.encode() + b" " + fault.raw)


def _times(*times: dt.datetime | None) -> tuple[int | None, ...]:
    return tuple(map(microseconds_of, times))


def _normal(text: str | None) -> Any:
    """Return the JSON *text* with its members in a fixed order; what cannot be decoded stays as it is."""
    try:
        return None if text is None else msgspec.Raw(_encode_sorted(_decode(text)))
    except UNDECODABLE:
        return text
