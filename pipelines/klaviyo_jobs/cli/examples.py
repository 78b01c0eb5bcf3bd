"""Examples of each command, for its help and for the documentation, where a test runs them."""

from __future__ import annotations

from typing import Final

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "init": (
        "klaviyo-jobs init",
        "klaviyo-jobs init --key-file key.txt --timezone Europe/Berlin --no-check",
    ),
    "run": (
        "klaviyo-jobs run --dry-run",
        "klaviyo-jobs run --account shop_eu --kind 'item-*'",
    ),
    "publish": (
        "klaviyo-jobs publish copy.duckdb --verify",
        "klaviyo-jobs publish copy.duckdb --parquet parquet",
    ),
    "restore": ("klaviyo-jobs restore copy.duckdb",),
    "prune": ("klaviyo-jobs prune --older-than 400d --dry-run",),
    "check": (
        "klaviyo-jobs check",
        "klaviyo-jobs check --window 6h --max-failed-share 5%",
    ),
    "report": (
        "klaviyo-jobs report --days 14",
        "klaviyo-jobs report --html page.html",
    ),
    "explain": ("klaviyo-jobs explain SKU-0002",),
    "query": (
        'klaviyo-jobs query "select * from klaviyo.stuck_jobs"',
        'klaviyo-jobs query --csv "select * from klaviyo.job_throughput_daily order by day"',
    ),
    "doctor": ("klaviyo-jobs doctor",),
    "views": (
        "klaviyo-jobs views",
        "klaviyo-jobs views --dialect postgres --print",
    ),
    "demo": ("klaviyo-jobs demo --warehouse week.duckdb",),
}


def epilog_of(command: str) -> str:
    """Return what the help of *command* ends with."""
    lines = EXAMPLES[command]
    # Typer takes each paragraph for a line.
    return "\n\n".join([f"Example{'s' if len(lines) > 1 else ''}:", *lines])
