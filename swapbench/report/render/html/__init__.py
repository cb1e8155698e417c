"""Sections as one HTML file that needs nothing else: no network, no other file, not even JavaScript."""

import base64
import gzip
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Final

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from swapbench import __version__
from swapbench.base import figures
from swapbench.report.blocks import Chart, Charts, Downloads, Fold, Opening, Section, Spec, shown
from swapbench.report.charts import MIDDLE, NARROW, PANEL, WIDE, dressed

_PACKAGE: Final = "swapbench.report.render.html"
_FIGURE: Final = re.compile(r"(?<=\d) (?=(?:s|ms|µs|B|[KMGT]iB|[kMGT]B|[kMG]B/s|%)(?![\w/]))")

# What can still be sent, and opened on a phone. Of it this much may be data, or less where charts and tables
# take more than the rest.
MOST_BYTES: Final = 5_000_000
_MOST_BYTES_OF_DATA: Final = 3_000_000

_SAYS: Final = {
    "findings.json": "every figure of this report",
    "comparison.json": "every figure of the comparison",
    "swaps.csv": "one row per swap",
    "phases.csv": "one row per phase and span",
    "memory.csv": "the ledgers over time",
    "requests.csv": "one row per client's request",
    "run.json": "what was run, on what, with which versions",
}


@dataclass(frozen=True)
class Download:
    """A file within the page: `href` is a data address, empty where it would make the page too heavy."""

    name: str
    says: str
    size: str
    href: str


def to_html(opening: Opening, sections: Iterable[Section]) -> str:
    """The page, with so much data in it as its charts and tables leave room for."""
    told = tuple(shown(sections, "html"))
    charts = [*_charts(told)]
    drawings = dict(zip(map(id, charts), draw(charts), strict=True))

    (style, style_digest), (script, script_digest) = _asset("page.css"), _asset("page.js")
    # Nothing but this style, this script and images within the page: a browser fetches and runs no more.
    policy = (
        f"default-src 'none'; style-src 'sha256-{style_digest}'; script-src 'sha256-{script_digest}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )

    def page(room: int) -> str:
        return (
            _environment()
            .get_template("page.html.jinja")
            .render(
                opening=opening,
                sections=[_section(one, drawings, room) for one in told],
                made_by=f"swapbench {__version__}",
                style=Markup(style),
                script=Markup(script),
                policy=policy,
            )
        )

    return page(MOST_BYTES - len(page(0).encode()))


def prefixed(sections: Iterable[Section], prefix: str) -> tuple[Section, ...]:
    """The sections with ids of their own, where several reports stand on one page."""
    return tuple(replace(one, id=f"{prefix}{one.id}") for one in sections)


def _charts(sections: Iterable[Section]) -> Iterator[Chart]:
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Charts):
                yield from block.charts
            elif isinstance(block, Fold):
                yield from _charts(shown(block.sections, "html"))


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
    """Out of the accessibility tree (a table stands beside it), as wide as its column, ids its own."""
    # No address is allowed: whatever a run's texts say, nothing is ever fetched.
    svg = vl_convert.vegalite_to_svg(dressed(spec), vl_version="6.4", allowed_base_urls=[])
    svg = svg.replace(' id="', f' id="c{number}-').replace("url(#", f"url(#c{number}-")
    # Of what Vega says to assistive technology only the marks' labels are kept: tooltips show them.
    svg = re.sub(r' (?:role|aria-roledescription|aria-hidden)="[^"]*"', "", svg)
    svg = svg.replace(" aria-label=", " data-tip=")
    svg = re.sub(
        r'<svg [^>]*?width="([\d.]+)" height="[\d.]+" (viewBox="[^"]*")>',
        r'<svg xmlns="http://www.w3.org/2000/svg" aria-hidden="true" focusable="false" width="\1" \2>',
        svg,
        count=1,
    )
    return Markup(svg)


def _section(section: Section, drawings: Mapping[int, Drawing], room: int) -> dict[str, Any]:
    """As the template takes it, each block by its kind, and charts numbered for their ids."""
    blocks: list[dict[str, Any]] = []
    numbered = 0
    for block in section.blocks:
        title = "" if block.title == section.title else block.title
        made: dict[str, Any] = {"kind": type(block).__name__.lower(), "title": title, "block": block}
        match block:
            case Charts():
                made["figures"] = [
                    {"id": f"{section.id}-{n}", "chart": chart, "drawing": drawings[id(chart)]}
                    for n, chart in enumerate(block.charts, start=numbered)
                ]
                numbered += len(block.charts)
            case Downloads():
                made["downloads"] = [*downloads(block.files, block.where, room)]
            case Fold():
                made["sections"] = [_section(one, drawings, room) for one in shown(block.sections, "html")]
        blocks.append(made)
    return {"id": section.id, "title": section.title, "blocks": blocks}


def downloads(files: Mapping[str, bytes], where: str, room: int = _MOST_BYTES_OF_DATA) -> Iterator[Download]:
    """A download for each file: as it is where there is room, else compressed, else named only.

    Args:
        files: by name.
        where: the folder that has those which find no room.
        room: bytes of the page that are left for them.
    """
    room = min(room, _MOST_BYTES_OF_DATA)
    for name, data in files.items():
        says, size = _SAYS.get(name.rpartition("-")[2], ""), figures.size(len(data))
        plain = _href("text/csv" if name.endswith(".csv") else "application/json", data)
        if len(plain) <= room // 2:
            room -= len(plain)
            yield Download(name, says, size, plain)
            continue
        packed = _href("application/gzip", gzip.compress(data, mtime=0))
        if len(packed) <= room:
            room -= len(packed)
            yield Download(f"{name}.gz", says, f"{size}, compressed", packed)
        else:
            told = filter(None, (says, f"too large for this page, it is in {where}"))
            yield Download(name, ", ".join(told), size, "")


def _href(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(_PACKAGE, "template"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _unbroken(value: Any) -> Any:
    """A figure is not parted from its unit at the end of a line; markup is left alone."""
    return _FIGURE.sub("\N{NO-BREAK SPACE}", value) if type(value) is str else value


def _asset(name: str) -> tuple[str, str]:
    """A file of the template, and its digest for the page's policy."""
    text = (resources.files(_PACKAGE) / "template" / name).read_text(encoding="utf-8")
    return text, base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
