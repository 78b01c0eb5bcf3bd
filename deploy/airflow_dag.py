"""
A DAG of Airflow that loads the source: copy it into the folder of your DAGs.

The key comes from the environment of the workers (SOURCES__KLAVIYO_JOBS__API_KEY), the path of the warehouse from
KLAVIYO_WAREHOUSE.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task


# One run at a time writes into the file; what a run could not do, the next one does.
@dag(
    schedule="*/15 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["klaviyo"],
)
def klaviyo_bulk_jobs() -> None:
    """Keep the history of Klaviyo's bulk jobs."""

    @task(retries=0, execution_timeout=timedelta(hours=2))
    def load() -> dict[str, int]:
        """Load what is new or changed; a listing that failed is raised after the others are loaded."""
        # Here, and not above: Airflow reads this file every few seconds.
        import dlt

        from klaviyo_jobs import ListingOutcome, klaviyo_jobs

        warehouse = os.environ.get("KLAVIYO_WAREHOUSE", "warehouse.duckdb")
        pipeline = dlt.pipeline(
            "klaviyo",
            destination=dlt.destinations.duckdb(warehouse, supports_transactions=True),
            dataset_name="klaviyo_raw",
        )
        outcomes: list[ListingOutcome] = []
        pipeline.run(klaviyo_jobs(outcomes=outcomes))
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
        return {outcome.name: outcome.changed_count for outcome in outcomes}

    load()


klaviyo_bulk_jobs()
