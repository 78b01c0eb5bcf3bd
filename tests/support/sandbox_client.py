"""A plain HTTP client of the sandbox, which knows nothing of the extractor, and the paths it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from klaviyo_sandbox import KINDS, Sandbox

ITEMS = "/api/catalog-item-bulk-create-jobs"
CATEGORIES = "/api/catalog-category-bulk-create-jobs"


class Client:
    """Sends requests to one sandbox over one connection, with the default account's key unless told otherwise."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.trust_env = False

    def get(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        account: str = "default",
        revision: str = "2026-10-15",
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
    ) -> requests.Response:
        """One answer; *path* may be a whole URL. *headers* are added to the two needed ones."""
        return self.session.request(
            method,
            path if path.startswith("http") else self.sandbox.base_url + path,
            params=params,
            headers={**self.sandbox.headers(account, revision=revision), **(headers or {})},
            allow_redirects=False,
            timeout=10,
        )

    def pages(self, path: str, *, params: Mapping[str, str] | None = None, at_most: int = 20) -> list[Any]:
        """The pages of a list, following `links.next`."""
        pages = [self.get(path, params=params).json()]
        while pages[-1]["links"].get("next") and len(pages) < at_most:
            pages.append(self.get(pages[-1]["links"]["next"]).json())
        return pages

    def ids(self, path: str) -> list[str]:
        """The ids of a whole list."""
        return [job["id"] for page in self.pages(path) for job in page["data"]]


def path_of(kind: str, job_id: str | None = None) -> str:
    """The path of a list or a detail."""
    path = f"/api/{KINDS[kind].collection}"
    return path if job_id is None else f"{path}/{job_id}"


def error_of(response: requests.Response) -> dict[str, Any]:
    """The one error of an answer."""
    (error,) = response.json()["errors"]
    assert isinstance(error, dict)
    return error
