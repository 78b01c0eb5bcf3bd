"""Show the diagnosis."""

from __future__ import annotations

from typing import Annotated

import typer

from klaviyo_jobs.cli.console import out, print_json
from klaviyo_jobs.cli.options import DestinationOption, WarehouseOption


def doctor_command(
    warehouse: WarehouseOption = None,
    destination: DestinationOption = None,
    account: Annotated[
        list[str] | None,
        typer.Option("--account", metavar="LABEL", help="Look at this account only; repeatable.  \\[default: all]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the checklist.")] = False,
) -> None:
    """Look at settings, keys, the API, the warehouse's place and the versions; nothing is written."""
    from klaviyo_jobs.cli.render import render_checklist
    from klaviyo_jobs.monitor.doctor.diagnosis import diagnose, render_diagnosis

    diagnosis = diagnose(warehouse=warehouse, destination=destination, labels=account)
    if as_json:
        at = diagnosis.checked_at
        print_json(diagnosis.as_object(), since=at, until=at)
    else:
        out.print(render_checklist(render_diagnosis(diagnosis, out.width)), soft_wrap=True)
    raise typer.Exit(diagnosis.exit_code)
