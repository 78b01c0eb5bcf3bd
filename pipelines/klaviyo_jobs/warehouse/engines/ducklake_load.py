"""
How dlt loads into a DuckLake: as into a DuckDB file, from the package's Parquet files, in one transaction.

In:     the database in which the lake is attached.
Out:    dlt's destination.
"""

from __future__ import annotations

from typing import Any, ClassVar

import dlt
from dlt.common.schema import Schema
from dlt.destinations.impl.ducklake.configuration import DuckLakeCredentials
from dlt.destinations.impl.ducklake.ducklake import DuckLakeClient

from klaviyo_jobs.warehouse.engines.duckdb_load import MergeOfPackage
from klaviyo_jobs.warehouse.engines.ducklake import LakeClient, LakeDatabase
from klaviyo_jobs.warehouse.engines.package_load import MergesPackage, ReadsSettingsOnce


class _Client(MergesPackage, DuckLakeClient):
    """dlt's client, which merges a package as ours."""

    merge_job: ClassVar = MergeOfPackage

    database: ClassVar[LakeDatabase]

    def __init__(self, schema: Schema, config: Any, capabilities: Any) -> None:
        super().__init__(schema, config, capabilities)
        names = self.sql_client.dataset_name, self.sql_client.staging_dataset_name
        self.sql_client = LakeClient(self.database, config.credentials, *names, config.credentials, capabilities)


class DuckLakeDestination(ReadsSettingsOnce, dlt.destinations.ducklake):
    """
    DuckLake as dlt knows it.

    Args:
        database: Where the lake is attached.
    """

    def __init__(self, database: LakeDatabase, credentials: DuckLakeCredentials) -> None:
        super().__init__(credentials)
        self._database = database

    @property
    def client_class(self) -> type[DuckLakeClient]:
        """What makes the jobs of a load."""
        return type("_ClientOfDatabase", (_Client,), {"database": self._database})
