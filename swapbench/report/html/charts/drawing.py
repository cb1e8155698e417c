"""From a Vega-Lite specification to SVG that takes colours from the page and width from where it stands."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import vl_convert
from markupsafe import Markup

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

Spec = dict[str, Any]

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

_numbers = count()


@dataclass(frozen=True)
class Drawing:
    """One chart by width of the page: scaled down to another, its letters would be too small to read."""

    wide: Markup
    middle: Markup | None = None
    narrow: Markup | None = None


def draw(build: Callable[[int], Spec]) -> Drawing:
    """A chart in all widths."""
    return Drawing(*(_svg(build(width)) for width in (WIDE, MIDDLE, NARROW)))


def draw_panel(build: Callable[[int], Spec]) -> Drawing:
    """A chart that is small enough for a phone, and stands beside others elsewhere."""
    return Drawing(_svg(build(PANEL)))


def layered(layers: list[Spec], width: int, height: int | Spec, **more: Any) -> Spec:
    """Layers on one pair of axes, `width` pixels wide with their labels."""
    fit = {"type": "fit-x", "contains": "padding"}
    return {"width": width, "height": height, "autosize": fit, "layer": layers, **more}


def layer(mark: str, rows: list[Spec], encoding: Spec, **properties: Any) -> Spec:
    """Marks of one kind, one for each row; a `description` is what they say when pointed at."""
    says = "description" in encoding
    return {
        "data": {"values": rows},
        "mark": {"type": mark, "aria": says, **properties},
        "encoding": encoding,
    }


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


def _svg(spec: Spec) -> Markup:
    # No address is allowed: whatever a run's texts say, nothing is ever fetched.
    svg = vl_convert.vegalite_to_svg(dressed(spec), vl_version="6.4", allowed_base_urls=[])
    return Markup(_for_page(svg, next(_numbers)))


def _for_page(svg: str, number_: int) -> str:
    """Out of the accessibility tree (a table stands beside it), as wide as its column, ids its own."""
    svg = svg.replace(' id="', f' id="c{number_}-').replace("url(#", f"url(#c{number_}-")
    # Of what Vega says to assistive technology only the marks' labels are kept: tooltips show them.
    svg = re.sub(r' (?:role|aria-roledescription|aria-hidden)="[^"]*"', "", svg)
    svg = svg.replace(" aria-label=", " data-tip=")
    return re.sub(
        r'<svg [^>]*?width="([\d.]+)" height="[\d.]+" (viewBox="[^"]*")>',
        r'<svg xmlns="http://www.w3.org/2000/svg" aria-hidden="true" focusable="false" width="\1" \2>',
        svg,
        count=1,
    )
