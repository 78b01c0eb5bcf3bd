"""
How the command logs: one line a record on stderr, whoever wrote it.

In:     records of this package, of dlt, of other libraries, and Python's warnings.
Out:    lines for people, or one JSON object a line. dlt's own settings hold for all of them: `runtime.log_format`
        (`JSON`, or a template for lines) and `runtime.log_level`.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.log import LOGGER, OUTCOME

# What every record has; anything else came with `extra`.
_OF_EVERY_RECORD: Final = {*vars(logging.makeLogRecord({})), "asctime", "message", "taskName", "has_news"}


class LogFormat(StrEnum):
    """How log lines look; AUTO is what dlt's `runtime.log_format` says, and lines for people unless it is set."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class TextLines(logging.Formatter):
    """Lines for people; records of other libraries name their logger."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of the base class
        """Put the logger's name in front of a foreign record's message."""
        if record.name.split(".")[0] != LOGGER.name:
            record.message = f"{record.name}: {record.message}"
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """
    One JSON object a line: `time` (UTC), `level`, `logger`, `message`, the fields given as `extra`, and `exception`.

    Not dlt's own JSON formatter: it dates a record by when it is written, and turns line ends into underscores.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as a JSON object in ASCII, so that no terminal or text can break it."""
        import pendulum

        line = {
            "time": pendulum.from_timestamp(record.created).to_iso8601_string(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        given = {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD | set(line)}
        return json.dumps({**line, **given}, default=str, skipkeys=True)


class Steps(StrEnum):
    """What becomes of the lines that tell the steps of a run."""

    TELL = "tell"
    HOLD = "hold"
    DROP = "drop"


class _StderrHandler(logging.Handler):
    """
    Writes to stderr, in a format of its own.

    dlt puts its formatter on the handlers that it finds whenever it loads its context; this one does not use it.

    Attributes:
        steps: What becomes of the steps of a run; those held come as soon as there is something to tell.
        step: The one that it was told of last.
    """

    def __init__(self, lines: logging.Formatter) -> None:
        super().__init__()
        self.lines = lines
        self.steps = Steps.TELL
        self.step = ""
        self._held: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record* to what is stderr now: a progress display puts itself in its place."""
        is_step = hasattr(record, "step")
        if is_step:
            self.step = record.getMessage()
        if is_step and self.steps is Steps.DROP:
            return
        if self.steps is Steps.HOLD and is_step and not getattr(record, "has_news", False):
            self._held.append(record)
            return
        if record.name != OUTCOME.name or record.levelno >= logging.WARNING:
            self.tell_held()
        self._write(record)

    def tell_held(self) -> None:
        """Write the steps that were held, and hold none from now on."""
        with self.lock:  # type: ignore[union-attr]
            if self.steps is Steps.HOLD:
                self.steps = Steps.TELL
            held, self._held = self._held, []
            for record in held:
                self._write(record)

    def forget(self) -> None:
        """Drop the steps that are still held, and tell those to come."""
        self._held, self.steps = [], Steps.TELL

    def _write(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.lines.format(record)}\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


@contextmanager
def told_steps(steps: Steps, seconds: float) -> Iterator[None]:
    """
    Within the block, tell the steps of a run, drop them, or hold them until there is something to tell.

    That is a change, a retry, an error, or a run that takes longer than *seconds*; of any other run they are dropped.
    """
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler, _StderrHandler)]

    def release() -> None:
        for handler in handlers:
            handler.tell_held()

    timer = threading.Timer(seconds, release)
    timer.daemon = True
    for handler in handlers:
        handler.steps = steps
    if steps is Steps.HOLD:
        timer.start()
    try:
        yield
    except BaseException:
        release()
        raise
    finally:
        timer.cancel()
        for handler in handlers:
            handler.forget()


def log_to_stderr(log_format: LogFormat = LogFormat.AUTO, level: int = logging.INFO, *, is_quiet: bool = False) -> None:
    """
    Send all log lines to stderr as the command does; a library user configures logging as ever.

    Args:
        log_format: How lines look.
        level: The least level of our own lines, unless dlt's `runtime.log_level` is set.
        is_quiet: Whether nothing is written but warnings and errors, whatever else is set.
    Raises:
        SettingError: dlt cannot use its own settings of the section `runtime`.
    """
    from dlt.common import logger as dlt_logging

    set_level, set_format = _settings_of_dlt()
    handler = _StderrHandler(_lines(log_format, set_format))
    if is_quiet:
        handler.setLevel(logging.WARNING)
    root = logging.getLogger()
    root.handlers[:] = [*(each for each in root.handlers if not isinstance(each, _StderrHandler)), handler]
    # dlt's logger hands its records on to no other.
    logger_of_dlt = dlt_logging.LOGGER or logging.getLogger("dlt")
    logger_of_dlt.handlers[:] = [handler]
    logging.captureWarnings(True)
    # What it warns of, such as a connection that was dropped and made again, we tell ourselves where it matters.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    LOGGER.setLevel(set_level or level)


def current_step() -> str:
    """Return the line of the step that a run is in, for a display that shows it in the place of the log."""
    return next((each.step for each in logging.getLogger().handlers if isinstance(each, _StderrHandler)), "")


def is_quiet() -> bool:
    """Return whether nothing is to be written but warnings and errors, and what is asked for as JSON."""
    return any(
        isinstance(handler, _StderrHandler) and handler.level >= logging.WARNING
        for handler in logging.getLogger().handlers
    )


def is_logging_json() -> bool:
    """Return whether the command's log lines are JSON objects, among which nothing else may be written."""
    return any(
        isinstance(handler, _StderrHandler) and isinstance(handler.lines, JsonLines)
        for handler in logging.getLogger().handlers
    )


def _lines(asked: LogFormat, set_format: str | None) -> logging.Formatter:
    if asked is LogFormat.JSON or (asked is LogFormat.AUTO and set_format == "JSON"):
        return JsonLines()
    if asked is LogFormat.TEXT or set_format is None:
        return TextLines()
    return logging.Formatter(set_format, style="{")


def _settings_of_dlt() -> tuple[str | None, str | None]:
    """Return `runtime.log_level` and `runtime.log_format` as far as they are set."""
    import dlt
    from dlt.common.configuration.exceptions import ConfigurationException

    try:
        return dlt.config.get("runtime.log_level"), dlt.config.get("runtime.log_format")
    except ConfigurationException:
        # A file that cannot be read concerns every setting; whoever reads ours says so.
        return None, None
    except ValueError as error:
        raise SettingError(
            f"dlt cannot use RUNTIME__LOG_LEVEL or RUNTIME__LOG_FORMAT, or the same of .dlt/config.toml: {error}.",
            data="nothing was read or written.",
            next_step="set a level such as INFO, and a format of JSON or a template such as {levelname} {message}.",
        ) from None
