"""What reports are made of: tables of cells, and labelled lines."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from swapbench.base.figures import NOT_RECORDED
from swapbench.stats.estimate import Estimate

Tone = Literal["plain", "quiet", "strong", "good", "bad", "doubt"]


@dataclass(frozen=True)
class Cell:
    """A figure with what goes with it: its spread, its share, a mark. Or words."""

    text: str
    spread: str = ""
    share: str = ""
    mark: str = ""
    tone: Tone = "plain"
    figure: bool = False


@dataclass(frozen=True)
class Table:
    """Rows in groups, each row with a label; `columns` are headings of one or more lines."""

    title: str
    label: str
    columns: tuple[tuple[str, ...], ...]
    groups: tuple[tuple[tuple[Cell, ...], ...], ...]
    prose: bool = False
    legend: str = ""


@dataclass(frozen=True)
class Line:
    """A labelled line of text, with lines that belong to it."""

    label: str
    text: str
    tone: Tone = "plain"
    below: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Part:
    """A part of a report: lines under a title, or a table, which has a title of its own."""

    title: str
    lines: tuple[Line, ...] = ()
    table: Table | None = None


def point(value: Estimate | None, spell: Callable[[float], str]) -> str:
    """A figure's point, spelt; a dash where it was not recorded."""
    return NOT_RECORDED if value is None else spell(value.point)


def short(text: str, most: int) -> str:
    """At most so many characters of a text that may be of any length."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shortened(name: str, most: int) -> str:
    """At most so many characters of a name, left out in the middle: names differ at their ends."""
    if len(name) <= most:
        return name
    kept = max(0, most - 1)
    return f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"[: max(0, most)]
