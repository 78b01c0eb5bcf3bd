"""The page, as a file: what its rows say, what it is made of, and where it is written. tests/page opens it in a browser."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from klaviyo_jobs.errors import SettingError, WarehouseError
from klaviyo_jobs.model.kinds import DEFAULT_KINDS
from klaviyo_jobs.monitor.page import contents as contents_module
from klaviyo_jobs.monitor.page.charts import CHARTS
from klaviyo_jobs.monitor.page.contents import dumped, read_contents
from klaviyo_jobs.monitor.page.html import check_page, render_page, scripts_of, write_page
from klaviyo_jobs.settings import CheckSettings
from klaviyo_jobs.warehouse.engines.duckdb_engine import DuckDBFile
from klaviyo_sandbox import Job, JobError, Sandbox
from support.loads import Load, Warehouse
from support.processes import ENVIRONMENT, command, settings, started

# What is no text of a page: it would end the script that it stands in, or begin another.
HOSTILE = "</script><script>document.title='owned'</script><!--"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Two accounts with the demo's week, which ends now, and an error that means no good."""
    now = datetime.now(UTC)
    with Sandbox("demo", clock=now) as sandbox:
        sandbox.add_account("us", "demo")
        errors = [JobError(HOSTILE, related_id="$custom:::$default:::SKU-0001")]
        sandbox.world.add(
            Job("item-update", "HOSTILE", now - timedelta(hours=1), failed_count=1, total_count=1, errors=errors)
        )
        shop = Warehouse(tmp_path_factory.mktemp("shop") / "shop.duckdb")
        Load(sandbox, shop)(api_key=None, accounts={label: account.key for label, account in sandbox.accounts.items()})
    return shop


@pytest.fixture(scope="module")
def shown(shop: Warehouse) -> dict[str, Any]:
    """What the page shows of it, of thirty days."""
    return contents_of(shop)


def contents_of(warehouse: Warehouse, days: int = 30, **options: Any) -> dict[str, Any]:
    """What the page shows of *warehouse*."""
    with DuckDBFile(warehouse.path).open(read_only=True) as connection:
        return read_contents(connection, days, CheckSettings(), kinds=DEFAULT_KINDS, **options)


def rows_of(shown: dict[str, Any], name: str, *columns: str) -> list[tuple[Any, ...]]:
    """The rows of a dataset, in *columns*."""
    places = [shown[name]["columns"].index(column) for column in columns]
    return [tuple(row[place] for place in places) for row in shown[name]["rows"]]


# What it says.


@pytest.mark.parametrize(
    ("name", "query"),
    [
        (
            "throughput",
            """
            select account, job_kind, cast(day as varchar), jobs_finished, operations_completed, operations_failed
            from klaviyo.job_throughput_daily where jobs_created + jobs_finished > 0 order by all
            """,
        ),
        (
            "rates",
            """
            select account, job_kind, cast(day as varchar), jobs_complete, operations_total, operations_failed
            from klaviyo.job_failure_rates_daily where jobs_complete + jobs_cancelled > 0 order by all
            """,
        ),
        (
            "hours",
            """
            select account, job_kind, cast(day as varchar), hour, jobs_finished, operations_failed
            from klaviyo.job_throughput_hourly where jobs_finished > 0 order by all
            """,
        ),
        (
            "errors",
            """
            select account, job_kind, cast(day as varchar), fingerprint, occurrences, jobs
            from klaviyo.error_trend_daily order by all
            """,
        ),
        (
            "in_progress",
            "select account, job_kind, jobs_in_progress, limit_count from klaviyo.jobs_in_progress order by all",
        ),
    ],
)
def test_its_rows_are_those_of_the_views(shop: Warehouse, shown: dict[str, Any], name: str, query: str) -> None:
    """Row by row and value by value, but for those that count nothing."""
    columns = {
        "throughput": ("account", "job_kind", "day", "jobs_finished", "operations_completed", "operations_failed"),
        "rates": ("account", "job_kind", "day", "jobs_complete", "operations_total", "operations_failed"),
        "hours": ("account", "job_kind", "day", "hour", "jobs_finished", "operations_failed"),
        "errors": ("account", "job_kind", "day", "fingerprint", "occurrences", "jobs"),
        "in_progress": ("account", "job_kind", "jobs_in_progress", "limit_count"),
    }[name]
    expected = shop.rows(query)

    assert len(expected) > 10
    assert sorted(rows_of(shown, name, *columns)) == expected


@pytest.mark.parametrize(
    "of", [("account", "job_kind"), ("account",), ("job_kind",), ()], ids=["both", "an account", "a kind", "all"]
)
def test_quantiles_are_those_of_each_choice(shop: Warehouse, shown: dict[str, Any], of: tuple[str, ...]) -> None:
    """They do not add up: each account and kind, and all of them, have their own."""
    account, kind = ("account" if "account" in of else "''"), ("job_kind" if "job_kind" in of else "''")
    expected = shop.rows(
        f"""
        select {account}, {kind}, cast(ended_on as varchar), count(*),
            round(quantile_cont(duration_seconds, 0.5), 3), round(quantile_cont(duration_seconds, 0.95), 3)
        from klaviyo.jobs where is_finished and duration_seconds is not null
        group by all order by all
        """
    )
    columns = ("account", "job_kind", "day", "jobs_finished", "p50_seconds", "p95_seconds")
    found = [
        row
        for row in rows_of(shown, "latency", *columns)
        if (row[0] != "") == ("account" in of) and (row[1] != "") == ("job_kind" in of)
    ]

    assert sorted(found) == [
        (*row[:4], pytest.approx(row[4], abs=2e-3), pytest.approx(row[5], abs=2e-3)) for row in expected
    ]


def test_what_fails_has_its_history(shop: Warehouse, shown: dict[str, Any]) -> None:
    """The first is the one that failed most, and all that is known of it is there."""
    account, related_id, failures = rows_of(shown, "failing", "account", "related_id", "failures")[0]
    events = [row for row in rows_of(shown, "events", "account", "related_id", "result") if row[1] == related_id]

    assert [(account, failures)] == shop.rows(
        "select account, failures from klaviyo.failing_entities where related_id = ? and not is_repaired "
        "order by failures desc, last_failed_utc desc, account limit 1",
        related_id,
    )
    assert sorted(events) == shop.rows(
        "select account, related_id, result from klaviyo.entity_history where related_id = ? order by all", related_id
    )


def test_an_error_that_was_there_before_the_days_shown_is_not_new(tmp_path: Path) -> None:
    """Of both, the page says whether there was one before; it has no rows of that time."""
    now = datetime.now(UTC)
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    with Sandbox("empty", clock=now) as sandbox:
        for number, (hours, detail) in enumerate([(150, "Old."), (2, "Old."), (1, "New.")]):
            errors = [JobError(detail, related_id="A")]
            at = now - timedelta(hours=hours)
            sandbox.world.add(
                Job("item-create", f"J{number}", at, completed_at=at, failed_count=1, total_count=1, errors=errors)
            )
        Load(sandbox, warehouse)()
    shown = contents_of(warehouse, days=3)

    assert sorted(rows_of(shown, "errors", "fingerprint", "occurrences", "is_older")) == [
        ("New.", 1, 0),
        ("Old.", 1, 1),
    ]


def test_no_day_before_those_asked_for_is_shown(shop: Warehouse, shown: dict[str, Any]) -> None:
    """Three days are today and the two before."""
    few = contents_of(shop, days=3)
    days = {
        day for name in ("throughput", "rates", "hours", "latency", "errors") for (day,) in rows_of(few, name, "day")
    }

    assert few["since"] == (datetime.now(UTC).date() - timedelta(days=2)).isoformat()
    assert (min(days) >= few["since"], len(days)) == (True, 3)
    assert len(few["throughput"]["rows"]) < len(shown["throughput"]["rows"])


@pytest.mark.parametrize(("age", "days"), [(2, 7), (12, 13), (40, 30)])
def test_a_young_warehouse_is_shown_from_its_first_day_on(tmp_path: Path, age: int, days: int) -> None:
    """Empty days before that would look as if nothing had been pushed; the seven that Klaviyo lists are the least."""
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    at = datetime.now(UTC) - timedelta(days=age)
    with Sandbox("empty", clock=at) as sandbox:
        sandbox.world.add(Job("item-create", "FIRST", at, completed_at=at, completed_count=1, total_count=1))
        Load(sandbox, warehouse)()

    shown = contents_of(warehouse)

    assert (shown["days"], shown["wanted_days"]) == (days, days)
    assert shown["since"] == (datetime.now(UTC).date() - timedelta(days=days - 1)).isoformat()


def test_days_that_do_not_fit_are_left_out_and_this_is_said(shop: Warehouse, shown: dict[str, Any]) -> None:
    """The oldest go first; what is shown of the others stays whole."""
    room = len(dumped(shown)) * 2 // 3
    less = contents_of(shop, max_bytes=room)
    kept = [row for row in rows_of(shown, "rates", "day", "job_kind", "account") if row[0] >= less["since"]]

    assert len(dumped(less)) <= room
    assert 1 <= less["days"] < less["wanted_days"] == shown["days"]
    assert kept
    assert rows_of(less, "rates", "day", "job_kind", "account") == kept


# What it is.


class Tags(HTMLParser):
    """Collects the tags of a page, with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_a_page_is_one_file_that_names_no_other(shown: dict[str, Any]) -> None:
    """Below 3 MB, with a policy that lets a browser fetch nothing."""
    page = render_page(shown)
    tags = Tags()
    tags.feed(page)

    assert len(page.encode()) < 3_000_000
    assert [tag for tag, attributes in tags.tags if {"src", "href"} & set(attributes)] == []
    assert "default-src 'none'" in page
    assert not re.search(r"\{\{\w+\}\}", page)


def test_no_text_of_klaviyos_becomes_a_part_of_the_page(shown: dict[str, Any]) -> None:
    """It stands in a script of data, where no tag begins."""
    page = render_page(shown)

    assert HOSTILE not in page
    assert json.loads(dumped({"detail": HOSTILE + "\u2028"})) == {"detail": HOSTILE + "\u2028"}
    assert any(HOSTILE in str(row) for row in shown["failing"]["rows"] + shown["events"]["rows"])


def test_every_chart_draws_the_rows_that_the_page_gives_it() -> None:
    """Altair finds each well made; each has its own name, which `page.js` knows."""
    described = [chart.described() for chart in CHARTS]
    script = (Path(contents_module.__file__).with_name("page.js")).read_text(encoding="utf-8")

    assert len({chart["name"] for chart in described}) == len(described) == 8
    assert [chart["name"] for chart in described if '"name": "rows"' not in json.dumps(chart["spec"])] == []
    assert [chart["name"] for chart in described if f"\n  {chart['name']}() {{" not in script] == []


def test_the_scripts_of_the_page_before_are_used_again(shown: dict[str, Any], tmp_path: Path) -> None:
    """To put them together takes longer than all the rest; those of another version are not."""
    path = tmp_path / "page.html"
    write_page(path, shown)
    scripts = scripts_of(path)

    assert scripts is not None
    assert "vegaEmbed" in scripts[1]
    assert render_page(shown, scripts) == path.read_text()
    assert render_page(shown, ("vl-convert-python 0", "old")) == path.read_text()


# Where it is written.


def test_a_page_is_replaced_as_a_whole(shown: dict[str, Any], tmp_path: Path) -> None:
    """A reader who has the old one open keeps it; its mode stays, and nothing else is left in the folder."""
    path = tmp_path / "page.html"
    path.write_text("old")
    path.chmod(0o640)
    with path.open() as reader:
        size = write_page(path, shown)
        assert reader.read() == "old"

    assert size == path.stat().st_size
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_what_a_killed_run_left_beside_the_page_goes_with_the_next(shown: dict[str, Any], tmp_path: Path) -> None:
    """Half a page that a kill in the middle of writing leaves would stay for ever."""
    (tmp_path / ".page.html.x1y2z3.new").write_text("half")
    write_page(tmp_path / "page.html", shown)

    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_a_page_is_written_though_somebody_else_has_locked_its_folder(shown: dict[str, Any], tmp_path: Path) -> None:
    """As `flock FOLDER klaviyo-jobs run` does, which would wait for itself; what may be another's is left alone."""
    (tmp_path / ".page.html.x1y2z3.new").write_text("half")
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)

    write_page(tmp_path / "page.html", shown)
    os.close(folder)

    assert sorted(each.name for each in tmp_path.iterdir()) == [".page.html.x1y2z3.new", "page.html"]


def test_where_a_page_is_a_link_its_end_is_written(shown: dict[str, Any], tmp_path: Path) -> None:
    """So that a web server's folder can hold the link."""
    (tmp_path / "data").mkdir()
    (tmp_path / "page.html").symlink_to(tmp_path / "data" / "real.html")
    write_page(tmp_path / "page.html", shown)

    assert (tmp_path / "page.html").is_symlink()
    assert (tmp_path / "data" / "real.html").stat().st_size > 900_000


def _no_folder(folder: Path) -> Path:
    return folder / "missing" / "page.html"


def _a_folder(folder: Path) -> Path:
    return folder


@pytest.mark.parametrize(
    ("place", "words"), [(_no_folder, "there is no folder"), (_a_folder, "is a folder")], ids=["no folder", "a folder"]
)
def test_a_place_that_is_none_is_refused_before_anything_is_read(
    place: Callable[[Path], Path], words: str, tmp_path: Path
) -> None:
    """With what to do instead."""
    with pytest.raises(SettingError, match=words):
        check_page(place(tmp_path))


@pytest.mark.parametrize("name", ["warehouse.duckdb", "notes.md", "secrets.toml"])
def test_no_other_file_is_replaced_by_a_page(name: str, tmp_path: Path) -> None:
    """Neither one that is there nor the warehouse that is yet to be made; a page is, and an empty file."""
    place = tmp_path / name
    if name != "warehouse.duckdb":
        place.write_text("something else")

    with pytest.raises(SettingError, match="would replace a file that is no page of ours"):
        check_page(place, tmp_path / "warehouse.duckdb")


def test_a_page_of_before_is_replaced(shown: dict[str, Any], tmp_path: Path) -> None:
    """So is a file without content."""
    write_page(tmp_path / "page.html", shown)
    (tmp_path / "empty.html").touch()

    check_page(tmp_path / "page.html", tmp_path / "warehouse.duckdb", None)
    check_page(tmp_path / "empty.html")


def test_what_is_acknowledged_is_no_breach_on_the_page(sandbox: Sandbox, tmp_path: Path) -> None:
    """Nor in the first line of the report: both say what check says."""
    strict = {"SOURCES__KLAVIYO_JOBS__MAX_FAILED_SHARE": "0.001"}
    command(tmp_path, "run", **settings(sandbox))
    told = [command(tmp_path, "report", **strict).stdout.splitlines()[0]]
    command(tmp_path, "check", "--acknowledge", **strict)
    told.append(command(tmp_path, "report", **strict).stdout.splitlines()[0])
    command(tmp_path, "report", "--html", "page.html", **strict)
    page = (tmp_path / "page.html").read_text()
    contents = json.loads(page.partition('id="contents">')[2].partition("</script>")[0])

    assert [line[:4] for line in told] == ["FAIL", "ok  "]
    assert contents["breach_count"] == 0


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError) as caught:
        check_page(tmp_path / "page.html")

    assert 'pip install "klaviyo-jobs[report]"' in str(caught.value.next_step)


def test_a_page_that_cannot_be_written_leaves_the_old_one(shown: dict[str, Any], tmp_path: Path) -> None:
    """A name that is too long for the file system, which nobody can know before."""
    with pytest.raises(WarehouseError, match="File name too long"):
        write_page(tmp_path / f"{'a' * 300}.html", shown)

    assert list(tmp_path.iterdir()) == []


# The command, and a run.


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """The demo's week, which ends now."""
    with Sandbox("demo", clock=datetime.now(UTC)) as sandbox:
        yield sandbox


def test_the_report_writes_a_page_and_says_where(shop: Warehouse, tmp_path: Path) -> None:
    """As an address that a terminal lets one open."""
    ended = command(tmp_path, "report", "--html", "page.html", "--warehouse", str(shop.path))

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{(tmp_path / 'page.html').as_uri()} (1.0 MB)\n"
    assert (tmp_path / "page.html").stat().st_size > 900_000


def test_each_run_writes_the_page_that_the_settings_name(sandbox: Sandbox, tmp_path: Path) -> None:
    """With what it has just loaded, and without a key."""
    environment = {**settings(sandbox), "SOURCES__KLAVIYO_JOBS__REPORT_PAGE": "page.html"}
    ended = command(tmp_path, "run", "--kind", "item-update", **environment)
    page = (tmp_path / "page.html").read_text()
    before = json.loads(page.partition('id="contents">')[2].partition("</script>")[0])
    command(tmp_path, "run", **environment)
    page = (tmp_path / "page.html").read_text()
    after = json.loads(page.partition('id="contents">')[2].partition("</script>")[0])

    assert ended.returncode == 0, ended.stderr
    assert {row[1] for row in before["freshness"]["rows"]} == {"item-update"}
    assert {row[1] for row in after["freshness"]["rows"]} == set(DEFAULT_KINDS)
    assert sandbox.key not in page


def test_a_run_that_is_killed_while_it_writes_the_page_leaves_a_whole_one(sandbox: Sandbox, tmp_path: Path) -> None:
    """What it has loaded is loaded, and the next run writes the page anew."""
    environment = {**settings(sandbox), "SOURCES__KLAVIYO_JOBS__REPORT_PAGE": "page.html"}
    command(tmp_path, "run", "--kind", "item-update", **environment)
    before = (tmp_path / "page.html").read_bytes()
    with started(tmp_path, "run", "--verbose", environment={**ENVIRONMENT, **environment}) as killed:
        killed.wait_for_log("step page")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    after = (tmp_path / "page.html").read_text()
    ended = command(tmp_path, "run", **environment)

    assert killed.returncode == -signal.SIGKILL
    assert (after[:15], after[-8:]) == ("<!doctype html>", "\n</html>")
    assert ended.returncode == 0, ended.stderr
    assert "0 new or changed" in ended.stderr
    assert (tmp_path / "page.html").read_bytes() != before


def test_a_run_whose_page_has_no_place_reads_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """It ends as any other wrong setting does."""
    environment = {**settings(sandbox), "SOURCES__KLAVIYO_JOBS__REPORT_PAGE": "missing/page.html"}
    ended = command(tmp_path, "run", **environment)

    assert ended.returncode == 2
    assert "there is no folder" in ended.stderr
    assert sandbox.requests == []
    assert not (tmp_path / "warehouse.duckdb").exists()
