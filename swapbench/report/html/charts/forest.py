"""B against A: each scenario's change with its bounds, and the margin within which it is none."""

import math
from collections.abc import Sequence
from typing import Final

from swapbench.base import figures
from swapbench.compare.change import Verdict
from swapbench.compare.comparison import Comparison, ScenarioComparison
from swapbench.report.comparison import verdict_words
from swapbench.report.html.charts.drawing import SOFT, Drawing, Spec, draw, layer, layered, name, number
from swapbench.report.html.charts.scales import across, names_axis

_GRADES: Final = {Verdict.SLOWER: "bad", Verdict.FASTER: "good", Verdict.NO_WORSE: "good"}
_COLOURS: Final[Spec] = {
    "domain": ["good", "bad", "doubt"],
    "range": ["var(--good)", "var(--bad)", "var(--doubt)"],
}


def forest(comparison: Comparison, other: str) -> Drawing:
    """The change of every headline from A to the `other` side, in per cent."""
    return draw(lambda width: _spec(comparison, other, width))


def drawable(comparison: Comparison) -> tuple[ScenarioComparison, ...]:
    """The scenarios that have a ratio."""
    return tuple(s for s in comparison.scenarios if s.headline.ratio is not None)


def _spec(comparison: Comparison, other: str, width: int) -> Spec:
    rows = [_row(s, comparison.margin) for s in drawable(comparison)]
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


def _row(scenario: ScenarioComparison, margin: float) -> Spec:
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
