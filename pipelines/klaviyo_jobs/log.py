"""
The package's two loggers, quiet in a library: what goes on, and how the command ended.

In:     nothing.
Out:    `LOGGER` and `OUTCOME`; `cli/logs.py` gives them a form.
"""

from __future__ import annotations

import logging
from typing import Final

LOGGER: Final = logging.getLogger("klaviyo_jobs")
# How the command ended. It has a level of its own, so no setting silences it.
OUTCOME: Final = LOGGER.getChild("outcome")


OUTCOME.setLevel(logging.INFO)
