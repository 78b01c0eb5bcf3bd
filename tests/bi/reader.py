"""
What every recipe of docs/bi.md ends with under test: tell the rows, then keep the copy open until told to go on.

Runs in the environments of the tools, which hold nothing of this project, so it needs the standard library only.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

# Lines that begin with this are for `run_bi_checks.py`; a tool may print others.
MARK = "@@"


def hold(result: Any, count: Callable[[], Any]) -> None:
    """Tell the rows of *result*, wait for a line, and tell what *count* says over the connection that is still open."""
    tell(rows_of(result))
    sys.stdin.readline()
    tell(int(count()))


def count_of(engine: Any) -> Any:
    """How many jobs an engine of SQLAlchemy sees."""
    with engine.connect() as connection:
        return connection.exec_driver_sql("select count(*) from klaviyo.jobs").scalar()


def tell(value: Any) -> None:
    """Write *value* for the runner to read."""
    print(f"{MARK}{json.dumps(value)}", flush=True)  # noqa: T201


def rows_of(result: Any) -> list[list[Any]]:
    """The rows of a frame of pandas or polars, an Arrow table, or anything that yields rows."""
    rows: Iterable[Any]
    if hasattr(result, "itertuples"):
        rows = result.itertuples(index=False, name=None)
    elif hasattr(result, "to_pylist"):
        rows = (row.values() for row in result.to_pylist())
    elif callable(getattr(result, "rows", None)):
        rows = result.rows()
    else:
        rows = result
    return [[_plain(value) for value in row] for row in rows]


def _plain(value: Any) -> Any:
    """*value* as JSON has it: a date or a time at midnight as its day, a time as it is, with no zone added."""
    if isinstance(value, dt.datetime):
        assert value.tzinfo is None, f"{value!r} has a zone"
        return value.isoformat(sep=" ").removesuffix(" 00:00:00")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value.item() if hasattr(value, "item") else value
