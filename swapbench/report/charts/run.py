"""A run in charts: a swap on its clock, and every swap as a dot."""

from collections.abc import Sequence
from typing import Final

from swapbench.base import figures
from swapbench.base.phases import FIRST_TOKEN, LEDGER_LABELS
from swapbench.findings.chart_data import Dots, LadderDots, LedgerSeries, SwapTimeline
from swapbench.findings.memory import Growth, Line
from swapbench.findings.strategies import AgainstLimit, Ladder
from swapbench.report.blocks import Spec
from swapbench.report.charts import (
    ACCENT,
    INK,
    NARROW,
    PHASE_COLOURS,
    RULE,
    SOFT,
    SURFACE,
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
    upright,
)

_STEP: Final = 22
_NAME: Final = "replace(slice(datum.label, indexof(datum.label, '/') + 1), '_', ' ')"
_IS_PHASE: Final = "indexof(datum.label, '/') < 0"

_HEIGHT: Final = 64
_LABELS: Final = 54

# How much the machine has left is a small change of a large figure; from zero nothing would be seen,
# and without a least span its every flutter would look like a cliff.
_LEAST_SHOWN: Final = 0.005
_NOT_FROM_ZERO: Final = ("system_available", "system_wired", "system_compressed")


def waterfall(timeline: SwapTimeline, width: int) -> Spec:
    """Bars from start to end, each with its seconds."""
    unit = unit_of_seconds([timeline.axis_s])
    rows = []
    for one in timeline.stretches:
        key = f"{one.phase}/{one.span}" if one.span else one.phase
        took = figures.seconds(one.seconds)
        row = {"key": key, "phase": one.phase, "span": bool(one.span), "text": took}
        row |= {"start": one.start_s / unit.per, "end": one.end_s / unit.per}
        row["tip"] = f"{key.replace('_', ' ')}: {took}, from {figures.seconds(one.start_s)}"
        rows.append(row)
    shown = [one.span or one.phase for one in timeline.stretches]
    labels = names_axis(shown, width, labelExpr=_NAME, labelColor=either(_IS_PHASE, INK, SOFT))
    # A phase that was entered again lies on its one line.
    keys = list(dict.fromkeys(row["key"] for row in rows))
    y = name("key", sort=keys, axis=labels)
    # Room for the figure beside the last bar.
    end = timeline.axis_s / unit.per * (1.3 if width == NARROW else 1.1)
    scale = {"domain": [0, end], "nice": False}
    x = number("start", title=f"{unit.name} since the swap request", axis=across(width), scale=scale)
    colour = name("phase", scale=PHASE_COLOURS, legend=None)
    size = either("datum.span", 6, 14)
    places = {"y": y, "x": x, "color": colour, "size": size, "description": name("tip")}
    bars = {**places, "x2": {"field": "end"}, "fillOpacity": either("datum.span", 0.6, 1)}
    texts = {"y": y, "x": number("end"), "text": name("text"), "color": either("datum.span", SOFT, INK)}
    total = [{"at": timeline.total_s / unit.per}]
    layers = [
        layer("rule", total, {"x": number("at")}, strokeDash=[3, 3], color=SOFT),
        # What took next to nothing would have no width at all.
        layer("tick", rows, places, thickness=2),
        layer("bar", rows, bars, cornerRadius=2),
        layer("text", rows, texts, align="left", dx=6),
    ]
    return layered(layers, width, _STEP * len(keys))


def memory(timeline: SwapTimeline, width: int) -> Spec:
    """A panel for each ledger that was recorded."""
    unit = unit_of_seconds([timeline.end_s])
    last = timeline.ledgers[-1]
    panels = [_panel(timeline, series, unit, width, last=series is last) for series in timeline.ledgers]
    return {"vconcat": panels, "spacing": 14}


def _panel(timeline: SwapTimeline, series: LedgerSeries, time: UnitOf, width: int, *, last: bool) -> Spec:
    unit, label = unit_of_bytes(value for _, value in series.points), LEDGER_LABELS[series.ledger]
    rows = [
        {
            "t": t_s / time.per,
            "bytes": value / unit.per,
            "tip": f"{label} {figures.memory(value)} at {figures.seconds(t_s)}",
        }
        for t_s, value in series.points
    ]
    phases = [
        {
            "phase": one.phase,
            "swap": one.phase != FIRST_TOKEN,
            "t": one.start_s / time.per,
            "end": one.end_s / time.per,
        }
        for one in timeline.phases
    ]
    # The same for every ledger: from the first reading to the last.
    times = [t_s / time.per for of in timeline.ledgers for t_s, _ in of.points]
    span = [min(0.0, *times), max(timeline.end_s / time.per, *times)]
    axis = across(width, grid=False, domain=True, title=f"{time.name} since the swap request")
    scale = {"domain": span, "nice": False, "clamp": True}
    x = number("t", scale=scale, axis=axis if last else None)
    bytes_axis = {"grid": True, "domain": False, "tickCount": 3, "minExtent": _LABELS, "maxExtent": _LABELS}
    y = number("bytes", title=None, scale=_scale(series, unit), axis=bytes_axis)
    places = {"x": x, "y": y}
    shades = {
        "x": x,
        "x2": {"field": "end"},
        "color": name("phase", scale=PHASE_COLOURS, legend=None),
        "fillOpacity": either("datum.swap", 0.24, 0.12),
    }
    dots = {**places, "description": name("tip")}
    return {
        "width": width - _LABELS - 10,
        "height": _HEIGHT,
        "title": {"text": f"{label}, {unit.name}", "offset": 4},
        "layer": [
            layer("rect", phases, shades),
            layer("line", rows, places, color=INK, strokeWidth=1.5),
            layer("point", rows, dots, filled=True, size=14, color=INK, opacity=1),
        ],
    }


def _scale(series: LedgerSeries, unit: UnitOf) -> Spec:
    values = [value / unit.per for _, value in series.points]
    low, high = min(values), max(values)
    low = min(low, high * (1 - _LEAST_SHOWN) if series.ledger in _NOT_FROM_ZERO else 0.0)
    if high <= low:
        high = low + 1
    return {"domain": [low, high + (high - low) * 0.08], "nice": 3, "zero": False}


def rounds(dots: Dots, width: int) -> Spec:
    """Counted swaps filled, others hollow; the median as a line, and where it may lie as a band."""
    unit = unit_of_seconds(dot.seconds for dot in dots.dots)
    rows: list[Spec] = [
        {
            "round": dot.round,
            "seconds": dot.seconds / unit.per,
            "kind": dot.kind,
            "outlier": dot.outlier,
            "tip": f"round {dot.round}: {figures.seconds(dot.seconds)}{_aside(dot.kind)}"
            f"{', stands out' if dot.outlier else ''}",
        }
        for dot in dots.dots
    ]
    # Whole rounds only, and so many of them that their numbers have room.
    first, last = min(row["round"] for row in rows), max(row["round"] for row in rows)
    apart = max(1, -(-(last - first + 1) // 12))
    axis = {"grid": False, "values": list(range(first, last + 1, apart)), "format": "d"}
    domain = {"domain": [first - 0.5, last + 0.5], "nice": False}
    y = number("seconds", axis=upright(unit.name), scale={"zero": False, "nice": True, "padding": 12})
    places = {"x": number("round", title="round", axis=axis, scale=domain), "y": y}
    looks = {
        "fill": name("kind", legend=None, scale=_kinds(ACCENT, SURFACE, SURFACE)),
        "stroke": name("kind", legend=None, scale=_kinds(SURFACE, SOFT, "var(--bad)")),
        "description": name("tip"),
    }
    far = [row for row in rows if row["outlier"]]
    layers = [
        layer("point", rows, {**places, **looks}, size=80, strokeWidth=1.6, opacity=1),
        layer("point", far, places, size=280, color="var(--doubt)", strokeWidth=1.5, opacity=1),
    ]
    if dots.estimate is not None:
        line = [{"median": dots.estimate.point / unit.per}]
        layers.insert(0, layer("rule", line, {"y": number("median")}, color=INK, strokeWidth=1, opacity=0.6))
        if dots.interval is not None:
            band = [{"low": dots.interval.low / unit.per, "high": dots.interval.high / unit.per}]
            edges = {"y": number("low"), "y2": {"field": "high"}}
            layers.insert(0, layer("rect", band, edges, color=ACCENT, opacity=0.1))
    return layered(layers, width, 190)


def _aside(kind: str) -> str:
    return "" if kind == "counted" else f", {kind}"


def _kinds(counted: str, warmup: str, invalid: str) -> Spec:
    return {"domain": ["counted", "warm-up", "invalid"], "range": [counted, warmup, invalid]}


def ladder(shown: LadderDots, found: Ladder, width: int) -> Spec:
    """The whole swap by strategy, with how many times as fast as stock, where that can be told."""
    having = [dots for dots in shown.strategies if dots.dots]
    every = [dot.seconds for dots in having for dot in dots.dots]
    unit = unit_of_seconds(every)
    rows = [
        {
            "strategy": dots.name,
            "seconds": dot.seconds / unit.per,
            "counted": dot.kind == "counted",
            "tip": f"{dots.name}, round {dot.round}: {figures.seconds(dot.seconds)}{_aside(dot.kind)}",
        }
        for dots in having
        for dot in dots.dots
    ]
    medians = []
    for dots in having:
        if dots.estimate is not None:
            rung = found.rung(dots.name)
            times = rung.total_times if rung and rung.told_apart else None
            row = {"strategy": dots.name, "seconds": dots.estimate.point / unit.per}
            row["most"] = max(dot.seconds for dot in dots.dots) / unit.per
            medians.append(row | {"times": "" if times is None else figures.times(times.point)})
    end = max(every) / unit.per * (1.25 if width == NARROW else 1.1)
    scale = {"domain": [0, end], "nice": False}
    x = number("seconds", title=f"{unit.name} for the whole swap", scale=scale, axis=across(width))
    names = [dots.name for dots in having]
    y = name("strategy", sort=names, axis=names_axis(names, width))
    places = {"x": x, "y": y}
    texts = {"x": number("most"), "y": y, "text": name("times")}
    looks = _filled_where("datum.counted")
    layers = [
        layer("point", rows, {**places, **looks}, size=56, strokeWidth=1.2, opacity=0.85),
        layer("tick", medians, places, size=22, thickness=2.5, color=INK),
        layer("text", medians, texts, align="left", dx=10),
    ]
    return layered(layers, width, {"step": 32})


def _filled_where(test: str) -> Spec:
    return {
        "fill": either(test, ACCENT, SURFACE),
        "stroke": either(test, SURFACE, SOFT),
        "description": name("tip"),
    }


def roofline(limits: Sequence[AgainstLimit], width: int) -> Spec:
    """A bar as long as the limit for every scenario, filled as far as its load came."""
    rows: list[Spec] = []
    for entry in limits:
        rate, limit = entry.load_gb_per_s, entry.limit_gb_per_s
        share = "" if entry.share is None else figures.percent(entry.share)
        reached = "not recorded" if rate is None else figures.rate(rate.point)
        row = {"scenario": entry.scenario, "limit": limit, "reached": rate.point if rate else 0.0}
        tip = f"{entry.scenario}: {reached} of {figures.rate(limit)} ({share})"
        rows.append(row | {"share": share, "tip": tip})
    names = [entry.scenario for entry in limits]
    most = max(max(row["limit"], row["reached"]) for row in rows)
    scale = {"domain": [0, most * (1.3 if width == NARROW else 1.12)], "nice": False}
    places = {"y": name("scenario", sort=names, axis=names_axis(names, width)), "description": name("tip")}
    edge = {**places, "x": number("limit", title="GB/s", scale=scale, axis=across(width))}
    texts = {**places, "x": number("limit"), "text": name("share")}
    layers = [
        layer("bar", rows, edge, height=22, color=RULE, cornerRadiusEnd=3),
        layer("bar", rows, {**places, "x": number("reached")}, height=10, color=ACCENT, cornerRadiusEnd=2),
        layer("tick", rows, edge, size=22, thickness=2, color=SOFT),
        layer("text", rows, texts, align="left", dx=8),
    ]
    return layered(layers, width, {"step": 40})


def growth(shown: Growth, width: int) -> Spec:
    """Dots as settled, less the first of their kind; the slope solid, the tolerance dashed."""
    judged = shown.finding.outcome != "not judged"
    lines = [shown.slope, shown.tolerance] if judged else [shown.slope]
    ends = [y for line in lines for _, y in line]
    unit = unit_of_bytes([*ends, *(point.growth_bytes for point in shown.points)])
    rows = [
        {
            "swap": point.swap,
            "growth": point.growth_bytes / unit.per,
            "considered": point.considered,
            "tip": f"swap {point.swap}, {point.scenario}: {figures.memory(point.bytes)}"
            f"{'' if point.considered else ', left out: warm-up'}",
        }
        for point in shown.points
    ]
    axis = {"grid": False, "tickMinStep": 1, "tickCount": 6, "format": "d"}
    x = number("swap", title="swap", scale={"nice": False, "zero": False, "padding": 8}, axis=axis)
    y = number("growth", axis=upright(f"{unit.name} since the first"), scale={"nice": True, "zero": True})
    places = {"x": x, "y": y}
    looks = _filled_where("datum.considered")
    layers = [
        layer("point", rows, {**places, **looks}, size=46, strokeWidth=1.3, opacity=1),
        layer("line", _ends(shown.slope, unit), places, color=INK, strokeWidth=1.6),
    ]
    if judged:
        tolerance = _ends(shown.tolerance, unit)
        layers.insert(0, layer("line", tolerance, places, color=SOFT, strokeWidth=1.2, strokeDash=[4, 3]))
    return layered(layers, width, 170)


def _ends(line: Line, unit: UnitOf) -> list[Spec]:
    return [{"swap": x, "growth": y / unit.per} for x, y in line]
