"""From a chart to SVG that takes colours from the page and width from where it stands."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import vl_convert
from markupsafe import Markup

from swapbench.report.blocks import Chart, Spec
from swapbench.report.charts.vega import MIDDLE, NARROW, PANEL, WIDE, dressed


@dataclass(frozen=True)
class Drawing:
    """One chart by width of the page: scaled down to another, its letters would be too small to read."""

    wide: Markup
    middle: Markup | None = None
    narrow: Markup | None = None


def draw(charts: Sequence[Chart]) -> Iterator[Drawing]:
    """Each chart in all widths; a panel, which is small enough for a phone, in one."""
    number = 0
    for chart in charts:
        widths = (PANEL,) if chart.panel else (WIDE, MIDDLE, NARROW)
        yield Drawing(*(_svg(chart.spec(width), number + i) for i, width in enumerate(widths)))
        number += len(widths)


def _svg(spec: Spec, number: int) -> Markup:
    # No address is allowed: whatever a run's texts say, nothing is ever fetched.
    svg = vl_convert.vegalite_to_svg(dressed(spec), vl_version="6.4", allowed_base_urls=[])
    return Markup(_for_page(svg, number))


def _for_page(svg: str, number: int) -> str:
    """Out of the accessibility tree (a table stands beside it), as wide as its column, ids its own."""
    svg = svg.replace(' id="', f' id="c{number}-').replace("url(#", f"url(#c{number}-")
    # Of what Vega says to assistive technology only the marks' labels are kept: tooltips show them.
    svg = re.sub(r' (?:role|aria-roledescription|aria-hidden)="[^"]*"', "", svg)
    svg = svg.replace(" aria-label=", " data-tip=")
    return re.sub(
        r'<svg [^>]*?width="([\d.]+)" height="[\d.]+" (viewBox="[^"]*")>',
        r'<svg xmlns="http://www.w3.org/2000/svg" aria-hidden="true" focusable="false" width="\1" \2>',
        svg,
        count=1,
    )
