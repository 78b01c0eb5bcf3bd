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
from enum import StrEnum
from typing import Final

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.log import LOGGER

# What every record has; anything else came with `extra`.
_OF_EVERY_RECORD: Final = {*vars(logging.makeLogRecord({})), "asctime", "message", "taskName"}


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


class _StderrHandler(logging.Handler):
    """
    Writes to stderr, in a format of its own.

    dlt puts its formatter on the handlers that it finds whenever it loads its context; this one does not use it.
    """

    def __init__(self, lines: logging.Formatter) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record* to what is stderr now: a progress display puts itself in its place."""
        try:
            sys.stderr.write(f"{self.lines.format(record)}\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


def log_to_stderr(log_format: LogFormat = LogFormat.AUTO, level: int = logging.INFO) -> None:
    """
    Send all log lines to stderr as the command does; a library user configures logging as ever.

    Args:
        log_format: How lines look.
        level: The least level of our own lines, unless dlt's `runtime.log_level` is set.
    Raises:
        SettingError: dlt cannot use its own settings of the section `runtime`.
    """
    from dlt.common import logger as dlt_logging

    set_level, set_format = _settings_of_dlt()
    handler = _StderrHandler(_lines(log_format, set_format))
    root = logging.getLogger()
    root.handlers[:] = [*(each for each in root.handlers if not isinstance(each, _StderrHandler)), handler]
    # dlt's logger hands its records on to no other.
    logger_of_dlt = dlt_logging.LOGGER or logging.getLogger("dlt")
    logger_of_dlt.handlers[:] = [handler]
    logging.captureWarnings(True)
    LOGGER.setLevel(set_level or level)


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
