"""From figures to Vega-Lite. Here what charts share: their look, axes, marks, units and colours."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from swapbench.base.phases import FIRST_TOKEN, PHASES
from swapbench.report.blocks import Spec

# What a column of the page holds, a tablet or half a screen, and a phone, in CSS pixels.
WIDE: Final = 944
MIDDLE: Final = 640
PANEL: Final = 342
NARROW: Final = 342
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

# Named in page.css, once for light and once for dark.
INK: Final = "var(--ink)"
SOFT: Final = "var(--soft)"
RULE: Final = "var(--rule)"
ACCENT: Final = "var(--accent)"
SURFACE: Final = "var(--surface)"

_CONFIG: Final[Spec] = {
    "font": _FONT,
    "background": "transparent",
    "padding": {"left": 0, "right": 4, "top": 2, "bottom": 2},
    "view": {"stroke": None},
    "text": {"font": _FONT, "fontSize": 12, "color": INK},
    "title": {"font": _FONT, "fontSize": 12, "fontWeight": "normal", "color": INK, "anchor": "start"},
    "axis": {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "gridColor": RULE,
        "domainColor": RULE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelPadding": 6,
        "titlePadding": 8,
        "ticks": False,
    },
}


def layered(layers: list[Spec], width: int, height: int | Spec) -> Spec:
    """Layers on one pair of axes, `width` pixels wide with their labels."""
    fit = {"type": "fit-x", "contains": "padding"}
    return {"width": width, "height": height, "autosize": fit, "layer": layers}


def layer(mark: str, rows: list[Spec], encoding: Spec, **properties: Any) -> Spec:
    """Marks of one kind, one for each row; a `description` is what they say when pointed at."""
    marks = {"type": mark, "aria": "description" in encoding, **properties}
    return {"data": {"values": rows}, "mark": marks, "encoding": encoding}


def number(field: str, **channel: Any) -> Spec:
    """A channel that shows a number."""
    return {"field": field, "type": "quantitative", **channel}


def name(field: str, **channel: Any) -> Spec:
    """A channel that shows one of several names."""
    return {"field": field, "type": "nominal", **channel}


def either(test: str, yes: Any, no: Any) -> Spec:
    """One of two looks, by an expression over the row."""
    return {"condition": {"test": test, "value": yes}, "value": no}


def dressed(spec: Spec) -> Spec:
    """The specification with the look that all charts share."""
    return {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "config": _CONFIG, **spec}


_MOST_FOR_NAMES: Final = 0.38
_ROOM_FOR_FIGURES: Final = 52
_PHASE_NAMES: Final = (*map(str, PHASES), FIRST_TOKEN)

# One colour for each phase and the first token, the page's own.
PHASE_COLOURS: Final[Spec] = {
    "domain": list(_PHASE_NAMES),
    "range": [f"var(--{name.replace('_', '-')})" for name in _PHASE_NAMES],
}


@dataclass(frozen=True)
class UnitOf:
    """What figures are divided by, and what they are then called."""

    per: float
    name: str


def unit_of_seconds(values: Iterable[float]) -> UnitOf:
    """Seconds, as everywhere in the report, unless all is over within a few milliseconds."""
    return UnitOf(1e-3, "ms") if max(map(abs, values), default=0.0) < 0.01 else UnitOf(1.0, "s")


def unit_of_bytes(values: Iterable[float]) -> UnitOf:
    """The largest binary unit of which there is at least one."""
    most = max(map(abs, values), default=0.0)
    units = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
    return next((UnitOf(float(size), name) for size, name in units if most >= size), UnitOf(1.0, "B"))


def across(width: int, **more: Any) -> Spec:
    """A horizontal axis of numbers."""
    ticks = 4 if width == NARROW else 8
    return {"grid": True, "domain": False, "labelFlush": False, "tickCount": ticks, **more}


def upright(unit: str) -> Spec:
    """A vertical axis of numbers, its unit lying above it."""
    return {
        "grid": True,
        "domain": False,
        "tickCount": 4,
        "minExtent": _ROOM_FOR_FIGURES,
        "title": unit,
        "titleAngle": 0,
        "titleAlign": "left",
        "titleBaseline": "bottom",
        "titleAnchor": "end",
        "titleX": -_ROOM_FOR_FIGURES,
        "titleY": -8,
    }


def names_axis(names: Iterable[str], width: int, **more: Any) -> Spec:
    """A vertical axis of names, with room for them in a font wider than the one that Vega measured."""
    room = min(round(width * _MOST_FOR_NAMES), 10 + round(7.6 * max(map(len, names))))
    return {"domain": False, "labelColor": INK, "labelLimit": room, "minExtent": room, "title": None, **more}
