"""Every link of every document leads to a file, a folder or a heading that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.documents import DOCS, ROOT, text_of

PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])


def headings_of(page: Path) -> set[str]:
    """Return the anchors of the headings of *page*, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Links within the repository; what is on other hosts no test asks for."""
    broken = []
    for target in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        place, _, anchor = target.partition("#")
        if place.startswith("https:"):
            continue
        linked = page.parent / place if place else page
        if not linked.exists() or (anchor and anchor not in headings_of(linked)):
            broken.append(target)

    assert broken == []


def test_every_document_is_in_the_index() -> None:
    """docs/README.md names each page beside it."""
    named = set(re.findall(r"\]\(([\w-]+\.md)\)", text_of(DOCS / "README.md")))

    assert named == {page.name for page in DOCS.glob("*.md")} - {"README.md"}
