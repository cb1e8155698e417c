"""Units that make axes readable, axes that look alike, and colours that mean the same everywhere."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from swapbench.base.phases import FIRST_TOKEN, PHASES
from swapbench.report.html.charts.drawing import INK, NARROW, Spec

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
