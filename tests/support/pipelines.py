"""The source as a dlt user loads it, with a pipeline of their own."""

from __future__ import annotations

from typing import Any

import dlt
from dlt.extract import DltSource

import klaviyo_jobs
from klaviyo_sandbox import Sandbox
from support.loads import Warehouse

DATASET = "my_data"


def own_pipeline(warehouse: Warehouse, dataset: str = DATASET) -> dlt.Pipeline:
    """Return a pipeline of no name of ours that loads into *warehouse*."""
    return dlt.pipeline("mine", destination=dlt.destinations.duckdb(str(warehouse.path)), dataset_name=dataset)


def source_of(sandbox: Sandbox, **arguments: Any) -> DltSource:
    """Return the source of *sandbox*; *arguments* are added to its address and key."""
    return klaviyo_jobs.klaviyo_jobs(**{"api_key": sandbox.key, "base_url": sandbox.base_url, **arguments})
