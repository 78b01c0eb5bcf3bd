"""
The main job without a key: start the sandbox, run against it, and show the views.

The sandbox is a program of its own that this package never imports: it is started beside it and read over HTTP.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from klaviyo_jobs.errors import KlaviyoJobsError
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.settings import DEFAULT_INCLUDE, DEFAULT_REVISION, Settings

# The demo's world stands still at this moment, so that everybody sees the same numbers.
CLOCK: Final = "2026-11-20T12:00:00Z"


@contextmanager
def sandbox_settings(world: str = "demo") -> Iterator[Settings]:
    """Start a sandbox that serves *world*, yield settings that read it, and end it."""
    command = [sys.executable, "-m", "klaviyo_sandbox", "--world", world, "--clock", CLOCK, "--until-stdin-closes"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise KlaviyoJobsError(
                    f"the sandbox did not start (exit code {process.wait(5)}).",
                    data="nothing was read or written.",
                    next_step="run `klaviyo-jobs sandbox` to see what it says.",
                )
            ready = json.loads(line)
            # Every setting is given, so that none of the user's own is taken from the environment or a file.
            yield Settings(
                api_key=ready["accounts"]["default"],
                accounts={},
                base_url=ready["base_url"],
                revision=DEFAULT_REVISION,
                kinds=list(KINDS),
                include=list(DEFAULT_INCLUDE),
            )
        finally:
            process.terminate()
