"""Two sides of a comparison: each change with its bounds and the margin, and every swap of either side."""

import math
from typing import Final

from swapbench.base import figures
from swapbench.compare.change import Verdict
from swapbench.compare.comparison import Comparison
from swapbench.findings.chart_data import Dots
from swapbench.report.blocks import Spec
from swapbench.report.charts import (
    ACCENT,
    INK,
    SOFT,
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


def forest(comparison: Comparison, other: str, width: int) -> Spec:
    """The change of every headline that has a ratio, from A to the `other` side, in per cent."""
    rows: list[Spec] = []
    for s in comparison.scenarios:
        if ratio := s.headline.ratio:
            low, point, high = ((value - 1) * 100 for value in (ratio.low, ratio.point, ratio.high))
            change = figures.ratio_change(ratio.point)
            tip = f"{s.scenario}: {change}, {verdict_words(s.headline, comparison.margin)}"
            row = {"scenario": s.scenario, "low": low, "point": point, "high": high, "text": change}
            rows.append(row | {"grade": _GRADES.get(s.headline.verdict, "doubt"), "tip": tip})
    names = [row["scenario"] for row in rows]
    # Wide enough for every bound that there is, and for the margin; what has no bound runs off the edge.
    ends = [row[side] for row in rows for side in ("low", "high") if -100 < row[side] < math.inf]
    ends += [row["point"] for row in rows] + [-comparison.margin * 200, comparison.margin * 200]
    room = (max(ends) - min(ends)) * 0.06
    reach = [min(ends) - room, max(ends) + room]
    for row in rows:
        row["high"] = min(row["high"], reach[1])
    x = number(
        "low",
        title=f"{other} against A, % (left is faster)",
        scale={"domain": reach, "nice": False, "clamp": True},
        axis=across(width, labelExpr="datum.value ? format(datum.value, '+') : '0'"),
    )
    places = {"y": name("scenario", sort=names, axis=names_axis(names, width)), "description": name("tip")}
    colour = name("grade", legend=None, scale=_COLOURS)
    margin = [{"from": -comparison.margin * 100, "to": comparison.margin * 100}]
    band = {"x": {**x, "field": "from"}, "x2": {"field": "to"}}
    bars = {**places, "x": x, "x2": {"field": "high"}, "color": colour}
    points = {**places, "x": number("point"), "color": colour}
    texts = {**places, "x": number("point"), "text": name("text")}
    layers = [
        layer("rect", margin, band, color=SOFT, opacity=0.13),
        layer("rule", [{"at": 0}], {"x": number("at")}, color=SOFT),
        layer("rule", rows, bars, strokeWidth=2.5),
        layer("point", rows, points, filled=True, size=110, opacity=1),
        layer("text", rows, texts, dy=-14, align="center"),
    ]
    return layered(layers, width, {"step": 52})


def sides(a: Dots, b: Dots, other: str, width: int) -> Spec:
    """A's counted swaps and the `other` side's, round by round, with a line for either median."""
    unit = unit_of_seconds(dot.seconds for side in (a, b) for dot in side.counted)
    both = (("A", a), (other, b))
    rows = [
        {
            "side": label,
            # Not upon each other: A a little left of its round, the other a little right.
            "round": dot.round + (-0.13 if label == "A" else 0.13),
            "seconds": dot.seconds / unit.per,
            "tip": f"{label}, round {dot.round}: {figures.seconds(dot.seconds)}",
        }
        for label, side in both
        for dot in side.counted
    ]
    estimates = [(label, side.estimate) for label, side in both if side.estimate is not None]
    medians = [{"side": label, "median": found.point / unit.per} for label, found in estimates]

    def by_side(*looks: str) -> Spec:
        return name("side", legend=None, scale={"domain": ["A", other], "range": list(looks)})

    scale = {"nice": False, "zero": False, "padding": 14}
    axis = {"grid": False, "tickMinStep": 1, "tickCount": 8, "format": "d"}
    points = {
        "x": number("round", title="round", scale=scale, axis=axis),
        "y": number("seconds", axis=upright(unit.name), scale={"zero": False, "nice": True, "padding": 12}),
        "shape": by_side("circle", "diamond"),
        "color": by_side(INK, ACCENT),
        "description": name("tip"),
    }
    lines = {"y": number("median"), "color": by_side(INK, ACCENT)}
    layers = [
        layer("rule", medians, lines, strokeWidth=1.2, opacity=0.7),
        layer("point", rows, points, size=64, strokeWidth=1.5, opacity=1, filled=True),
    ]
    return layered(layers, width, 190)
