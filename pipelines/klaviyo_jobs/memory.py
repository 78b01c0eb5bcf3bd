"""
How much memory the command may take.

In:     the setting `memory_limit`, as text.
Out:    `MemoryBounds`, which every command keeps to.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from klaviyo_jobs.errors import SettingError

# Below it Python, dlt and Arrow have no room beside the database.
LEAST_MEMORY: Final = 256 * 10**6
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt])(i?)b")


@dataclass(frozen=True, slots=True)
class MemoryBounds:
    """
    How much memory the command may take, and where it puts what does not fit.

    Attributes:
        limit_bytes: What the whole process is made to keep to.
        spill_directory: Where DuckDB writes what it has no memory for; beside its file if None.
    """

    limit_bytes: int = 512 * 10**6
    spill_directory: Path | None = None

    @property
    def database_bytes(self) -> int:
        """The database's part: half. Python with its libraries, and the rows on their way, have the other half."""
        return self.limit_bytes // 2

    def check_spill_directory(self) -> None:
        """Raise SettingError if nothing can be written where the database would spill; DuckDB makes one folder."""
        folder = self.spill_directory
        if folder is None:
            return
        place = folder if folder.exists() else folder.parent
        if not place.is_dir() or not os.access(place, os.W_OK):
            raise SettingError(
                f"temp_directory {folder} cannot be used: "
                + (f"no permission for {place}." if place.is_dir() else f"{place} is no folder."),
                data="nothing was read or written.",
                next_step="let it name a folder that can be written, or remove the setting.",
            )


DEFAULT_MEMORY: Final = MemoryBounds()


def parse_memory_limit(text: str) -> int:
    """Return how many bytes *text* says, e.g. `512MB` or `2 GiB`; SettingError if it says none, or too few."""
    match = _SIZE.fullmatch(text.strip().lower())
    size = int(float(match[1]) * (1024 if match[3] else 1000) ** "bkmgt".index(match[2])) if match else None
    if size is None or size < LEAST_MEMORY:
        raise SettingError(
            f"memory_limit {text!r} is {'not a size' if size is None else 'too little'}.",
            data="nothing was read or written.",
            next_step=f"set {LEAST_MEMORY // 10**6}MB or more, e.g. 512MB or 2GB, or remove the setting.",
        )
    return size
