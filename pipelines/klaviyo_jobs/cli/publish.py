"""Publish a read-only copy of the warehouse."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from klaviyo_jobs.cli.console import out, print_json
from klaviyo_jobs.cli.options import JsonOption, WarehouseOption, file_of, naming_way_back
from klaviyo_jobs.errors import SettingError


def publish_command(
    target: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help="The copy.  \\[default: the setting bi_copy]", show_default=False),
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="DIR", help="Write one Parquet file a view there as well.")
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="With --parquet: the raw tables, by account and month, for Spark and its like; what changed."
        ),
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every view to its end before the copy is put in place.")
    ] = False,
    keep: Annotated[int, typer.Option("--keep", metavar="N", help="Keep this many earlier copies.", min=0)] = 0,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace what is no copy, or one that knows of runs that the warehouse does not."),
    ] = False,
    warehouse: WarehouseOption = None,
    wait_lock: Annotated[
        float, typer.Option("--wait-lock", metavar="SECONDS", help="Wait for a run of the warehouse to end.", min=0)
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Publish a read-only copy of the warehouse that BI tools may hold open."""
    from klaviyo_jobs.places import path_of
    from klaviyo_jobs.settings import read_settings
    from klaviyo_jobs.warehouse.lake import publish_raw
    from klaviyo_jobs.warehouse.lock import FileLock
    from klaviyo_jobs.warehouse.publish import publish

    settings = read_settings()
    path = file_of(settings, "publish", warehouse)
    if raw and parquet is None:
        raise typer.BadParameter("goes with --parquet DIR, where the files are to be.", param_hint="'--raw'")
    copy = path_of(target, "PATH") if target else settings.copy_path
    if copy is None:
        raise SettingError(
            "there is no path for the copy.",
            data="nothing was copied.",
            next_step="name it: klaviyo-jobs publish PATH, or set `bi_copy`.",
        )
    with naming_way_back(settings), FileLock(path, [], wait_seconds=wait_lock):
        published = publish(
            path,
            copy,
            settings.memory,
            with_tables=settings.bi_copy_tables,
            verifies=verify,
            force=force,
            keep=keep,
            parquet=path_of(parquet, "--parquet") if parquet and not raw else None,
        )
        tables = None
        if parquet and raw:
            # Its own name, wherever the link leads that stands there.
            lake = path_of(parquet.absolute().parent, "--parquet") / parquet.name
            tables = publish_raw(copy, lake, settings.memory)
    if as_json:
        print_json({**asdict(published), "raw": asdict(tables) if tables else None}, since=None)
        return
    out.print(
        f"{published.path}: {published.size_bytes / 2**20:,.1f} MiB, {len(published.views)} views "
        + ("verified" if published.is_verified else "checked")
        + (f", {len(published.parquet)} Parquet files in {parquet}" if parquet and not raw else "")
        + (f"; {tables.written_count} of {tables.part_count} parts in {parquet} were written" if tables else ""),
        highlight=False,
        soft_wrap=True,
    )
