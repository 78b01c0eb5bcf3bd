"""What several commands take and open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from klaviyo_jobs.settings import Settings
    from klaviyo_jobs.warehouse.engines.duckdb import Connection
from typing import Annotated

import typer

WarehouseOption = Annotated[
    Path | None,
    typer.Option(
        "--warehouse", metavar="PATH", help="The DuckDB file.  \\[default: warehouse.duckdb]", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of tables.")]


@contextmanager
def naming_way_back(settings: Settings) -> Iterator[None]:
    """Add to the error of a damaged warehouse the newest published copy, and the command that puts it in its place."""
    from klaviyo_jobs.errors import WarehouseError
    from klaviyo_jobs.warehouse.restore import name_way_back

    try:
        yield
    except WarehouseError as error:
        name_way_back(error, settings.copy_path, settings.memory)
        raise


@contextmanager
def open_views(path: Path, settings: Settings) -> Iterator[Connection]:
    """Open the warehouse for reading its views."""
    from klaviyo_jobs.warehouse.engines.duckdb import open_warehouse, warehouse_errors
    from klaviyo_jobs.warehouse.views import views_needed

    with (
        naming_way_back(settings),
        open_warehouse(
            path, settings.memory, must_exist=True, read_only=True, wait_seconds=settings.warehouse_wait_seconds
        ) as connection,
        warehouse_errors(path),
        views_needed(path),
    ):
        yield connection


def warehouse_path(option: Path | None, settings: Settings) -> Path:
    """Return the one path of the warehouse, whatever it was called."""
    from klaviyo_jobs.places import path_of

    return path_of(option, "--warehouse") if option else path_of(settings.warehouse, "warehouse")
