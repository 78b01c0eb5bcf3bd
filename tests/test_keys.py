"""Keys as people paste them: what surrounds one is taken off, and what cannot be one is told apart and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.keys import key_of
from support.processes import command


@pytest.mark.parametrize(
    "text",
    [
        "pk_4711\n",
        "\r\n\tpk_4711  ",
        '"pk_4711"',
        "'pk_4711'\n",
        "“pk_4711”",
        "`pk_4711`",
        "\ufeffpk_4711",
        "pk_4711\u200b",
        "\u00a0pk_4711\u00a0",
        "Klaviyo-API-Key pk_4711",
        "klaviyo-api-key: pk_4711",
        "Authorization: Klaviyo-API-Key pk_4711\n",
        '"Klaviyo-API-Key pk_4711"',
        "Klaviyo-API-Key 'pk_4711'",
    ],
)
def test_what_comes_along_with_a_key_is_taken_off(text: str) -> None:
    """Line ends of mounted secrets, quotes of shells and files, the header of an example."""
    assert key_of("shop", text).reveal() == "pk_4711"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty."),
        (" \n", "is empty."),
        ('""', "is empty."),
        ("Klaviyo-API-Key ", "is empty."),
        ("pk_ä11", "holds characters that no key has."),
        ("pk_\x0011", "holds characters that no key has."),
        ("pk_4711\npk_4712", "is more than one key, or not a key alone."),
        ("pk_4711,pk_4712", "is more than one key, or not a key alone."),
        ("pk_4711pk_4712", "is more than one key, or not a key alone."),
        ("pk_4711\r\nX-Header: y", "is more than one key, or not a key alone."),
        ("export KEY=4711 pk_4711", "is more than one key, or not a key alone."),
        (4711, "is int, where a text is expected."),
        (None, "is nothing, where a text is expected."),
    ],
)
def test_what_cannot_be_a_key_is_told_apart(text: object, problem: str) -> None:
    """Empty, characters, two keys, no text: four reasons, and in no message the key."""
    with pytest.raises(SettingError) as caught:
        key_of("shop", text)

    assert caught.value.message == f"the API key of account 'shop' {problem}"
    assert caught.value.data == "nothing was read or written."
    assert "11" not in str(caught.value)


LABELLED = "pk_0123456789abcdef"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f'[sources.klaviyo_jobs.accounts]\n{LABELLED} = "shop"\n', "begins with pk_, as keys do"),
        (f"[sources.klaviyo_jobs]\n{LABELLED} = 1\n", "nothing reads pk_***"),
    ],
    ids=["a label", "a setting"],
)
@pytest.mark.parametrize("words_of_command", [("run",), ("check",), ("doctor",)], ids=" ".join)
def test_a_key_in_the_place_of_a_name_is_not_shown(
    content: str, words: str, words_of_command: tuple[str, ...], tmp_path: Path
) -> None:
    """Names are printed and stored, so nothing is done with it."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text(content)
    ended = command(tmp_path, *words_of_command)

    assert ended.returncode == 2
    assert words in ended.stdout + ended.stderr
    assert LABELLED not in ended.stdout + ended.stderr
