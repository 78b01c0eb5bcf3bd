"""The tree of errors: exit codes, the three parts of a message, and the way back to our own error."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from klaviyo_jobs import errors
from klaviyo_jobs.errors import (
    KlaviyoJobsError,
    PagingError,
    PartialError,
    SettingError,
    StatusError,
    StoppedError,
    UnavailableError,
    WarehouseError,
    find_cause,
)

EXIT_CODES = {
    "KlaviyoJobsError": 1,
    "SettingError": 2,
    "RevisionError": 2,
    "KeyRefusedError": 3,
    "ApiError": 4,
    "UnavailableError": 4,
    "StatusError": 4,
    "PagingError": 4,
    "ClosedError": 1,
    "PartialError": 5,
    "LockedError": 6,
    "WarehouseError": 7,
    "ThresholdError": 8,
}


def test_each_class_knows_its_exit_code() -> None:
    """Exit codes are a promise to who runs the command from cron; only a signal's is known with the error itself."""
    found = {
        name: each.exit_code
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, KlaviyoJobsError) and each is not StoppedError
    }

    assert found == EXIT_CODES


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_has_an_exit_code_of_its_own(number: signal.Signals, exit_code: int) -> None:
    """128 and the number of the signal, as shells have it."""
    assert StoppedError(number).exit_code == exit_code


def test_every_error_of_ours_has_one_base() -> None:
    """`except KlaviyoJobsError` catches all that is raised on purpose."""
    ours = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]

    assert [each for each in ours if not issubclass(each, KlaviyoJobsError)] == []


def test_a_message_has_three_parts() -> None:
    """What happened, what state the data is in, what to do next; line one stands alone."""
    error = SettingError("no API key.", data="nothing was read.", next_step="set one.")

    assert error.headline == "SettingError: no API key."
    assert error.render() == "SettingError: no API key.\n  Data: nothing was read.\n  Next: set one."
    assert str(error) == "no API key.\n  Data: nothing was read.\n  Next: set one."


def test_absent_parts_leave_no_empty_lines() -> None:
    """A message of one part is one line."""
    assert PagingError("no end.").render() == "PagingError: no end."


def test_a_status_error_keeps_the_status() -> None:
    """Who reads details tells a 404 from the rest."""
    error = StatusError("answered 404", status=404, data="d", next_step="n")

    assert (error.status, error.render()) == (404, "StatusError: answered 404\n  Data: d\n  Next: n")


def test_our_error_is_found_behind_those_that_wrap_it() -> None:
    """Through `raise ... from` and through errors raised while handling another."""
    ours = WarehouseError("locked")
    step, cleaning = RuntimeError("step failed"), ValueError("while cleaning up")
    step.__cause__, cleaning.__context__ = ours, step

    assert find_cause(cleaning) is ours


def test_the_outermost_of_our_errors_is_found() -> None:
    """An error of ours that wraps another says more."""
    outer = PartialError("outer")
    outer.__cause__ = UnavailableError("inner")

    assert find_cause(outer) is outer


def test_no_error_of_ours_is_none() -> None:
    """What is unexpected stays unexpected."""
    assert find_cause(ValueError("x")) is None


def test_the_library_says_nothing_unasked() -> None:
    """Imported as a library, the logger has no handler of ours and keeps its level."""
    program = (
        "import logging, klaviyo_jobs\n"
        "klaviyo_jobs.klaviyo_jobs\n"
        "logger = logging.getLogger('klaviyo_jobs')\n"
        "assert (logger.handlers, logger.level) == ([], logging.NOTSET), (logger.handlers, logger.level)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
