"""The parts of the documents that the program writes are what it writes now."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.documents import (
    DOCS,
    PARTS,
    README,
    REFRESH,
    generated_parts,
    render_data,
    render_demo,
    table_below,
    text_of,
)


def test_the_demo_prints_what_the_readme_shows(demo: tuple[Path, str]) -> None:
    """In an empty folder, 80 columns wide, the demo prints the README's block, but for run id, seconds and path."""
    _, output = demo

    assert generated_parts()["demo"] == render_demo("", output), f"refresh it with: {REFRESH}"


def test_the_dictionary_is_that_of_the_demo(demo: tuple[Path, str]) -> None:
    """Its tables, views, columns and comments, and what the queries answer there."""
    warehouse, _ = demo

    assert generated_parts()["dictionary"] == render_data("", warehouse), f"refresh it with: {REFRESH}"


@pytest.mark.parametrize("name", [name for name in PARTS if name not in ("demo", "dictionary")])
def test_a_generated_part_is_fresh(name: str) -> None:
    """Commands, exit codes and settings of the documents are those of the program."""
    present = generated_parts()[name]

    assert present == PARTS[name](present), f"refresh it with: {REFRESH}"


def test_every_setting_has_a_meaning() -> None:
    """The one cell of the settings that no program writes is filled in."""
    assert [cells[0] for cells in table_below(DOCS / "settings.md", "# Settings") if not cells[-1]] == []


def test_the_readme_is_one_screen_and_a_little() -> None:
    """At most 200 lines; reference goes to docs/."""
    assert len(text_of(README).splitlines()) <= 200
