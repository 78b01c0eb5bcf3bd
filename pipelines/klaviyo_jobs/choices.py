"""
What can be chosen by name: kinds of job, and what is read with their details.

In:     names, and shell patterns of names.
Out:    what they stand for.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Final

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.model.kinds import DEFAULT_KINDS, INCLUDED, KINDS, JobKind

DEFAULT_INCLUDE: Final = ("categories",)
_ALL_KINDS: Final = "all"


def select_kinds(names: Iterable[str] | None) -> list[JobKind]:
    """
    Return the job kinds of *names* in the order of `KINDS`; the nine of catalogs for None.

    Args:
        names: Kinds, shell patterns such as `profile-*`, or `all`.
    Raises:
        SettingError: There is no such kind, or none that a pattern fits.
    """
    wanted = list(names) if names is not None else list(DEFAULT_KINDS)
    if not wanted:
        raise SettingError(
            "`kinds` is empty: a run would read nothing.",
            data="nothing was read or written.",
            next_step=f"name some of {', '.join(KINDS)}, or remove the setting to read those of catalogs.",
        )
    patterns = ["*" if name == _ALL_KINDS else name for name in wanted]
    unknown = [name for name, pattern in zip(wanted, patterns, strict=True) if not fnmatch.filter(KINDS, pattern)]
    refuse_unknown("job kind", "kinds", unknown, (*KINDS, _ALL_KINDS))
    return [kind for kind in KINDS.values() if any(fnmatch.fnmatchcase(kind.name, each) for each in patterns)]


def select_relationships(names: Iterable[str] | None) -> frozenset[str]:
    """Return the relationships whose resources are read with the details; SettingError if one is unknown."""
    wanted = list(names) if names is not None else list(DEFAULT_INCLUDE)
    refuse_unknown("relationship", "include", wanted, INCLUDED)
    return frozenset(wanted)


def refuse_unknown(what: str, setting: str, wanted: Sequence[str], known: Iterable[str]) -> None:
    """Raise SettingError if something of *wanted* is not *known*."""
    known = list(known)
    if unknown := sorted(set(wanted) - set(known)):
        raise SettingError(
            f"unknown {what} {', '.join(map(repr, unknown))} in `{setting}`.",
            data="nothing was read or written.",
            next_step=f"choose from {', '.join(known)}.",
        )
