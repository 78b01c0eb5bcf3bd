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
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperOption

from klaviyo_jobs.cli.check import check_command
from klaviyo_jobs.cli.console import err, out
from klaviyo_jobs.cli.demo import demo_command
from klaviyo_jobs.cli.doctor import doctor_command
from klaviyo_jobs.cli.examples import epilog_of
from klaviyo_jobs.cli.explain import explain_command
from klaviyo_jobs.cli.init import init_command
from klaviyo_jobs.cli.logs import LogFormat, is_logging_json, log_to_stderr
from klaviyo_jobs.cli.prune import prune_command
from klaviyo_jobs.cli.publish import publish_command
from klaviyo_jobs.cli.query import query_command
from klaviyo_jobs.cli.report import report_command
from klaviyo_jobs.cli.restore import restore_command
from klaviyo_jobs.cli.run import run_command
from klaviyo_jobs.cli.sandbox import sandbox_command
from klaviyo_jobs.cli.views import views_command
from klaviyo_jobs.errors import KlaviyoJobsError, SettingError, find_cause
from klaviyo_jobs.log import LOGGER, OUTCOME
from klaviyo_jobs.places import refuse_without_temporary_folder
from klaviyo_jobs.runs.signals import stoppable

_OBJECTS_A_COLLECTION: Final = 50_000

app = typer.Typer(
    name="klaviyo-jobs",
    help="Keep the history of Klaviyo's bulk jobs in a SQL warehouse.",
    no_args_is_help=True,
    # Tracebacks that show local variables would show keys.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_FORMAT_HELP: Final = (
    "Log lines on stderr for people, or one JSON object a line; auto: as dlt's runtime.log_format says."
)
_QUIET_HELP: Final = "Log warnings and errors only."
_VERBOSE_HELP: Final = "Log every step as it begins, also of a run in which nothing changed."


class _LoggedCommand(TyperCommand):
    """
    A command that logs as `--log-format`, `-q` and `-v` say, before or behind its name.

    Only now, since asking dlt for its settings imports dlt.
    """

    def __init__(self, *args: Any, params: list[Any] | None = None, **others: Any) -> None:
        formats = "|".join(LogFormat)
        of_logging = [
            TyperOption(
                param_decls=["--log-format"], type=str, metavar=f"[{formats}]", expose_value=False, help=_FORMAT_HELP
            ),
            TyperOption(param_decls=["-q", "--quiet"], is_flag=True, expose_value=False, help=_QUIET_HELP),
            TyperOption(param_decls=["-v", "--verbose"], is_flag=True, expose_value=False, help=_VERBOSE_HELP),
        ]
        for option in of_logging:
            option.callback = _note_option
        super().__init__(*args, params=[*(params or []), *of_logging], **others)

    def invoke(self, ctx: Any) -> Any:
        """Set logging up and look at the places that settings come from, then run the command."""
        asked = {**ctx.find_root().params, **{name: value for name, value in ctx.meta.items() if value}}
        refuse_without_temporary_folder()
        # The doctor's checklist says all that its calls would log.
        level = logging.CRITICAL if self.name == "doctor" else logging.DEBUG if asked["verbose"] else logging.INFO
        # Typer up to 0.28 keeps the text that was typed, later ones the choice it names.
        log_format = LogFormat(asked["log_format"])
        from klaviyo_jobs.configuration import leave_out_foreign_folder, refuse_foreign_files

        # Before anything is read there, how to log included.
        left_out = leave_out_foreign_folder()
        log_to_stderr(log_format, level, is_quiet=asked["quiet"])
        if left_out is not None:
            LOGGER.warning("settings in %s are not read: other users can write there", left_out)
        refuse_foreign_files()
        return super().invoke(ctx)


def _note_option(ctx: Any, option: Any, value: Any) -> Any:
    """Keep what was given behind the command's name; of the format, refuse what is none."""
    if option.name == "log_format" and value is not None and value not in list(LogFormat):
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(LogFormat)}.", ctx=ctx, param=option)
    ctx.meta[option.name] = value
    return value


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from klaviyo_jobs import __version__

        out.print(f"klaviyo-jobs {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option("--log-format", help=_FORMAT_HELP),
    ] = LogFormat.AUTO,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help=_QUIET_HELP)] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help=_VERBOSE_HELP)] = False,
) -> None:
    """Keep the history of Klaviyo's bulk jobs in a SQL warehouse."""


def _add(name: str, function: Callable[..., None]) -> None:
    app.command(name, cls=_LoggedCommand, epilog=epilog_of(name))(function)


_add("init", init_command)
_add("run", run_command)
_add("publish", publish_command)
_add("restore", restore_command)
_add("prune", prune_command)
_add("check", check_command)
_add("report", report_command)
_add("explain", explain_command)
_add("query", query_command)
_add("doctor", doctor_command)
_add("views", views_command)
app.command(
    "sandbox",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(sandbox_command)
_add("demo", demo_command)


def main() -> None:
    """Run the command and exit with its code."""
    # Python looks for garbage every 700 new objects, and dlt makes a million before it reads: a tenth of a quiet run.
    gc.set_threshold(_OBJECTS_A_COLLECTION)
    try:
        with stoppable(last_words=_tell_from_outside):
            app()
    except Exception as error:
        ours = find_cause(error) or _setting_of_dlt(error)
        if ours is None:
            LOGGER.exception("unexpected error")
            ours = KlaviyoJobsError(
                f"unexpected {type(error).__name__}: {error}",
                data="what was loaded before stays; a load that was cut off is repeated by the next run.",
                next_step="run again; if it repeats, the lines above say where to look: keep them.",
            )
        _tell(ours)
        sys.exit(ours.exit_code)
    finally:
        _end_without_looking_for_garbage()


def _end_without_looking_for_garbage() -> None:
    """Or the interpreter looks through all that dlt has made once more before it ends: a twelfth of a quiet run."""
    if sys.version_info < (3, 14):
        gc.freeze()
    else:
        # From 3.14 on it is aborted at the end when what DuckDB has made is frozen; this saves half as much.
        gc.disable()


def _setting_of_dlt(error: Exception) -> KlaviyoJobsError | None:
    """Return what is wrong with a setting of dlt's own, whose names other programs may use too; None if nothing is."""
    from dlt.common.configuration.exceptions import ConfigValueCannotBeCoercedException

    from klaviyo_jobs.configuration import place_of

    if not isinstance(error, ConfigValueCannotBeCoercedException):
        return None
    return SettingError(
        f"dlt, too, reads {place_of(error.field_name) or error.field_name}, and cannot use what stands there.",
        data="what was loaded before stays; nothing was written after that.",
        next_step="unset it, or give it another name if it is meant for another program.",
    )


def _tell(error: KlaviyoJobsError) -> None:
    """Say on stderr how the command failed."""
    if is_logging_json():
        parts = {"data": error.data, "next_step": error.next_step, "exit_code": error.exit_code}
        OUTCOME.error(error.headline, extra=parts)
    else:
        err.print(error.render(), style="red", highlight=False, markup=False, soft_wrap=True)


def _tell_from_outside(error: KlaviyoJobsError) -> None:
    """
    Say it in the place of a command that is stuck, and will be left as it is.

    Past what draws there, whose lock the stuck command may hold; with the cursor that it has hidden.
    """
    text = error.render()
    if is_logging_json():
        parts = {"data": error.data, "next_step": error.next_step, "exit_code": error.exit_code}
        text = json.dumps({"level": "ERROR", "message": error.headline, **parts})
    lead = "\x1b[?25h\r\n" if os.isatty(2) else ""
    os.write(2, f"{lead}{text}\n".encode())
