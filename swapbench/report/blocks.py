"""What reports are made of: sections of blocks, whatever shows them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

Tone = Literal["plain", "quiet", "strong", "good", "bad", "doubt"]
Medium = Literal["terminal", "markdown", "html"]
Spec = dict[str, Any]
EVERYWHERE: Final[frozenset[Medium]] = frozenset(("terminal", "markdown", "html"))
NOT_AT_A_TERMINAL: Final = EVERYWHERE - {"terminal"}
NOT_ON_A_PAGE: Final = EVERYWHERE - {"html"}
ON_A_PAGE: Final[frozenset[Medium]] = frozenset(("html",))
AT_A_TERMINAL: Final[frozenset[Medium]] = frozenset(("terminal",))
IN_MARKDOWN: Final[frozenset[Medium]] = frozenset(("markdown",))


@dataclass(frozen=True)
class Cell:
    """A figure with what goes with it: its spread, its share, a mark. Or words."""

    text: str
    spread: str = ""
    share: str = ""
    mark: str = ""
    tone: Tone = "plain"
    figure: bool = False


Row = tuple[Cell, ...]
Headings = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Table:
    """Rows in groups, each row with a label; `columns` are headings of one or more lines.

    Where columns are scenarios, which may be parted at will, `lead` is how many come before them.
    """

    title: str
    label: str
    columns: Headings
    groups: tuple[tuple[Row, ...], ...]
    prose: bool = False
    legend: str = ""
    lead: int | None = None
    on: frozenset[Medium] = EVERYWHERE


@dataclass(frozen=True)
class Line:
    """A labelled line of text, with lines that belong to it."""

    label: str
    text: str
    tone: Tone = "plain"
    below: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lines:
    """Labelled lines under a title."""

    title: str
    lines: tuple[Line, ...]
    on: frozenset[Medium] = EVERYWHERE


@dataclass(frozen=True)
class Chart:
    """A chart with what it shows in words, and the same figures as a table.

    `spec` makes its Vega-Lite specification for a width in pixels; a `panel` is as wide as a phone.
    """

    title: str
    caption: str
    spec: Callable[[int], Spec]
    panel: bool = False
    table: Table | None = None


@dataclass(frozen=True)
class Charts:
    """Charts in a row where they are panels, else one below another, with a `legend` of phases."""

    charts: tuple[Chart, ...]
    legend: bool = False
    title: str = ""
    on: frozenset[Medium] = ON_A_PAGE


@dataclass(frozen=True)
class Diagram:
    """A Mermaid diagram, which GitHub draws."""

    text: str
    caption: str
    title: str = ""
    on: frozenset[Medium] = IN_MARKDOWN


@dataclass(frozen=True)
class Commands:
    """What to type, each under what it is for."""

    commands: tuple[tuple[str, str], ...]
    title: str = ""
    on: frozenset[Medium] = ON_A_PAGE


@dataclass(frozen=True)
class Downloads:
    """Files within the page, by name; those that find no room are in the folder `where`."""

    files: Mapping[str, bytes]
    where: str
    title: str = ""
    on: frozenset[Medium] = ON_A_PAGE


@dataclass(frozen=True)
class Fold:
    """Sections that are folded away under a title."""

    title: str
    sections: "tuple[Section, ...]"
    on: frozenset[Medium] = ON_A_PAGE


Block = Table | Lines | Charts | Diagram | Commands | Downloads | Fold


@dataclass(frozen=True)
class Tile:
    """One figure that is read from afar."""

    label: str
    value: str
    unit: str
    below: tuple[str, ...]


@dataclass(frozen=True)
class Opening:
    """The top of a page: the verdict first."""

    title: str
    kicker: str
    grade: Tone
    verdict: str
    because: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    tiles: tuple[Tile, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of a report. What decides is read first, so in Markdown it is never folded."""

    id: str
    title: str
    blocks: tuple[Block, ...]
    decides: bool = False


def shown(sections: Iterable[Section], medium: Medium) -> Iterator[Section]:
    """Each section with its blocks for a medium; those that have none are left out."""
    for one in sections:
        if blocks := tuple(block for block in one.blocks if medium in block.on):
            yield replace(one, blocks=blocks)
