"""A disk that can be made full."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

DISK_BYTES: Final = 96 * 2**20


class Disk:
    """
    A place for warehouses that can be made full.

    A tmpfs of its own where one can be mounted, else a bound on the size of files (`RLIMIT_FSIZE`), which is told.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "disk"
        self.folder.mkdir()
        self.is_mounted = False
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(self.folder)]
            subprocess.run(command, check=True, capture_output=True)
            self.is_mounted = True
        self._filler = self.folder / "filler"

    def fill(self, left_bytes: int) -> None:
        """Leave only *left_bytes* free."""
        if self.is_mounted:
            free = shutil.disk_usage(self.folder).free
            with self._filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(free - left_bytes, 1))

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the disk back."""
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def can_unshare() -> bool:
    """Tell whether a mount of our own, which goes when we go, can be made."""
    probe = "mount -t tmpfs -o size=1m tmpfs /mnt"
    with contextlib.suppress(OSError):
        return subprocess.run(["unshare", "-rm", "sh", "-c", probe], capture_output=True, check=False).returncode == 0
    return False
