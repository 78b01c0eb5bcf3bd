"""
The forms in which a value may be written, and the one that it is read as.

In:     a spec of settings, and what dlt finds for it.
Out:    the spec with its values in one form; a `SettingError` names the place, what stands there, and an example.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeVar

import msgspec
from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.exceptions import ConfigurationException, ConfigValueCannotBeCoercedException
from dlt.common.configuration.specs import BaseConfiguration

from klaviyo_jobs.configuration import SECTIONS, place_of
from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.quantities import age_text, seconds_of, share_of

# Made here: two threads that meet a type first at one time end the process.
_decode_names: Final = msgspec.json.Decoder(list[str]).decode

T = TypeVar("T", bound=BaseConfiguration)

# What may be written in several ways, and is one when it is resolved: names as a list or `a,b`, a share as 0.05 or 5%,
# a duration in seconds or as 6h. dlt would refuse all but the first.
Names = Any
Share = Any
Seconds = Any

_OPTIONS: Final = "_options"

# What a value is read as: in words, and an example.
_FORMS: Final[dict[Any, tuple[str, str]]] = {
    bool: ("true or false", "true"),
    int: ("a whole number", "20"),
    float: ("a number", "2.5"),
}


def resolved(settings: T, secrets: Collection[str]) -> T:
    """
    Return *settings* as dlt's configuration has them.

    Args:
        secrets: Names whose values no message may hold.
    Raises:
        SettingError: A value cannot be read as what it has to be.
    """
    try:
        return resolve_configuration(settings, sections=SECTIONS)
    except ConfigValueCannotBeCoercedException as error:
        name = error.field_name
        place = place_of(name)
        # A key that stands in the wrong form is not quoted.
        found = f" is {str(error.field_value)[:80]!r}, which" if name not in secrets else ""
        wanted, example = _FORMS.get(error.hint, ("a table of labels and keys", '{"shop_eu": "..."}'))
        raise SettingError(
            f"{place or name}{found} cannot be read as {wanted}.",
            data="nothing was read or written.",
            next_step=f"write e.g. {place.example(example) if place else example}",
        ) from None
    except ConfigurationException as error:
        # The message does not hold the value, which may be a key.
        raise SettingError(
            f"{' '.join(str(error).split())}.", data="nothing was read or written.", next_step="correct what it names."
        ) from None


def names_of(name: str, value: Any) -> list[str] | None:
    """Return the names that a setting lists: as a list, as JSON, or with commas between them; SettingError if none."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            text = value.strip()
            value = _decode_names(text) if text.startswith("[") else text.split(",")
        return [name for name in map(str.strip, value) if name]
    except (msgspec.DecodeError, TypeError):
        place = place_of(name)
        raise SettingError(
            f"{place or name} is {value!r}, which is no list of names.",
            data="nothing was read or written.",
            next_step="write e.g. item-create,category-create" if name == "kinds" else "write e.g. categories,items",
        ) from None


def read_share(settings: BaseConfiguration, name: str) -> None:
    """Make a share of what stands in *settings*; SettingError if it is none."""
    try:
        setattr(settings, name, share_of(getattr(settings, name)))
    except ValueError:
        raise _no_value(settings, name, "a share from 0 to 1, or from 0% to 100%", "0.05") from None


def read_seconds(settings: BaseConfiguration, name: str, *, least: float, most: float = math.inf) -> None:
    """Make seconds of the duration that stands in *settings*; SettingError if it is none, or out of bounds."""
    try:
        seconds = seconds_of(getattr(settings, name))
    except ValueError:
        raise _no_value(settings, name, "a duration in seconds or with a unit", "90, 30min, 6h or 2d") from None
    if not least <= seconds <= most:
        bounds = f"from {_shown(least)} up" if most == math.inf else f"from {_shown(least)} to {_shown(most)}"
        raise _no_value(settings, name, f"a duration {bounds}", _shown(least))
    setattr(settings, name, seconds)


def refuse_below(settings: BaseConfiguration, name: str, least: float) -> None:
    value = getattr(settings, name)
    if not math.isfinite(value) or value < least:
        raise _no_value(settings, name, f"a number from {least} up", str(getattr(type(settings)(), name)))


def given(settings: BaseConfiguration, options: Mapping[str, tuple[str, Any]]) -> None:
    """Put into *settings* what options of the command gave: by name, the option and its value; None is not given."""
    settings.__dict__[_OPTIONS] = {name: option for name, (option, value) in options.items() if value is not None}
    for name, (_, value) in options.items():
        if value is not None:
            setattr(settings, name, value)


def _where(settings: BaseConfiguration, name: str) -> str:
    """Return where the value of *name* was written: an option, or a place of dlt's."""
    return settings.__dict__.get(_OPTIONS, {}).get(name) or str(place_of(name) or name)


def _no_value(settings: BaseConfiguration, name: str, wanted: str, example: str) -> SettingError:
    """Return the error of a value that is not *wanted*; none of these is a secret."""
    return SettingError(
        f"{_where(settings, name)} is {getattr(settings, name)!r}, which is not {wanted}.",
        data="nothing was read or written.",
        next_step=f"write e.g. {example}, or remove it: the default is {getattr(type(settings)(), name)}.",
    )


def _shown(seconds: float) -> str:
    return age_text(seconds) if seconds >= 60 else f"{seconds:g} s"
