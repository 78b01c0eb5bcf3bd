"""
Where files are, and who else can touch them.

In:     a path as somebody wrote it.
Out:    the one path of the file; whether others may write or read it.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from klaviyo_jobs.errors import SettingError


def path_of(text: str | Path, name: str) -> Path:
    """
    Return the path that *text* means: `~` is a home folder, and links are followed to where the file is.

    Two names of one file give one path, so that there is one lock, and one copy to replace.

    Args:
        name: The setting or option, for messages.
    Raises:
        SettingError: There is no such home folder, or the links lead in a circle.
    """
    try:
        path = Path(text).expanduser()
        # What is not there yet is no circle; of one, Python 3.13 and later return the path with its links.
        resolved = path.resolve()
        if any(part.is_symlink() for part in (resolved, *resolved.parents)):
            raise RuntimeError("its links lead in a circle")
    except (RuntimeError, OSError, ValueError) as error:
        raise SettingError(
            f"{name} {str(text)!r} is no path that can be followed: {getattr(error, 'strerror', None) or error}.",
            data="nothing was read or written.",
            next_step="write the whole path, from / on.",
        ) from None
    return resolved


def refuse_without_temporary_folder() -> None:
    """Raise SettingError if no folder for temporary files can be written, as with a read-only root."""
    try:
        tempfile.gettempdir()
    except OSError:
        raise SettingError(
            "there is no folder for temporary files that can be written: looked at TMPDIR, TEMP, TMP, /tmp, /var/tmp, "
            f"/usr/tmp and {Path.cwd()}.",
            data="nothing was read or written.",
            next_step="set TMPDIR to a folder that can be written.",
        ) from None


def others_may_write(path: Path) -> bool:
    """
    Tell whether other users than this one and root can change what is at *path*, or put something there.

    A file of somebody else's in a folder that anybody may write, as in /tmp, was put there by somebody else. In any
    other folder the owner of that folder has let it be there.
    """
    try:
        found, folder = path.stat(), path.parent.stat()
    except OSError:
        return False
    is_foreign = found.st_uid not in (os.geteuid(), 0)
    return bool(found.st_mode & stat.S_IWOTH) or (is_foreign and bool(folder.st_mode & stat.S_IWOTH))


def is_own(path: Path) -> bool:
    """Tell whether *path* belongs to this user or to root, and nobody else may write it."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return False
    return owner in (os.geteuid(), 0) and not others_may_write(path)


def others_may_read(path: Path) -> bool:
    """Tell whether any user of this machine can read the file at *path*."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
