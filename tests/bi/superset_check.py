"""
Apache Superset itself, without its web pages: a database, a dataset, a chart's query and one of SQL Lab, on the copy.

    python superset_check.py FOLDER URI METRIC QUERY

FOLDER is for its own metadata. URI, METRIC and QUERY come from docs/bi.md.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path
from typing import Any

import reader  # type: ignore[import-not-found, unused-ignore]

CONFIG = """
import os
SECRET_KEY = "of a test only, and so no secret at all, but long"
SQLALCHEMY_DATABASE_URI = "sqlite:///" + os.path.join(os.environ["SUPERSET_HOME"], "superset.db")
CACHE_CONFIG = DATA_CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
FILTER_STATE_CACHE_CONFIG = EXPLORE_FORM_DATA_CACHE_CONFIG = {"CACHE_TYPE": "SimpleCache"}
"""
DAYS = [["2026-11-16", "category-create", 3], ["2026-11-16", "item-create", 20]]
DAYS += [["2026-11-17", "category-create", 2], ["2026-11-17", "item-create", 7]]


def main(folder: Path, uri: str, metric: str, query: str) -> None:
    """Do what a user of Superset does; exits with 1 at the first thing that is not as docs/bi.md says."""
    folder.mkdir(exist_ok=True)
    (folder / "superset_config.py").write_text(CONFIG)
    (folder / "superset.db").unlink(missing_ok=True)
    os.environ["SUPERSET_HOME"] = str(folder)
    os.environ["SUPERSET_CONFIG_PATH"] = str(folder / "superset_config.py")

    # Not installed where types are checked; importable only with a configuration.
    from superset.app import create_app  # type: ignore[import-not-found, unused-ignore]

    with create_app().app_context():
        from flask_appbuilder import Model  # type: ignore[import-not-found, unused-ignore]
        from superset import db  # type: ignore[import-not-found, unused-ignore]
        from superset.connectors.sqla.models import SqlaTable  # type: ignore[import-not-found, unused-ignore]
        from superset.models.core import Database  # type: ignore[import-not-found, unused-ignore]

        Model.metadata.create_all(db.engine)
        database = Database(database_name="klaviyo", sqlalchemy_uri=uri)
        db.session.add(database)
        db.session.commit()

        def dataset(view: str) -> Any:
            table = SqlaTable(table_name=view, schema="bi.klaviyo", database=database)
            db.session.add(table)
            db.session.flush()
            table.fetch_metadata()
            return table

        assert "bi.klaviyo" in database.get_all_schema_names()
        names = {name for name, *_ in database.get_all_view_names_in_schema(catalog=None, schema="bi.klaviyo")}
        assert {"jobs", "job_failure_rates_daily", "reporting_settings"} <= names, names

        jobs = dataset("jobs")
        for column in jobs.columns:
            assert column.description, column.column_name
            is_time = column.column_name.endswith(("_utc", "_on"))
            assert bool(column.is_dttm) == is_time, column.column_name
            if column.column_name.endswith("_utc"):
                assert column.type == "TIMESTAMP WITHOUT TIME ZONE", (column.column_name, column.type)

        failed = {
            "expressionType": "SIMPLE",
            "column": {"column_name": "operations_failed"},
            "aggregate": "SUM",
            "label": "failed",
        }
        chart = ask(
            jobs,
            columns=["job_kind"],
            granularity="ended_at_utc",
            from_dttm=dt.datetime(2026, 11, 16),  # noqa: DTZ001
            to_dttm=dt.datetime(2026, 11, 18),  # noqa: DTZ001
            is_timeseries=True,
            extras={"time_grain_sqla": "P1D"},
            filter=[{"col": "job_kind", "op": "IN", "val": ["item-create", "category-create"]}],
            metrics=[failed],
        )
        assert "DATE_TRUNC('day', ended_at_utc)" in chart.query, chart.query
        assert "WHERE ended_at_utc >= '2026-11-16 00:00:00.000000'" in chart.query, chart.query
        rows = sorted(reader.rows_of(chart.df))
        assert rows == DAYS, rows

        rates = dataset("job_failure_rates_daily")
        share = {"expressionType": "SQL", "sqlExpression": metric, "label": "share"}
        weighted = reader.rows_of(ask(rates, metrics=[share], is_timeseries=False).df)
        assert abs(weighted[0][0] - 186 / 6649) < 1e-9, weighted

        def count() -> Any:
            return database.get_df("select count(*) as jobs from klaviyo.jobs")["jobs"][0]

        # A query that lasts: the file is open as long as its connection.
        with database.get_raw_connection(catalog=None, schema="bi.klaviyo") as connection:
            cursor = connection.cursor()

            def count_held() -> Any:
                cursor.execute("select count(*) from klaviyo.jobs")
                return cursor.fetchone()[0]

            reader.hold(database.get_df(query, schema="bi.klaviyo"), count_held)
        reader.tell(int(count()))


def ask(table: Any, **asked: Any) -> Any:
    """The answer to a chart's query."""
    usual = {
        "columns": [],
        "groupby": [],
        "orderby": [],
        "filter": [],
        "extras": {},
        "row_limit": 1000,
        "granularity": None,
    }
    answer = table.query({**usual, "from_dttm": None, "to_dttm": None, **asked})
    assert answer.error_message is None, answer.error_message
    return answer


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
