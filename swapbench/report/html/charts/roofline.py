"""What the machine could do, and how much of it the loads reached."""

from collections.abc import Sequence

from swapbench.base import figures
from swapbench.findings.strategies import AgainstLimit
from swapbench.report.html.charts.drawing import (
    ACCENT,
    NARROW,
    RULE,
    SOFT,
    Drawing,
    Spec,
    draw,
    layer,
    layered,
    name,
    number,
)
from swapbench.report.html.charts.scales import across, names_axis


def roofline(limits: Sequence[AgainstLimit]) -> Drawing:
    """A bar as long as the limit for every scenario, filled as far as its load came."""
    return draw(lambda width: _spec(limits, width))


def _spec(limits: Sequence[AgainstLimit], width: int) -> Spec:
    rows = [_row(entry) for entry in limits]
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


def _row(entry: AgainstLimit) -> Spec:
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
