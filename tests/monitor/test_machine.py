"""What the doctor says of memory."""

from __future__ import annotations

from pathlib import Path

from klaviyo_jobs.memory import MemoryBounds
from klaviyo_jobs.monitor.doctor.machine import check_memory


def test_a_folder_for_what_does_not_fit_can_be_made(tmp_path: Path) -> None:
    """The database makes the folder itself, in one that is there."""
    [check] = check_memory(tmp_path / "w.duckdb", MemoryBounds(300_000_000, tmp_path / "spill"))

    assert check.state == "ok"
    assert check.message == (
        "the command keeps to 300 MB; the database takes up to 150 MB of them, and writes what does not fit to "
        f"{tmp_path / 'spill'}"
    )


def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    """A run refuses to start, as it could fail midway."""
    [check] = check_memory(tmp_path / "w.duckdb", MemoryBounds(spill_directory=tmp_path / "missing" / "spill"))

    assert (check.state, check.exit_code) == ("fail", 2)
    assert check.message == (
        f"temp_directory {tmp_path / 'missing' / 'spill'} cannot be used: {tmp_path / 'missing'} is no folder."
    )
