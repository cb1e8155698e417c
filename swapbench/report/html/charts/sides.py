"""Two sides of a comparison: every swap of either as a dot over the rounds."""

from swapbench.base import figures
from swapbench.findings.chart_data import Dots
from swapbench.report.html.charts.drawing import (
    ACCENT,
    INK,
    Drawing,
    Spec,
    draw_panel,
    layer,
    layered,
    name,
    number,
)
from swapbench.report.html.charts.scales import UnitOf, unit_of_seconds, upright


def sides(a: Dots, b: Dots, other: str) -> Drawing:
    """A's counted swaps and the `other` side's, round by round, with a line for either median."""
    return draw_panel(lambda width: _spec(a, b, other, width))


def _spec(a: Dots, b: Dots, other: str, width: int) -> Spec:
    unit = unit_of_seconds(dot.seconds for side in (a, b) for dot in side.counted)
    both = (("A", a), (other, b))
    rows = [row for label, side in both for row in _rows(label, side, unit)]
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


def _rows(label: str, side: Dots, unit: UnitOf) -> list[Spec]:
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
