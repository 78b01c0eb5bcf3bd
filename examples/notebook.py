"""
A notebook of marimo that reads the published copy: `marimo edit notebook.py`, with `pip install marimo altair duckdb`.

The copy is the file that KLAVIYO_COPY names, or bi.duckdb. For a newer one, restart the kernel.
"""

import marimo

app = marimo.App(width="medium", app_title="Klaviyo bulk jobs")


@app.cell
def _():
    import os

    import altair as alt
    import duckdb
    import marimo as mo

    copy = duckdb.connect(os.environ.get("KLAVIYO_COPY", "bi.duckdb"), read_only=True)
    return alt, copy, mo


@app.cell
def _(copy, mo):
    kinds = [
        kind for (kind,) in copy.execute("select distinct job_kind from klaviyo.jobs order by job_kind").fetchall()
    ]
    kind = mo.ui.dropdown(["all kinds", *kinds], value="all kinds", label="Kind")
    mo.vstack([mo.md("# Klaviyo bulk jobs"), kind])
    return (kind,)


@app.cell
def _(copy, kind):
    # Counts add up, shares do not: of several kinds or days, divide the sums.
    days = (
        copy.execute(
            """
        select
            cast(day as varchar) as day,
            cast(sum(jobs_complete) as bigint) as jobs,
            cast(sum(operations_total) as bigint) as operations,
            cast(sum(operations_failed) as bigint) as failed,
            sum(operations_failed) / nullif(sum(operations_total), 0) as failed_share
        from klaviyo.job_failure_rates_daily
        where $kind in (job_kind, 'all kinds')
        group by day
        order by day
        """,
            {"kind": kind.value},
        )
        .to_arrow_table()
        .to_pylist()
    )
    return (days,)


@app.cell
def _(alt, days, mo):
    _base = alt.Chart(alt.InlineData(days)).encode(x=alt.X("day:T", title=None, timeUnit="utcyearmonthdate"))
    operations = _base.mark_bar(color="#b4bfcc").encode(y=alt.Y("operations:Q"), tooltip=["day:N", "operations:Q"])
    share = _base.mark_line(point=True, color="#d55e00").encode(
        y=alt.Y("failed_share:Q", title="failed share", axis=alt.Axis(format=".1%")),
        tooltip=["day:N", "failed:Q", alt.Tooltip("failed_share:Q", format=".2%")],
    )
    chart = alt.vconcat(operations.properties(height=160), share.properties(height=160))
    mo.vstack([mo.md("## Operations per day, and the share of them that failed"), chart, mo.ui.table(days)])
    return (chart,)


@app.cell
def _(copy, kind, mo):
    failing = (
        copy.execute(
            """
        select account, external_id, job_kind, failures, last_failed_utc, last_detail
        from klaviyo.failing_entities
        where not is_repaired and $kind in (job_kind, 'all kinds')
        order by failures desc, last_failed_utc desc
        limit 20
        """,
            {"kind": kind.value},
        )
        .to_arrow_table()
        .to_pylist()
    )
    mo.vstack([mo.md("## What fails again and again, and was not repaired"), mo.ui.table(failing)])
    return (failing,)


if __name__ == "__main__":
    app.run()
