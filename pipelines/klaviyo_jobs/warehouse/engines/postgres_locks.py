"""
The locks that a Postgres server keeps: advisory ones, of a connection, free when it ends, however it ends.

In:     a connection.
Out:    a lock for each account, notes of the runs that hold them, and one lock for whoever makes or changes tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from klaviyo_jobs.warehouse.engines.postgres import PostgresConnection

# The first half of the keys of our advisory locks, so that they are nobody else's.
_OF_ACCOUNTS: Final = 0x6B6C6176
_OF_TABLES: Final = _OF_ACCOUNTS + 1
_OF_ROWS: Final = _OF_ACCOUNTS + 2


class PostgresLocks:
    """
    Advisory locks, one an account, and notes of the runs that hold them.

    Args:
        connection: What holds the locks for as long as it lasts.
        schema: Where the notes are, in a table of their own; it is made if it is not there.
    """

    def __init__(self, connection: PostgresConnection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._notes = f"{schema}.run_notes"

    def take(self, account: str) -> bool:
        [(is_taken,)] = self._connection.ask(
            "select pg_try_advisory_lock(%s, hashtext(%s))", _OF_ACCOUNTS, f"{self._schema}/{account}"
        ).fetchall()
        return bool(is_taken)

    def holder(self, account: str) -> tuple[bool, str | None]:
        found = self._connection.ask(
            """
            select pid from pg_locks
            where locktype = 'advisory' and granted and classid::bigint = %s
                and objid::bigint = hashtext(%s)::bigint & 4294967295
                and database = (select oid from pg_database where datname = current_database())
            """,
            _OF_ACCOUNTS,
            f"{self._schema}/{account}",
        ).fetchone()
        if found is None or not self._has_notes():
            return found is not None, None
        # Notes of the dead have a process that the server no longer has, or has for something else since.
        noted = self._connection.ask(
            f"""
            select note from {self._notes}
            where account = %s and backend = %s
                and written_at >= (select backend_start from pg_stat_activity where pid = backend)
            order by written_at desc limit 1
            """,
            account,
            *found,
        ).fetchone()
        return True, noted[0] if noted else None

    def read_notes(self, accounts: Sequence[str]) -> list[tuple[str, str]]:
        if not self._has_notes():
            return []
        found = self._connection.ask(
            f"select note_key, note from {self._notes} where account = any(%s) order by written_at", list(accounts)
        )
        return list(found.fetchall())

    def write_note(self, key: str, account: str, text: str) -> None:
        if not self._has_notes():
            with changing_tables(self._connection):
                self._connection.run_own(f"create schema if not exists {self._schema}")
                self._connection.run_own(
                    f"""
                    create table if not exists {self._notes} (
                        note_key varchar primary key,
                        account varchar,
                        note varchar,
                        backend integer,
                        written_at timestamptz
                    )
                    """
                )
        self._connection.ask(
            f"""
            insert into {self._notes} values (%s, %s, %s, pg_backend_pid(), now())
            on conflict (note_key) do update set note = excluded.note
            """,
            key,
            account,
            text,
        )

    def drop_notes(self, keys: Sequence[str]) -> None:
        if keys and self._has_notes():
            self._connection.ask(f"delete from {self._notes} where note_key = any(%s)", list(keys))

    def _has_notes(self) -> bool:
        return self._connection.ask("select to_regclass(%s)", self._notes).fetchone() != (None,)


@contextmanager
def writing_rows(connection: PostgresConnection) -> Iterator[None]:
    """Be the only one of us that writes; who does so may take long, and is waited for as long as it lives."""
    connection.run_own("set lock_timeout = 0")
    connection.ask("select pg_advisory_lock(%s, 0)", _OF_ROWS)
    try:
        yield
    finally:
        connection.ask("select pg_advisory_unlock(%s, 0)", _OF_ROWS)


@contextmanager
def changing_tables(connection: PostgresConnection) -> Iterator[None]:
    """Be the only one of us that makes or changes tables: two that make the same at the same time both fail."""
    connection.ask("select pg_advisory_lock(%s, 0)", _OF_TABLES)
    try:
        yield
    finally:
        connection.ask("select pg_advisory_unlock(%s, 0)", _OF_TABLES)
