"""
Turn what a run did into tables, lines and JSON objects.

In:     outcomes and summaries.
Out:    renderables of rich, text, and objects ready for `json.dumps`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from klaviyo_jobs.extract.outcomes import ListingOutcome
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.monitor.report import (
    plain_table,
)
from klaviyo_jobs.runs.run import RunSummary

# With its heading, and what follows it, a terminal of 24 lines has room for so many.
_MOST_LISTINGS: Final = 12


def render_checklist(text: str) -> Text:
    """Return the lines of *text*, the first word of each in the colour of what it says."""
    checklist = Text(text)
    for word, style in (("ok", "green"), ("info|known|warn", "yellow"), ("FAIL", "bold red")):
        checklist.highlight_regex(rf"(?m)^(?:{word})\b", style)
    return checklist


def render_listings(outcomes: list[ListingOutcome], *, is_plan: bool = False) -> Table:
    """Draw how each listing went, goes or would go; columns that say nothing are left out."""
    columns: dict[str, list[str]] = {
        "account": [outcome.account for outcome in outcomes],
        "kind": [outcome.kind.name for outcome in outcomes],
        "pages": [f"{outcome.page_count:,}" for outcome in outcomes],
        "jobs": [f"{outcome.job_count:,}" for outcome in outcomes],
        "changed": [f"{outcome.changed_count:,}" for outcome in outcomes],
        "details": [f"{outcome.detail_count:,}" for outcome in outcomes],
        "rejected": [f"{outcome.rejected_count:,}" for outcome in outcomes],
        "calls": [
            f"{outcome.page_count + outcome.detail_count if is_plan else outcome.request_count:,}"
            for outcome in outcomes
        ],
        "retried": [f"{outcome.retry_count:,}" for outcome in outcomes],
        "state": [_state(outcome) for outcome in outcomes],
    }
    if len(set(columns["account"])) <= 1:
        del columns["account"]
    for name in ("rejected", "retried"):
        if set(columns[name]) <= {"0"}:
            del columns[name]
    table = plain_table("Listings")
    for name in columns:
        table.add_column(name, justify="left" if name in ("account", "kind", "state") else "right", no_wrap=True)
    order = {name: index for index, name in enumerate(KINDS)}
    rows = zip(outcomes, zip(*columns.values(), strict=True), strict=True)
    for _, row in sorted(rows, key=lambda pair: (pair[0].account, order[pair[0].kind.name])):
        table.add_row(*row)
    return table


def _state(outcome: ListingOutcome) -> str:
    if outcome.error is not None:
        return f"[red]{type(outcome.error).__name__}[/red]"
    return "[green]complete[/green]" if outcome.is_complete else "[yellow]reading[/yellow]"


def render_rows(summary: RunSummary) -> Table:
    """Draw how many rows each table got."""
    table = plain_table("Rows loaded")
    table.add_column("table", no_wrap=True)
    table.add_column("rows", justify="right")
    for name, count in summary.rows.items():
        if count:
            table.add_row(f"klaviyo_raw.{name}", f"{count:,}")
    return table


def render_news(summary: RunSummary) -> Iterator[Table | str]:
    """Yield what a run has brought, in so few lines that a terminal of 24 has room for them."""
    news = [each for each in summary.outcomes if each.changed_count or each.rejected_count or each.error is not None]
    # What failed comes first, then what brought most.
    news.sort(key=lambda each: (each.error is None, -each.changed_count))
    if news:
        yield render_listings(news[:_MOST_LISTINGS])
    further = len(news) - _MOST_LISTINGS
    if further > 0:
        yield f"and {further:,} more listings with news"
    if rest := len(summary.outcomes) - len(news):
        yield f"{rest:,} {'listings' if not news else 'other listings' if rest > 1 else 'other listing'} without news"
    if news and (rows := [f"{count:,} {name}" for name, count in summary.rows.items() if count]):
        yield f"rows written: {', '.join(rows)}"


def summary_line(summary: RunSummary) -> str:
    failed = sum(outcome.error is not None for outcome in summary.outcomes)
    return (
        f"run {summary.run_id}: {summary.job_count:,} jobs listed, {summary.changed_count:,} new or changed, "
        f"{summary.request_count:,} calls ({summary.retry_count:,} retried), {summary.rejected_count:,} rejected, "
        f"{failed} of {len(summary.outcomes)} listings failed, {summary.seconds:.1f} s -> {summary.place}"
    )


def summary_counts(summary: RunSummary) -> dict[str, Any]:
    """Return what the summary line says, for log lines that are JSON."""
    return {
        "run_id": summary.run_id,
        "warehouse": summary.place,
        "seconds": round(summary.seconds, 3),
        "job_count": summary.job_count,
        "changed_count": summary.changed_count,
        "request_count": summary.request_count,
        "retry_count": summary.retry_count,
        "rejected_count": summary.rejected_count,
        "listing_count": len(summary.outcomes),
        "failed_count": sum(outcome.error is not None for outcome in summary.outcomes),
        "exit_code": summary.error.exit_code if summary.error else 0,
    }


def summary_object(summary: RunSummary) -> dict[str, Any]:
    return {
        "run_id": summary.run_id,
        "warehouse": summary.place,
        "seconds": round(summary.seconds, 3),
        "rows": summary.rows,
        "views": summary.views,
        "exit_code": summary.error.exit_code if summary.error else 0,
        "error": summary.error.headline if summary.error else None,
        "drift": summary.unmodelled,
        "replayed": asdict(summary.replayed) if summary.replayed else None,
        "listings": [outcome_object(outcome) for outcome in summary.outcomes],
    }


def outcome_object(outcome: ListingOutcome) -> dict[str, Any]:
    return {"account": outcome.account, "job_kind": outcome.kind.name, **outcome.columns()}
