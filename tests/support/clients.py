"""A client of the sandbox that does not wait long before it tries again, and one GET with it."""

from __future__ import annotations

import traceback
from typing import Any, Final

import msgspec

from klaviyo_jobs.api.client import Answer, Client, Meter
from klaviyo_jobs.keys import ApiKey
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.settings import NetworkSettings
from klaviyo_sandbox import Sandbox

PATH: Final = KINDS["item-create"].list_path
REVISION: Final = "2026-07-15"


def client_at(base_url: str, key: str = "pk_x", *, revision: str = REVISION, **network: Any) -> Client:
    """Return a client of *base_url*; *network* are settings, and the backoff is short unless it is one of them."""
    settings = NetworkSettings(**{"backoff_seconds": 0.001, **network})
    return Client("default", ApiKey(key), base_url=base_url, revision=revision, network=settings)


def client_of(sandbox: Sandbox, *, key: str | None = None, revision: str = REVISION, **network: Any) -> Client:
    """Return a client of *sandbox* with its key, unless another *key* is given."""
    return client_at(sandbox.base_url, key or sandbox.key, revision=revision, **network)


def fetch(client: Client, url: str = PATH, *, meter: Meter | None = None) -> Answer[Any]:
    """GET *url*, the first page of a listing unless it is given."""
    return client.fetch(
        "item-create, page 1", url, msgspec.json.decode, kind=KINDS["item-create"], meter=meter or Meter()
    )


def whole_text(error: BaseException) -> str:
    """Return everything that logging or printing *error* could show."""
    return f"{error!r} {error} {vars(error)} {''.join(traceback.format_exception(error))}"
