"""
The DuckDB command line: what the block of docs/bi.md answers, and a session that stays open.

    python cli_check.py BLOCK
"""

from __future__ import annotations

import csv
import subprocess
import sys

import reader  # type: ignore[import-not-found, unused-ignore]

COUNT = "select count(*) from klaviyo.jobs;\n"


class Session:
    """`duckdb -readonly` with the copy open, fed line by line."""

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            ["duckdb", "-readonly", "-csv", "-noheader", "bi.duckdb"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def count(self) -> int:
        """How many jobs this session sees."""
        assert self._program.stdin
        assert self._program.stdout
        self._program.stdin.write(COUNT)
        self._program.stdin.flush()
        return int(self._program.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._program.communicate("")


def main(block: str) -> None:
    """Run *block*, keep a session open, and begin another."""
    answer = subprocess.run(["bash", "-euc", block], stdout=subprocess.PIPE, text=True, check=True).stdout
    session = Session()
    session.count()
    reader.hold(list(csv.reader(answer.splitlines()))[1:], session.count)
    session.close()
    session = Session()
    reader.tell(session.count())
    session.close()


if __name__ == "__main__":
    main(sys.argv[1])
