"""
Choose the engine: what the settings, or an option of the command, say of where the warehouse is.

In:     the setting `destination`, and dlt's own configuration of the destination that it names, credentials included.
Out:    the engine. What it needs is imported only when it is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.destination import Destination
from dlt.common.destination.exceptions import UnknownDestinationModule

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.places import path_of
from klaviyo_jobs.settings import DEFAULT_DESTINATION, Settings
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA
from klaviyo_jobs.warehouse.engines.engine import Engine

# Those that are tested, and have all of a warehouse.
TESTED: Final = (DEFAULT_DESTINATION, "postgres", "ducklake")
_UNTOUCHED: Final = "nothing was read or written."


def engine_for(settings: Settings, *, warehouse: Path | None = None, destination: str | None = None) -> Engine:
    """
    Return the engine that *settings* name.

    Args:
        warehouse: A DuckDB file, named on the command line; instead of what the settings say.
        destination: The name of a destination of dlt's, named on the command line.
    Raises:
        SettingError: There is no such destination, it cannot keep what a warehouse has to, what it needs is not
            installed, or its credentials are missing.
    """
    if warehouse is not None and destination not in (None, DEFAULT_DESTINATION):
        raise SettingError(
            f"--warehouse names a DuckDB file, and --destination {destination} another engine.",
            data=_UNTOUCHED,
            next_step="name one of the two.",
        )
    name = DEFAULT_DESTINATION if warehouse is not None else destination or settings.destination
    if name == DEFAULT_DESTINATION:
        from klaviyo_jobs.warehouse.engines.duckdb_engine import DuckDBFile

        path = path_of(warehouse, "--warehouse") if warehouse else path_of(settings.warehouse, "warehouse")
        return DuckDBFile(path, settings.memory)
    with _needed(name):
        if name == "postgres":
            from klaviyo_jobs.warehouse.engines.postgres_engine import Postgres

            return Postgres(_credentials_of(name), settings.warehouse_wait_seconds)
        if name == "ducklake":
            from klaviyo_jobs.warehouse.engines.ducklake_engine import DuckLake

            return DuckLake(
                _credentials_of(name),
                settings.memory,
                may_download=settings.download_extensions,
                wait_seconds=settings.warehouse_wait_seconds,
            )
        from klaviyo_jobs.warehouse.engines.other import OtherDestination

        found = _destination_of(name)
        strategies = found.capabilities().supported_merge_strategies or []
        if "delete-insert" not in strategies:
            raise SettingError(
                f"the destination {name} cannot be used: it would add changed jobs to the old ones, or refuse them.",
                data=_UNTOUCHED,
                next_step="for a lakehouse that is written use ducklake; for Parquet files that are read, "
                "`klaviyo-jobs publish --parquet DIR --raw`.",
            )
        return OtherDestination(name, found)


def _destination_of(name: str) -> Destination[Any, Any]:
    try:
        return cast("Destination[Any, Any]", Destination.from_reference(name))
    except UnknownDestinationModule:
        raise SettingError(
            f"dlt knows no destination {name!r}.",
            data=_UNTOUCHED,
            next_step=f"choose {', '.join(TESTED)}, or another that dlt can merge into, such as snowflake or bigquery.",
        ) from None


def _credentials_of(name: str) -> Any:
    """Return what dlt's configuration says of the credentials for *name*, checked by dlt."""
    destination = _destination_of(name)
    return destination.configuration(destination.spec()._bind_dataset_name(RAW_SCHEMA)).credentials


@contextmanager
def _needed(name: str) -> Iterator[None]:
    """Say what is to be installed, or set, where the destination *name* lacks it."""
    try:
        yield
    except ImportError as error:
        extra = f"klaviyo-jobs[{name}]" if name in TESTED else f"dlt[{name}]"
        raise SettingError(
            f"the destination {name} needs what is not installed: {error}.",
            data=_UNTOUCHED,
            next_step=f'python -m pip install "{extra}"',
        ) from error
    except ConfigurationException as error:
        # Its message names every place that was looked at, and holds no value.
        where = f"{name}__credentials__catalog" if name == "ducklake" else f"{name}__credentials"
        raise SettingError(
            f"the destination {name} has no credentials that can be used: {' '.join(str(error).split())[:500]}",
            data=_UNTOUCHED,
            next_step=f"set DESTINATION__{where.upper()}, or write it to .dlt/secrets.toml, section "
            f"[destination.{name}], e.g. as postgresql://user:password@host:5432/database: docs/scale.md shows both.",
        ) from None
