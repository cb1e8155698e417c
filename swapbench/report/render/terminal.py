"""Sections at a terminal, as wide as it is."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from swapbench.report.blocks import Cell, Line, Lines, Section, Table, Tone, shown
from swapbench.report.console import measured, readable, stacked

STYLES: Final[dict[Tone, str]] = {
    "plain": "",
    "quiet": "dim",
    "strong": "bold",
    "good": "green",
    "bad": "bold red",
    "doubt": "yellow",
}

# What the name of a strategy takes.
_LABEL_WIDTH: Final = 12

# Of a table that is too wide for all of its columns; in more, nobody would find a row again.
_MOST_PIECES: Final = 3
_ASIDE_STYLE: Final = "dim not bold"


def print_blocks(sections: Iterable[Section], console: Console) -> None:
    """Each block under its own title; the first of a section under the section's where it has none."""
    parts = list(_parts(sections, console))
    if parts:
        console.print(Group(*parts))


def print_table(table: Table, console: Console) -> None:
    """Print one table of figures."""
    console.print(Group(*_laid_out(table, console)))


def heading(title: str) -> Text:
    """A title with a blank line above it."""
    return Text(f"\n{title}", style="bold")


def _parts(sections: Iterable[Section], console: Console) -> Iterator[RenderableType]:
    begun = False
    for section in shown(sections, "terminal"):
        for n, block in enumerate(section.blocks):
            title = block.title or ("" if n else section.title)
            match block:
                case Table(prose=True):
                    prose = _start_table(block)
                    for words in block.columns:
                        prose.add_column(" ".join(words), overflow="fold")
                    for row in (row for group in block.groups for row in group):
                        prose.add_row(*(Text(cell.text, style=STYLES[cell.tone]) for cell in row))
                    yield from _titled(replace(block, title=title), readable(prose, console))
                case Table():
                    yield from _laid_out(replace(block, title=title), console)
                case Lines():
                    if title:
                        yield heading(title)
                    elif begun:
                        yield Text()
                    yield lines(block.lines)
            begun = True


def _laid_out(table: Table, console: Console) -> Iterator[RenderableType]:
    """A table of figures, as well as the console's width allows."""
    whole = _figures_table(table, inline=True)
    if measured(whole, console).maximum <= console.width:
        yield from _titled(table, whole)
        return
    pieces = [*_pieces(table, console)]
    if table.lead is None and len(pieces) > _MOST_PIECES:
        yield from _titled(table, stacked(whole))
        return
    for piece in pieces:
        # With spreads beside their figures where the width holds that, below them where not.
        beside = _figures_table(piece, inline=True)
        fit = measured(beside, console).minimum + _slack(piece, beside, console) <= console.width
        laid_out = beside if fit else _figures_table(piece, inline=False)
        yield from _titled(piece, readable(laid_out, console))


def _slack(table: Table, laid_out: RichTable, console: Console) -> int:
    """What labels, alone in being foldable, shall have beyond their longest word if they want it."""
    width = measured(laid_out, console)
    return 0 if table.lead is not None else min(_LABEL_WIDTH, width.maximum - width.minimum)


def _pieces(table: Table, console: Console) -> Iterator[Table]:
    """The table; or as many columns at a time as there is room for with spreads below figures, never none."""
    lead, last = table.lead or 0, len(table.columns)
    narrow = _figures_table(table, inline=False)
    label, *wholes = (
        measured(_figures_table(_part(table, columns), inline=False), console).minimum
        for columns in ((), *((i,) for i in range(last)))
    )
    widths = [whole - label for whole in wholes]
    left = room = console.width - _slack(table, narrow, console) - label - sum(widths[:lead])
    starts = [lead]
    for i, width in enumerate(widths[lead:], start=lead):
        if width > left and i > starts[-1]:
            starts.append(i)
            left = room
        left -= width
    for first, end in pairwise((*starts, last)):
        part = _part(table, (*range(lead), *range(first, end)))
        yield replace(
            part,
            title=part.title if first == lead else "",
            legend=part.legend if end == last else "",
        )


def _part(table: Table, columns: Sequence[int]) -> Table:
    """Some of the columns of a table, with its labels."""
    groups = tuple(tuple((row[0], *(row[i + 1] for i in columns)) for row in group) for group in table.groups)
    return replace(table, columns=tuple(table.columns[i] for i in columns), groups=groups)


def lines(told: Sequence[Line]) -> RenderableType:
    """Lines under each other, their labels in a column."""
    grid = RichTable.grid(padding=(0, 2))
    labelled = any(line.label for line in told)
    if labelled:
        grid.add_column(style="dim", overflow="fold")
    grid.add_column(overflow="fold")
    for line in told:
        text = Text("\n".join((line.text, *line.below)), style=STYLES[line.tone])
        grid.add_row(*([Text(line.label)] if labelled else []), text)
    return Padding(grid, (0, 0, 0, 2), expand=False)


def _titled(table: Table, rendered: RenderableType) -> Iterator[RenderableType]:
    if table.title:
        yield heading(table.title)
    yield rendered
    if table.legend:
        yield Padding(Text(table.legend, style="dim"), (0, 0, 0, 2), expand=False)


def fits(table: Table, console: Console) -> bool:
    """Whether a table of figures has room with no word of its labels folded."""
    return measured(_figures_table(table, inline=True), console).minimum <= console.width


def _figures_table(table: Table, inline: bool) -> RichTable:
    """A table of figures; each column is set to its full width beforehand, so that no figure is ever cut."""
    rich_table = _start_table(table)
    rows = [row for group in table.groups for row in group]
    columns = []
    for i, words in enumerate(table.columns, start=1):
        cells = [*_column([row[i] for row in rows], inline)]
        width = max(map(len, (*words, *(line for cell in cells for line in cell.plain.split("\n")))))
        title = Text("\n".join(f"{line:>{width}}" for line in words))
        # Without no_wrap, rich narrows the widest columns first where room is short: the figures.
        rich_table.add_column(title, min_width=width, no_wrap=True)
        columns.append([_right(cell, width) for cell in cells])
    ends = set(accumulate(len(group) for group in table.groups[:-1]))
    for n, row in enumerate(rows):
        label = Text(row[0].text, style=STYLES[row[0].tone])
        rich_table.add_row(label, *(column[n] for column in columns), end_section=n + 1 in ends)
    return rich_table


def _start_table(table: Table) -> RichTable:
    rich_table = RichTable(box=box.SIMPLE_HEAD, header_style="dim")
    rich_table.add_column(table.label, overflow="fold")
    return rich_table


def _column(cells: Sequence[Cell], inline: bool) -> Iterator[Text]:
    """Cells of one column, padded so that medians stand under medians and shares under shares."""
    spread = max(len(cell.spread) for cell in cells) if inline else 0
    share = max(len(cell.share) for cell in cells)
    mark = max(len(cell.mark) for cell in cells)
    for cell in cells:
        if not cell.figure:
            yield Text(cell.text, style=STYLES[cell.tone])
            continue
        beside = f" {cell.spread:<{spread}}" if spread else ""
        aside = (f"{cell.share:>{share + 2}}" if share else "") + (f"{cell.mark:>{mark + 1}}" if mark else "")
        below = f"\n{cell.spread}{' ' * len(aside)}" if cell.spread and not inline else ""
        text = Text(style=STYLES[cell.tone])
        text.append(cell.text).append(beside, _ASIDE_STYLE).append(aside).append(below, _ASIDE_STYLE)
        yield text


def _right(cell: Text, width: int) -> Text:
    """Right-justified by hand: rich would drop the blanks that hold the place of a missing share."""
    lines = cell.split("\n", allow_blank=True)
    return Text("\n").join(Text(" " * (width - len(line))).append_text(line) for line in lines)
