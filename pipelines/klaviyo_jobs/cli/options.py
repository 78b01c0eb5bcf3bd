"""What several commands take and open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.log import LOGGER

if TYPE_CHECKING:
    from klaviyo_jobs.settings import Settings
    from klaviyo_jobs.warehouse.engines.connection import Connection
    from klaviyo_jobs.warehouse.engines.engine import Engine

_T = TypeVar("_T")

# What `klaviyo-jobs demo` makes, and what is read where there is nothing else.
DEMO_WAREHOUSE: Final = "demo.duckdb"

WarehouseOption = Annotated[
    Path | None,
    typer.Option(
        "--warehouse", metavar="PATH", help="The DuckDB file.  \\[default: warehouse.duckdb]", show_default=False
    ),
]
DestinationOption = Annotated[
    str | None,
    typer.Option(
        "--destination",
        metavar="NAME",
        help="Where the warehouse is: duckdb, postgres, ducklake, or what else dlt can merge into.  "
        "\\[default: duckdb]",
        show_default=False,
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


def engine_of(settings: Settings, what: str, warehouse: Path | None, destination: str | None = None) -> Engine:
    """Return the engine that options or settings name; SettingError if *what* cannot be done there."""
    from klaviyo_jobs.warehouse.engines.choice import engine_for

    engine = engine_for(settings, warehouse=warehouse, destination=destination)
    engine.refuse(what)
    return engine


def engine_to_read(settings: Settings, what: str, warehouse: Path | None, destination: str | None = None) -> Engine:
    """Return what `engine_of` does; the demo's warehouse where nothing is named and there is no other."""
    from klaviyo_jobs.settings import DEFAULT_WAREHOUSE

    engine = engine_of(settings, what, warehouse, destination)
    if warehouse is None and settings.warehouse == DEFAULT_WAREHOUSE and engine.file and not engine.file.exists():
        demo = engine.file.with_name(DEMO_WAREHOUSE)
        if demo.exists():
            LOGGER.warning("there is no %s: reading %s, which the demo has made", DEFAULT_WAREHOUSE, DEMO_WAREHOUSE)
            return engine_of(settings, what, demo)
    return engine


def read_within_memory(
    stack: ExitStack, opened: Callable[[], AbstractContextManager[Connection]], read: Callable[[Connection], _T]
) -> _T:
    """
    Return what *read* finds in the warehouse; if that does not fit into memory, it is read again, slower and with less.

    Args:
        stack: Closes the warehouse.
        opened: Opens it.
    """
    connection = stack.enter_context(opened())
    try:
        return read(connection)
    except connection.out_of_memory:
        LOGGER.info("more than fits into memory_limit: reading again, in one thread")
    stack.close()
    connection = stack.enter_context(opened())
    connection.be_frugal()
    return read(connection)


@contextmanager
def open_to_read(engine: Engine, settings: Settings) -> Iterator[Connection]:
    """Open the warehouse for reading whatever it has."""
    with (
        naming_way_back(settings),
        engine.open(must_exist=True, read_only=True, wait_seconds=settings.warehouse_wait_seconds) as connection,
        engine.errors(),
    ):
        yield connection


@contextmanager
def open_views(engine: Engine, settings: Settings) -> Iterator[Connection]:
    """Open the warehouse for reading its views."""
    with open_to_read(engine, settings) as connection, engine.views_needed():
        yield connection


def file_of(settings: Settings, what: str, warehouse: Path | None) -> Path:
    """Return the DuckDB file that an option or the settings name; SettingError if they name another engine."""
    engine = engine_of(settings, what, warehouse)
    if engine.file is None:
        raise SettingError(f"{what} is for DuckDB files.", data="nothing was read or written.")
    return engine.file


def readable_text(text: str, what: str) -> str:
    """Return *text* unless it was given in bytes that are no UTF-8, which Python keeps as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SettingError(
            f"{what} is no UTF-8: it has the byte {ord(text[error.start]) & 0xFF:#04x} at character {error.start + 1}.",
            data="nothing was read or written.",
            next_step="give it in UTF-8: `iconv -t UTF-8` turns other encodings into it.",
        ) from error
    return text
