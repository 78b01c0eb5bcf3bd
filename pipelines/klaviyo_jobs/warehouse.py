"""
The DuckDB file: where it may be, how it is opened, and why it cannot be.

In:     a path.
Out:    an open connection; every reason why there can be none is a `WarehouseError` that says what to do.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import duckdb

from klaviyo_jobs.errors import WarehouseError

RAW_SCHEMA: Final = "klaviyo_raw"
VIEW_SCHEMA: Final = "klaviyo"


def open_warehouse(path: Path, *, must_exist: bool = False, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """
    Open the DuckDB file, or say why that cannot be done.

    Args:
        path: The file; made if it is not there, unless it *must_exist*.
        read_only: Open it for reading, which any number of programs can do at once.
    Raises:
        WarehouseError: The folder is missing or closed, the file is no DuckDB file, or someone else has it open.
    """
    check_place(path, must_exist=must_exist, read_only=read_only)
    try:
        return duckdb.connect(str(path), read_only=read_only)
    except duckdb.Error as error:
        raise WarehouseError(
            f"the warehouse {path} cannot be opened: {str(error).splitlines()[0]}",
            data="nothing was read or written.",
            next_step="close the program that has it open, or choose another path with --warehouse.",
        ) from error


def check_place(path: Path, *, must_exist: bool = False, read_only: bool = False) -> None:
    """Raise WarehouseError if the DuckDB file cannot be at *path*, as far as that shows without opening it."""
    if must_exist and not path.exists():
        raise WarehouseError(
            f"there is no warehouse {path}.",
            data="nothing was read or written.",
            next_step="make one with `klaviyo-jobs run`, or name another with --warehouse.",
        )
    if path.stem in (VIEW_SCHEMA, RAW_SCHEMA):
        raise WarehouseError(
            f"a DuckDB file cannot be called {path.name!r}: {path.stem}.jobs would mean two things in it.",
            data="nothing was read or written.",
            next_step="choose another file name, e.g. warehouse.duckdb.",
        )
    if not path.parent.is_dir():
        raise WarehouseError(
            f"the folder of the warehouse {path} does not exist.",
            data="nothing was read or written.",
            next_step=f"make it (mkdir -p {path.parent}) or choose another path with --warehouse.",
        )
    if path.is_dir():
        raise WarehouseError(
            f"the warehouse {path} is a folder, not a file.",
            data="nothing was read or written.",
            next_step=f"name a file in it: --warehouse {path / 'warehouse.duckdb'}.",
        )
    if not read_only and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise WarehouseError(
            f"the warehouse {path} cannot be written: no permission.",
            data="nothing was read or written.",
            next_step="change the permissions, or choose another path with --warehouse.",
        )


def has_table(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Tell whether the raw schema has the table called *name*."""
    found = connection.execute(
        "select 1 from duckdb_tables() where schema_name = ? and table_name = ?", (RAW_SCHEMA, name)
    )
    return found.fetchone() is not None
