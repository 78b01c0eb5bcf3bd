"""
Apply the SQL views of the folder `sql/`, layer by layer; the one place that knows where that folder lives.

In:     a connection to a warehouse that holds the tables of the schema `klaviyo_raw`.
Out:    the schema `klaviyo`: one view a file, named like the file. Views that others have made there stay.
Layers: `settings` (what the views are told), `base` (raw tables renamed and cast), `coverage` (for which time jobs are
        known), `spine` (its days and hours), `marts` (one question each). A view reads the layers before its own, so
        the files of a layer need no order among themselves.
Ends:   all or nothing: readers see the old views or the new ones, never some of each.
Cost:   views that are as they should be are left alone: to make them anew would be a fifth of a quiet run.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Final

import sqlglot
from sqlglot import exp

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.model.days import DEFAULT_ZONE, RULES, offsets_of, zone_of
from klaviyo_jobs.model.descriptions import COLUMN_DESCRIPTIONS, TABLE_DESCRIPTIONS
from klaviyo_jobs.warehouse.derived import keep_derived
from klaviyo_jobs.warehouse.engines.connection import VIEW_SCHEMA, Connection, MissingTableError
from klaviyo_jobs.warehouse.migrations import migrate

LAYERS: Final = ("settings", "base", "coverage", "spine", "marts")

# Which views were applied is a comment on the table that every run writes to.
_MARKED_TABLE: Final = "listings"
_MARK_PREFIX: Final = "klaviyo-jobs views "
# What a file says of a column of its view.
_COLUMN_COMMENT: Final = re.compile(
    rf"comment\s+on\s+column\s+{VIEW_SCHEMA}\.(\w+)\.(\w+)\s+is\s+'((?:[^']|'')*)';?\n?", re.IGNORECASE
)

_PACKAGE: Final = Path(str(files("klaviyo_jobs")))


def find_sql(package: Path = _PACKAGE) -> Path:
    """
    Return the folder `sql/`: inside an installed *package*, at the top of the repository in a checkout.

    Raises:
        WarehouseError: It is in neither place.
    """
    places = (package / "sql", package.parent.parent / "sql")
    for place in places:
        if all((place / layer).is_dir() for layer in LAYERS):
            return place
    raise WarehouseError(
        f"the SQL views are missing: neither {places[0]} nor {places[1]} holds them.",
        data="the views are as they were; what was loaded stays.",
        next_step="install klaviyo-jobs again.",
    )


def apply_views(
    connection: Connection,
    *,
    reporting_timezone: str | None = None,
    stuck_after_seconds: int | None = None,
    jobs_in_progress_limit: int | None = None,
    folder: Path | None = None,
) -> list[str]:
    """
    Create or replace every view and drop those that an earlier release made and no file defines any more.

    Nothing is done if all are as this would leave them. A view that this program did not make stays.

    The tables of an earlier contract are changed to this one's first, and days are made those of *reporting_timezone*.

    Args:
        connection: Open for writing and not inside a transaction.
        reporting_timezone: The zone whose midnights bound a day, e.g. `Europe/Berlin`.
        stuck_after_seconds: Age from which an unfinished job counts as stuck.
        jobs_in_progress_limit: How many jobs Klaviyo lets be in progress at one time.
        folder: Where the layers are; by default where `find_sql` finds them.
    Returns:
        The names of the views in the order they are applied.
    Raises:
        SettingError: There is no such time zone.
        WarehouseError: The database refused a file; the error names it. The views are as they were.

    A setting that is None keeps the value that `sql/settings/reporting_settings.sql` gives it.
    """
    settings = {
        "reporting_timezone": reporting_timezone,
        "stuck_after_seconds": stuck_after_seconds,
        "jobs_in_progress_limit": jobs_in_progress_limit,
    }
    files = _files_of(folder or find_sql())
    names = [file.stem for file in files]
    zone = DEFAULT_ZONE if reporting_timezone is None else reporting_timezone
    asked = repr(
        (
            sorted(settings.items()),
            RULES,
            TABLE_DESCRIPTIONS,
            COLUMN_DESCRIPTIONS,
            [(file.stem, sql) for file, sql in files.items()],
        )
    )
    with connection.transaction():
        migrate(connection)
        keep_derived(connection, zone)
        mark = connection.mark_of(_MARKED_TABLE)
        if mark is not None and mark == _mark(connection, asked, names):
            # A table that came since, with the first included item or the first alarm.
            _describe(connection, connection.tables_without_description(TABLE_DESCRIPTIONS), files.values())
            return names
        connection.run_own(f"create schema if not exists {VIEW_SCHEMA}")
        for name in connection.tables_of_views().intersection(names):
            connection.run_own(f'drop table {VIEW_SCHEMA}."{name}"')
        _make_views(connection, {file: _as_set(file, sql, settings, zone) for file, sql in files.items()})
        for name in _made_before(mark).difference(names):
            connection.drop_view(name)
        _describe(connection, TABLE_DESCRIPTIONS, files.values())
        connection.mark_table(_MARKED_TABLE, _mark(connection, asked, names))
    return names


def statements_of_views(
    dialect: str,
    *,
    reporting_timezone: str | None = None,
    stuck_after_seconds: int | None = None,
    jobs_in_progress_limit: int | None = None,
) -> list[str]:
    """
    Return what makes the views in an engine of *dialect*, for whoever loads into one; nothing is applied.

    The settings are those of `apply_views`. The tables of the schema `klaviyo_raw` have to be there.

    Raises:
        SettingError: There is no such dialect or time zone.
    """
    # To load dialects takes as long as a run takes to look at its views.
    from klaviyo_jobs.warehouse.dialects import translate

    settings = {
        "reporting_timezone": reporting_timezone,
        "stuck_after_seconds": stuck_after_seconds,
        "jobs_in_progress_limit": jobs_in_progress_limit,
    }
    zone = DEFAULT_ZONE if reporting_timezone is None else reporting_timezone
    made = [f"create schema if not exists {VIEW_SCHEMA}"]
    made += [_as_set(file, sql, settings, zone) for file, sql in _files_of(find_sql()).items()]
    return [statement for sql in made for statement in translate(sql, dialect)]


def read_checks(folder: Path | None = None) -> dict[str, str]:
    """
    Return the query of every check by its name; each answers with the rows at fault, and with none if all is well.

    What one finds, this program is to blame for. The columns of each are `account`, `job_kind`, `job_id`, `subject`
    (the table or view) and `problem`; the first three are null where a fault has none. The one parameter, `$since`, is
    a time with zone: what runs wrote from then on is looked at, and all that is kept if it is null.
    """
    return _read_queries((folder or find_sql()) / "checks")


def read_information(folder: Path | None = None) -> dict[str, str]:
    """Return the queries, like those of checks, for what does not add up in what Klaviyo said: nobody can mend it."""
    return _read_queries((folder or find_sql()) / "information")


def _read_queries(folder: Path) -> dict[str, str]:
    return {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.sql"))}


def _mark(connection: Connection, asked: str, names: list[str]) -> str:
    """Return what marks that views of these *names* were *asked* for and came out as they are in the database now."""
    # The views with their comments, and the columns that they and the tables behind them have. Their SQL is not
    # compared: engines word it differently once it is stored. Whoever makes a view anew leaves it without comments.
    found = connection.view_comments(), [tuple(column) for column in connection.columns()]
    return " ".join([_MARK_PREFIX + hashlib.sha256(repr((asked, found)).encode()).hexdigest(), *names])


def _describe(connection: Connection, tables: Iterable[str], sql: Iterable[str]) -> None:
    """Say in comments what the raw *tables* that are there and their columns are, in the words of the views' *sql*."""
    present = connection.table_comments()
    of_views = [found for text in sql for found in _COLUMN_COMMENT.findall(text)] if any(tables) else []
    for table in tables:
        if table in present:
            # What the view of the same name says comes before what others say.
            ordered = sorted(of_views, key=lambda found: found[0] == table)
            columns = {column: comment.replace("''", "'") for _, column, comment in ordered}
            connection.describe_table(table, TABLE_DESCRIPTIONS[table], {**columns, **COLUMN_DESCRIPTIONS})


def _files_of(root: Path) -> dict[Path, str]:
    """Return the text of every view by its file, layer by layer."""
    return {file: file.read_text(encoding="utf-8") for layer in LAYERS for file in sorted((root / layer).glob("*.sql"))}


def _as_set(file: Path, sql: str, settings: dict[str, str | int | None], zone: str) -> str:
    """Return the *sql* of *file* with the settings that it is there to tell."""
    if file.stem == "reporting_settings":
        return _with_settings(sql, settings)
    if file.stem == "reporting_offsets" and zone != DEFAULT_ZONE:
        return _with_offsets(sql, zone)
    return sql


def _made_before(mark: str | None) -> set[str]:
    """Return the names of the views that were made when *mark* was; none if there is no mark of views."""
    return set(mark.removeprefix(_MARK_PREFIX).split()[1:]) if mark and mark.startswith(_MARK_PREFIX) else set()


def _make_views(connection: Connection, files: dict[Path, str]) -> None:
    """Make the view of every file; where one cannot become another while it is there, all go first."""
    try:
        with connection.undoable():
            for file, sql in files.items():
                _apply_file(connection, file, sql)
        return
    except WarehouseError:
        if not connection.views_keep_columns:
            raise
    for file in reversed(files):
        connection.drop_view(file.stem)
    for file, sql in files.items():
        _apply_file(connection, file, sql)


def _apply_file(connection: Connection, file: Path, sql: str) -> None:
    try:
        connection.execute(sql if connection.has_comments_on_view_columns else _COLUMN_COMMENT.sub("", sql))
    except (connection.errors, MissingTableError) as error:
        if not connection.is_of_statement(error):
            raise
        raise WarehouseError(
            f"view {VIEW_SCHEMA}.{file.stem} cannot be made from {file}: {str(error).splitlines()[0]}",
            data="the views are as they were; what was loaded stays.",
            next_step="a missing table of klaviyo_raw comes with the first `klaviyo-jobs run`; "
            "for anything else correct the file.",
        ) from error


def _with_settings(sql: str, settings: dict[str, str | int | None]) -> str:
    """Return the statements of *sql* with each given setting in place of the value that is selected under its name."""
    given = {name: value for name, value in settings.items() if value is not None}
    # As standard SQL, which the file keeps to: to load a dialect would cost a run 40 milliseconds.
    statements = [statement for statement in sqlglot.parse(sql) if statement]
    for alias in itertools.chain.from_iterable(statement.find_all(exp.Alias) for statement in statements):
        if alias.alias in given:
            alias.set("this", exp.convert(given[alias.alias]))
    return ";\n".join(statement.sql(comments=False) for statement in statements)


def _with_offsets(sql: str, zone: str) -> str:
    """Return the statements of *sql* with the offsets of *zone* in place of the values that it holds."""
    statements = [statement for statement in sqlglot.parse(sql) if statement]
    rows = [
        (*(time.replace(tzinfo=None).isoformat(" ") for time in (begin, end)), seconds)
        for begin, end, seconds in offsets_of(zone_of(zone))
    ]
    [values] = itertools.chain.from_iterable(statement.find_all(exp.Values) for statement in statements)
    values.set("expressions", [exp.convert(row) for row in rows])
    return ";\n".join(statement.sql(comments=False) for statement in statements)
