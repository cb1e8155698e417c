"""Strategies side by side: every swap a dot, every median a line, the fastest on top."""

from swapbench.base import figures
from swapbench.findings.chart_data import Dot, Dots, LadderDots
from swapbench.findings.strategies import Ladder
from swapbench.report.html.charts.drawing import (
    ACCENT,
    INK,
    NARROW,
    SOFT,
    SURFACE,
    Drawing,
    Spec,
    draw,
    either,
    layer,
    layered,
    name,
    number,
)
from swapbench.report.html.charts.scales import UnitOf, across, names_axis, unit_of_seconds


def ladder(shown: LadderDots, found: Ladder) -> Drawing:
    """The whole swap by strategy, with how many times as fast as stock, where that can be told."""
    return draw(lambda width: _spec(shown, found, width))


def _spec(shown: LadderDots, found: Ladder, width: int) -> Spec:
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
    dots = [_row(strategy.name, dot, unit) for strategy in having for dot in strategy.dots]
    medians = [row for strategy in having for row in _median(strategy, found, unit)]
    layers = [
        layer("point", dots, {"x": x, "y": y, **looks}, size=56, strokeWidth=1.2, opacity=0.85),
        layer("tick", medians, {"x": x, "y": y}, size=22, thickness=2.5, color=INK),
        layer("text", medians, {"x": number("most"), "y": y, "text": name("times")}, align="left", dx=10),
    ]
    return layered(layers, width, {"step": 32})


def _row(strategy: str, dot: Dot, unit: UnitOf) -> Spec:
    aside = "" if dot.kind == "counted" else f", {dot.kind}"
    return {
        "strategy": strategy,
        "seconds": dot.seconds / unit.per,
        "counted": dot.kind == "counted",
        "tip": f"{strategy}, round {dot.round}: {figures.seconds(dot.seconds)}{aside}",
    }


def _median(dots: Dots, found: Ladder, unit: UnitOf) -> list[Spec]:
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
