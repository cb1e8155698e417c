"""Every swap as a dot: over the rounds, by strategy, against the machine's limit, in memory that grows."""

from collections.abc import Sequence

from swapbench.base import figures
from swapbench.findings.chart_data import Dot, Dots, LadderDots
from swapbench.findings.memory import Growth, SettledPoint, SlopeLine
from swapbench.findings.strategies import AgainstLimit, Ladder
from swapbench.report.blocks import Spec
from swapbench.report.charts.vega import (
    ACCENT,
    INK,
    NARROW,
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


def rounds(dots: Dots, width: int) -> Spec:
    """Counted swaps filled, others hollow; the median as a line, and where it may lie as a band."""
    unit = unit_of_seconds(dot.seconds for dot in dots.dots)
    rows = [_round_row(dot, unit) for dot in dots.dots]
    y = number("seconds", axis=upright(unit.name), scale={"zero": False, "nice": True, "padding": 12})
    x = number("round", title="round", **_rounds(dots))
    looks = {
        "fill": name("kind", legend=None, scale=_kinds(ACCENT, SURFACE, SURFACE)),
        "stroke": name("kind", legend=None, scale=_kinds(SURFACE, SOFT, "var(--bad)")),
    }
    far = [row for row in rows if row["outlier"]]
    layers = [
        *_median_of_rounds(dots, unit),
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


def _round_row(dot: Dot, unit: UnitOf) -> Spec:
    aside = "" if dot.kind == "counted" else f", {dot.kind}"
    far = ", stands out" if dot.outlier else ""
    return {
        "round": dot.round,
        "seconds": dot.seconds / unit.per,
        "kind": dot.kind,
        "outlier": dot.outlier,
        "tip": f"round {dot.round}: {figures.seconds(dot.seconds)}{aside}{far}",
    }


def _median_of_rounds(dots: Dots, unit: UnitOf) -> list[Spec]:
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


def ladder(shown: LadderDots, found: Ladder, width: int) -> Spec:
    """The whole swap by strategy, with how many times as fast as stock, where that can be told."""
    having = [dots for dots in shown.strategies if dots.dots]
    every = [dot.seconds for dots in having for dot in dots.dots]
    unit = unit_of_seconds(every)
    end = max(every) / unit.per * (1.25 if width == NARROW else 1.1)
    x = number(
        "seconds",
        title=f"{unit.name} for the whole swap",
        scale={"domain": [0, end], "nice": False},
        axis=across(width),
    )
    names = [dots.name for dots in having]
    y = name("strategy", sort=names, axis=names_axis(names, width))
    looks = {
        "fill": either("datum.counted", ACCENT, SURFACE),
        "stroke": either("datum.counted", SURFACE, SOFT),
        "description": name("tip"),
    }
    dots = [_ladder_row(strategy.name, dot, unit) for strategy in having for dot in strategy.dots]
    medians = [row for strategy in having for row in _median_of_strategy(strategy, found, unit)]
    layers = [
        layer("point", dots, {"x": x, "y": y, **looks}, size=56, strokeWidth=1.2, opacity=0.85),
        layer("tick", medians, {"x": x, "y": y}, size=22, thickness=2.5, color=INK),
        layer("text", medians, {"x": number("most"), "y": y, "text": name("times")}, align="left", dx=10),
    ]
    return layered(layers, width, {"step": 32})


def _ladder_row(strategy: str, dot: Dot, unit: UnitOf) -> Spec:
    aside = "" if dot.kind == "counted" else f", {dot.kind}"
    return {
        "strategy": strategy,
        "seconds": dot.seconds / unit.per,
        "counted": dot.kind == "counted",
        "tip": f"{strategy}, round {dot.round}: {figures.seconds(dot.seconds)}{aside}",
    }


def _median_of_strategy(dots: Dots, found: Ladder, unit: UnitOf) -> list[Spec]:
    if dots.estimate is None:
        return []
    rung = found.rung(dots.name)
    times = rung.total_times if rung and rung.told_apart else None
    return [
        {
            "strategy": dots.name,
            "seconds": dots.estimate.point / unit.per,
            "most": max(dot.seconds for dot in dots.dots) / unit.per,
            "times": "" if times is None else figures.times(times.point),
        }
    ]


def roofline(limits: Sequence[AgainstLimit], width: int) -> Spec:
    """A bar as long as the limit for every scenario, filled as far as its load came."""
    rows = [_roofline_row(entry) for entry in limits]
    names = [entry.scenario for entry in limits]
    most = max(max(row["limit"], row["reached"]) for row in rows)
    scale = {"domain": [0, most * (1.3 if width == NARROW else 1.12)], "nice": False}
    places = {"y": name("scenario", sort=names, axis=names_axis(names, width)), "description": name("tip")}
    limit = number("limit", title="GB/s", scale=scale, axis=across(width))
    layers = [
        layer("bar", rows, {**places, "x": limit}, height=22, color=RULE, cornerRadiusEnd=3),
        layer("bar", rows, {**places, "x": number("reached")}, height=10, color=ACCENT, cornerRadiusEnd=2),
        layer("tick", rows, {**places, "x": limit}, size=22, thickness=2, color=SOFT),
        layer("text", rows, {**places, "x": number("limit"), "text": name("share")}, align="left", dx=8),
    ]
    return layered(layers, width, {"step": 40})


def _roofline_row(entry: AgainstLimit) -> Spec:
    rate = entry.load_gb_per_s
    share = "" if entry.share is None else figures.percent(entry.share)
    reached = "not recorded" if rate is None else figures.rate(rate.point)
    return {
        "scenario": entry.scenario,
        "limit": entry.limit_gb_per_s,
        "reached": rate.point if rate else 0.0,
        "share": share,
        "tip": f"{entry.scenario}: {reached} of {figures.rate(entry.limit_gb_per_s)} ({share})",
    }


def growth(shown: Growth, width: int) -> Spec:
    """Dots as settled, less the first of their kind; the slope solid, the tolerance dashed."""
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
    rows = [_growth_row(point, unit) for point in shown.points]
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


def _growth_row(point: SettledPoint, unit: UnitOf) -> Spec:
    aside = "" if point.considered else ", left out: warm-up"
    return {
        "swap": point.swap,
        "growth": point.growth_bytes / unit.per,
        "considered": point.considered,
        "tip": f"swap {point.swap}, {point.scenario}: {figures.memory(point.bytes)}{aside}",
    }


def _ends(line: SlopeLine, unit: UnitOf) -> list[Spec]:
    return [{"swap": x, "growth": y / unit.per} for x, y in (line.start, line.end)]
