"""
Fetch the listing of item-create jobs and do nothing with it; with a third argument, the detail of each job as well.

    python benchmarks/fetch.py BASE_URL - [details]
"""

from __future__ import annotations

import sys

import msgspec
import urllib3
from floor import KEY

PATH = "/api/catalog-item-bulk-create-jobs"


class Job(msgspec.Struct):
    """What is needed to ask for the detail."""

    id: str


class Page(msgspec.Struct):
    """What is needed to go on."""

    data: list[Job]
    links: dict[str, str | None]


def main(base_url: str, _: str, details: str = "") -> None:
    """Read page after page."""
    headers = {"Authorization": f"Klaviyo-API-Key {KEY}", "revision": "2026-07-15"}
    decode = msgspec.json.Decoder(Page).decode
    url: str | None = base_url + PATH
    with urllib3.PoolManager() as pool:
        while url:
            page = decode(pool.request("GET", url, headers=headers).data)
            for job in page.data if details else ():
                pool.request("GET", f"{base_url}{PATH}/{job.id}?include=items", headers=headers)
            url = page.links["next"]


if __name__ == "__main__":
    main(*sys.argv[1:])
