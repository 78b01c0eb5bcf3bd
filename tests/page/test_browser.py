"""The page in a real browser: what it shows is what SQL says, whatever is chosen; nothing is fetched, nothing breaks."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from klaviyo_sandbox import Job, JobError, Sandbox
from support.loads import Load, Warehouse
from support.processes import command
from support.waiting import wait_until

HISTORY = Path(__file__).parents[2] / "benchmarks" / "history.py"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"> & </script><script>document.title='owned'</script>"
CHARTS = ("operations", "failed_share", "kinds", "hours", "latency", "rates", "errors", "events")
SIZES = [(1440, 900), (390, 844)]


class Shown:
    """A page that is open, and all that it said and asked for."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.address = address
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        self.open(address)

    def open(self, address: str) -> None:
        """Open *address*, and wait until all is drawn."""
        self.page.goto(address)
        self.page.wait_for_selector("body[data-shown]")

    def choose(self, **filters: str) -> None:
        """Choose by the form, as a person does, and wait until it is drawn."""
        for name, value in filters.items():
            field = self.page.locator(f"#{name}")
            if name in ("account", "kind"):
                field.select_option(value)
            else:
                field.fill(value)
        wait_until(lambda: all(self.chosen[name] == value for name, value in filters.items()), seconds=20)

    @property
    def chosen(self) -> dict[str, str]:
        """The filters for which all is drawn."""
        found: dict[str, str] = self.page.evaluate("JSON.parse(document.body.dataset.shown)")
        return found

    def figure(self, name: str) -> str:
        """The number in the box of this name."""
        box = self.page.locator(f"#figures dt:text-is('{name}') + dd")
        found: str = box.evaluate("box => box.firstChild.data")
        return found

    def table(self, chart: str) -> list[list[str]]:
        """The cells of the table below *chart*."""
        found: list[list[str]] = self.page.locator(f"#chart-{chart} tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )
        return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Two accounts of different content, a week long, and an error that means no good."""
    now = datetime.now(UTC)
    with Sandbox("demo", clock=now) as sandbox:
        sandbox.add_account("us", "full")
        errors = [JobError(HOSTILE, related_id="$custom:::$default:::SKU-0001")]
        at = now - timedelta(hours=1)
        sandbox.world.add(
            Job("item-update", "HOSTILE", at, completed_at=at, failed_count=1, total_count=1, errors=errors)
        )
        shop = Warehouse(tmp_path_factory.mktemp("shop") / "shop.duckdb")
        Load(sandbox, shop)(api_key=None, accounts={name: account.key for name, account in sandbox.accounts.items()})
    return shop


def page_of(warehouse: Warehouse, *arguments: str, **environment: str) -> Path:
    """Its page, as the command writes it."""
    path = warehouse.path.with_suffix(".html")
    words = ("report", "--html", str(path), "--warehouse", str(warehouse.path), *arguments)
    ended = command(warehouse.path.parent, *words, **environment)
    assert ended.returncode == 0, ended.stderr
    return path


@pytest.fixture(scope="module")
def file(shop: Warehouse) -> Path:
    """The page of the shop."""
    return page_of(shop)


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Shown]]:
    """Opens a file in a window."""
    pages: list[Any] = []

    def open_file(path: Path, size: tuple[int, int] = SIZES[0], **options: Any) -> Shown:
        pages.append(browser.new_page(viewport={"width": size[0], "height": size[1]}, **options))
        return Shown(pages[-1], path.as_uri())

    yield open_file
    for page in pages:
        page.close()


# Numbers.


@pytest.mark.parametrize(
    ("account", "kind", "first", "last"),
    [
        ("", "", 29, 0),
        ("us", "", 29, 0),
        ("", "item-create", 29, 0),
        ("default", "category-create", 5, 2),
        ("us", "", 0, 0),
    ],
    ids=["all", "an account", "a kind", "both, and days", "today"],
)
def test_the_numbers_are_those_of_sql(
    shop: Warehouse, file: Path, show: Callable[..., Shown], account: str, kind: str, first: int, last: int
) -> None:
    """Figures, days, kinds and quantiles, for each choice of account, kind and days."""
    today = datetime.now(UTC).date()
    since, until = str(today - timedelta(days=first)), str(today - timedelta(days=last))
    values = [account, account, kind, kind, since, until]
    where = "(? = '' or account = ?) and (? = '' or job_kind = ?) and day between cast(? as date) and cast(? as date)"
    finished, done, failed = shop.rows(
        f"""
        select coalesce(sum(jobs_finished), 0), coalesce(sum(operations_completed), 0), coalesce(sum(operations_failed), 0)
        from klaviyo.job_throughput_daily where {where}
        """,
        *values,
    )[0]
    [(failures, share)] = shop.rows(
        f"""
        select coalesce(sum(operations_failed), 0), sum(operations_failed) / nullif(sum(operations_total), 0)
        from klaviyo.job_failure_rates_daily where {where}
        """,
        *values,
    )
    kinds = shop.rows(
        f"""
        select job_kind, sum(jobs_complete)::int, sum(operations_total)::int, sum(operations_failed)::int
        from klaviyo.job_failure_rates_daily where {where}
        group by job_kind having sum(jobs_complete + jobs_cancelled) > 0 order by job_kind
        """,
        *values,
    )
    quantiles = shop.rows(
        f"""
        select cast(ended_on as varchar), count(*), quantile_cont(duration_seconds, 0.5),
            quantile_cont(duration_seconds, 0.95), quantile_cont(duration_seconds, 0.99)
        from klaviyo.jobs where is_finished and duration_seconds is not null and {where.replace("day", "ended_on")}
        group by ended_on order by ended_on desc
        """,
        *values,
    )
    shown = show(file)
    shown.choose(account=account, kind=kind, **{"from": since}, to=until)
    days = shown.table("operations")

    def number(text: str) -> float:
        return float(text.replace(",", ""))

    assert shown.figure("Jobs finished") == f"{finished:,}"
    assert shown.figure("Operations failed") == f"{failures:,}"
    assert shown.figure("Failed share") == ("none" if share is None else f"{share * 100:.1f}%")
    assert len(days) == first - last + 1
    assert [sum(number(day[place]) for day in days) for place in (2, 3, 4)] == [finished, done, failed]
    assert sorted((row[0], number(row[1]), number(row[5]), number(row[6])) for row in shown.table("rates")) == kinds
    assert [(row[0], number(row[1]), *map(number, row[2:5])) for row in shown.table("latency")] == [
        (*row[:2], *(pytest.approx(value, abs=0.06) for value in row[2:])) for row in quantiles
    ]


def test_errors_and_what_fails_are_those_of_sql(shop: Warehouse, file: Path, show: Callable[..., Shown]) -> None:
    """Of one account: each message as often, and each resource with as many failures."""
    ranking = shop.rows(
        """
        select cast(sum(occurrences) as varchar) from klaviyo.error_trend_daily
        where account = 'us' group by fingerprint order by sum(occurrences) desc
        """
    )
    shown = show(file)
    shown.choose(account="us")
    page_failures = {row[0]: row[2] for row in shown.table("events")}
    failures = shop.rows(
        "select external_id, cast(failures as varchar) from klaviyo.failing_entities where account = 'us' and not is_repaired"
    )

    assert [row[0].replace(",", "") for row in shown.table("errors")] == [count for (count,) in ranking]
    assert page_failures
    assert set(page_failures.items()) - {(f"us: {name}", count) for name, count in failures} == set()


# Filters.


def test_the_address_keeps_what_is_chosen(file: Path, show: Callable[..., Shown]) -> None:
    """Opened again, the page shows the same; All takes everything back."""
    shown = show(file)
    shown.choose(account="us", kind="item-create")
    number = shown.figure("Jobs finished")
    shown.page.reload()
    shown.page.wait_for_selector("body[data-shown]")
    again = (shown.chosen["account"], shown.chosen["kind"], shown.figure("Jobs finished"))
    shown.page.locator("button[type=reset]").click()
    wait_until(lambda: not shown.chosen["account"], seconds=20)

    assert again == ("us", "item-create", number)
    assert (shown.chosen["kind"], "#" in shown.page.url) == ("", False)


def test_an_address_that_names_what_is_not_there_shows_all(file: Path, show: Callable[..., Shown]) -> None:
    """An account that has gone, or a day that is no longer shown, does not leave an empty page."""
    shown = show(file)
    shown.page.goto("about:blank")
    shown.open(f"{file.as_uri()}#account=gone&kind=nothing&from=1999-01-01&what=this")

    assert (shown.chosen["account"], shown.chosen["kind"], shown.chosen["from"] > "2000") == ("", "", True)


# What it is in a browser.


@pytest.mark.parametrize("size", SIZES, ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_without_a_word_and_asks_for_nothing(
    file: Path, show: Callable[..., Shown], scheme: str, size: tuple[int, int]
) -> None:
    """No message, no request but for itself, all charts drawn, and nothing wider than the window."""
    shown = show(file, size, color_scheme=scheme)
    drawn = [
        name for name in CHARTS if shown.page.locator(f"#chart-{name} svg path, #chart-{name} svg rect").count() > 3
    ]

    assert (shown.said, shown.asked) == ([], [file.as_uri()])
    assert drawn == list(CHARTS)
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=["desk", "phone"])
def test_axe_finds_nothing(file: Path, show: Callable[..., Shown], scheme: str, size: tuple[int, int]) -> None:
    """With every table open: contrast, names, headings, and what can be reached without a mouse."""
    axe = importlib.import_module("axe_playwright_python.sync_playwright").Axe()
    shown = show(file, size, color_scheme=scheme)
    shown.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")

    assert [(each["id"], each["impact"]) for each in axe.run(shown.page).response["violations"]] == []


def test_the_scheme_of_the_reader_is_the_pages(file: Path, show: Callable[..., Shown]) -> None:
    """The words of a chart have the colour of the page's text, on screens of both sorts and on paper."""
    shown = show(file, color_scheme="dark")
    colour = "getComputedStyle(document.querySelector('#chart-operations svg text')).fill"
    dark = shown.page.evaluate(colour)
    shown.page.emulate_media(color_scheme="light")
    light = shown.page.evaluate(colour)
    shown.page.emulate_media(color_scheme="dark", media="print")

    assert (dark, light) == ("rgb(230, 234, 240)", "rgb(27, 35, 48)")
    assert shown.page.evaluate(colour) == light
    assert not shown.page.locator("#filters").is_visible()


def test_texts_of_klaviyos_stay_texts(file: Path, show: Callable[..., Shown]) -> None:
    """What looks like a tag is read, not run."""
    shown = show(file)

    assert shown.page.title() == "Klaviyo bulk jobs"
    assert any("<img src=x onerror=" in cell for row in shown.table("events") for cell in row)


def test_what_is_new_is_marked(tmp_path: Path, show: Callable[..., Shown]) -> None:
    """An error of today that was never there before; not one that comes again."""
    now = datetime.now(UTC)
    with Sandbox("empty", clock=now) as sandbox:
        for number, (hours, detail) in enumerate([(150, "Old."), (0.1, "Old."), (0.1, "New.")]):
            at = now - timedelta(hours=hours)
            errors = [JobError(detail, related_id="A")]
            sandbox.world.add(
                Job("item-create", f"J{number}", at, completed_at=at, failed_count=1, total_count=1, errors=errors)
            )
        Load(sandbox, Warehouse(tmp_path / "new.duckdb"))()
    shown = show(page_of(Warehouse(tmp_path / "new.duckdb")))

    assert sorted((row[0], row[2]) for row in shown.table("errors")) == [("1", "New. new"), ("2", "Old.")]


def test_an_account_without_jobs_has_a_page(tmp_path: Path, show: Callable[..., Shown]) -> None:
    """It says that there is nothing, in the place of each chart, and that all is well."""
    with Sandbox("empty", clock=datetime.now(UTC)) as sandbox:
        Load(sandbox, Warehouse(tmp_path / "empty.duckdb"))()
    shown = show(page_of(Warehouse(tmp_path / "empty.duckdb")))

    assert shown.said == []
    assert shown.page.locator(".nothing").count() == len(CHARTS)
    assert shown.page.locator("#verdict").inner_text().startswith("✓ All well: ")


def test_what_is_breached_stands_at_the_top(tmp_path: Path, show: Callable[..., Shown]) -> None:
    """In words, and not by a colour alone."""
    now = datetime.now(UTC)
    with Sandbox("empty", clock=now) as sandbox:
        sandbox.world.add(Job("item-create", "SLOW", now - timedelta(hours=9), status="processing", total_count=1))
        Load(sandbox, Warehouse(tmp_path / "stuck.duckdb"))()
    shown = show(page_of(Warehouse(tmp_path / "stuck.duckdb")))

    assert shown.page.locator("#verdict").inner_text().startswith("✗ 1 check needs a look, of ")
    assert "stuck jobs of default/item-create: 1, at most 0" in shown.page.locator("#breaches").inner_text()
    assert shown.figure("Stuck") == "1"


def test_of_many_breaches_each_check_shows_some(tmp_path: Path, show: Callable[..., Shown]) -> None:
    """A machine that was off for a weekend breaches one check a hundred times; what else is wrong is seen as well."""
    now = datetime.now(UTC)
    with Sandbox("empty", clock=now) as sandbox:
        sandbox.world.add(Job("item-create", "SLOW", now - timedelta(hours=9), status="processing", total_count=1))
        Load(sandbox, Warehouse(tmp_path / "many.duckdb"))()
    accounts = {f"SOURCES__KLAVIYO_JOBS__ACCOUNTS__{name}": f"pk_{name}" for name in ("DEFAULT", "A", "B", "C")}
    shown = show(page_of(Warehouse(tmp_path / "many.duckdb"), **accounts))

    words = shown.page.locator("#breaches").inner_text().splitlines()
    assert [line.partition(" of ")[0] for line in words] == ["stuck jobs", *["listing age seconds"] * 4]
    assert words[-1] == "listing age seconds of 24 more: see all checks, below"


def test_a_page_that_is_old_says_so(file: Path, show: Callable[..., Shown], browser: Any) -> None:
    """Nobody takes it for this morning's."""
    page = browser.new_page()
    page.clock.set_fixed_time(datetime.now(UTC) + timedelta(days=3))
    shown = Shown(page, file.as_uri())
    words = shown.page.locator("#old").inner_text()
    page.close()

    assert words.startswith("✗ This page is 3 d 0 h old")
    assert not show(file).page.locator("#old").is_visible()


def test_two_years_fit_into_a_page(shop: Warehouse, tmp_path: Path, show: Callable[..., Shown]) -> None:
    """Below 3 MB with every day of them, and drawn."""
    old = Warehouse(tmp_path / "old.duckdb")
    old.path.write_bytes(shop.path.read_bytes())
    subprocess.run([sys.executable, HISTORY, old.path, "100000"], check=True)
    path = page_of(old, "--days", "750")
    shown = show(path)
    [(days,)] = old.rows("select current_date - min(created_on) + 1 from klaviyo_raw.jobs")

    assert path.stat().st_size < 3_000_000
    assert (shown.said, len(shown.table("operations"))) == ([], 500)
    assert 730 < days < 750
    assert f"500 of {days} rows" in shown.page.locator("#chart-operations .table").text_content()
