"""
An asset of Dagster that loads the source, with a schedule: `dagster dev -f dagster_definitions.py`.

The key comes from the environment (SOURCES__KLAVIYO_JOBS__API_KEY) or .dlt/secrets.toml, the path of the warehouse from
KLAVIYO_WAREHOUSE.
"""

import os

import dagster as dg
import dlt

from klaviyo_jobs import ListingOutcome, klaviyo_jobs


# One run at a time writes into the file.
@dg.asset(kinds={"dlt", "duckdb"}, group_name="klaviyo", pool="klaviyo_warehouse")
def klaviyo_bulk_jobs(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Load what is new or changed; a listing that failed is told, and fails the asset after the others are loaded."""
    warehouse = os.environ.get("KLAVIYO_WAREHOUSE", "warehouse.duckdb")
    pipeline = dlt.pipeline(
        "klaviyo",
        destination=dlt.destinations.duckdb(warehouse, supports_transactions=True),
        dataset_name="klaviyo_raw",
    )
    outcomes: list[ListingOutcome] = []
    context.log.info("%s", pipeline.run(klaviyo_jobs(outcomes=outcomes)))
    failed = [f"{outcome.name}: {outcome.error}" for outcome in outcomes if outcome.error is not None]
    if failed:
        raise dg.Failure("; ".join(failed))
    return dg.MaterializeResult(
        metadata={
            "jobs listed": sum(outcome.job_count for outcome in outcomes),
            "new or changed": sum(outcome.changed_count for outcome in outcomes),
        }
    )


defs = dg.Definitions(
    assets=[klaviyo_bulk_jobs],
    schedules=[
        dg.ScheduleDefinition(
            name="klaviyo_every_quarter_of_an_hour",
            target=[klaviyo_bulk_jobs],
            cron_schedule="*/15 * * * *",
        )
    ],
)
