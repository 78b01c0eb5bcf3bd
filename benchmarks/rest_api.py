"""
The listing of item-create jobs as dlt's own `rest_api` source loads it, with Parquet files and nested tables.

    python benchmarks/rest_api.py BASE_URL WAREHOUSE
"""

from __future__ import annotations

import sys
import tempfile

import dlt
from dlt.sources.rest_api import rest_api_source
from floor import KEY


def main(base_url: str, warehouse: str) -> None:
    """Load once."""
    source = rest_api_source(
        {
            "client": {
                "base_url": f"{base_url}/api/",
                "headers": {"Authorization": f"Klaviyo-API-Key {KEY}", "revision": "2026-07-15"},
                "paginator": {"type": "json_link", "next_url_path": "links.next"},
            },
            "resources": [
                {
                    "name": "jobs",
                    "primary_key": "id",
                    "write_disposition": "merge",
                    "endpoint": {"path": "catalog-item-bulk-create-jobs", "data_selector": "data"},
                }
            ],
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "rest", pipelines_dir=folder, destination=dlt.destinations.duckdb(warehouse), dataset_name="listed"
        )
        pipeline.run(source, loader_file_format="parquet")


if __name__ == "__main__":
    main(*sys.argv[1:])
