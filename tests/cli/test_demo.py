"""`klaviyo-jobs demo` into a warehouse that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from klaviyo_sandbox import Sandbox
from support.jobs import finished
from support.loads import Load, Warehouse
from support.processes import command


def test_it_goes_into_no_real_warehouse(sandbox: Sandbox, tmp_path: Path) -> None:
    """Jobs that are made up would stand among the others for ever."""
    real = Warehouse(tmp_path / "real.duckdb")
    sandbox.world.add(finished("item-create", "J1", "SKU-1"))
    Load(sandbox, real)(kinds=["item-create"])
    before = real.contents()

    ended = command(tmp_path, "demo", "--warehouse", "real.duckdb")

    assert ended.returncode == 2
    assert "holds 1 jobs that are not the demo's" in ended.stderr
    assert real.contents() == before


@pytest.mark.parametrize("clock", ["2026-11-20T12:00", "2027-03-01T08:00"])
def test_it_knows_its_own_warehouse(clock: str, tmp_path: Path) -> None:
    """Whatever the day on which it was made."""
    codes = [command(tmp_path, "demo", "--warehouse", "own.duckdb", "--clock", clock).returncode for _ in range(2)]

    assert codes == [0, 0]
