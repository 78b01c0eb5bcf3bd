"""
Say the views in the SQL of another engine: sqlglot translates them, and the few words that it cannot have a rule here.

In:     statements in DuckDB's SQL, in which the files of `sql/` are written, and a dialect that sqlglot knows.
Out:    the same statements in that dialect. One without rules of its own gets what sqlglot makes of them.
Rules:  a word, and what stands for it. Each is one expression for another, so that a view reads the same in all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.dialects import Dialect

from klaviyo_jobs.errors import SettingError

DUCKDB: Final = "duckdb"
POSTGRES: Final = "postgres"

# Those in which views and columns are commented on by statements of their own.
_WITH_COMMENTS: Final = frozenset({DUCKDB, "postgres", "redshift", "materialize", "risingwave"})

_Rule = Callable[[exp.Expression], exp.Expression]


def translate(sql: str, dialect: str) -> list[str]:
    """
    Return the statements of *sql*, which is DuckDB's, in *dialect*.

    Those that comment on views and columns are left out where they would not be understood.

    Args:
        dialect: One that sqlglot knows, e.g. `postgres` or `spark`.
    Raises:
        SettingError: sqlglot does not know the dialect.
    """
    check_dialect(dialect)
    rules = _RULES.get(dialect, {})
    statements = [statement for statement in sqlglot.parse(sql, read=DUCKDB) if statement is not None]
    return [
        statement.transform(_rewritten, rules).sql(dialect=dialect, comments=False, pretty=True)
        for statement in statements
        if dialect in _WITH_COMMENTS or not isinstance(statement, exp.Comment)
    ]


def translate_query(sql: str, dialect: str, *, has_values: bool) -> list[str]:
    """
    Return the statements of *sql*, which is DuckDB's, in *dialect*, to be run with bound values.

    Args:
        has_values: Whether values are bound: `%s` and `%(name)s` stand for `?` and `$name`, and any other percent sign
            is doubled, as drivers want it then.
    """
    rules = _RULES.get(dialect, {})
    statements = [statement for statement in sqlglot.parse(sql, read=DUCKDB) if statement is not None]
    made = [
        statement.transform(_rewritten, rules).transform(_with_marked_values).sql(dialect=dialect, comments=False)
        for statement in statements
    ]
    if not has_values:
        return made
    return [
        _MARKED_VALUE.sub(lambda found: f"%({found[1]})s" if found[1] else "%s", statement.replace("%", "%%"))
        for statement in made
    ]


# No name of ours.
_MARKED_VALUE: Final = re.compile(r"__value_of_(\w*?)__")


def _with_marked_values(node: exp.Expression) -> exp.Expression:
    return exp.Var(this=f"__value_of_{node.this or ''}__") if isinstance(node, exp.Placeholder) else node


def check_dialect(dialect: str) -> None:
    """Raise SettingError if sqlglot does not know *dialect*."""
    if dialect not in known_dialects():
        raise SettingError(
            f"there is no SQL dialect {dialect!r}.",
            data="nothing was read or written.",
            next_step=f"choose from {', '.join(known_dialects())}.",
        )


def known_dialects() -> list[str]:
    """Return the dialects that sqlglot knows, by name."""
    return sorted(name for name in Dialect.classes if name)


def _rewritten(node: exp.Expression, rules: Mapping[str, _Rule]) -> exp.Expression:
    name = node.name.lower() if isinstance(node, exp.Anonymous) else node.key
    rule = rules.get(name)
    return node if rule is None else rule(node)


# Of several.


def _hash_as(expression: str, dialect: str) -> _Rule:
    """`hash(x) >> 22`: 42 bits that tell apart, by an *expression* of `text`; which ones does not matter."""

    def rule(node: exp.Expression) -> exp.Expression:
        if not isinstance(node.this, exp.Anonymous) or node.this.name.lower() != "hash":
            return node
        return sqlglot.parse_one(expression, read=dialect).transform(_put, "text", node.this.expressions[0])

    return rule


def _put(node: exp.Expression, name: str, value: exp.Expression) -> exp.Expression:
    return value.copy() if isinstance(node, exp.Column) and node.name == name else node


def _wide_integer(node: exp.Expression) -> exp.Expression:
    """`hugeint`: a decimal of as many digits."""
    return exp.DataType.build("DECIMAL(38, 0)") if node.is_type(exp.DataType.Type.INT128) else node


# Postgres.


def _first_by(*, is_descending: bool) -> _Rule:
    """`arg_min` and `arg_max`: the first of what is neither null nor beside a null, in an array."""

    def rule(node: exp.Expression) -> exp.Expression:
        value, by = node.this, node.expression
        order = [exp.Ordered(this=by.copy(), desc=is_descending)]
        condition = exp.and_(value.copy().is_(exp.null()).not_(), by.copy().is_(exp.null()).not_())
        filtered = exp.Filter(
            this=exp.ArrayAgg(this=exp.Order(this=value.copy(), expressions=order)),
            expression=exp.Where(this=condition),
        )
        return exp.Bracket(this=exp.Paren(this=filtered), expressions=[exp.Literal.number(1)], offset=1)

    return rule


def _postgres_series(node: exp.Expression) -> exp.Expression:
    """`unnest(generate_series(...))`: a series is a set of rows already."""
    if not isinstance(node.this, exp.GenerateSeries):
        return node
    return exp.Anonymous(
        this="generate_series", expressions=[node.this.args[name] for name in ("start", "end", "step")]
    )


def _postgres_match(node: exp.Expression) -> exp.Expression:
    """`regexp_extract`: what the group matched, or an empty text."""
    match = exp.Anonymous(this="regexp_match", expressions=[node.this, node.expression])
    group = exp.Bracket(this=exp.Paren(this=match), expressions=[node.args["group"]], offset=1)
    return exp.Coalesce(this=group, expressions=[exp.Literal.string("")])


def _postgres_ending(node: exp.Expression) -> exp.Expression:
    """`ends_with`: the last part of a text, as long as the ending."""
    made = sqlglot.parse_one("RIGHT(text, CHAR_LENGTH(ending)) = ending", read="postgres")
    return made.transform(_put, "text", node.this).transform(_put, "ending", node.expression)


def _postgres_microseconds(node: exp.Expression) -> exp.Expression:
    """`epoch_us`: microseconds since 1970."""
    return sqlglot.parse_one("CAST(EXTRACT(EPOCH FROM moment) * 1000000 AS BIGINT)", read="postgres").transform(
        _put, "moment", node.expressions[0]
    )


def _postgres_sha256(node: exp.Expression) -> exp.Expression:
    """`sha256`: the hash of a text in UTF-8, in hexadecimal digits."""
    made = sqlglot.parse_one("ENCODE(SHA256(CONVERT_TO(text, 'UTF8')), 'hex')", read="postgres")
    return made.transform(_put, "text", node.this)


# Spark, and what speaks as it does: Databricks, and Sail.


def _spark_first_by(name: str) -> _Rule:
    """`arg_min` and `arg_max`: beside a value that is null, what it is ordered by counts as null too."""

    def rule(node: exp.Expression) -> exp.Expression:
        value, by = node.this, node.expression
        is_there = value.copy().is_(exp.null()).not_()
        return exp.Anonymous(this=name, expressions=[value.copy(), exp.case().when(is_there, by.copy())])

    return rule


def _spark_difference(node: exp.Expression) -> exp.Expression:
    """`date_diff` in microseconds, a unit that it does not have there."""
    if node.text("unit").upper() != "MICROSECOND":
        return node
    return exp.Paren(this=exp.Sub(this=_unix_micros(node.this), expression=_unix_micros(node.expression)))


def _unix_micros(time: exp.Expression) -> exp.Expression:
    zoned = exp.Cast(this=time.copy(), to=exp.DataType.build("TIMESTAMPTZ"))
    return exp.Anonymous(this="unix_micros", expressions=[zoned])


_SPARK: Final[dict[str, _Rule]] = {
    "argmin": _spark_first_by("min_by"),
    "argmax": _spark_first_by("max_by"),
    "datediff": _spark_difference,
    "epoch_us": lambda node: _unix_micros(node.expressions[0]),
    # The exact one, interpolated between neighbours.
    "percentilecont": lambda node: exp.Anonymous(this="percentile", expressions=[node.this, node.expression]),
    "bitwiserightshift": _hash_as("SHIFTRIGHT(XXHASH64(text) & 9223372036854775807, 21)", "spark"),
    "datatype": _wide_integer,
}

_RULES: Final[dict[str, dict[str, _Rule]]] = {
    "spark": _SPARK,
    "databricks": _SPARK,
    "postgres": {
        "argmin": _first_by(is_descending=False),
        "argmax": _first_by(is_descending=True),
        "endswith": _postgres_ending,
        "explode": _postgres_series,
        "regexpextract": _postgres_match,
        "epoch_us": _postgres_microseconds,
        "bitwiserightshift": _hash_as("(HASHTEXTEXTENDED(text, 0) & 9223372036854775807) >> 21", "postgres"),
        "sha2": _postgres_sha256,
        "datatype": _wide_integer,
    },
}
