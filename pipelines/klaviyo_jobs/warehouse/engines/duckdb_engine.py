"""
A warehouse in one DuckDB file: one program at a time may open it, so readers are given a copy.

In:     the path of the file.
Out:    the engine.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from klaviyo_jobs.memory import DEFAULT_MEMORY, MemoryBounds
from klaviyo_jobs.warehouse.engines.duckdb import DuckDBConnection, check_place, open_warehouse, warehouse_errors
from klaviyo_jobs.warehouse.engines.engine import Engine

if TYPE_CHECKING:
    from dlt.common.destination import Destination


class DuckDBFile(Engine):
    """
    The file at *path*.

    Args:
        memory: What the database may take.
    """

    name = "duckdb"
    dialect: ClassVar = "duckdb"

    def __init__(self, path: Path, memory: MemoryBounds = DEFAULT_MEMORY) -> None:
        self._path = path
        self._memory = memory

    @property
    def place(self) -> str:
        return str(self._path)

    @property
    def file(self) -> Path:
        return self._path

    def check_place(self) -> None:
        check_place(self._path)

    def exists(self) -> bool:
        return self._path.exists()

    def open(self, *, must_exist: bool = False, read_only: bool = False, wait_seconds: float = 0.0) -> DuckDBConnection:
        native = open_warehouse(
            self._path, self._memory, must_exist=must_exist, read_only=read_only, wait_seconds=wait_seconds
        )
        return DuckDBConnection(native)

    def kept(self, wait_seconds: float) -> DuckDBConnection:
        return self.open(wait_seconds=wait_seconds)

    def lock_place(self) -> Path:
        return self._path

    def destination(self, *, read_only: bool = False) -> AbstractContextManager[Destination[Any, Any]]:
        # What dlt needs to load, a command that reads does not.
        from klaviyo_jobs.warehouse.engines.duckdb_load import destination_of

        return nullcontext(destination_of(self._path, self._memory, read_only=read_only))

    def errors(self) -> AbstractContextManager[None]:
        return warehouse_errors(self._path)
