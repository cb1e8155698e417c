"""Two sides of a comparison: each change with its bounds and the margin, and every swap of either side."""

import math
from collections.abc import Sequence
from typing import Final

from swapbench.base import figures
from swapbench.compare.change import Verdict
from swapbench.compare.comparison import Comparison, ScenarioComparison
from swapbench.findings.chart_data import Dots
from swapbench.report.blocks import Spec
from swapbench.report.charts.vega import (
    ACCENT,
    INK,
    SOFT,
    UnitOf,
    across,
    layer,
    layered,
    name,
    names_axis,
    number,
    unit_of_seconds,
    upright,
)
from swapbench.report.sections.changes import verdict_words

_GRADES: Final = {Verdict.SLOWER: "bad", Verdict.FASTER: "good", Verdict.NO_WORSE: "good"}

_COLOURS: Final[Spec] = {
    "domain": ["good", "bad", "doubt"],
    "range": ["var(--good)", "var(--bad)", "var(--doubt)"],
}


def drawable(comparison: Comparison) -> tuple[ScenarioComparison, ...]:
    """The scenarios that have a ratio."""
    return tuple(s for s in comparison.scenarios if s.headline.ratio is not None)


def forest(comparison: Comparison, other: str, width: int) -> Spec:
    """The change of every headline from A to the `other` side, in per cent."""
    rows = [_forest_row(s, comparison.margin) for s in drawable(comparison)]
    names = [row["scenario"] for row in rows]
    reach = _reach(rows, comparison.margin)
    x = number(
        "low",
        title=f"{other} against A, % (left is faster)",
        scale={"domain": reach, "nice": False, "clamp": True},
        axis=across(width, labelExpr="datum.value ? format(datum.value, '+') : '0'"),
    )
    places = {
        "y": name("scenario", sort=names, axis=names_axis(names, width)),
        "description": name("tip"),
    }
    colour = name("grade", legend=None, scale=_COLOURS)
    band = [{"from": -comparison.margin * 100, "to": comparison.margin * 100}]
    point = number("point")
    layers = [
        layer("rect", band, {"x": {**x, "field": "from"}, "x2": {"field": "to"}}, color=SOFT, opacity=0.13),
        layer("rule", [{"at": 0}], {"x": number("at")}, color=SOFT),
        layer("rule", rows, {**places, "x": x, "x2": {"field": "high"}, "color": colour}, strokeWidth=2.5),
        layer("point", rows, {**places, "x": point, "color": colour}, filled=True, size=110, opacity=1),
        layer("text", rows, {**places, "x": point, "text": name("text")}, dy=-14, align="center"),
    ]
    return layered(layers, width, {"step": 52})


def _forest_row(scenario: ScenarioComparison, margin: float) -> Spec:
    ratio = scenario.headline.ratio
    assert ratio is not None
    change = figures.ratio_change(ratio.point)
    return {
        "scenario": scenario.scenario,
        "low": (ratio.low - 1) * 100,
        "point": (ratio.point - 1) * 100,
        "high": (ratio.high - 1) * 100,
        "grade": _GRADES.get(scenario.headline.verdict, "doubt"),
        "text": change,
        "tip": f"{scenario.scenario}: {change}, {verdict_words(scenario.headline, margin)}",
    }


def _reach(rows: Sequence[Spec], margin: float) -> list[float]:
    """Wide enough for every bound that there is, and for the margin; what has no bound runs off the edge."""
    points = [row["point"] for row in rows]
    bounds = [row[side] for row in rows for side in ("low", "high") if -100 < row[side] < math.inf]
    least, most = min(-margin * 200, *points, *bounds), max(margin * 200, *points, *bounds)
    room = (most - least) * 0.06
    for row in rows:
        row["high"] = min(row["high"], most + room)
    return [least - room, most + room]


def sides(a: Dots, b: Dots, other: str, width: int) -> Spec:
    """A's counted swaps and the `other` side's, round by round, with a line for either median."""
    unit = unit_of_seconds(dot.seconds for side in (a, b) for dot in side.counted)
    both = (("A", a), (other, b))
    rows = [row for label, side in both for row in _side_rows(label, side, unit)]
    medians = [
        {"side": label, "median": side.estimate.point / unit.per}
        for label, side in both
        if side.estimate is not None
    ]
    colour = name("side", legend=None, scale={"domain": ["A", other], "range": [INK, ACCENT]})
    points = {
        "x": number(
            "round",
            title="round",
            scale={"nice": False, "zero": False, "padding": 14},
            axis={"grid": False, "tickMinStep": 1, "tickCount": 8, "format": "d"},
        ),
        "y": number("seconds", axis=upright(unit.name), scale={"zero": False, "nice": True, "padding": 12}),
        "shape": name("side", legend=None, scale={"domain": ["A", other], "range": ["circle", "diamond"]}),
        "color": colour,
        "description": name("tip"),
    }
    layers = [
        layer("rule", medians, {"y": number("median"), "color": colour}, strokeWidth=1.2, opacity=0.7),
        layer("point", rows, points, size=64, strokeWidth=1.5, opacity=1, filled=True),
    ]
    return layered(layers, width, 190)


def _side_rows(label: str, side: Dots, unit: UnitOf) -> list[Spec]:
    # Not upon each other: A a little left of its round, the other a little right.
    aside = -0.13 if label == "A" else 0.13
    return [
        {
            "side": label,
            "round": dot.round + aside,
            "seconds": dot.seconds / unit.per,
            "tip": f"{label}, round {dot.round}: {figures.seconds(dot.seconds)}",
        }
        for dot in side.counted
    ]
