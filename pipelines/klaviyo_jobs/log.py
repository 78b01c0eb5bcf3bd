"""The package's logger: quiet in a library, lines on stderr in the command."""

from __future__ import annotations

import logging
from typing import Final

LOGGER: Final = logging.getLogger("klaviyo_jobs")


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send the package's log lines to stderr as the command does; a library user configures logging as ever."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level)
    LOGGER.propagate = False
