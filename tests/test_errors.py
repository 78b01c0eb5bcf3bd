"""The tree of errors: exit codes, the three parts of a message, and the way back to our own error."""

from __future__ import annotations

import logging

import pytest

from klaviyo_jobs import errors
from klaviyo_jobs.errors import (
    ApiError,
    KeyRefusedError,
    KlaviyoJobsError,
    PagingError,
    PartialError,
    SettingError,
    StatusError,
    UnavailableError,
    WarehouseError,
    find_cause,
)


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (KlaviyoJobsError, 1),
        (SettingError, 2),
        (KeyRefusedError, 3),
        (ApiError, 4),
        (UnavailableError, 4),
        (StatusError, 4),
        (PagingError, 4),
        (PartialError, 5),
        (WarehouseError, 7),
    ],
)
def test_each_class_knows_its_exit_code(error: type[KlaviyoJobsError], exit_code: int) -> None:
    """Exit codes are a promise to who runs the command from cron."""
    assert error.exit_code == exit_code


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


def test_the_library_says_nothing_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    """Imported as a library, the logger has no handler of ours and keeps its level."""
    assert logging.getLogger("klaviyo_jobs").handlers == []
    assert logging.getLogger("klaviyo_jobs").level == logging.NOTSET
    assert capsys.readouterr() == ("", "")
