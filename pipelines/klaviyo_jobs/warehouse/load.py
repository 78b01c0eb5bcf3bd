"""
Load the source into the warehouse, once, with a dlt pipeline that leaves nothing behind.

In:     a dlt source and an engine.
Out:    `Loaded`. The warehouse is the only thing that outlives a load: dlt's working directory is a temporary one, so
        no package of an earlier run can be pending and block this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dlt
import pyarrow as pa
from dlt.common.runtime.telemetry import stop_telemetry
from dlt.common.schema.typing import VERSION_TABLE_NAME
from dlt.destinations.sql_client import SqlClientBase
from dlt.extract import DltSource

from klaviyo_jobs.extract.source import SCHEMA_NAME
from klaviyo_jobs.model.tables import JOB_LINKAGES, JOBS, TABLES
from klaviyo_jobs.warehouse.engines.connection import RAW_SCHEMA
from klaviyo_jobs.warehouse.engines.engine import Engine

# What a load sets in dlt unless the user has set it: dlt's own name of the setting, and the value.
_DLT_SETTINGS: Final[dict[str, Any]] = {
    # The working directory is new, so there is nothing to restore and no state worth a row in the warehouse.
    "restore_from_destination": False,
    # One table after the other: DuckDB keeps every processor busy with one, and two at once take the memory of two.
    "load.workers": 1,
    # A command run by cron sends usage data to nobody.
    "runtime.dlthub_telemetry": False,
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """
    What a load did.

    Attributes:
        run_id: dlt's load id, the `run_id` of every row written.
        rows: Rows that it left in each table, those that replaced others included.
    """

    run_id: str
    rows: dict[str, int]


def load(
    source: DltSource,
    engine: Engine,
    working_directory: Path,
    *,
    on_load: Callable[[str], None] | None = None,
) -> Loaded:
    """
    Extract *source* and merge it into the warehouse of *engine*.

    Args:
        working_directory: A folder for dlt's files, in which it finds none of an earlier load.
        on_load: Called with the run id when all is extracted and loading begins.
    Raises:
        WarehouseError: The warehouse could not be written; what it held before it still holds.
    """
    set_dlt_defaults()
    with engine.errors(), engine.destination() as destination:
        pipeline = dlt.pipeline(
            SCHEMA_NAME,
            pipelines_dir=str(working_directory),
            destination=destination,
            dataset_name=RAW_SCHEMA,
        )
        run_id = pipeline.extract(source).loads_ids[0]
        _release_memory()
        if on_load is not None:
            on_load(run_id)
        counts = pipeline.normalize().row_counts
        with engine.writing():
            if engine.is_shared:
                # Two that make the same table at the same time get in each other's way; to load is nobody's business.
                with engine.changing_tables():
                    # It writes rows too: dlt's stored copy of the schema.
                    pipeline.sync_schema()
            pipeline.load(raise_on_failed_jobs=True)
            with pipeline.sql_client() as client:
                _forget_old_schemas(client, pipeline.default_schema.stored_version_hash)
                rows = _count_rows(client, run_id, [name for name in TABLES if name in counts])
    return Loaded(run_id, rows)


def _release_memory() -> None:
    """Give back what reading has left unused, before the database takes its part: a hundred megabytes and more."""
    for pool in (pa.default_memory_pool(), pa.system_memory_pool()):
        pool.release_unused()


def set_dlt_defaults() -> None:
    """Set what a run wants of dlt, unless the user has set it."""
    for name, value in _DLT_SETTINGS.items():
        if dlt.config.get(name) is None:
            dlt.config[name] = value
    if not dlt.config.get("runtime.dlthub_telemetry", bool):
        # dlt starts it with the first setting it reads, before anybody can say no.
        stop_telemetry()


def _count_rows(client: SqlClientBase[Any], run_id: str, tables: Iterable[str]) -> dict[str, int]:
    """Count what the load left: less than it carried, where tombstones only delete and a resource came twice."""
    rows: dict[str, int] = {}
    for table in tables:
        count, of = "count(*)", table
        if table == JOB_LINKAGES.name:
            # They carry no run: those of the jobs that the run read, and did not only mark as vanished.
            count, of = "sum(case when vanished_at is null then linkage_count - unread_linkage_count end)", JOBS.name
        name = client.make_qualified_table_name(of)
        [(found,)] = client.execute_sql(f"select {count} from {name} where run_id = %s", run_id) or [(0,)]
        rows[table] = int(found or 0)
    return rows


def _forget_old_schemas(client: SqlClientBase[Any], version_hash: str) -> None:
    """
    Delete dlt's stored copies of schemas other than that of *version_hash*.

    Resources that share tables make dlt write down as a new schema which of them wrote last, so nearly every load would
    leave 10 kB that nobody reads again.
    """
    versions = client.make_qualified_table_name(VERSION_TABLE_NAME)
    client.execute_sql(f"delete from {versions} where version_hash <> %s", version_hash)
