"""Tables on a console that is too narrow for their columns."""

from typing import Final

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

# A name that is longer may be folded: in a column of this width it still reads as one.
_READABLE: Final = 20
_ANY_WIDTH: Final = 10_000


def readable(table: Table, console: Console) -> RenderableType:
    """The table; or, where a column would have a few letters a line, its rows one below another."""
    whole = measured(table, console).maximum
    spare = sum(map(_spare, table.columns))
    return table if whole - spare <= console.width else stacked(table)


def measured(table: Table, console: Console) -> Measurement:
    """How narrow a table may be, and how wide it would like to be."""
    # Measured within a console of any width: within its own, no table is ever too wide.
    return console.measure(table, options=console.options.update(max_width=_ANY_WIDTH))


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
    told = [(" ".join(_plain(column.header).split()), [*column.cells]) for column in others]
    lines: list[RenderableType] = []
    for number, title in enumerate(first.cells):
        if _plain(title).strip():
            lines.append(title)
        named = ((heading, _line(cells[number])) for heading, cells in told if heading)
        unnamed = [cells[number] for heading, cells in told if not heading]
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
