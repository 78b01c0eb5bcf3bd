"""
Write files so that a reader never sees a part of one, and a kill leaves nothing behind for ever.

In:     the path of a file, and what it is to hold.
Out:    the file as it was, or as it is to be.
How:    a temporary file beside it, and one rename. What killed writers left is deleted by the next one that writes that
        file, told from what others are writing by a lock of the folder.
"""

from __future__ import annotations

import fcntl
import glob
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

# The end of the names of temporary files.
_TEMPORARY: Final = ".new"
_PATIENCE_SECONDS: Final = 1.0


def write_whole(path: Path, content: bytes, mode: int | None = None) -> None:
    """
    Put *content* in the place of the file at *path*: whoever opens it in the middle has the one before or this one.

    Args:
        mode: Who may read and write it; as before by default, or as of any new file.
    """
    if mode is None:
        mask = os.umask(0)
        os.umask(mask)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask
    with without_leftovers(path), beside(path) as temporary:
        temporary.write_bytes(content)
        sync(temporary)
        temporary.chmod(mode)
        temporary.replace(path)


@contextmanager
def without_leftovers(*targets: Path) -> Iterator[None]:
    """
    Take part in a lock of the targets' folder; if nobody else does, delete first what killed writers left there.

    Where folders cannot be locked, as on NFS or where they cannot be read, nothing is deleted. Nobody is waited for for
    long: who else locks folders, such as flock(1), may do so for ever.
    """
    folder = targets[0].parent
    with ExitStack() as stack:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for target in targets:
                    for left in folder.glob(f".{glob.escape(target.name)}.*{_TEMPORARY}*"):
                        with suppress(OSError):
                            left.unlink()
            _share(descriptor)
        yield


def _share(descriptor: int) -> None:
    """Lock a folder together with others; who deletes leftovers there holds it alone for a moment."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Yield the path of a new temporary file in the folder of *target*; it is gone afterwards unless renamed."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=_TEMPORARY, dir=target.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until what *path* holds is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
