"""The rule of fingerprints, on texts that no view has to be asked for."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from klaviyo_jobs.model.fingerprints import fingerprint_of

_TABLE = Path(__file__).parents[2] / "docs" / "fingerprints.md"


def _examples() -> list[tuple[str, str | None, str]]:
    """Return message, related id and fingerprint of each line of the two tables of docs/fingerprints.md."""
    lines = [line for line in _TABLE.read_text(encoding="utf-8").splitlines() if line.startswith(("| `", "| ``"))]
    found = []
    for line in lines:
        cells = [inner for _, inner in re.findall(r"(?<!`)(`{1,2})(?!`)(.+?)(?<!`)\1(?!`)", line)]
        related_id = cells[1] if len(cells) == 3 else None
        found.append((cells[0], related_id, cells[-1]))
    return found


def test_the_table_of_examples_is_read_whole() -> None:
    """The test after this one is about as many examples as the page has."""
    examples = _examples()

    assert len(examples) == 25
    assert [related_id is None for _, related_id, _ in examples] == [True] * 19 + [False] * 6


@pytest.mark.parametrize(("message", "related_id", "fingerprint"), _examples())
def test_the_examples_are_true(message: str, related_id: str | None, fingerprint: str) -> None:
    """What differs from case to case is masked; the words, fields, paths and statuses stay."""
    assert fingerprint_of(message, None, None, related_id) == fingerprint


def test_a_hostile_text_takes_no_time() -> None:
    """Patterns look back: a megabyte of quotes, or of a word without a digit, is cut before they see it."""
    begin = time.process_time()

    for text in ("'" * 1_000_000, "a" * 1_000_000, "a'" * 500_000, "a:::" * 250_000):
        assert len(fingerprint_of(text, None, None, None)) <= 1000

    assert time.process_time() - begin < 2


def test_an_id_that_is_cut_off_is_masked_all_the_same() -> None:
    """What differs from error to error is gone before the text is cut."""
    texts = [f"No {'$custom:::$default:::' + str(number) * 30} here, {'x ' * 600}" for number in (1, 2)]

    assert fingerprint_of(texts[0], None, None, None) == fingerprint_of(texts[1], None, None, None)
