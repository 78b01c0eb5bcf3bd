"""
Where settings come from: which of dlt's places are read, what stands in them, and what nobody reads.

In:     the environment, `.dlt/secrets.toml` and `.dlt/config.toml` of the working directory and of dlt's global folder.
Out:    nothing for names that are read; a `SettingError` with place and nearest name for others. Places that somebody
        else can write are refused, or left out.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from dlt.common.configuration.container import Container
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.configuration.providers import ConfigTomlProvider, EnvironProvider, SecretsTomlProvider
from dlt.common.configuration.providers.provider import ConfigProvider
from dlt.common.configuration.providers.toml import SettingsTomlProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.runtime.run_context import RunContext, global_dir

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.keys import looks_like_key
from klaviyo_jobs.places import is_own, others_may_read, others_may_write

SECTIONS: Final = ("sources", "klaviyo_jobs")
ENV_PREFIX: Final = "SOURCES__KLAVIYO_JOBS__"

CONFIG_FILE: Final = "config.toml"
SECRETS_FILE: Final = "secrets.toml"

# Sections that dlt itself reads below that of a source.
_OF_DLT: Final = ("schema", "extract", "normalize", "load", "data_writer", "destination", "runtime")
_UNCHANGED: Final = "nothing was read or written."


class Place(NamedTuple):
    """
    Where a setting stands.

    Attributes:
        file: The file; None for the environment.
        name: The variable, or the name in the file.
    """

    file: Path | None
    name: str

    @property
    def shown(self) -> str:
        """The name; not a key that stands where a name is expected."""
        return "pk_***" if looks_like_key(self.name) else self.name

    def __str__(self) -> str:
        if self.file is None:
            return self.shown
        line = _line_of(self.file, self.name)
        return f"{self.shown} in {self.file}" + (f", line {line}" if line else "")

    def example(self, value: str) -> str:
        """Return how *value* is written there."""
        if self.file is None:
            return f"{self.name}={value}"
        return f"{self.name} = {value if _is_plain_toml(value) else repr(value)}"


def leave_out_foreign_folder() -> Path | None:
    """Let dlt not read its global folder where that is not the user's own; return it then."""
    folder = Path(global_dir())
    files = [folder / name for name in (SECRETS_FILE, CONFIG_FILE) if (folder / name).exists()]
    if not files or all(map(is_own, (folder, *files))):
        return None
    Container()[PluggableRunContext] = PluggableRunContext(_OwnPlaces(None))
    return folder


def refuse_foreign_files() -> None:
    """Raise SettingError if other users can write the files of settings of the working directory."""
    # Not asked of dlt's own context, which would read the files.
    settings_folder = Path(RunContext(None).settings_dir)
    for path in (settings_folder, *(settings_folder / name for name in (SECRETS_FILE, CONFIG_FILE))):
        if others_may_write(path):
            raise SettingError(
                f"{path.absolute()} can be written by other users, who could send the key elsewhere.",
                data=_UNCHANGED,
                next_step=f"`chmod o-w {path.absolute()}`, and see that it is yours; or run in another folder.",
            )


class _OwnPlaces(RunContext):
    """dlt's context without its global folder."""

    def initial_providers(self) -> list[ConfigProvider]:
        return [EnvironProvider(), SecretsTomlProvider(self.settings_dir), ConfigTomlProvider(self.settings_dir)]


def exposed_secrets() -> list[Path]:
    """Return the files of secrets that every user of this machine can read."""
    files = [path for provider in _files() for path in _paths_of(provider) if path.name == SECRETS_FILE]
    return [path for path in files if path.is_file() and others_may_read(path)]


def place_of(name: str) -> Place | None:
    """Return where the setting *name* was found; None if it stands nowhere."""
    # What is a section of dlt's own is not looked for under shorter names.
    depths = [len(SECTIONS)] if name in _OF_DLT else range(len(SECTIONS), -1, -1)
    for depth in depths:
        variable = EnvironProvider.get_key_name(name, *SECTIONS[:depth])
        if variable in os.environ:
            return Place(None, variable)
    for depth in depths:
        for provider in _files():
            if provider.get_value(name, object, "", *SECTIONS[:depth])[0] is not None:
                return Place(_file_of(provider, name, SECTIONS[:depth]), name)
    return None


def file_with(name: str, sections: Sequence[str], provider: str) -> Path | None:
    """Return the file in which dlt's *provider*, by its name, has found *name*; None if that reads no files."""
    return next((_file_of(each, name, sections) for each in _files() if each.name == provider), None)


def own_value(name: str) -> Any:
    """Return the setting *name* as it stands in our own section, and in none of those where dlt looks as well."""
    if (text := os.environ.get(f"{ENV_PREFIX}{name.upper()}")) is not None:
        return text
    return next((found for each in _files() if (found := _section_of(each, *SECTIONS).get(name)) is not None), None)


def refuse_unread(known: Collection[str], secrets: Collection[str]) -> None:
    """
    Refuse what looks like a setting of ours and is none.

    Args:
        known: The names of all settings.
        secrets: Those that are not read from `config.toml`.
    Raises:
        SettingError: Each with its place and the nearest name.
    """
    unread = [*_unread_variables(known), *_unread_names(known)]
    if unread:
        raise SettingError(
            f"nothing reads {'; nor '.join(str(place) for place, _ in unread)}.",
            data=_UNCHANGED,
            next_step="; ".join(
                f"did you mean {nearest}?" if nearest else f"remove {place.shown}." for place, nearest in unread
            )
            + " docs/settings.md lists all settings.",
        )
    for provider in _files():
        if not provider.supports_secrets:
            misplaced = next((name for name in secrets if name in _section_of(provider, *SECTIONS)), None)
            if misplaced is not None:
                path = _file_of(provider, misplaced, SECTIONS)
                raise SettingError(
                    f"{Place(path, misplaced)} is a secret, and is not read from there.",
                    data=_UNCHANGED,
                    next_step=f"move it into {path.with_name(SECRETS_FILE)}, section [{'.'.join(SECTIONS)}], "
                    f"or into the variable {ENV_PREFIX}{misplaced.upper()}; a file that was shared or committed has "
                    "given it away.",
                )


def _unread_variables(known: Collection[str]) -> Iterator[tuple[Place, str | None]]:
    """Yield the variables that nothing reads, each with the nearest that is read."""
    for variable in sorted(os.environ):
        capitals = variable.upper()
        place = Place(None, variable)
        if not capitals.startswith("SOURCES_"):
            continue
        if not capitals.startswith(ENV_PREFIX):
            # One underscore for two, or a section that is nearly ours: another source's is not.
            squeezed = re.sub("_+", "_", capitals)
            section, _, rest = squeezed.removeprefix("SOURCES_").partition("_JOB")
            if re.fullmatch("KL[A-Z]*", section) and difflib.SequenceMatcher(None, section, "KLAVIYO").ratio() > 0.8:
                rest = rest.removeprefix("S").strip("_")
                yield place, f"{ENV_PREFIX}{(_nearest(rest.lower(), known) or rest).upper()}"
            continue
        name, *deeper = capitals.removeprefix(ENV_PREFIX).lower().split("__")
        if name in known and (not deeper or (name == "accounts" and deeper[0])):
            if variable != capitals:
                yield place, capitals
        elif name not in _OF_DLT:
            nearest = _nearest("_".join([name, *deeper]), known) or _nearest(name, known)
            yield place, f"{ENV_PREFIX}{nearest.upper()}" if nearest else None


def _unread_names(known: Collection[str]) -> Iterator[tuple[Place, str | None]]:
    """Yield the names in files that nothing reads, each with the nearest that is read."""
    section = ".".join(SECTIONS)
    for provider in _files():
        for name in _section_of(provider, *SECTIONS):
            if name not in known and name not in _OF_DLT:
                yield Place(_file_of(provider, name, SECTIONS), name), _nearest(name, known)
        for other in _section_of(provider, SECTIONS[0]):
            if other != SECTIONS[1] and difflib.SequenceMatcher(None, other.lower(), SECTIONS[1]).ratio() > 0.85:
                yield Place(_file_of(provider, other, SECTIONS[:1]), f"[{SECTIONS[0]}.{other}]"), f"[{section}]"
        # The name of the pipeline too, below which dlt reads sections, but no setting of a source.
        if any(name in known for name in _section_of(provider, SECTIONS[1])):
            yield Place(_file_of(provider, SECTIONS[1], ()), f"[{SECTIONS[1]}]"), f"[{section}]"


def _nearest(name: str, known: Collection[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1)), None)


def _files() -> list[SettingsTomlProvider]:
    """Return dlt's readers of files, in the order in which they are asked."""
    try:
        providers = Container()[PluggableRunContext].providers.providers
    except ConfigurationException:
        return []  # a file that cannot be read: whoever reads the settings says so
    return [provider for provider in providers if isinstance(provider, SettingsTomlProvider)]


def _section_of(provider: SettingsTomlProvider, *sections: str) -> Mapping[str, Any]:
    found = provider.get_value(sections[-1], dict, "", *sections[:-1])[0]
    return found if isinstance(found, Mapping) else {}


def _paths_of(provider: SettingsTomlProvider) -> list[Path]:
    """Return the files of *provider* that are there."""
    return [Path(location).absolute() for location in provider.present_locations]


def _file_of(provider: SettingsTomlProvider, name: str, sections: Sequence[str]) -> Path:
    """Return which file of *provider* has *name* in *sections*: what is nearer to the project comes first."""
    paths = _paths_of(provider) or [Path(RunContext(None).settings_dir, CONFIG_FILE).absolute()]
    return next((path for path in paths if _holds(path, (*sections, name))), paths[0])


def _holds(file: Path, names: Iterable[str]) -> bool:
    """Tell whether *file* has a value at the end of these *names*."""
    found: Any = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found is not None


def _line_of(file: Path, name: str) -> int | None:
    """Return the number of the line of *file* that sets *name*, a section in brackets included, in our section."""
    header = ""
    with_name = re.compile(rf"\s*(?:[\w\"']+\s*\.\s*)*[\"']?{re.escape(name)}[\"']?\s*=")
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("["):
            header = re.sub(r"[\s\"']", "", line.partition("#")[0])
            if header == name or header == f"[{'.'.join((*SECTIONS, name))}]":
                return number
        elif with_name.match(line) and (not header or SECTIONS[0] in header):
            return number
    return None


def _is_plain_toml(value: str) -> bool:
    return re.fullmatch(r"-?\d+(?:\.\d+)?|true|false|\[.*\]", value) is not None
