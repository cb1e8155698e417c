"""A swap on its clock: phases and spans as a waterfall, and the ledgers with the phases behind them."""

from typing import Final

from swapbench.base import figures
from swapbench.base.phases import FIRST_TOKEN, LEDGER_LABELS
from swapbench.findings.chart_data import LedgerSeries, Stretch, SwapTimeline
from swapbench.report.blocks import Spec
from swapbench.report.charts.vega import (
    INK,
    NARROW,
    PHASE_COLOURS,
    SOFT,
    UnitOf,
    across,
    either,
    layer,
    layered,
    name,
    names_axis,
    number,
    unit_of_bytes,
    unit_of_seconds,
)

_STEP: Final = 22
_NAME: Final = "replace(slice(datum.label, indexof(datum.label, '/') + 1), '_', ' ')"
_IS_PHASE: Final = "indexof(datum.label, '/') < 0"


def waterfall(timeline: SwapTimeline, width: int) -> Spec:
    """Bars from start to end, each with its seconds."""
    unit = unit_of_seconds([timeline.axis_s])
    rows = [_stretch_row(stretch, unit) for stretch in timeline.stretches]
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


def _stretch_row(stretch: Stretch, unit: UnitOf) -> Spec:
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


_HEIGHT: Final = 64
_LABELS: Final = 54

# How much the machine has left is a small change of a large figure; from zero nothing would be seen,
# and without a least span its every flutter would look like a cliff.
_LEAST_SHOWN: Final = 0.005
_NOT_FROM_ZERO: Final = ("system_available", "system_wired", "system_compressed")


def memory(timeline: SwapTimeline, width: int) -> Spec:
    """A panel for each ledger that was recorded."""
    unit = unit_of_seconds([timeline.end_s])
    last = timeline.ledgers[-1]
    panels = [_panel(timeline, series, unit, width, last=series is last) for series in timeline.ledgers]
    return {"vconcat": panels, "spacing": 14}


def _panel(timeline: SwapTimeline, series: LedgerSeries, time: UnitOf, width: int, *, last: bool) -> Spec:
    unit = unit_of_bytes(value for _, value in series.points)
    rows = [_reading_row(t_s, value, series.ledger, time, unit) for t_s, value in series.points]
    axis = across(width, grid=False, domain=True, title=f"{time.name} since the swap request")
    x = number(
        "t",
        scale={"domain": _span(timeline, time), "nice": False, "clamp": True},
        axis=axis if last else None,
    )
    y = number("bytes", title=None, scale=_scale(series, unit), axis=_bytes_axis())
    shades = {
        "x": x,
        "x2": {"field": "end"},
        "color": name("phase", scale=PHASE_COLOURS, legend=None),
        "fillOpacity": either("datum.swap", 0.24, 0.12),
    }
    return {
        "width": width - _LABELS - 10,
        "height": _HEIGHT,
        "title": {"text": f"{LEDGER_LABELS[series.ledger]}, {unit.name}", "offset": 4},
        "layer": [
            layer("rect", _phases(timeline, time), shades),
            layer("line", rows, {"x": x, "y": y}, color=INK, strokeWidth=1.5),
            layer(
                "point",
                rows,
                {"x": x, "y": y, "description": name("tip")},
                filled=True,
                size=14,
                color=INK,
                opacity=1,
            ),
        ],
    }


def _reading_row(t_s: float, value: float, ledger: str, time: UnitOf, unit: UnitOf) -> Spec:
    tip = f"{LEDGER_LABELS[ledger]} {figures.memory(value)} at {figures.seconds(t_s)}"
    return {"t": t_s / time.per, "bytes": value / unit.per, "tip": tip}


def _phases(timeline: SwapTimeline, time: UnitOf) -> list[Spec]:
    return [
        {
            "phase": phase.phase,
            "swap": phase.phase != FIRST_TOKEN,
            "t": phase.start_s / time.per,
            "end": phase.end_s / time.per,
        }
        for phase in timeline.phases
    ]


def _span(timeline: SwapTimeline, time: UnitOf) -> list[float]:
    """The same for every ledger: from the first reading to the last."""
    times = [t_s / time.per for series in timeline.ledgers for t_s, _ in series.points]
    return [min(0.0, *times), max(timeline.end_s / time.per, *times)]


def _scale(series: LedgerSeries, unit: UnitOf) -> Spec:
    values = [value / unit.per for _, value in series.points]
    low, high = min(values), max(values)
    low = min(low, high * (1 - _LEAST_SHOWN) if series.ledger in _NOT_FROM_ZERO else 0.0)
    if high <= low:
        high = low + 1
    return {"domain": [low, high + (high - low) * 0.08], "nice": 3, "zero": False}


def _bytes_axis() -> Spec:
    return {
        "grid": True,
        "domain": False,
        "tickCount": 3,
        "minExtent": _LABELS,
        "maxExtent": _LABELS,
    }
