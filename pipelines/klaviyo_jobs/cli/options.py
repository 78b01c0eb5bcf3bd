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
def open_views(path: Path, settings: Settings) -> Iterator[Connection]:
    """Open the warehouse for reading its views."""
    from klaviyo_jobs.warehouse.engines.duckdb import open_warehouse, warehouse_errors
    from klaviyo_jobs.warehouse.views import views_needed

    with (
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
