"""Put a published copy in the place of a damaged or lost warehouse."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from klaviyo_jobs.cli.console import out, print_json
from klaviyo_jobs.cli.options import JsonOption, WarehouseOption, file_of
from klaviyo_jobs.errors import SettingError


def restore_command(
    copy: Annotated[
        Path | None,
        typer.Argument(
            metavar="[COPY]", help="The copy.  \\[default: the newest at the setting bi_copy]", show_default=False
        ),
    ] = None,
    warehouse: WarehouseOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also if the warehouse can be read; it is kept beside.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put a published copy in the place of a damaged or lost warehouse, and keep the damaged file beside it."""
    from klaviyo_jobs.places import path_of
    from klaviyo_jobs.settings import read_settings
    from klaviyo_jobs.warehouse.lock import FileLock
    from klaviyo_jobs.warehouse.publish import newest_copy
    from klaviyo_jobs.warehouse.restore import LISTED_FOR, restore

    settings = read_settings()
    path = file_of(settings, "restore", warehouse)
    source = path_of(copy, "COPY") if copy else newest_copy(settings.copy_path, settings.memory)
    if source is None:
        raise SettingError(
            "there is no copy to restore from"
            + (f": none at {settings.copy_path} holds a job." if settings.copy_path else "."),
            data="nothing was written.",
            next_step="name one: klaviyo-jobs restore COPY.",
        )
    with FileLock(path, []):
        restored = restore(path, source, settings.memory, force=force)
    if as_json:
        print_json(asdict(restored), since=None, until=restored.known_until)
        return
    lines = [f"{restored.warehouse}: restored from {restored.copy}, {restored.job_count:,} jobs."]
    if restored.kept is not None:
        lines.append(f"The file that was in its place is kept: {restored.kept}.")
    if restored.known_until is not None:
        gap = dt.datetime.now(dt.UTC) - restored.known_until
        lines.append(
            f"It knows what happened until {restored.known_until:%Y-%m-%d %H:%M} UTC. The next run reads again what "
            "has changed since and is still listed: jobs created in the last seven days."
        )
        if gap > LISTED_FOR:
            lines.append("Jobs created after that and more than seven days ago are no longer listed, and are missing.")
    out.print("\n".join(lines), highlight=False, soft_wrap=True)
