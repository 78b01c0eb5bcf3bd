"""A long run on a terminal, and piped: how long it still takes is right, and no control character gets into a file."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import pty
import random
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from klaviyo_sandbox import Job, Sandbox, related_id
from klaviyo_sandbox.limits import RateLimits
from support.loads import NO_WAIT, Warehouse
from support.processes import ENVIRONMENT, command, settings

ROWS, COLUMNS = 24, 80
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def week(count: int) -> Iterator[Job]:
    """So many jobs of categories, spread over nearly seven days; of each, a run reads the detail."""
    chance, now = random.Random(count), dt.datetime.now(dt.UTC)
    for number in range(count):
        at = now - dt.timedelta(days=6.9 * chance.random())
        related = [related_id(f"C{number}")]
        yield Job(
            "category-create",
            f"J{number:04}",
            at,
            completed_at=at,
            completed_count=1,
            total_count=1,
            related_ids=related,
        )


@pytest.fixture
def three_minutes() -> Iterator[Sandbox]:
    """An account that allows a hundred calls a minute, and needs 303."""
    quota = (10, 100)
    with Sandbox("empty", limits=RateLimits(narrow=quota, wide=quota, slow=quota)) as sandbox:
        sandbox.world.add(*week(300))
        yield sandbox


class Screen:
    """The command on a terminal: all that it wrote, and when."""

    columns = COLUMNS

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, self.columns, 0, 0))
        began_at = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "klaviyo_jobs", *arguments],
            cwd=folder,
            env={**without_colour(), "TERM": "xterm-256color", **environment},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        self.written: list[tuple[float, str]] = []
        with suppress(OSError):  # the end of a terminal whose programs have ended
            while more := os.read(controller, 65536):
                self.written.append((time.monotonic() - began_at, more.decode(errors="replace")))
        os.close(controller)
        self.exit_code = process.wait()
        self.seconds = time.monotonic() - began_at
        self.text = "".join(text for _, text in self.written)

    @property
    def last_lines(self) -> list[str]:
        """What stands there when it has ended: all after the drawing was wiped out."""
        last = CONTROL.sub("", self.text.rpartition("\x1b[?25h")[2]).replace("\r", "").strip("\n")
        # A line that is wider than the terminal takes several.
        return [line[at : at + COLUMNS] for line in last.split("\n") for at in range(0, max(len(line), 1), COLUMNS)]


class NarrowScreen(Screen):
    """The same on half the width."""

    columns = COLUMNS // 2


def without_colour() -> dict[str, str]:
    """The environment of tests, in which nothing says how wide a terminal is, or that it has no colours."""
    return {name: value for name, value in ENVIRONMENT.items() if name not in ("COLUMNS", "NO_COLOR")}


@pytest.mark.slow
def test_the_time_left_is_right_within_a_quarter_from_the_first_third_on(
    three_minutes: Sandbox, tmp_path: Path
) -> None:
    """Whatever the run waits for: it goes in bursts of ten seconds, with fifty of waiting between them."""
    screen = Screen(tmp_path, "run", "--kind", "category-create", **settings(three_minutes))
    told = [
        (at, int(minutes) * 60 + int(rest), screen.seconds - at)
        for at, text in screen.written
        for minutes, rest in re.findall(r"about (\d+):(\d\d) left", CONTROL.sub("", text))
    ]
    late = [each for each in told if each[0] > screen.seconds / 3]

    assert screen.exit_code == 0, screen.text
    assert 170 < screen.seconds < 240
    assert len(late) > 100
    # A second for the clock that shows whole ones, and one for loading.
    assert [each for each in late if abs(each[1] - each[2]) > 0.25 * each[2] + 2] == []
    assert re.search(r"waiting   \d+ s for Klaviyo's limit", screen.text)
    assert re.search(r"details .*\d+ of about \d+", screen.text)
    assert re.search(r"details .*300 of 300|details .*\d+ of 300", screen.text)


@pytest.mark.slow
def test_piped_it_tells_the_same_in_plain_lines(three_minutes: Sandbox, tmp_path: Path) -> None:
    """One every ten seconds, with the time left and what it waits for, and no control character anywhere."""
    ended = subprocess.run(
        [sys.executable, "-m", "klaviyo_jobs", "run", "--kind", "category-create"],
        cwd=tmp_path,
        env={**without_colour(), "TERM": "xterm-256color", **settings(three_minutes)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )

    assert ended.stdout == ""
    assert re.findall(r"[^\n\x20-\x7e]", ended.stderr) == []
    assert re.search(
        r"reading: 0 of 1 listings done, .* calls, about \d:\d\d left, waiting \d+ s for Klaviyo's limit\n",
        ended.stderr,
    )


@pytest.fixture
def shop() -> Iterator[Sandbox]:
    """A shop with jobs of all thirteen kinds."""
    with Sandbox("every-kind", clock=dt.datetime.now(dt.UTC), limits=NO_WAIT) as sandbox:
        yield sandbox


def test_the_summary_fits_a_terminal(shop: Sandbox, tmp_path: Path) -> None:
    """Of 24 lines, with two accounts of thirteen kinds; and the next run, which finds nothing, needs two."""
    other = shop.add_account("other", "every-kind")
    keys = {
        "SOURCES__KLAVIYO_JOBS__ACCOUNTS__EU": shop.key,
        "SOURCES__KLAVIYO_JOBS__ACCOUNTS__US": other.key,
        "SOURCES__KLAVIYO_JOBS__BASE_URL": shop.base_url,
    }
    first = Screen(tmp_path, "run", "--kind", "all", **keys)
    shop.world.clear()
    second = Screen(tmp_path, "run", "--kind", "item-create", **keys)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert 15 < len(first.last_lines) <= ROWS
    assert "and 14 more listings with news" in first.last_lines
    assert any(line.startswith("rows written: 780 jobs, ") for line in first.last_lines)
    assert " 0 " not in " ".join(first.last_lines[-6:-3])
    assert second.last_lines[0] == "2 listings without news"


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "a dumb terminal"])
def test_colours_are_left_away_where_they_are_not_wanted(
    shop: Sandbox, tmp_path: Path, variables: dict[str, str]
) -> None:
    """Whatever is drawn: no colour is set."""
    screen = Screen(tmp_path, "run", "--kind", "item-create", **settings(shop), **variables)

    assert screen.exit_code == 0
    assert re.findall(r"\x1b\[[\d;]*3\d[\d;]*m", screen.text) == []


def test_quiet_draws_nothing(shop: Sandbox, tmp_path: Path) -> None:
    """A run that goes well leaves an empty screen."""
    screen = Screen(tmp_path, "--quiet", "run", "--kind", "item-create", **settings(shop))

    assert (screen.exit_code, screen.text) == (0, "")


def test_a_dry_run_is_drawn_too(shop: Sandbox, tmp_path: Path) -> None:
    """With its listings, and piped without a control character."""
    drawn = Screen(tmp_path, "run", "--dry-run", **settings(shop))
    piped = command(tmp_path, "run", "--dry-run", **settings(shop))

    assert (drawn.exit_code, piped.returncode) == (0, 0)
    assert "\x1b[?25l" in drawn.text
    assert "\x1b" not in piped.stdout + piped.stderr


def test_a_row_with_no_room_for_its_columns_is_a_block(warehouse: Warehouse, tmp_path: Path) -> None:
    """A line for each column, and a rule between two rows."""
    named = ", ".join(f"n + {number} as a_column_{number:02}" for number in range(12))

    screen = Screen(tmp_path, "query", f"select {named} from range(2) as t(n)")

    lines = [line.split() for line in CONTROL.sub("", screen.text).splitlines() if line.strip()]
    assert lines == [
        *([f"a_column_{number:02}", f"{number}"] for number in range(12)),
        ["─" * COLUMNS],
        *([f"a_column_{number:02}", f"{number + 1}"] for number in range(12)),
    ]


def test_a_table_that_fits_when_texts_are_folded_keeps_words_whole(warehouse: Warehouse, tmp_path: Path) -> None:
    """The long text is folded, the short ones beside it are not."""
    screen = Screen(tmp_path, "query", "select 'eu-shop' as account, repeat('many words ', 20) as told, 12345 as count")

    lines = [line.split() for line in CONTROL.sub("", screen.text).splitlines() if line.strip()]
    assert lines[0] == ["account", "told", "count"]
    assert (lines[2][0], lines[2][-1]) == ("eu-shop", "12345")
    assert max(len(line) for line in CONTROL.sub("", screen.text).splitlines()) == COLUMNS


def test_a_narrow_terminal_loses_no_column(tmp_path: Path) -> None:
    """Of no table: what has no room is wider than the terminal."""
    screen = NarrowScreen(tmp_path, "demo")

    lines = [line.split() for line in CONTROL.sub("", screen.text).splitlines()]
    assert screen.exit_code == 0
    assert ["kind", "jobs", "failed", "partly", "cancelled", "operations", "share"] in lines
    assert len([line for line in lines if line[:1] == ["category-create"] and line[-1].endswith("%")]) == 1
