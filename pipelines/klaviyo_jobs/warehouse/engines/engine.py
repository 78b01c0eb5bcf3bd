"""
What an engine is to everything above it: where the warehouse is, how it is opened and loaded, and what it cannot do.

In:     nothing; each engine has its own.
Out:    `Engine`, one for each place a warehouse may live in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

from klaviyo_jobs.errors import SettingError, WarehouseError
from klaviyo_jobs.warehouse.engines.connection import Connection, MissingTableError

if TYPE_CHECKING:
    from dlt.common.destination import Destination


class RunNote(msgspec.Struct):
    """
    Who a run is, and how far it has got.

    Attributes:
        pid: Its process.
        host: The machine it runs on.
        since: When it asked for the lock (ISO 8601, UTC).
        command: What was called, without its arguments' values.
        listings: Account and kind of each listing it is to read.
        step: The step it is in, or was in when it ended.
        run_id: dlt's load id, once there is one.
        is_skipped: Whether it found the lock taken and did nothing.
        holder_pid: The process that held the lock then.
        failure: The error that ended it, if it was one and no kill.
        working_directory: Its folder for dlt, which it throws away when it ends.
    """

    pid: int
    host: str
    since: str
    command: str
    listings: list[tuple[str, str]] = []
    step: str = "lock"
    run_id: str = ""
    is_skipped: bool = False
    holder_pid: int = 0
    failure: str = ""
    working_directory: str = ""

    @property
    def ending(self) -> str:
        """How the run ended, for the ledger."""
        if self.is_skipped:
            return f"skipped: process {self.holder_pid} held the lock."
        if self.failure:
            return f"failed at step {self.step}: {self.failure}"
        return f"interrupted: process {self.pid} on {self.host} ended at step {self.step}."


class Engine(ABC):
    """
    A place that a warehouse lives in.

    Attributes:
        name: What the setting `destination` calls it.
        dialect: sqlglot's name of the SQL it speaks.
        lacks: What it cannot do, by the name of the command or setting, and what to do instead.
        has_views: Whether views, ledger, checks and report are kept there by this program.
    """

    name: str
    dialect: ClassVar[str]
    lacks: ClassVar[Mapping[str, str]] = {}
    has_views: ClassVar[bool] = True

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is, for messages, without anything secret: a path, or a server and its database."""

    @property
    def file(self) -> Path | None:
        """The one file that it is; None if it is something else."""
        return None

    @abstractmethod
    def check_place(self) -> None:
        """Raise WarehouseError if a run could not write there, as far as that shows without writing."""

    @abstractmethod
    def exists(self) -> bool:
        """Tell whether there is a warehouse already."""

    @abstractmethod
    def open(
        self, *, must_exist: bool = False, read_only: bool = False, wait_seconds: float = 0.0
    ) -> AbstractContextManager[Connection]:
        """
        Open the warehouse.

        Args:
            must_exist: Refuse a warehouse that no run has filled yet.
            read_only: Nothing can be written.
            wait_seconds: How long to wait for others, where one program at a time may open it.
        Raises:
            WarehouseError: It cannot be opened.
        """

    def kept(self, wait_seconds: float) -> AbstractContextManager[object]:
        """Keep others from opening the warehouse while a run writes to it, where only one program may."""
        return nullcontext()

    def changing_tables(self) -> AbstractContextManager[object]:
        """Let nobody else make or change tables and views inside the block, where others may work side by side."""
        return nullcontext()

    def writing(self) -> AbstractContextManager[object]:
        """Let nobody else write rows inside the block, where two who change rows of one file cannot both succeed."""
        return nullcontext()

    @property
    def is_shared(self) -> bool:
        """Whether runs of other accounts may work in it at the same time."""
        return False

    @abstractmethod
    def lock_place(self) -> Path | AbstractContextManager[Locks]:
        """Return where the lock lives: beside a file, or with a server that frees it when its holder dies."""

    @abstractmethod
    def destination(self, *, read_only: bool = False) -> AbstractContextManager[Destination[Any, Any]]:
        """Return what dlt loads into, or only asks, inside the block."""

    @abstractmethod
    def errors(self) -> AbstractContextManager[None]:
        """Make `WarehouseError` of the engine's own errors inside the block; leave all others."""

    def tend(self, connection: Connection) -> None:
        """Do after a load what keeps the cost of the next one from growing; by default there is nothing to do."""
        return

    def refuse(self, what: str) -> None:
        """Raise SettingError if *what* cannot be done there."""
        if what in self.lacks:
            raise SettingError(
                f"{what} is not for a warehouse in {self.name}.",
                data="nothing was read or written.",
                next_step=self.lacks[what],
            )

    @contextmanager
    def views_needed(self) -> Iterator[None]:
        """Make `WarehouseError` of a question about a view that is not there."""
        try:
            yield
        except MissingTableError as error:
            what = f"the warehouse {self.place}" if self.file else self.place
            raise WarehouseError(
                f"{what} lacks a view: {str(error).splitlines()[0]}",
                data="nothing was written.",
                next_step="make the views with `klaviyo-jobs run` or `klaviyo-jobs views`.",
            ) from error


class Locks(Protocol):
    """Locks that live with a server, each by the label of an account, held as long as the connection to it lasts."""

    def take(self, account: str) -> bool:
        """Take the lock of *account*; tell whether that could be done at once."""

    def holder(self, account: str) -> tuple[bool, str | None]:
        """Tell whether somebody holds the lock of *account*, and what they noted; None if they have not yet."""

    def read_notes(self, accounts: Sequence[str]) -> list[tuple[str, str]]:
        """Return the notes that runs have left of *accounts*, each with its key."""

    def write_note(self, key: str, account: str, text: str) -> None:
        """Leave a note, or change it."""

    def drop_notes(self, keys: Sequence[str]) -> None:
        """Take notes away."""
