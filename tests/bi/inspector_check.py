"""
What SQLAlchemy tells a tool about the copy, in 1.4 as in 2.0: schemas, views, types and descriptions.

    python inspector_check.py
"""

from __future__ import annotations

# Not installed where types are checked.
import sqlalchemy as sa  # type: ignore[import-not-found, unused-ignore]


def main() -> None:
    """Ask the inspector, and ask DuckDB itself; exits with 1 at the first difference."""
    engine = sa.create_engine("duckdb:///bi.duckdb?access_mode=READ_ONLY")
    inspector = sa.inspect(engine)
    with engine.connect() as connection:
        views = connection.execute(
            sa.text("select view_name, comment from duckdb_views() where schema_name = 'klaviyo'")
        ).all()
        columns = connection.execute(
            sa.text(
                "select table_name, column_name, data_type, comment from duckdb_columns() where schema_name = 'klaviyo'"
            )
        ).all()

    assert "bi.klaviyo" in inspector.get_schema_names()
    for schema in ("klaviyo", "bi.klaviyo"):
        assert sorted(inspector.get_view_names(schema=schema)) == sorted(name for name, _ in views)
        assert inspector.get_table_names(schema=schema) == []
        for view, comment in views:
            assert inspector.get_table_comment(view, schema=schema) == {"text": comment}, view
            told = {
                column["name"]: (_type_of(column["type"]), column["comment"])
                for column in inspector.get_columns(view, schema=schema)
            }
            assert told == {name: (data_type, text) for table, name, data_type, text in columns if table == view}, view

    _must_fail(engine, "create table klaviyo_raw.written (a int)", "read-only mode")
    engine.dispose()
    wrong = sa.create_engine("duckdb:///bi.duckdb?read_only=true")
    _must_fail(wrong, "select 1", "unrecognized configuration parameter")


def _must_fail(engine: sa.Engine, statement: str, reason: str) -> None:
    try:
        with engine.connect() as connection:
            connection.execute(sa.text(statement))
    except sa.exc.DBAPIError as error:
        assert reason in str(error), error  # noqa: PT017
        return
    raise AssertionError(f"{statement!r} was not refused")


def _type_of(told: sa.types.TypeEngine) -> str:
    """DuckDB's name of the type that SQLAlchemy tells."""
    if isinstance(told, sa.types.DateTime):
        assert not told.timezone
        return "TIMESTAMP"
    for kind, name in (
        (sa.types.String, "VARCHAR"),
        (sa.types.BigInteger, "BIGINT"),
        (sa.types.Boolean, "BOOLEAN"),
        (sa.types.Date, "DATE"),
        (sa.types.Float, "DOUBLE"),
        (sa.types.Integer, "INTEGER"),
    ):
        if isinstance(told, kind):
            return name
    return repr(told)


if __name__ == "__main__":
    main()
