"""
Put the page together, and put it in its place.

In:     what the views have answered, and a path.
Out:    one file, replaced as a whole: who opens it in the middle sees the page before or the page after.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from klaviyo_jobs.errors import SettingError, WarehouseError
from klaviyo_jobs.files import write_whole
from klaviyo_jobs.monitor.page.contents import dumped

_NEEDED: Final = ("altair", "vl_convert")
_BEGIN: Final = b"<!doctype html>"
_SLOT: Final = re.compile(r"\{\{(\w+)\}\}")
_VEGA: Final = re.compile(r'<script type="module" id="vega" data-versions="([^"]*)">(.*?)</script>', re.DOTALL)


def check_page(path: Path, *others: Path | None) -> None:
    """
    Raise if no page can be written to *path*.

    Args:
        others: Files that are, or will be, something else.
    Raises:
        SettingError: What draws it is not installed, *path* is no place for a file, or another file is there.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingError(
            f"the page is drawn with what is not installed: {', '.join(missing)}.",
            data="nothing was read or written.",
            next_step='python -m pip install "klaviyo-jobs[report]"',
        )
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else f"cannot be written: there is no folder {path.parent}"
        raise SettingError(
            f"the page {path} {what}.",
            data="nothing was read or written.",
            next_step="name a file in a folder that is there, e.g. page.html.",
        )
    place = path.resolve()
    if place in [other.resolve() for other in others if other is not None] or _is_foreign(place):
        raise SettingError(
            f"the page {path} would replace a file that is no page of ours.",
            data="nothing was read or written.",
            next_step="name another file, e.g. page.html.",
        )


def _is_foreign(path: Path) -> bool:
    """Tell whether there is a file at *path* that holds something else than a page."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(_BEGIN))
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return begin not in (b"", _BEGIN)


def write_page(path: Path, contents: Mapping[str, Any]) -> int:
    """
    Write the page of *contents* to *path*, and return its bytes.

    By then the warehouse should be closed: what draws takes as much memory as the database has given back.

    Raises:
        WarehouseError: It cannot be written; what was there stays.
    """
    # Where a page is a link, what it leads to is replaced.
    path = path.resolve()
    try:
        page = render_page(contents, scripts_of(path)).encode()
        write_whole(path, page)
    except OSError as error:
        raise WarehouseError(
            f"the page {path} cannot be written: {error.strerror}.",
            data="the warehouse is as it should be, and the page as it was.",
            next_step="see to the folder and its permissions, or name another file.",
        ) from error
    return len(page)


def render_page(contents: Mapping[str, Any], scripts: tuple[str, str] | None = None) -> str:
    """
    Return the page of *contents*.

    Args:
        scripts: The versions of Vega's scripts, and these, if they are at hand: to put them together takes a second.
    """
    from klaviyo_jobs.monitor.page.charts import CHARTS

    versions = _versions()
    if scripts is None or scripts[0] != versions:
        import vl_convert

        # Its stub says that it has to be given something to add.
        bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]
        scripts = versions, bundle.replace("</script", "<\\/script")
    parts = {
        "css": _file("page.css"),
        "js": _file("page.js"),
        "contents": dumped(contents),
        "charts": dumped([chart.described() for chart in CHARTS]),
        "versions": versions,
        "vega": scripts[1],
    }
    return _SLOT.sub(lambda slot: parts[slot[1]], _file("page.html"))


def scripts_of(path: Path) -> tuple[str, str] | None:
    """Return the scripts of the page at *path* and their versions; None if there is none of ours."""
    try:
        found = _VEGA.search(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return (found[1], found[2]) if found else None


def _versions() -> str:
    from importlib.metadata import version

    return f"vl-convert-python {version('vl-convert-python')}"


def _file(name: str) -> str:
    return (files("klaviyo_jobs.monitor.page") / name).read_text(encoding="utf-8").strip()
