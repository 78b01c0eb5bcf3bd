"""
One run at a time for each warehouse, and a note of every run that did not come to its end.

In:     the path of the warehouse, and what the run is about to read.
Out:    `RunLock`, held while its block lasts; the runs before it that were killed or skipped.
How:    `flock` on a file beside the warehouse, which the system frees when its holder dies, however it dies. The file's
        text tells who holds it and at which step; what a dead holder left in it is the news of its death. Who does not
        get the lock adds a line to a second file, which the next holder reads.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import pendulum

from klaviyo_jobs.errors import LockedError, WarehouseError, find_cause
from klaviyo_jobs.warehouse.engines.duckdb import warehouse_errors
from klaviyo_jobs.warehouse.ledger import RunNote

_RETRY_SECONDS: Final = 0.1


class _LockText(msgspec.Struct):
    """The text of the lock file: its holder, and the ended runs that no ledger tells of yet."""

    holder: RunNote | None = None
    ended: list[RunNote] = []


_decode_text: Final = msgspec.json.Decoder(_LockText).decode
_decode_note: Final = msgspec.json.Decoder(RunNote).decode


def holder_of(warehouse: Path) -> RunNote | None:
    """Return who holds the lock of *warehouse* now, None if nobody does; nothing is waited for or changed."""
    try:
        with _lock_path(warehouse).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _decode_text(file.read()).holder
    except (OSError, msgspec.DecodeError):
        pass
    return None


def _lock_path(warehouse: Path) -> Path:
    return warehouse.with_name(f"{warehouse.name}.lock")


class RunLock:
    """
    The lock of one warehouse.

    Args:
        warehouse: The file it protects; the lock lies beside it as `<name>.lock`.
        listings: Account and kind of each listing that the run is to read.
        wait_seconds: How long to wait for another run to end.
    """

    def __init__(self, warehouse: Path, listings: Sequence[tuple[str, str]], *, wait_seconds: float = 0.0) -> None:
        self._path = _lock_path(warehouse)
        self._skipped_path = warehouse.with_name(f"{warehouse.name}.skipped")
        self._wait_seconds = wait_seconds
        self._descriptor = -1
        self._text = _LockText()
        self.note = RunNote(
            pid=os.getpid(),
            host=socket.gethostname(),
            since=pendulum.now("UTC").isoformat(),
            command=" ".join([Path(sys.argv[0]).name, *(word for word in sys.argv[1:2] if not word.startswith("-"))]),
            listings=list(listings),
        )

    @property
    def ended(self) -> list[RunNote]:
        """Runs before this one that were killed or skipped, and that no ledger tells of yet."""
        return self._text.ended

    def __enter__(self) -> Self:
        try:
            with warehouse_errors(self._path):
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                try:
                    self._take()
                    self._take_over()
                except BaseException:
                    os.close(self._descriptor)
                    raise
        except OSError as error:
            raise WarehouseError(
                f"the lock {self._path} cannot be taken: {error.strerror}.",
                data="nothing was read or written.",
                next_step="change the permissions of the folder, or choose another path with --warehouse.",
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go. What the ledger has not been told of, this run's own failure included, stays noted for the next."""
        if error is not None and self.note.step != "lock":
            ours = find_cause(error)
            self.note.failure = ours.headline if ours else type(error).__name__
            self._text.ended.append(self.note)
        self._text.holder = None
        # A full disk must not hide the error that is on its way.
        with suppress(OSError):
            self._write()
        os.close(self._descriptor)

    def enter_step(self, step: str, run_id: str = "") -> None:
        """Note that the run has got as far as *step*."""
        self.note.step = step
        self.note.run_id = run_id or self.note.run_id
        with suppress(OSError):
            self._write()

    def forget_ended(self) -> None:
        """Drop the ended runs: the ledger tells of them now."""
        self._text.ended = []

    def _take(self) -> None:
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            else:
                return
            if time.monotonic() >= deadline:
                holder = self._read().holder
                self._note_skipped(holder)
                raise LockedError(
                    _described(holder),
                    data="nothing was read or written; the other run goes on.",
                    next_step="wait for it to end, or run with --wait-lock SECONDS.",
                )
            time.sleep(_RETRY_SECONDS)

    def _take_over(self) -> None:
        """Note the runs that ended before this one, then this one as the holder."""
        left = self._read()
        self._text.ended = [*left.ended, *([left.holder] if left.holder else [])]
        self._text.holder = self.note
        self._write()
        self._take_skipped()

    def _note_skipped(self, holder: RunNote | None) -> None:
        self.note.is_skipped = True
        self.note.holder_pid = holder.pid if holder else 0
        with suppress(OSError), self._skipped_path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(msgspec.json.encode(self.note) + b"\n")

    def _take_skipped(self) -> None:
        """Note the skipped runs in the lock file, then empty theirs."""
        with suppress(FileNotFoundError), self._skipped_path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for line in file:
                with suppress(msgspec.DecodeError):
                    self._text.ended.append(_decode_note(line))
            self._write()
            file.truncate(0)

    def _read(self) -> _LockText:
        try:
            return _decode_text(os.pread(self._descriptor, 2**24, 0))
        except msgspec.DecodeError:
            return _LockText()  # new, or cut off by a kill

    def _write(self) -> None:
        text: Any = msgspec.json.encode(self._text)
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))


def _described(holder: RunNote | None) -> str:
    if holder is None:
        return "another run holds the lock of this warehouse."
    return (
        f"another run holds the lock of this warehouse: process {holder.pid} on {holder.host}, "
        f"`{holder.command}`, since {holder.since}, at step {holder.step}."
    )
