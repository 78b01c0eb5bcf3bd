"""What several rooms' tests build: resource objects, pages of them, and the bodies of `tests/data/`."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import msgspec

from klaviyo_jobs.model.kinds import KINDS, JobKind
from klaviyo_jobs.model.parse import decode_detail, parse_detail, parse_page
from klaviyo_jobs.model.records import Parsed

DATA = Path(__file__).parent.parent / "data"
ITEM_CREATE = KINDS["item-create"]
CREATED_AT = "2026-11-20T10:00:00.123456+00:00"
PLAIN_ERROR = {"id": "E", "code": "invalid", "title": "Invalid input", "detail": "No.", "source": {"pointer": "/data"}}
# What the documentation of 2022 says in place of text.
TOO_DEEP = "<Error: Too many levels of nesting to fake this schema>"


def utc(text: str) -> dt.datetime:
    """Return the time that *text* names."""
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)


def body_of(name: str) -> Any:
    """Return the JSON data of the file *name* in `tests/data/`."""
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def job_object(job_id: str = "J1", *, kind: JobKind = ITEM_CREATE, attributes: Any = None, **members: Any) -> Any:
    """Return a plain resource object of *kind*; *attributes* and *members* are added or take the place of its own."""
    own = {"status": "complete", "created_at": CREATED_AT, "total_count": 2}
    return {"type": kind.job_type, "id": job_id, "attributes": {**own, **(attributes or {})}, **members}


def without(resource: Any, *path: str) -> Any:
    """Return *resource* without the member at *path*."""
    *parents, last = path
    holder = resource
    for name in parents:
        holder = holder[name]
    del holder[last]
    return resource


def raw(value: Any) -> msgspec.Raw:
    """Return *value* as JSON not decoded yet; bytes are taken for JSON already."""
    return msgspec.Raw(value if isinstance(value, bytes) else json.dumps(value).encode())


def parsed_page(*records: Any, kind: JobKind = ITEM_CREATE) -> Parsed:
    """Parse *records* as one page of the listing of *kind*."""
    return parse_page(kind, list(enumerate(map(raw, records))))


def parsed_detail(body: Any, kind: JobKind = ITEM_CREATE) -> Parsed:
    """Parse *body*, JSON data or bytes, as one detail."""
    return parse_detail(kind, decode_detail(body if isinstance(body, bytes) else json.dumps(body).encode()))


def faults_of(parsed: Parsed) -> list[tuple[str, str]]:
    """Return where and why something could not be read."""
    return [(fault.json_path, fault.reason) for fault in parsed.faults]
