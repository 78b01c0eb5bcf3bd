"""The rule of fingerprints, on texts that no view has to be asked for."""

from __future__ import annotations

import time

from klaviyo_jobs.model.fingerprints import fingerprint_of


def test_a_hostile_text_takes_no_time() -> None:
    """Patterns look back: a megabyte of quotes, or of a word without a digit, is cut before they see it."""
    begin = time.process_time()

    for text in ("'" * 1_000_000, "a" * 1_000_000, "a'" * 500_000, "a:::" * 250_000):
        assert len(fingerprint_of(text, None, None, None)) <= 1000

    assert time.process_time() - begin < 2


def test_an_id_that_is_cut_off_is_masked_all_the_same() -> None:
    """What differs from error to error is gone before the text is cut."""
    texts = [f"No {'$custom:::$default:::' + str(number) * 30} here, {'x ' * 600}" for number in (1, 2)]

    assert fingerprint_of(texts[0], None, None, None) == fingerprint_of(texts[1], None, None, None)
