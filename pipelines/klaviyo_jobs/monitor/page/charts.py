"""
How the page draws its rows: Vega-Lite, described with Altair.

In:     nothing; the rows come from the page, which filters them.
Out:    for each chart its title, what it is drawn from, and its specification.
Colour: those of Okabe and Ito, which colour-blind people tell apart, as variables of the page's style sheet: one
        drawing serves a light screen, a dark one and paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import altair as alt

ROWS: Final = "rows"
# A day is a band: its label stands below its middle.
_DAY: Final = alt.X(
    "day:O",
    title=None,
    scale=alt.Scale(type="band", paddingInner=0.08, paddingOuter=0.04),
    axis=alt.Axis(
        labelExpr="utcFormat(toDate(datum.value), length(domain('x')) > 200 ? '%b %Y' : '%b %-d')",
        labelAngle=0,
        # Every second, every fourth: at even distances, whatever their widths.
        labelOverlap="parity",
        labelSeparation=8,
        labelPadding=6,
        ticks=False,
    ),
)
_DAYS_OF_TIMES: Final = alt.Axis(
    labelExpr="utchours(datum.value) ? '' : utcFormat(datum.value, '%b %-d')",
    labelOverlap="greedy",
    labelSeparation=8,
    grid=False,
    ticks=False,
)
# What is counted differs by orders of magnitude. That the levels are the same each day lets one learn to read them.
_LEVELS: Final = (1, 2, 5, 20, 100, 500)
_JOBS_TIP: Final = alt.Tooltip("jobs:Q", title="jobs finished", format=",")
_WHOLE: Final = "format(datum.value, ',')"
_TEXT: Final = "currentColor"
_LINE: Final = "var(--line)"

_CONFIG: Final = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    # On the right the label below a narrow last band would be cut, and Nov 30 read as Nov 3.
    "padding": {"left": 5, "top": 5, "right": 16, "bottom": 5},
    "axis": {
        "labelColor": _TEXT,
        "titleColor": _TEXT,
        "domainColor": _LINE,
        "tickColor": _LINE,
        "gridColor": _LINE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {
        "orient": "top",
        "labelColor": _TEXT,
        "titleColor": _TEXT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
}


@dataclass(frozen=True, slots=True)
class ChartOfPage:
    """
    A chart, and the table below it.

    Attributes:
        name: Its name; `page.js` makes its rows under this name.
        section: Which part of the page it stands in.
        title: What it shows, with the unit.
        note: What is to be known of it, in a sentence.
        chart: What Altair has made of it.
        shows_table: Whether the table is as much of an answer as the chart, and stands open.
    """

    name: str
    section: str
    title: str
    note: str
    chart: Any
    shows_table: bool = False

    def described(self) -> dict[str, Any]:
        """Return all that the page needs of it."""
        autosize = alt.AutoSizeParams(type="fit-x", contains="padding")
        spec = self.chart.properties(width="container", autosize=autosize).configure(**_CONFIG).to_dict()
        return {
            "name": self.name,
            "section": self.section,
            "title": self.title,
            "note": self.note,
            "shows_table": self.shows_table,
            "spec": spec,
        }


def _base() -> Any:
    return alt.Chart(alt.NamedData(name=ROWS))


def _colours(field: str, colours: dict[str, str]) -> Any:
    scale = alt.Scale(domain=list(colours), range=[f"var(--{colour})" for colour in colours.values()])
    return alt.Color(f"{field}:N", title=None, scale=scale)


def _heatmap(encoding: dict[str, Any], tooltip: list[Any]) -> Any:
    """Draw jobs by day and by something else, in levels of one colour."""
    numbers = range(len(_LEVELS) + 1)
    colour = alt.Color(
        "level:O",
        title="jobs finished",
        scale=alt.Scale(domain=list(numbers), range=[f"var(--level-{number})" for number in numbers]),
        legend=alt.Legend(
            symbolType="square",
            symbolSize=140,
            symbolStrokeWidth=0,
            columns=4,
            columnPadding=8,
            labelExpr=f"datum.value ? {list(_LEVELS)}[datum.value - 1] + '+' : '0'",
        ),
    )
    level = " + ".join(f"(datum.jobs >= {least})" for least in _LEVELS)
    return (
        _base()
        .transform_calculate(level=level)
        .mark_rect()
        .encode(x=_DAY, color=colour, tooltip=["day:O", *tooltip], **encoding)
    )


def _count_axis(title: str) -> Any:
    return alt.Axis(title=title, tickMinStep=1, tickCount=4, labelExpr=_WHOLE)


def _operations() -> Any:
    return (
        _base()
        .mark_bar()
        .encode(
            x=_DAY,
            y=alt.Y("operations:Q", axis=_count_axis("operations")),
            color=_colours("result", {"succeeded": "good", "failed": "bad"}),
            tooltip=["day:O", "result:N", alt.Tooltip("operations:Q", format=",")],
        )
        .properties(height=200)
    )


def _failed_share() -> Any:
    tips = [
        "day:O",
        alt.Tooltip("operations:Q", format=","),
        alt.Tooltip("failed:Q", format=","),
        alt.Tooltip("failed_share:Q", title="failed share", format=".1%"),
    ]
    volume = (
        _base()
        .mark_bar(color="var(--volume)")
        .encode(x=_DAY, y=alt.Y("operations:Q", axis=_count_axis("operations (bars)")), tooltip=tips)
    )
    axis = alt.Axis(title="failed share (line)", format=".0%", tickCount=4, grid=False)
    share = (
        _base()
        .mark_line(color="var(--bad)", point={"color": "var(--bad)", "size": 30}, strokeWidth=2)
        .encode(
            x=_DAY,
            y=alt.Y("failed_share:Q", axis=axis, scale=alt.Scale(domainMin=0)),
            tooltip=tips,
        )
    )
    return alt.layer(volume, share).resolve_scale(y="independent").properties(height=200)


def _kinds() -> Any:
    y = alt.Y("kind:N", title=None, sort=None, scale=alt.Scale(paddingInner=0.1), axis=alt.Axis(labelLimit=140))
    tips = ["kind:N", _JOBS_TIP, alt.Tooltip("operations:Q", format=","), alt.Tooltip("failed:Q", format=",")]
    return _heatmap({"y": y}, tips).properties(height=alt.Step(22))


def _hours() -> Any:
    y = alt.Y("hour:O", title="hour", scale=alt.Scale(paddingInner=0.15), axis=alt.Axis(values=[0, 6, 12, 18]))
    return _heatmap({"y": y}, ["hour:O", _JOBS_TIP]).properties(height=alt.Step(9))


def _rates() -> Any:
    tips = [
        "kind:N",
        alt.Tooltip("operations:Q", format=","),
        alt.Tooltip("failed:Q", format=","),
        alt.Tooltip("failed_share:Q", title="failed share", format=".2%"),
    ]
    base = (
        _base()
        .transform_joinaggregate(most="max(failed_share)")
        .transform_calculate(room="1.4 * datum.most")
        .encode(y=alt.Y("kind:N", title=None, sort=None, axis=alt.Axis(labelLimit=140)), tooltip=tips)
    )
    x = alt.X("failed_share:Q", axis=alt.Axis(title="failed share", format="~%", tickCount=4))
    bars = base.mark_bar(color="var(--bad)", height=12).encode(x=x)
    labels = base.mark_text(align="left", dx=4, color=_TEXT).encode(x="failed_share:Q", text="label:N")
    # Room for the label of the longest bar.
    room = base.mark_tick(opacity=0).encode(x="room:Q")
    return alt.layer(bars, labels, room).properties(height=alt.Step(22))


def _latency() -> Any:
    colours = _colours("quantile", {"p50": "good", "p95": "middle", "p99": "bad"})
    dash = alt.StrokeDash("quantile:N", legend=None, scale=alt.Scale(range=[[1, 0], [6, 3], [2, 2]]))
    return (
        _base()
        .mark_line(point={"size": 30}, strokeWidth=2)
        .encode(
            x=_DAY,
            y=alt.Y(
                "seconds:Q", axis=alt.Axis(title="seconds", tickCount=4, labelExpr=_WHOLE), scale=alt.Scale(zero=True)
            ),
            color=colours,
            strokeDash=dash,
            tooltip=["day:O", "quantile:N", alt.Tooltip("seconds:Q", format=",.1f")],
        )
        .properties(height=200)
    )


def _errors() -> Any:
    return (
        _base()
        .mark_bar()
        .encode(
            x=_DAY,
            y=alt.Y("errors:Q", axis=_count_axis("errors")),
            color=_colours("sort", {"known": "volume", "new": "bad"}),
            tooltip=["day:O", "sort:N", alt.Tooltip("errors:Q", format=",")],
        )
        .properties(height=160)
    )


def _events() -> Any:
    results = {"succeeded": "good", "failed": "bad"}
    shape = alt.Shape("result:N", title=None, scale=alt.Scale(domain=list(results), range=["circle", "cross"]))
    return (
        _base()
        .mark_point(filled=True, size=55, opacity=0.9)
        .encode(
            x=alt.X("at:T", title=None, scale=alt.Scale(type="utc"), axis=_DAYS_OF_TIMES),
            y=alt.Y("id:N", title=None, sort=None, axis=alt.Axis(labelLimit=110, grid=True)),
            color=_colours("result", results),
            shape=shape,
            tooltip=[
                alt.Tooltip("at:T", title="job created", format="%Y-%m-%d %H:%M UTC"),
                "id:N",
                "kind:N",
                "result:N",
                "detail:N",
            ],
        )
        .properties(height=alt.Step(20))
    )


CHARTS: Final = (
    ChartOfPage(
        "operations",
        "happened",
        "Operations per day",
        "By the day on which their job ended.",
        _operations(),
    ),
    ChartOfPage(
        "failed_share",
        "happened",
        "Failed share, and the operations behind it",
        "A high share of few operations says little. Cancelled and vanished jobs are left out.",
        _failed_share(),
    ),
    ChartOfPage("kinds", "happened", "Jobs finished per day, by kind", "The darker, the more.", _kinds()),
    ChartOfPage(
        "hours",
        "happened",
        "Jobs finished per hour of the day",
        "At most the last 14 days.",
        _hours(),
    ),
    ChartOfPage(
        "latency",
        "happened",
        "Seconds from creation to completion",
        "Half of the jobs of a day took at most p50, 95 of 100 at most p95.",
        _latency(),
    ),
    ChartOfPage("rates", "happened", "Failed share by kind", "Over all days chosen.", _rates()),
    ChartOfPage(
        "errors",
        "fails",
        "Errors per day",
        "New is what no job had before the last two days chosen. By the day on which their job was created.",
        _errors(),
        shows_table=True,
    ),
    ChartOfPage(
        "events",
        "fails",
        "What fails again and again, and its history",
        "Resources that failed and have not been repaired since, those that failed most first.",
        _events(),
        shows_table=True,
    ),
)
