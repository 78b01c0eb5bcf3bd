"""Apply the SQL views and list them."""

from __future__ import annotations

from klaviyo_jobs.cli.console import print_tables
from klaviyo_jobs.cli.options import WarehouseOption, naming_way_back, warehouse_path


def views_command(warehouse: WarehouseOption = None) -> None:
    """Apply the SQL views to the warehouse and list them."""
    from klaviyo_jobs.monitor.report import plain_table
    from klaviyo_jobs.settings import read_settings
    from klaviyo_jobs.warehouse.engines.duckdb import open_warehouse
    from klaviyo_jobs.warehouse.views import apply_views

    settings = read_settings()
    path = warehouse_path(warehouse, settings)
    with naming_way_back(settings), open_warehouse(path, settings.memory, must_exist=True) as connection:
        names = apply_views(connection, **settings.of_views)
        comments = dict(
            connection.execute("select view_name, comment from duckdb_views() where schema_name = 'klaviyo'").fetchall()
        )
    table = plain_table(f"Views in {path}")
    table.add_column("view", overflow="fold")
    table.add_column("what it shows")
    for name in names:
        table.add_row(f"klaviyo.{name}", comments.get(name) or "")
    print_tables(table)
