"""
One run at a time for each warehouse, or for each account where others may write beside it, and a note of every run that
did not come to its end.

In:     an engine, and what the run is about to read.
Out:    `RunLock`, held while its block lasts; the runs before it that were killed or skipped.
How:    beside a file, `flock`, which the system frees when its holder dies, however it dies. The file's text tells who
        holds it and at which step; what a dead holder left in it is the news of its death. Who does not get the lock
        adds a line to a second file, which the next holder reads.
        With a server, a lock for each account that lasts as long as the connection, and notes in a table; the notes of
        an account whose lock could be taken are of runs that have ended.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import pendulum

from klaviyo_jobs.errors import LockedError, WarehouseError, find_cause
from klaviyo_jobs.warehouse.engines.duckdb import warehouse_errors
from klaviyo_jobs.warehouse.engines.engine import Engine, Locks, RunNote

_RETRY_SECONDS: Final = 0.1
_TRIES_FOR_NOTE: Final = 10


class _LockText(msgspec.Struct):
    """The text of the lock file: its holder, and the ended runs that no ledger tells of yet."""

    holder: RunNote | None = None
    ended: list[RunNote] = []


_decode_text: Final = msgspec.json.Decoder(_LockText).decode
_decode_note: Final = msgspec.json.Decoder(RunNote).decode


def lock_of(engine: Engine, listings: Sequence[tuple[str, str]], *, wait_seconds: float = 0.0) -> RunLock:
    """
    Return the lock of the warehouse of *engine*, not taken yet.

    Args:
        listings: Account and kind of each listing that the run is to read.
        wait_seconds: How long to wait for another run to end.
    """
    if isinstance(place := engine.lock_place(), Path):
        return FileLock(place, listings, wait_seconds=wait_seconds)
    return ServerLock(engine, place, listings, wait_seconds=wait_seconds)


def holders_of(engine: Engine, accounts: Sequence[str]) -> list[RunNote]:
    """Return who holds the lock of the warehouse, or those of *accounts*, now; nothing is waited for or changed."""
    if isinstance(place := engine.lock_place(), Path):
        holder = _holder_of(place)
        return [] if holder is None else [holder]
    with place as locks:
        texts = [text for _, text in map(locks.holder, accounts) if text is not None]
    return [note for note in map(_note_of, texts) if note is not None]


def _holder_of(warehouse: Path) -> RunNote | None:
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


class RunLock(ABC):
    """
    A lock, and what it knows of runs.

    Attributes:
        note: This run.
        ended: Runs before this one that were killed or skipped, and that no ledger tells of yet.
    """

    def __init__(self, listings: Sequence[tuple[str, str]], wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self.ended: list[RunNote] = []
        self.note = RunNote(
            pid=os.getpid(),
            host=socket.gethostname(),
            since=pendulum.now("UTC").isoformat(),
            command=" ".join([Path(sys.argv[0]).name, *(word for word in sys.argv[1:2] if not word.startswith("-"))]),
            listings=list(listings),
        )

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go. What the ledger has not been told of, this run's own failure included, stays noted for the next."""
        has_failed = error is not None and self.note.step != "lock"
        if error is not None and has_failed:
            ours = find_cause(error)
            self.note.failure = ours.headline if ours else type(error).__name__
        self._leave(has_failed=has_failed)

    def enter_step(self, step: str, run_id: str = "") -> None:
        """Note that the run has got as far as *step*."""
        self.note.step = step
        self.note.run_id = run_id or self.note.run_id
        self._write()

    def forget_ended(self) -> None:
        """Drop the ended runs: the ledger tells of them now."""
        self.ended = []

    @abstractmethod
    def _enter(self) -> None:
        """Take the lock, and over what ended runs have left."""

    @abstractmethod
    def _leave(self, *, has_failed: bool) -> None:
        """Let go of the lock; a run that *has_failed* stays noted."""

    @abstractmethod
    def _write(self) -> None:
        """Write down what is known of runs."""

    @abstractmethod
    def _try(self) -> bool:
        """Take the lock if nobody holds it; tell whether it is held now."""

    @abstractmethod
    def _note_skipped(self) -> RunNote | None:
        """Leave a note that this run found the lock taken; return who holds it, if that is known."""

    def _take(self) -> None:
        """Take the lock, or wait for it as long as was asked for."""
        deadline = time.monotonic() + self._wait_seconds
        while not self._try():
            if time.monotonic() >= deadline:
                self.note.is_skipped = True
                raise LockedError(
                    _described(self._note_skipped()),
                    data="nothing was read or written; the other run goes on.",
                    next_step="wait for it to end, or run with --wait-lock SECONDS.",
                )
            time.sleep(_RETRY_SECONDS)


class FileLock(RunLock):
    """
    The lock of one warehouse.

    Args:
        warehouse: The file it protects; the lock lies beside it as `<name>.lock`.
        listings: Account and kind of each listing that the run is to read.
        wait_seconds: How long to wait for another run to end.
    """

    def __init__(self, warehouse: Path, listings: Sequence[tuple[str, str]], *, wait_seconds: float = 0.0) -> None:
        super().__init__(listings, wait_seconds)
        self._path = _lock_path(warehouse)
        self._skipped_path = warehouse.with_name(f"{warehouse.name}.skipped")
        self._descriptor = -1

    def _enter(self) -> None:
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

    def _leave(self, *, has_failed: bool) -> None:
        if has_failed:
            self.ended.append(self.note)
        self._write_text(None)
        os.close(self._descriptor)

    def _write(self) -> None:
        self._write_text(self.note)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            return False
        return True

    def _take_over(self) -> None:
        """Note the runs that ended before this one, then this one as the holder."""
        left = self._read()
        self.ended = [*left.ended, *([left.holder] if left.holder else [])]
        self._write_text(self.note, may_fail=False)
        # Those that were skipped, in the same file; then theirs is emptied.
        with suppress(FileNotFoundError), self._skipped_path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for line in file:
                with suppress(msgspec.DecodeError):
                    self.ended.append(_decode_note(line))
            self._write_text(self.note, may_fail=False)
            file.truncate(0)

    def _note_skipped(self) -> RunNote | None:
        holder = self._read().holder
        self.note.holder_pid = holder.pid if holder else 0
        with suppress(OSError), self._skipped_path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(msgspec.json.encode(self.note) + b"\n")
        return holder

    def _read(self) -> _LockText:
        try:
            return _decode_text(os.pread(self._descriptor, 2**24, 0))
        except msgspec.DecodeError:
            return _LockText()  # new, or cut off by a kill

    def _write_text(self, holder: RunNote | None, *, may_fail: bool = True) -> None:
        text: Any = msgspec.json.encode(_LockText(holder, self.ended))
        # A full disk must not hide the error that is on its way.
        with suppress(*([OSError] if may_fail else [])):
            os.pwrite(self._descriptor, text, 0)
            os.ftruncate(self._descriptor, len(text))


class ServerLock(RunLock):
    """
    The locks of some accounts in a warehouse that a server keeps.

    Args:
        engine: Where the warehouse is.
        server: What connects to the server that keeps the locks.
        listings: Account and kind of each listing that the run is to read.
        wait_seconds: How long to wait for other runs to end.
    """

    def __init__(
        self, engine: Engine, server: Any, listings: Sequence[tuple[str, str]], *, wait_seconds: float = 0.0
    ) -> None:
        super().__init__(listings, wait_seconds)
        self._engine = engine
        self._server = server
        self._stack = ExitStack()
        self._locks: Locks
        self._listings: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for account, kind in listings:
            self._listings[account].append((account, kind))
        # One after the other in the same order in every run, so that two cannot wait for each other.
        self._waiting = sorted(self._listings)
        self._own_keys = {account: f"{uuid.uuid4()}" for account in self._listings}
        self._taken_keys: list[str] = []

    def _enter(self) -> None:
        with self._engine.errors(), ExitStack() as stack:
            self._locks = stack.enter_context(self._server)
            self._take()
            for key, text in self._locks.read_notes(list(self._listings)):
                self._taken_keys.append(key)
                if (note := _note_of(text)) is not None:
                    self.ended.append(note)
            self._write()
            self._stack = stack.pop_all()

    def _leave(self, *, has_failed: bool) -> None:
        # Nothing said here must hide the error that is on its way.
        with self._stack, suppress(WarehouseError), self._engine.errors():
            if has_failed:
                self._write()
            else:
                self._locks.drop_notes(list(self._own_keys.values()))

    def forget_ended(self) -> None:
        self._locks.drop_notes(self._taken_keys)
        super().forget_ended()

    def _write(self) -> None:
        # One for each account, as others may ask for some of them only. It fails if the connection is lost, and with
        # it the lock: the run must not go on.
        with self._engine.errors():
            for account, key in self._own_keys.items():
                self._locks.write_note(key, account, self._text(account))

    def _try(self) -> bool:
        while self._waiting and self._locks.take(self._waiting[0]):
            self._waiting.pop(0)
        return not self._waiting

    def _note_skipped(self) -> RunNote | None:
        locks, holder = self._locks, None
        # Who has taken it a moment ago may not have said so yet.
        for _ in range(_TRIES_FOR_NOTE):
            is_held, text = locks.holder(self._waiting[0])
            holder = _note_of(text) if text else None
            if holder is not None or not is_held:
                break
            time.sleep(_RETRY_SECONDS)
        self.note.holder_pid = holder.pid if holder else 0
        for account, key in self._own_keys.items():
            locks.write_note(key, account, self._text(account))
        return holder

    def _text(self, account: str) -> str:
        note = msgspec.structs.replace(self.note, listings=self._listings[account])
        return msgspec.json.encode(note).decode()


def _note_of(text: str) -> RunNote | None:
    try:
        return _decode_note(text.encode())
    except msgspec.DecodeError:
        return None  # of another version


def _described(holder: RunNote | None) -> str:
    if holder is None:
        return "another run holds the lock of this warehouse."
    return (
        f"another run holds the lock of this warehouse: process {holder.pid} on {holder.host}, "
        f"`{holder.command}`, since {holder.since}, at step {holder.step}."
    )
