"""
Read a job or an included resource of the shape that the API documents, whole and in one decoding.

In:     the JSON of one resource object.
Out:    the `Job` or `Resource` that `parse.py` would make of it, at a fifth of the cost, or None: some member is
        unknown, wrapped, of another type, or missing, and `parse.py` has to look at one after the other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec

from klaviyo_jobs.model.kinds import KINDS, Entity, JobKind
from klaviyo_jobs.model.records import Job, JobError, Linkage, Resource
from klaviyo_jobs.model.values import INT64, MOST_ELEMENTS, UNDECODABLE, decode_any, rounded, utc_of

_Count = Annotated[int, msgspec.Meta(ge=INT64[0], le=INT64[-1])]
_NULL: Final = msgspec.Raw(b"null")


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    pass


class _Source(_Plain):
    pointer: str | None = None


class _Error(_Plain):
    id: str | None = None
    code: str | None = None
    title: str | None = None
    detail: str | None = None
    source: _Source | None = None
    meta: msgspec.Raw = _NULL


class _Meta(msgspec.Struct, gc=False):
    """The one member of an error's `meta` that a column models; all of it is kept as it came."""

    id: str | None = None
    # `{"value": ...}` may be a wrapping.
    value: msgspec.Raw | None = None


class _Relationship(_Plain):
    data: list[Linkage] | None = None
    links: msgspec.Raw = _NULL


class _Links(_Plain):
    links: msgspec.Raw = _NULL


class _Category(_Plain):
    external_id: str | None = None
    name: str | None = None
    updated: dt.datetime | None = None


class _CouponCode(_Plain):
    unique_code: str | None = None
    status: str | None = None
    expires_at: dt.datetime | None = None


class _List(_Plain):
    name: str | None = None
    opt_in_process: str | None = None
    created: dt.datetime | None = None
    updated: dt.datetime | None = None


class _Item(_Plain):
    external_id: str | None = None
    title: str | None = None
    description: str | None = None
    price: Decimal | None = None
    url: str | None = None
    image_full_url: str | None = None
    image_thumbnail_url: str | None = None
    images: msgspec.Raw = _NULL
    custom_metadata: msgspec.Raw = _NULL
    published: bool | None = None
    created: dt.datetime | None = None
    updated: dt.datetime | None = None


class _Variant(_Item):
    sku: str | None = None
    inventory_policy: _Count | None = None
    inventory_quantity: Decimal | None = None


_decode_meta: Final = msgspec.json.Decoder(_Meta | None).decode


_Errors = Annotated[list[_Error], msgspec.Meta(max_length=MOST_ELEMENTS)] | None
_Members = list[tuple[str, Any] | tuple[str, Any, Any]]
# Where the relationships of a job stand in what is decoded: their own names are no names in Python.
_NTH_RELATIONSHIP: Final = "relationship_{}"


def _job_decoder_of(kind: JobKind) -> msgspec.json.Decoder[Any]:
    names = {_NTH_RELATIONSHIP.format(nth): each.plural for nth, each in enumerate(kind.relationships)}
    related: _Members = [(name, _Relationship | None, None) for name in names]
    related += [(name.replace("-", "_"), _Links | None, None) for name in kind.link_relationships]
    names |= {name.replace("-", "_"): name for name in kind.link_relationships}
    relationships = msgspec.defstruct("_Relationships", related, bases=(_Plain,), rename=names)
    of_job: _Members = [("status", str), ("created_at", dt.datetime), ("job_id", str | None, None)]
    of_job += [(name, _Count | None, None) for name in kind.counts]
    of_job += [(name, dt.datetime | None, None) for name in kind.times]
    of_job += [("errors", _Errors, None)] if kind.errors_are_listed else []
    members: _Members = [
        ("attributes", msgspec.defstruct("_Attributes", of_job, bases=(_Plain,))),
        ("type", str | None, None),
        ("id", str | None, None),
        ("relationships", relationships | None, None),
        ("links", msgspec.Raw, _NULL),
    ]
    return msgspec.json.Decoder(msgspec.defstruct("_Job", members, bases=(_Plain,)))


def _resource_decoder_of(attributes: type[_Plain]) -> msgspec.json.Decoder[Any]:
    members: _Members = [
        ("type", str),
        ("id", str),
        ("attributes", attributes | None, None),
        ("relationships", msgspec.Raw, _NULL),
        ("links", msgspec.Raw, _NULL),
    ]
    return msgspec.json.Decoder(msgspec.defstruct("_Resource", members, bases=(_Plain,)))


# Made here and not where they are used: two threads that show msgspec a new type at one time end the process.
_JOB_DECODERS: Final = {kind.name: _job_decoder_of(kind) for kind in KINDS.values()}
_RESOURCE_DECODERS: Final = {
    "coupon-code": _resource_decoder_of(_CouponCode),
    "list": _resource_decoder_of(_List),
    "category": _resource_decoder_of(_Category),
    "item": _resource_decoder_of(_Item),
    "variant": _resource_decoder_of(_Variant),
}


class _NotPlainError(Exception):
    """Something that has to be looked at member by member."""


def read_plain(kind: JobKind, raw: msgspec.Raw) -> Job | None:
    """Return the job of *kind* that *raw* is, None if it is not plain. Its hashes are not made yet."""
    try:
        return _job_of(kind, _JOB_DECODERS[kind.name].decode(raw))
    except (*UNDECODABLE, OverflowError, _NotPlainError):  # a time at either end of what Python knows overflows
        return None


def read_plain_resource(entity: Entity, raw: msgspec.Raw, columns: Mapping[str, str]) -> Resource | None:
    """
    Return the included resource that *raw* is, None if it is not plain.

    Args:
        columns: The column of each attribute that the API documents.
    """
    try:
        plain = _RESOURCE_DECODERS[entity.name].decode(raw)
        if plain.type != entity.resource_type or not plain.id or plain.attributes is None:
            return None
        if entity.kept_relationships and b'"data"' in bytes(plain.relationships):
            return None
        attributes = plain.attributes
        values = {
            column: value if value is None or (convert := _CONVERTERS.get(name)) is None else convert(value)
            for name, column in columns.items()
            for value in (getattr(attributes, name),)
        }
    except (*UNDECODABLE, OverflowError, ArithmeticError, _NotPlainError):
        return None
    return Resource(entity, plain.id, values, None)


def _json_of(raw: msgspec.Raw) -> str | None:
    text = bytes(raw)
    if text == b"null":
        return None
    if b'"value"' in text:  # may be a wrapping
        raise _NotPlainError
    decode_any(raw)  # so that what is kept is JSON
    return text.decode()


def _job_of(kind: JobKind, plain: Any) -> Job:
    attributes = plain.attributes
    job_id = plain.id or attributes.job_id
    if job_id in (None, "", ".", "..") or not attributes.status or plain.type not in (None, kind.job_type):
        raise _NotPlainError
    members: dict[str, Any] = {name: utc_of(time) for name in kind.times if (time := getattr(attributes, name))}
    members |= {name: getattr(attributes, name) for name in kind.counts}
    errors = attributes.errors if kind.errors_are_listed else None
    linkages: list[Linkage] | None = None
    for nth in range(len(kind.relationships)):
        relationship: _Relationship | None = getattr(plain.relationships, _NTH_RELATIONSHIP.format(nth), None)
        if relationship is not None and relationship.data is not None:
            linkages = linkages + relationship.data if linkages else relationship.data
    return Job(
        job_id=job_id,
        status=attributes.status,
        created_at=utc_of(attributes.created_at),
        errors=[_error_of(position, error) for position, error in enumerate(errors or ())],
        linkages=linkages or [],
        linkage_positions=() if linkages is None else range(len(linkages)),
        errors_are_known=kind.errors_path is None,
        **members,
    )


def _error_of(position: int, error: _Error) -> JobError:
    meta = _decode_meta(error.meta)
    if meta is not None and meta.value is not None:
        raise _NotPlainError
    return JobError(
        position=position,
        error_id=error.id,
        code=error.code,
        title=error.title,
        detail=error.detail,
        source_pointer=error.source.pointer if error.source else None,
        related_id=meta.id if meta else None,
        meta=bytes(error.meta).decode() if meta else None,
    )


# What makes the value of a column of an attribute; any other is taken as it is.
_CONVERTERS: Final[dict[str, Callable[[Any], Any]]] = {
    "created": utc_of,
    "updated": utc_of,
    "expires_at": utc_of,
    "price": rounded,
    "inventory_quantity": rounded,
    "images": _json_of,
    "custom_metadata": _json_of,
}
