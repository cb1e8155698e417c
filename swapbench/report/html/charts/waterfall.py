"""A swap as a waterfall: phases one after another, their spans below them."""

from typing import Final

from swapbench.base import figures
from swapbench.findings.chart_data import Stretch, SwapTimeline
from swapbench.report.html.charts.drawing import (
    INK,
    NARROW,
    SOFT,
    Drawing,
    Spec,
    draw,
    either,
    layer,
    layered,
    name,
    number,
)
from swapbench.report.html.charts.scales import PHASE_COLOURS, UnitOf, across, names_axis, unit_of_seconds

_STEP: Final = 22
_NAME: Final = "replace(slice(datum.label, indexof(datum.label, '/') + 1), '_', ' ')"
_IS_PHASE: Final = "indexof(datum.label, '/') < 0"


def waterfall(timeline: SwapTimeline) -> Drawing:
    """Bars from start to end, each with its seconds."""
    return draw(lambda width: _spec(timeline, width))


def _spec(timeline: SwapTimeline, width: int) -> Spec:
    unit = unit_of_seconds([timeline.axis_s])
    rows = [_row(stretch, unit) for stretch in timeline.stretches]
    shown = [stretch.span or stretch.phase for stretch in timeline.stretches]
    labels = names_axis(shown, width, labelExpr=_NAME, labelColor=either(_IS_PHASE, INK, SOFT))
    # A phase that was entered again lies on its one line.
    keys = list(dict.fromkeys(row["key"] for row in rows))
    y = name("key", sort=keys, axis=labels)
    # Room for the figure beside the last bar.
    end = timeline.axis_s / unit.per * (1.3 if width == NARROW else 1.1)
    x = number(
        "start",
        title=f"{unit.name} since the swap request",
        axis=across(width),
        scale={"domain": [0, end], "nice": False},
    )
    colour = name("phase", scale=PHASE_COLOURS, legend=None)
    size = either("datum.span", 6, 14)
    places = {"y": y, "x": x, "color": colour, "size": size, "description": name("tip")}
    bars = {**places, "x2": {"field": "end"}, "fillOpacity": either("datum.span", 0.6, 1)}
    texts = {"y": y, "x": number("end"), "text": name("text"), "color": either("datum.span", SOFT, INK)}
    layers = [
        layer(
            "rule", [{"at": timeline.total_s / unit.per}], {"x": number("at")}, strokeDash=[3, 3], color=SOFT
        ),
        # What took next to nothing would have no width at all.
        layer("tick", rows, places, thickness=2),
        layer("bar", rows, bars, cornerRadius=2),
        layer("text", rows, texts, align="left", dx=6),
    ]
    return layered(layers, width, _STEP * len(keys))


def _row(stretch: Stretch, unit: UnitOf) -> Spec:
    key = f"{stretch.phase}/{stretch.span}" if stretch.span else stretch.phase
    took = figures.seconds(stretch.seconds)
    return {
        "key": key,
        "phase": stretch.phase,
        "span": bool(stretch.span),
        "start": stretch.start_s / unit.per,
        "end": stretch.end_s / unit.per,
        "text": took,
        "tip": f"{key.replace('_', ' ')}: {took}, from {figures.seconds(stretch.start_s)}",
    }
