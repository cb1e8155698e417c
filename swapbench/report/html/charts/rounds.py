"""Every swap of a scenario as a dot over the rounds."""

from swapbench.base import figures
from swapbench.findings.chart_data import Dot, Dots
from swapbench.report.html.charts.drawing import (
    ACCENT,
    INK,
    SOFT,
    SURFACE,
    Drawing,
    Spec,
    draw_panel,
    layer,
    layered,
    name,
    number,
)
from swapbench.report.html.charts.scales import UnitOf, unit_of_seconds, upright


def rounds(dots: Dots) -> Drawing:
    """Counted swaps filled, others hollow; the median as a line, and where it may lie as a band."""
    return draw_panel(lambda width: _spec(dots, width))


def _spec(dots: Dots, width: int) -> Spec:
    unit = unit_of_seconds(dot.seconds for dot in dots.dots)
    rows = [_row(dot, unit) for dot in dots.dots]
    y = number("seconds", axis=upright(unit.name), scale={"zero": False, "nice": True, "padding": 12})
    x = number("round", title="round", **_rounds(dots))
    looks = {
        "fill": name("kind", legend=None, scale=_kinds(ACCENT, SURFACE, SURFACE)),
        "stroke": name("kind", legend=None, scale=_kinds(SURFACE, SOFT, "var(--bad)")),
    }
    far = [row for row in rows if row["outlier"]]
    layers = [
        *_median(dots, unit),
        layer(
            "point",
            rows,
            {"x": x, "y": y, **looks, "description": name("tip")},
            size=80,
            strokeWidth=1.6,
            opacity=1,
        ),
        layer("point", far, {"x": x, "y": y}, size=280, color="var(--doubt)", strokeWidth=1.5, opacity=1),
    ]
    return layered(layers, width, 190)


def _row(dot: Dot, unit: UnitOf) -> Spec:
    aside = "" if dot.kind == "counted" else f", {dot.kind}"
    far = ", stands out" if dot.outlier else ""
    return {
        "round": dot.round,
        "seconds": dot.seconds / unit.per,
        "kind": dot.kind,
        "outlier": dot.outlier,
        "tip": f"round {dot.round}: {figures.seconds(dot.seconds)}{aside}{far}",
    }


def _median(dots: Dots, unit: UnitOf) -> list[Spec]:
    if dots.estimate is None:
        return []
    layers = []
    if dots.interval is not None:
        band = {"low": dots.interval.low / unit.per, "high": dots.interval.high / unit.per}
        edges = {"y": number("low"), "y2": {"field": "high"}}
        layers.append(layer("rect", [band], edges, color=ACCENT, opacity=0.1))
    line = [{"median": dots.estimate.point / unit.per}]
    layers.append(layer("rule", line, {"y": number("median")}, color=INK, strokeWidth=1, opacity=0.6))
    return layers


def _kinds(counted: str, warmup: str, invalid: str) -> Spec:
    return {"domain": ["counted", "warm-up", "invalid"], "range": [counted, warmup, invalid]}


def _rounds(dots: Dots) -> Spec:
    """Whole rounds only, and so many of them that their numbers have room."""
    numbers = [dot.round for dot in dots.dots]
    first, last = min(numbers), max(numbers)
    apart = max(1, -(-(last - first + 1) // 12))
    axis = {"grid": False, "values": list(range(first, last + 1, apart)), "format": "d"}
    return {"axis": axis, "scale": {"domain": [first - 0.5, last + 0.5], "nice": False}}
