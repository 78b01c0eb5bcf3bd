"""`klaviyo-jobs explain ID`: a job or a resource, in the order of time, on the terminal and as JSON."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from klaviyo_sandbox import JobError, Sandbox, related_id
from support.jobs import finished, under_way
from support.loads import HOUR, MINUTE, Load, Warehouse
from support.processes import ENVIRONMENT, assert_failed, command

# What runs see is told by the machine's clock.
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)


@pytest.fixture
def folder(warehouse: Warehouse, tmp_path: Path) -> Path:
    """A warehouse with a job that was seen under way and then complete, and an item that failed and was repaired."""
    with Sandbox(clock=NOW) as sandbox:
        load = Load(sandbox, warehouse)
        error = JobError("It [already] exists.", related_id("SKU-2"), code="duplicate")
        begun = {"total_count": 3, "completed_count": 1, "failed_count": 0}
        sandbox.world.add(under_way("item-create", "J1", "SKU-1", created_at=NOW - 2 * HOUR, **begun))
        load(kinds=["item-create", "item-update"])
        done = {"total_count": 3, "completed_count": 2, "failed_count": 1, "completed_at": NOW - HOUR}
        sandbox.world.add(
            finished("item-create", "J1", "SKU-1", "SKU-3", created_at=NOW - 2 * HOUR, errors=[error], **done),
            finished("item-update", "J2", "SKU-2", "other:::SKU-2", created_at=NOW - MINUTE, completed_at=NOW),
        )
        load(kinds=["item-create", "item-update"])
    return tmp_path


def told(folder: Path, *words: str) -> dict[str, Any]:
    """What is told of one thing, as JSON."""
    [found] = json.loads(command(folder, "explain", "--json", *words).stdout)["found"]
    return dict(found)


def test_a_job(folder: Path) -> None:
    """From its creation on: each state that a run saw, its end, and when Klaviyo forgets it."""
    found = told(folder, "J1")

    assert found["verdict"] == "partly failed, after 3,600 s: operations 3 total, 2 completed, 1 failed"
    steps = [event["what"] for event in found["timeline"]]
    assert steps == [
        "created",
        "completed",
        "seen processing, 1 of 3 operations done",
        "seen complete, 2 of 3 operations done, 1 failed",
        "forgotten by Klaviyo",
    ]
    assert [(each["code"], each["related_id"]) for each in found["errors"]] == [("duplicate", related_id("SKU-2"))]


@pytest.mark.parametrize("name", ["SKU-2", related_id("SKU-2")])
def test_a_resource_by_either_id(folder: Path, name: str) -> None:
    """Every job that named it, and whether its failures are repaired; not one whose id only ends like it."""
    found = told(folder, name)

    assert found["verdict"] == "succeeded 1 time, failed 1 time; repaired by job J2"
    assert [(each["job_id"], each["what"]) for each in found["timeline"]] == [
        ("J1", "create failed: It [already] exists."),
        ("J2", "update succeeded"),
    ]


def test_on_the_terminal(folder: Path) -> None:
    """The verdict first, then a line for each thing that happened; what others wrote is no markup."""
    lines = [line.strip() for line in command(folder, "explain", "SKU-2").stdout.splitlines() if line.strip()]

    assert lines[:2] == [
        "catalog-item SKU-2 of account default",
        "succeeded 1 time, failed 1 time; repaired by job J2",
    ]
    created = f"{NOW - 2 * HOUR:%Y-%m-%d %H:%M:%S}"
    assert [line.split() for line in lines if line.startswith(created)] == [
        [*created.split(), "create", "failed:", "It", "[already]", "exists.", "item-create", "J1"]
    ]


def test_what_is_not_known_is_said(folder: Path) -> None:
    """With where ids are to be had."""
    ended = command(folder, "explain", "NOBODY", "--account", "default")

    assert ended.returncode == 2
    assert "knows no job and no resource 'NOBODY' of default" in ended.stderr
    assert "klaviyo.entity_history" in ended.stderr


def test_an_account_is_chosen(folder: Path) -> None:
    """Ids of jobs are an account's own."""
    assert command(folder, "explain", "J1", "--account", "other").returncode == 2
    assert dt.datetime.fromisoformat(told(folder, "J1", "--account", "default")["timeline"][0]["at_utc"])


@pytest.mark.parametrize("name", ["J3", "SKU\x1b[1m"])
def test_control_characters_of_others_are_escaped(warehouse: Warehouse, tmp_path: Path, name: str) -> None:
    """Of an id and of what Klaviyo says: a terminal would obey them."""
    with Sandbox(clock=NOW) as sandbox:
        error = JobError("No \x1b[31mprice.", related_id("SKU\x1b[1m"), code="in\x1bvalid")
        done = {"total_count": 1, "completed_count": 0, "failed_count": 1, "completed_at": NOW - HOUR}
        sandbox.world.add(finished("item-create", "J3", created_at=NOW - 2 * HOUR, errors=[error], **done))
        Load(sandbox, warehouse)(kinds=["item-create"])

    shown = command(tmp_path, "explain", name).stdout

    assert "\x1b" not in shown
    assert r"No \x1b[31mprice." in shown
    assert r"SKU\x1b[1m" in shown


def test_an_id_that_is_no_utf_8_is_refused(folder: Path) -> None:
    """No id is."""
    ended = subprocess.run(
        [sys.executable, "-m", "klaviyo_jobs", "explain", b"\xff\xfe"],
        cwd=folder,
        env={**ENVIRONMENT, "DLT_DATA_DIR": str(folder / "dlt")},
        capture_output=True,
        text=True,
    )

    assert_failed(ended, 2, "the id is no UTF-8: .* byte 0xff", data="nothing was read", next_step="iconv")
