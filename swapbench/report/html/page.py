"""What a page is made of, before it becomes HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from swapbench.findings.overall import Grade
from swapbench.report.html.charts.drawing import Drawing
from swapbench.report.shapes import Line, Table


@dataclass(frozen=True)
class Figure:
    """A chart with what it shows in words, and the same figures as a table."""

    id: str
    title: str
    caption: str
    drawing: Drawing
    table: Table | None = None


@dataclass(frozen=True)
class Tile:
    """One figure that is read from afar."""

    label: str
    value: str
    unit: str
    below: tuple[str, ...]


@dataclass(frozen=True)
class Download:
    """A file within the page: `href` is a data address, empty where it would make the page too heavy."""

    name: str
    says: str
    size: str
    href: str


@dataclass(frozen=True)
class Command:
    """What to type."""

    says: str
    text: str


@dataclass(frozen=True)
class Block:
    """One thing in a section; which one, `kind` says. `panels` are figures that stand beside each other."""

    kind: Literal["figure", "panels", "table", "lines", "legend", "downloads", "commands", "fold"]
    title: str = ""
    figures: tuple[Figure, ...] = ()
    table: Table | None = None
    lines: tuple[Line, ...] = ()
    downloads: tuple[Download, ...] = ()
    commands: tuple[Command, ...] = ()
    sections: "tuple[Section, ...]" = ()


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; it is left out when it has no blocks."""

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Opening:
    """The top of the page: the verdict first."""

    title: str
    kicker: str
    grade: Grade
    verdict: str
    because: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    tiles: tuple[Tile, ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole page."""

    opening: Opening
    sections: tuple[Section, ...]
    made_by: str


def filled(sections: Sequence[Section]) -> tuple[Section, ...]:
    """Those that have something to say."""
    return tuple(section for section in sections if section.blocks)


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def lines_block(title: str, lines: Sequence[Line]) -> tuple[Block, ...]:
    """Labelled lines; nothing where there are none."""
    return (Block("lines", title=title, lines=tuple(lines)),) if lines else ()


def table_block(table: Table | None, *, titled: bool = True) -> tuple[Block, ...]:
    """A table; nothing where there is none. Without its title where it is all that a section has."""
    if table is None:
        return ()
    return (Block("table", title=table.title if titled else "", table=table),)


def first_rows(table: Table | None, most: int) -> Table | None:
    """The table, or its first rows with how many more there are."""
    rows = [row for group in table.groups for row in group] if table is not None else []
    if table is None or len(rows) <= most:
        return table
    told = f"{table.legend}; " if table.legend else ""
    return replace(
        table,
        groups=(tuple(rows[:most]),),
        legend=f"{told}{len(rows) - most} more are in swaps.csv",
    )


def first_lines(lines: Sequence[Line], most: int) -> Sequence[Line]:
    """The lines, or the first of them with how many more there are."""
    more = len(lines) - most
    return lines if more <= 0 else (*lines[:most], Line("", f"{more} more are in swaps.csv"))
