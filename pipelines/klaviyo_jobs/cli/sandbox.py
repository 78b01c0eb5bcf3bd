"""Serve the local stand-in for the API."""

from __future__ import annotations

import os
import sys

import typer


def sandbox_command(context: typer.Context) -> None:
    """Serve a local stand-in for the API, on this machine only; `klaviyo-jobs sandbox --help` lists its options."""
    os.execv(sys.executable, [sys.executable, "-m", "klaviyo_sandbox", *context.args])  # noqa: S606 - our own program
