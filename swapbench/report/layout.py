"""Sections, rows and cells put together, and texts of any length in them."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from statistics import median
from typing import Final, TypeVar

from swapbench.base.figures import NOT_RECORDED
from swapbench.report.blocks import Block, Cell, Charts, Diagram, Headings, Lines, Row, Section, Tone
from swapbench.stats.estimate import Estimate

_About = TypeVar("_About")


def made(makers: Iterable[Callable[[_About], Section]], about: _About) -> tuple[Section, ...]:
    """Every section that has something to say, in their order."""
    return tuple(one for make in makers if (one := make(about)).blocks)


def section(id_: str, title: str, *blocks: Block | None, decides: bool = False) -> Section:
    """A section of those blocks that there are, and that have something to say."""

    def says(block: Block) -> bool:
        match block:
            case Lines(lines=()) | Charts(charts=()) | Diagram(text=""):
                return False
        return True

    return Section(id_, title, tuple(block for block in blocks if block and says(block)), decides)


def row(*cells: Cell | str) -> Row:
    """A row of cells, some of them words alone."""
    return tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells)


def figure(text: str, tone: Tone = "plain") -> Cell:
    """A figure alone."""
    return Cell(text, tone=tone, figure=True)


def columns(*headings: str) -> Headings:
    """Headings of a table; a line feed begins a heading's next line."""
    return tuple(tuple(heading.split("\n")) for heading in headings)


def headed(title: str, width: int, rows: Iterable[Row]) -> tuple[Row, ...]:
    """Rows of a group under its title, `width` columns beside it."""
    return (row(Cell(title, tone="strong"), *[""] * width), *rows)


def spelt(value: float | None, spell: Callable[[float], str]) -> str:
    """A figure; a dash where it was not recorded."""
    return NOT_RECORDED if value is None else spell(value)


def point(value: Estimate | None, spell: Callable[[float], str]) -> str:
    """A figure's point; a dash where it was not recorded."""
    return NOT_RECORDED if value is None else spell(value.point)


# ESC and all its kin but tab and line feed; rich itself takes only a few of them out.
_CONTROL: Final = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n")})
_BARS: Final = "▁▂▃▄▅▆▇█"

# Noise must not look like a mountain range: the whole height is at least this share of the figure.
_LEAST_RANGE: Final = 0.2


def plain(text: str) -> str:
    """The text without the characters that a terminal would obey."""
    return text.translate(_CONTROL)


def short(text: str, most: int) -> str:
    """At most so many characters of a text."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shortened(name: str, most: int) -> str:
    """At most so many characters of a name, left out in the middle: names differ at their ends."""
    if len(name) <= most:
        return name
    kept = max(0, most - 1)
    return f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"[: max(0, most)]


def capital(text: str) -> str:
    """With a capital."""
    return f"{text[:1].upper()}{text[1:]}"


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{capital(text)}."


def sparkline(values: Sequence[float], width: int) -> str:
    """One bar for each value; where there is no room for all, for the median of neighbours."""
    bars = list(values)
    if len(values) > width:
        bounds = [i * len(values) // width for i in range(width + 1)]
        bars = [median(values[a:b]) for a, b in pairwise(bounds)]
    low, high = min(bars), max(bars)
    lacking = max(0.0, _LEAST_RANGE * (low + high) / 2 - (high - low))
    low, high = low - lacking / 2, high + lacking / 2
    if high <= low:
        return _BARS[0] * len(bars)
    steps = (int((value - low) / (high - low) * len(_BARS)) for value in bars)
    return "".join(_BARS[min(step, len(_BARS) - 1)] for step in steps)
