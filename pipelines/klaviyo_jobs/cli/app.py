"""
The command `klaviyo-jobs`: its commands, its exit codes, and where every error ends.

Exit codes: 0 done, 1 unexpected, 2 usage or settings, 3 key refused, 4 API unavailable, 5 partial, 6 another run holds
the lock, 7 warehouse problem, 8 a check's threshold is breached, 130 stopped by SIGINT, 143 stopped by SIGTERM.
Results go to stdout; progress, log lines and errors to stderr.
Start-up: help, usage errors and completion cost what typer costs. dlt, DuckDB and Arrow take a second to import, so a
command imports what it needs when it runs.
"""

from __future__ import annotations

import gc
import logging
import sys
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from klaviyo_jobs import __version__
from klaviyo_jobs.cli.check import check_command
from klaviyo_jobs.cli.console import err, out
from klaviyo_jobs.cli.demo import demo_command
from klaviyo_jobs.cli.doctor import doctor_command
from klaviyo_jobs.cli.logs import LogFormat, is_logging_json, log_to_stderr
from klaviyo_jobs.cli.prune import prune_command
from klaviyo_jobs.cli.publish import publish_command
from klaviyo_jobs.cli.report import report_command
from klaviyo_jobs.cli.run import run_command
from klaviyo_jobs.cli.sandbox import sandbox_command
from klaviyo_jobs.cli.views import views_command
from klaviyo_jobs.errors import KlaviyoJobsError, find_cause
from klaviyo_jobs.log import LOGGER, OUTCOME
from klaviyo_jobs.runs.signals import stoppable

_OBJECTS_A_COLLECTION: Final = 50_000

app = typer.Typer(
    name="klaviyo-jobs",
    help="Keep the history of Klaviyo's catalog bulk jobs in a SQL warehouse.",
    no_args_is_help=True,
    # Tracebacks that show local variables would show keys.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _LoggedCommand(TyperCommand):
    """A command that logs as `--log-format` says; only now, since asking dlt for its settings imports dlt."""

    def invoke(self, ctx: Any) -> Any:
        """Set logging up, then run the command."""
        # The doctor's checklist says all that its calls would log.
        level = logging.CRITICAL if self.name == "doctor" else logging.INFO
        # Typer up to 0.28 keeps the text that was typed, later ones the choice it names.
        log_to_stderr(LogFormat(ctx.find_root().params["log_format"]), level)
        return super().invoke(ctx)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        out.print(f"klaviyo-jobs {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            "--log-format",
            help="Log lines on stderr for people, or one JSON object a line; auto: as dlt's runtime.log_format says.",
        ),
    ] = LogFormat.AUTO,
) -> None:
    """Keep the history of Klaviyo's catalog bulk jobs in a SQL warehouse."""


app.command("run", cls=_LoggedCommand)(run_command)
app.command("publish", cls=_LoggedCommand)(publish_command)
app.command("prune", cls=_LoggedCommand)(prune_command)
app.command("check", cls=_LoggedCommand)(check_command)
app.command("report", cls=_LoggedCommand)(report_command)
app.command("doctor", cls=_LoggedCommand)(doctor_command)
app.command("views", cls=_LoggedCommand)(views_command)
app.command(
    "sandbox",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(sandbox_command)
app.command("demo", cls=_LoggedCommand)(demo_command)


def main() -> None:
    """Run the command and exit with its code."""
    # Python looks for garbage every 700 new objects, and dlt makes a million before it reads: a tenth of a quiet run.
    gc.set_threshold(_OBJECTS_A_COLLECTION)
    try:
        with stoppable():
            app()
    except Exception as error:
        ours = find_cause(error)
        if ours is None:
            LOGGER.exception("unexpected error")
            ours = KlaviyoJobsError(
                f"unexpected {type(error).__name__}: {error}",
                data="what was loaded before stays; a load that was cut off is repeated by the next run.",
                next_step="run again; if it repeats, open an issue with the lines above.",
            )
        if is_logging_json():
            parts = {"data": ours.data, "next_step": ours.next_step, "exit_code": ours.exit_code}
            OUTCOME.error(ours.headline, extra=parts)
        else:
            err.print(ours.render(), style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(ours.exit_code)
