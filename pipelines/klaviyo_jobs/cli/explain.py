"""Tell all that is known of one job, or of one item, variant, category, coupon code or profile."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from klaviyo_jobs.cli.console import print_json, print_tables
from klaviyo_jobs.cli.options import (
    DestinationOption,
    JsonOption,
    WarehouseOption,
    engine_to_read,
    open_views,
    read_within_memory,
    readable_text,
)
from klaviyo_jobs.errors import SettingError

if TYPE_CHECKING:
    from rich.table import Table

    from klaviyo_jobs.monitor.explain import Explained


def explain_command(
    identifier: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="The id of a job, or of a resource: Klaviyo's ($custom:::$default:::SKU-1) or yours (SKU-1).",
        ),
    ],
    account: Annotated[
        str | None, typer.Option("--account", metavar="LABEL", help="In this account only.  \\[default: all]")
    ] = None,
    warehouse: WarehouseOption = None,
    destination: DestinationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell all that the warehouse knows of one job or one resource, in the order of time."""
    from klaviyo_jobs.monitor.explain import explain, verdict_of
    from klaviyo_jobs.settings import read_settings

    identifier = readable_text(identifier, "the id")
    settings = read_settings()
    engine = engine_to_read(settings, "explain", warehouse, destination)
    with ExitStack() as stack:
        named = read_within_memory(
            stack, partial(open_views, engine, settings), partial(explain, identifier=identifier)
        )
    found = [each for each in named if account in (None, each.account)]
    if not found:
        raise SettingError(
            f"{engine.place} knows no job and no resource {identifier!r}" + (f" of {account}." if account else "."),
            data="nothing was changed.",
            next_step="take an id from klaviyo.jobs (job_id) or klaviyo.entity_history (related_id, external_id); "
            "quote it for the shell if it has a $.",
        )
    if as_json:
        objects = [{**each.as_object(), "verdict": verdict_of(each)} for each in found]
        print_json({"id": identifier, "found": objects}, since=None)
        return
    for each in found:
        print_tables(_head_of(each), _timeline_of(each), *_errors_of(each))


def _head_of(explained: Explained) -> str:
    from rich.markup import escape

    from klaviyo_jobs.monitor.explain import verdict_of
    from klaviyo_jobs.monitor.report import printable

    name, verdict = escape(printable(explained.name)), escape(printable(verdict_of(explained)))
    return f"[bold]{name}[/bold] of account {escape(explained.account)}\n{verdict}\n"


def _timeline_of(explained: Explained) -> Table:
    from rich.text import Text

    from klaviyo_jobs.monitor.report import plain_table, printable

    table = plain_table("")
    table.title = None
    table.add_column("when (UTC)", no_wrap=True)
    table.add_column("what", overflow="fold")
    if explained.sort == "resource":
        table.add_column("job", overflow="fold")
    for event in explained.timeline:
        when = "" if event.at_utc is None else f"{event.at_utc:%Y-%m-%d %H:%M:%S}"
        job = [Text(printable(f"{event.job_kind} {event.job_id}"))] if explained.sort == "resource" else []
        table.add_row(when, Text(printable(event.what)), *job)
    return table


def _errors_of(explained: Explained) -> list[Table]:
    from rich.text import Text

    from klaviyo_jobs.monitor.report import plain_table, printable

    if not explained.errors:
        return []
    count = explained.facts["error_count"] or len(explained.errors)
    shown = f", the first {len(explained.errors)} of them" if count > len(explained.errors) else ""
    table = plain_table(f"{count:,} errors{shown}")
    for heading in ("code", "of", "detail"):
        table.add_column(heading, overflow="fold")
    for error in explained.errors:
        told = error["detail"] or error["title"]
        table.add_row(*(Text(printable(str(each or ""))) for each in (error["code"], error["related_id"], told)))
    return [table]
