"""Shares and durations as people write and read them."""

from __future__ import annotations

from typing import Any

import pytest

from klaviyo_jobs.quantities import age_text, seconds_of, share_of


@pytest.mark.parametrize(
    ("written", "share"),
    [(0.05, 0.05), ("0.05", 0.05), ("5%", 0.05), (" 5 % ", 0.05), (0, 0.0), ("0%", 0.0), (1, 1.0), ("100%", 1.0)],
)
def test_a_share_is_a_number_or_a_percentage(written: Any, share: float) -> None:
    """One and a hundred percent are the same."""
    assert share_of(written) == share


@pytest.mark.parametrize("written", [5, "5", 1.01, "101%", -0.1, "nan", "inf", "", "%", "five", True, None])
def test_what_is_no_share_is_refused(written: Any) -> None:
    """A five is five percent to one reader and five hundred to another; nothing is guessed."""
    with pytest.raises(ValueError, match=r".*"):
        share_of(written)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (90, 90.0),
        ("90", 90.0),
        ("1.5", 1.5),
        ("90s", 90.0),
        ("30min", 1800.0),
        ("30m", 1800.0),
        ("6h", 21600.0),
        ("6 h", 21600.0),
        ("1h30m", 5400.0),
        ("1 d 12 h", 129600.0),
        ("2W", 1209600.0),
        ("0.5h", 1800.0),
    ],
)
def test_a_duration_is_in_seconds_or_has_units(written: Any, seconds: float) -> None:
    """A number alone is in seconds."""
    assert seconds_of(written) == seconds


@pytest.mark.parametrize("written", [-1, "-1h", "inf", "nan", "", "h", "6 hours or so", "6h later", "1:30", True, None])
def test_what_is_no_duration_is_refused(written: Any) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match=r".*"):
        seconds_of(written)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45.4, "45 s"),
        (59.6, "1 min 0 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 5 min"),
        (86400, "1 d 0 h"),
        (273600, "3 d 4 h"),
        (86400 * 1234.5, "1,234 d 12 h"),
        (-5, "0 s"),
    ],
)
def test_an_age_is_shown_in_its_two_largest_units(seconds: float, text: str) -> None:
    """Everywhere."""
    assert age_text(seconds) == text
