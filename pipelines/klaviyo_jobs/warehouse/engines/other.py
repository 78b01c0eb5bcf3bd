"""
Any other destination that dlt can merge into: it is loaded, with the same keys; all else is for whoever runs it.

In:     dlt's destination.
Out:    the engine, which has tables, and neither views nor a ledger of ended runs.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

from dlt.common.destination import Destination

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.warehouse.engines.connection import Connection
from klaviyo_jobs.warehouse.engines.engine import Engine

_IN_SQL = "ask it in its own SQL; the views for it: klaviyo-jobs views --dialect NAME --print"


class OtherDestination(Engine):
    """
    A destination of dlt's.

    Args:
        destination_name: What dlt calls it.
        destination: dlt's own.
    """

    dialect: ClassVar = ""
    has_views: ClassVar = False
    lacks: ClassVar = {
        "publish": "readers open the warehouse itself.",
        "bi_copy": "remove the setting; readers open the warehouse itself.",
        "restore": "restore it as its own documentation says.",
        "--replay-rejected": "read them again with --full-refresh, while Klaviyo lists their jobs.",
        **dict.fromkeys(("check", "report", "report_page", "explain", "query", "prune", "views"), _IN_SQL),
    }

    def __init__(self, destination_name: str, destination: Destination[Any, Any]) -> None:
        self.name = destination_name
        self._destination = destination

    @property
    def place(self) -> str:
        return f"the destination {self.name}"

    def check_place(self) -> None:
        """Leave it to dlt, and say what a run is in for."""
        LOGGER.warning(
            "the destination %s is loaded as dlt does it, and is not tested with klaviyo-jobs: views, checks and "
            "report are not kept there, and only runs in this folder keep out of each other's way",
            self.name,
        )

    def exists(self) -> bool:
        return True

    def open(
        self, *, must_exist: bool = False, read_only: bool = False, wait_seconds: float = 0.0
    ) -> AbstractContextManager[Connection]:
        raise SettingError(f"{self.place} is not opened by klaviyo-jobs.", data="nothing was read.", next_step=_IN_SQL)

    def lock_place(self) -> Path:
        return Path.cwd() / f"klaviyo-jobs-{self.name}"

    def destination(self, *, read_only: bool = False) -> AbstractContextManager[Destination[Any, Any]]:
        return nullcontext(self._destination)

    def errors(self) -> AbstractContextManager[None]:
        return nullcontext()
