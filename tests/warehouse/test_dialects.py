"""The views in the SQL of other engines: what is translated, what is left out, and what sqlglot could not know."""

from __future__ import annotations

import re

import pytest

from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.warehouse.dialects import known_dialects, translate
from klaviyo_jobs.warehouse.views import LAYERS, find_sql, statements_of_views

VIEWS = [file.stem for layer in LAYERS for file in sorted((find_sql() / layer).glob("*.sql"))]


def in_postgres(expression: str) -> str:
    """*expression* in the words of Postgres, on one line."""
    [statement] = translate(f"select {expression} from t", "postgres")
    return (
        re.sub(r"\s+", " ", statement)
        .replace("( ", "(")
        .replace(" )", ")")
        .removeprefix("SELECT ")
        .removesuffix(" FROM t")
    )


# Those of the engines that dlt can load, and that of DuckDB itself.
DIALECTS = ("bigquery", "clickhouse", "databricks", "duckdb", "postgres", "redshift", "snowflake", "spark", "trino")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_view_is_made_in_the_dialect(dialect: str, caplog: pytest.LogCaptureFixture) -> None:
    """One statement each, in the order in which they build on each other; what sqlglot doubts it says."""
    statements = statements_of_views(dialect)

    assert dialect in known_dialects()
    made = [found[1] for each in statements if (found := re.match(r"(?i)create .*?view \W*klaviyo\W+(\w+)", each))]
    assert made == VIEWS
    assert {record.name for record in caplog.records} <= {"sqlglot"}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (
            "arg_min(a, b)",
            "(ARRAY_AGG(a ORDER BY b ASC) FILTER(WHERE NOT a IS NULL AND NOT b IS NULL))[1]",
        ),
        (
            "arg_max(a, b)",
            "(ARRAY_AGG(a ORDER BY b DESC NULLS LAST) FILTER(WHERE NOT a IS NULL AND NOT b IS NULL))[1]",
        ),
        ("unnest(generate_series(a, b, interval '1 day'))", "GENERATE_SERIES(a, b, INTERVAL '1 DAY')"),
        ("regexp_extract(a, 'x(.*)', 1)", "COALESCE((REGEXP_MATCH(a, 'x(.*)'))[1], '')"),
        ("epoch_us(a)", "CAST(EXTRACT(EPOCH FROM a) * 1000000 AS BIGINT)"),
        ("hash(a) >> 22", "(HASHTEXTEXTENDED(a, 0) & 9223372036854775807) >> 21"),
        ("a >> 2", "a >> 2"),
        ("cast(a as hugeint)", "CAST(a AS DECIMAL(38, 0))"),
    ],
)
def test_words_that_postgres_has_others_for(expression: str, expected: str) -> None:
    """Those that sqlglot leaves as they are, or gets wrong."""
    assert in_postgres(expression) == expected


def test_comments_are_left_out_where_they_are_no_statements() -> None:
    """Spark would stumble over them; Postgres has them."""
    comments = {
        dialect: [each for each in statements_of_views(dialect) if "COMMENT ON" in each]
        for dialect in ("spark", "postgres")
    }

    assert (len(comments["spark"]), len(comments["postgres"]) > 100) == (0, True)


def test_settings_are_in_the_statements() -> None:
    """As in the views that are applied."""
    [settings] = [
        each
        for each in statements_of_views("postgres", reporting_timezone="Europe/Berlin", stuck_after_seconds=77)
        if "VIEW klaviyo.reporting_settings" in each
    ]

    assert "'Europe/Berlin' AS reporting_timezone" in settings
    assert "77 AS stuck_after_seconds" in settings


def test_a_dialect_that_nobody_knows_is_refused() -> None:
    """With those that are known."""
    with pytest.raises(SettingError, match="there is no SQL dialect 'postgresql'") as caught:
        statements_of_views("postgresql")

    assert "postgres, " in (caught.value.next_step or "")
