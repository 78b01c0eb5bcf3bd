"""A hostile server, and one run, or one for many cases, against it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import Settings
from klaviyo_sandbox import Job, Sandbox
from support.hostile import KEY, Ended, Group, Read, ReadTogether, Server, set_network
from support.loads import NOW, Warehouse


@pytest.fixture
def server() -> Iterator[Server]:
    """A server whose listings are all empty."""
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def sandbox_with_jobs(sandbox: Sandbox) -> Sandbox:
    """An API with 250 jobs on three pages."""
    sandbox.world.add(*(Job("item-create", f"J{number:03}", NOW) for number in range(250)))
    return sandbox


@pytest.fixture
def foreign() -> Iterator[Server]:
    """Another server, which must never hear of us."""
    running = Server()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the number of attempts and shorten the waits between them."""
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BACKOFF_SECONDS", "0.001")


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attempts, and half a second for each answer."""
    set_network(monkeypatch, max_attempts=2, read_timeout_seconds=0.5, body_timeout_seconds=0.5)


@pytest.fixture
def read(server: Server, warehouse: Warehouse) -> Read:
    """Run the extractor once for one kind."""

    def read(kind: str = "item-create", **others: Any) -> Ended:
        settings = Settings(**{"base_url": server.base_url, "api_key": KEY, "kinds": [kind], **others})
        summary = run(settings, warehouse.path)
        [outcome] = summary.outcomes
        return Ended(outcome, summary, warehouse)

    return read


@pytest.fixture(scope="module")
def read_together(tmp_path_factory: pytest.TempPathFactory) -> ReadTogether:
    """
    Run the extractor once for all cases of a group, and return how the listing of one case ended.

    If that fails as a whole, each case of the group runs alone, when it is asked for.
    """
    groups: dict[int, dict[str, Ended] | None] = {}

    def load(cases: Group) -> dict[str, Ended]:
        server = Server()
        keys = {f"case{number}": f"pk_case_{number}" for number in range(len(cases))}
        for key, prepare in zip(keys.values(), cases.values(), strict=True):
            prepare(server, key)
        warehouse = Warehouse(tmp_path_factory.mktemp("together") / "warehouse.duckdb")
        settings = Settings(base_url=server.base_url, accounts=keys, kinds=["item-create"])
        try:
            summary = run(settings, warehouse.path)
        finally:
            server.stop()
        outcomes = {outcome.account: outcome for outcome in summary.outcomes}
        return {case: Ended(outcomes[account], summary, warehouse) for case, account in zip(cases, keys, strict=True)}

    def read_together(cases: Group, case: str) -> Ended:
        if id(cases) not in groups:
            try:
                groups[id(cases)] = load(cases)
            except Exception:
                groups[id(cases)] = None
        ended = groups[id(cases)]
        return ended[case] if ended is not None else load({case: cases[case]})[case]

    return read_together
