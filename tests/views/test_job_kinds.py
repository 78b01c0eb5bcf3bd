from __future__ import annotations

from klaviyo_jobs.model.kinds import KINDS
from support.views import Warehouse


def test_the_view_says_what_the_program_knows_of_kinds(warehouse: Warehouse) -> None:
    """One table of facts: what the views join is what runs read."""
    assert warehouse.rows(
        "select job_kind, entity, operation, relationship, resource_type, lists_results, does_expire "
        "from klaviyo.job_kinds order by 1"
    ) == sorted(
        (
            name,
            kind.entity.name,
            kind.operation,
            kind.relationships[0].plural if len(kind.relationships) == 1 else None,
            kind.entity.resource_type,
            kind.relationships == (kind.entity,),
            kind.expires,
        )
        for name, kind in KINDS.items()
    )


def test_every_view_that_sums_up_tells_entity_and_operation(warehouse: Warehouse) -> None:
    """Beside the kind, so that a dashboard can add up over either."""
    columns = warehouse.rows("select table_name, column_name from duckdb_columns() where schema_name = 'klaviyo'")
    of_kind = {view for view, column in columns if column == "job_kind"}
    base = {"job_errors", "job_linkages", "job_observations", "listings", "rejected_records"}
    spine = {"job_kinds", "listing_periods", "known_days", "known_hours"}

    for name in ("entity", "operation"):
        assert of_kind - {view for view, column in columns if column == name} - base - spine == set()
