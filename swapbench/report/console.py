"""A terminal of any width that shows texts and obeys none: they come from other people's files."""

import os
import re
from collections.abc import Iterable
from typing import Any, Final

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from swapbench.report.layout import plain

_PADDING: Final = re.compile(r" +$", re.MULTILINE)

# Where nobody watches, and COLUMNS does not ask for it, a pipe's 80 columns must not fold figures.
_UNWATCHED_WIDTH: Final = 120
_LEAST_WIDTH: Final = 20
# Wider than any line.
_UNFOLDED: Final = 10_000
# A name that is longer may be folded: in a column of this width it still reads as one.
_READABLE: Final = 20
# Names are to be copied, so they are never folded.
_NAME: Final[dict[str, Any]] = {"no_wrap": True}
_WORDS: Final[dict[str, Any]] = {"overflow": "fold"}


class PlainConsole(Console):
    """Takes whatever is printed as it stands: no markup, no emoji codes, no control characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich does; where nobody watches, without the blanks that fill its columns up."""
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as printed:
            super().print(*objects, **options)
        self.file.write(_PADDING.sub("", printed.get()))
        self.file.flush()

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Its segments; rich's own control segments are left as they are."""
        for segment in super().render(renderable, options):
            clean = segment.control or segment.text.isprintable()
            yield segment if clean else Segment(plain(segment.text), segment.style)


def make_console(unwatched_width: int = _UNWATCHED_WIDTH) -> Console:
    """Standard output at its own width or that of COLUMNS; where it is no terminal, wide enough."""
    console = PlainConsole()
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        console.width = unwatched_width
    console.width = max(_LEAST_WIDTH, console.width)
    return console


def list_console() -> Console:
    """Standard output, on which lists are folded only where somebody watches: elsewhere they are searched."""
    return make_console(unwatched_width=_UNFOLDED)


def list_table(name: str, *columns: str, names: int = 1) -> Table:
    """A table whose first columns, as many as are `names`, hold names."""
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False)
    for number, column in enumerate((name, *columns)):
        table.add_column(column, **(_NAME if number < names else _WORDS))
    return table


def named_rows(style: str, padding: int) -> Table:
    """Without lines or headings: names, and what is said of each."""
    table = Table(box=None, padding=(0, 2, padding, 0), show_header=False)
    table.add_column(style=style, **_NAME)
    table.add_column(**_WORDS)
    return table


def readable(table: Table, console: Console) -> RenderableType:
    """The table; or, where a column would have a few letters a line, its rows one below another."""
    whole = measured(table, console).maximum
    spare = sum(map(_spare, table.columns))
    return table if whole - spare <= console.width else stacked(table)


def measured(table: Table, console: Console) -> Measurement:
    """How narrow a table may be, and how wide it would like to be."""
    # Measured within a console of any width: within its own, no table is ever too wide.
    return console.measure(table, options=console.options.update(max_width=_UNFOLDED))


def _spare(column: Column) -> int:
    """What of its full width a column can do without."""
    if column.no_wrap:
        return 0
    texts = [_plain(cell) for cell in (column.header, *column.cells)]
    widest = max((cell_len(line) for text in texts for line in text.splitlines()), default=0)
    word = max((cell_len(word) for text in texts for word in text.split()), default=0)
    return widest - min(word, _READABLE)


def stacked(table: Table) -> Group:
    """Each row's first cell, and below it the others, led by what they are."""
    first, *others = table.columns
    shown = [(" ".join(_plain(column.header).split()), [*column.cells]) for column in others]
    lines: list[RenderableType] = []
    for number, title in enumerate(first.cells):
        if _plain(title).strip():
            lines.append(title)
        named = ((heading, _line(cells[number])) for heading, cells in shown if heading)
        unnamed = [cells[number] for heading, cells in shown if not heading]
        sentence = "; ".join(f"{heading} {cell}" for heading, cell in named if cell)
        below = [*unnamed, *([Text(sentence)] if sentence else [])]
        lines += [Padding(part, (0, 0, 0, 2)) for part in below]
    return Group(*lines)


def _plain(cell: RenderableType) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def _line(cell: RenderableType) -> str:
    """A cell's words in one line; of several lines, a spread goes with the figure above it."""
    lines = (" ".join(line.split()) for line in _plain(cell).splitlines())
    return ", ".join(filter(None, lines)).replace(", (", " (")
