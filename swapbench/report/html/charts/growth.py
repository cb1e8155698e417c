"""Settled memory over the swaps of a run, with its slope and what would still be no leak."""

from swapbench.base import figures
from swapbench.findings.memory import Growth, SettledPoint, SlopeLine
from swapbench.report.html.charts.drawing import (
    ACCENT,
    INK,
    SOFT,
    SURFACE,
    Drawing,
    Spec,
    draw_panel,
    either,
    layer,
    layered,
    name,
    number,
)
from swapbench.report.html.charts.scales import UnitOf, unit_of_bytes, upright


def growth(shown: Growth) -> Drawing:
    """Dots as settled, less the first of their kind; the slope solid, the tolerance dashed."""
    return draw_panel(lambda width: _spec(shown, width))


def _spec(shown: Growth, width: int) -> Spec:
    judged = shown.finding.outcome != "not judged"
    unit = unit_of_bytes(_shown_bytes(shown, judged))
    x = number(
        "swap",
        title="swap",
        scale={"nice": False, "zero": False, "padding": 8},
        axis={"grid": False, "tickMinStep": 1, "tickCount": 6, "format": "d"},
    )
    y = number("growth", axis=upright(f"{unit.name} since the first"), scale={"nice": True, "zero": True})
    looks = {
        "fill": either("datum.considered", ACCENT, SURFACE),
        "stroke": either("datum.considered", SURFACE, SOFT),
        "description": name("tip"),
    }
    rows = [_row(point, unit) for point in shown.points]
    places = {"x": x, "y": y}
    layers = [
        layer("point", rows, {**places, **looks}, size=46, strokeWidth=1.3, opacity=1),
        layer("line", _ends(shown.slope, unit), places, color=INK, strokeWidth=1.6),
    ]
    if judged:
        tolerance = _ends(shown.tolerance, unit)
        layers.insert(0, layer("line", tolerance, places, color=SOFT, strokeWidth=1.2, strokeDash=[4, 3]))
    return layered(layers, width, 170)


def _shown_bytes(shown: Growth, judged: bool) -> list[float]:
    lines = [shown.slope, shown.tolerance] if judged else [shown.slope]
    ends = [y for line in lines for _, y in (line.start, line.end)]
    return [*ends, *(point.growth_bytes for point in shown.points)]


def _row(point: SettledPoint, unit: UnitOf) -> Spec:
    aside = "" if point.considered else ", left out: warm-up"
    return {
        "swap": point.swap,
        "growth": point.growth_bytes / unit.per,
        "considered": point.considered,
        "tip": f"swap {point.swap}, {point.scenario}: {figures.memory(point.bytes)}{aside}",
    }


def _ends(line: SlopeLine, unit: UnitOf) -> list[Spec]:
    return [{"swap": x, "growth": y / unit.per} for x, y in (line.start, line.end)]
