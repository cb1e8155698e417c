"""The report for people at a terminal."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from swapbench.findings import Findings
from swapbench.findings.summary import ScenarioSummary
from swapbench.report import evidence, ladder, tables, within
from swapbench.report.console import PlainConsole
from swapbench.report.narrow import measured, readable, stacked
from swapbench.report.overview import verdict_line
from swapbench.report.shapes import Cell, Line, Part, Table, Tone

# Where nobody watches, and COLUMNS does not ask for it, a pipe's 80 columns must not fold figures.
_UNWATCHED_WIDTH: Final = 120
_LEAST_WIDTH: Final = 20

_STYLES: Final[dict[Tone, str]] = {
    "plain": "",
    "quiet": "dim",
    "strong": "bold",
    "good": "green",
    "bad": "bold red",
    "doubt": "yellow",
}
_SOURCE_STYLES: Final = {
    "mini": "black on yellow",
    "synthetic": "black on cyan",
    "hub": "black on green",
    "local": "black on green",
}
# What the name of a strategy takes.
_LABEL_WIDTH: Final = 12
# Of a table that is too wide for all of its columns; in more, nobody would find a row again.
_MOST_PIECES: Final = 3
_ASIDE_STYLE: Final = "dim not bold"


def make_console(unwatched_width: int = _UNWATCHED_WIDTH) -> Console:
    """Standard output at its own width or that of COLUMNS; where it is no terminal, wide enough."""
    console = PlainConsole()
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        console.width = unwatched_width
    console.width = max(_LEAST_WIDTH, console.width)
    return console


def print_report(findings: Findings, console: Console) -> None:
    """Print the findings on a console from 80 columns on."""
    console.print(Group(*_parts(findings, console)))


def print_table(table: Table, console: Console) -> None:
    """Print one table of figures."""
    console.print(Group(*_laid_out(table, console)))


def print_parts(title: str, parts: Sequence[Part], console: Console) -> None:
    """Print a report that was put together elsewhere."""
    console.print(Text(f"\n{title}", style="bold"))
    for n, part in enumerate(parts):
        if part.table is not None:
            console.print(Group(*_laid_out(part.table, console)))
        elif part.title:
            console.print(Group(*_section(part.title, part.lines)))
        else:
            console.print(Group(*([Text()] if n else []), *_lines(part.lines)))


def _laid_out(table: Table, console: Console) -> Iterator[RenderableType]:
    """A table of figures, as well as the console's width allows."""
    whole = _figures_table(table, inline=True)
    pieces = [table] if measured(whole, console).maximum <= console.width else [*_split(table, console)]
    if len(pieces) > _MOST_PIECES:
        yield from _titled(table, stacked(whole))
        return
    for piece in pieces:
        yield from _titled(piece, readable(_fitting(piece, console), console))


def _fitting(table: Table, console: Console) -> RichTable:
    """With spreads beside their figures where the width holds that, below them where not."""
    beside = _figures_table(table, inline=True)
    return beside if _fits(beside, console) else _figures_table(table, inline=False)


def _fits(table: RichTable, console: Console) -> bool:
    return _least_width(table, console) + _slack(table, console) <= console.width


def _slack(table: RichTable, console: Console) -> int:
    """What labels, alone in being foldable, shall have beyond their longest word if they want it."""
    width = measured(table, console)
    return min(_LABEL_WIDTH, width.maximum - width.minimum)


def _split(table: Table, console: Console) -> Iterator[Table]:
    """The table; or its columns in turn, where not even spreads below their figures make it narrow enough."""
    last = len(table.columns)
    slack = _slack(_figures_table(table, inline=False), console)
    for columns in _lines_of_columns(table, console, console.width - slack):
        part = _part(table, columns.start, columns.stop)
        yield replace(
            part,
            title=part.title if columns.start == 0 else "",
            legend=part.legend if columns.stop == last else "",
        )


def _lines_of_columns(table: Table, console: Console, room: int, lead: int = 0) -> Sequence[range]:
    """Which columns stand beside each other, spreads below figures: as many as the room holds, never none.

    Args:
        lead: how many columns are repeated at the beginning of every line.
    """
    label, *wholes = (
        _least_width(_figures_table(_part(table, first, end), inline=False), console)
        for first, end in ((0, 0), *((i, i + 1) for i in range(len(table.columns))))
    )
    widths = [whole - label for whole in wholes]
    left = room = room - label - sum(widths[:lead])
    starts = [lead]
    for i, width in enumerate(widths[lead:], start=lead):
        if width > left and i > starts[-1]:
            starts.append(i)
            left = room
        left -= width
    return [range(first, end) for first, end in pairwise((*starts, len(widths)))]


def _part(table: Table, first: int, end: int) -> Table:
    """Some of the columns of a table, with its labels."""
    rows = tuple(tuple((row[0], *row[first + 1 : end + 1]) for row in group) for group in table.groups)
    return replace(table, columns=table.columns[first:end], groups=rows)


def _parts(findings: Findings, console: Console) -> Iterator[RenderableType]:
    shown = tables.measured(findings)
    yield from _opening(findings)
    yield from _went_wrong(findings, console)
    if findings.ladders:
        yield from _compared(findings, console)
    else:
        yield from _section("Headline", tables.headlines(shown))
        yield from _measured(shown, console)
    yield from _section("Restored caches", evidence.restores(findings))
    yield from _section("Notes", tuple(Line("", note) for note in findings.notes))
    criteria = tables.criteria(findings)
    yield from _titled(criteria, readable(_prose_table(criteria), console))


def _went_wrong(findings: Findings, console: Console) -> Iterator[RenderableType]:
    yield from _section("Symptoms of known faults", evidence.symptoms(findings))
    failures = evidence.failures(findings)
    if failures is not None:
        yield from _laid_out(failures, console)
    yield from _section("Swaps left out", evidence.problems(findings))


def _compared(findings: Findings, console: Console) -> Iterator[RenderableType]:
    """Several strategies: side by side, scenario by scenario."""
    for table in ladder.ladders(findings):
        yield from _laid_out(table, console)
    yield from _within(findings)
    yield from _section("Strategies", (*ladder.manual(findings), *ladder.one_strategy(findings)))


def _measured(findings: Findings, console: Console) -> Iterator[RenderableType]:
    """One strategy: phase by phase, then what it took of the machine."""
    yield from _side_by_side(lambda part: tables.phases(findings, part), findings.scenarios, console)
    yield from _section("Bottleneck", tables.bottlenecks(findings))
    yield from _within(findings)
    yield from _side_by_side(tables.work, findings.scenarios, console)
    clients = evidence.clients(findings)
    if clients is not None:
        yield from _laid_out(clients, console)
    ranks = evidence.sharing(findings)
    if ranks is not None:
        yield from _laid_out(ranks, console)
    limits = evidence.limits(findings)
    if limits is not None:
        yield from _laid_out(limits, console)
    memory = tables.memory(findings)
    if memory is None:
        yield from _section("Memory", (Line("all ledgers", "not recorded", "quiet"),))
    else:
        yield from _laid_out(memory, console)
        yield from _section("Release", evidence.releases(findings))
    yield from _section("Leaks", tables.leaks(findings))


def _within(findings: Findings) -> Iterator[RenderableType]:
    yield from _section("Within the run", within.within(findings))
    yield from _section("Outliers, kept in every figure", within.outliers(findings))


def _opening(findings: Findings) -> Iterator[RenderableType]:
    run = findings.facts
    yield Text(f"\n{run.title}", style="bold")
    source = ", ".join(run.sources)
    kind = "" if run.sources == ("scripted",) else " models"
    label = Text.assemble(
        (f" {source}{kind} ", _SOURCE_STYLES.get(source, "reverse")), f"  {run.source_says}"
    )
    yield label
    if run.transcribed_from:
        yield Text(f"transcribed from {run.transcribed_from}", style="yellow")
    yield from _lines(tables.facts(findings))
    if run.incomplete:
        yield Text(f"\nThis run is not complete: {run.incomplete}.", style="bold yellow")
        if run.resume_command:
            yield Text(f"Go on with: {run.resume_command}", style="yellow")
    verdict = verdict_line(findings, headlines=False)
    yield Text(f"\n{verdict.label}: {verdict.text}", style=_STYLES[verdict.tone])


def _section(title: str, lines: Sequence[Line]) -> Iterator[RenderableType]:
    if lines:
        yield Text(f"\n{title}", style="bold")
        yield from _lines(lines)


def print_section(title: str, lines: Sequence[Line], console: Console) -> None:
    """Print labelled lines under a title; nothing where there are none."""
    for part in _section(title, lines):
        console.print(part)


def _lines(lines: Sequence[Line]) -> Iterator[RenderableType]:
    grid = RichTable.grid(padding=(0, 2))
    labelled = any(line.label for line in lines)
    if labelled:
        grid.add_column(style="dim", overflow="fold")
    grid.add_column(overflow="fold")
    for line in lines:
        text = Text("\n".join((line.text, *line.below)), style=_STYLES[line.tone])
        grid.add_row(*([Text(line.label)] if labelled else []), text)
    yield Padding(grid, (0, 0, 0, 2), expand=False)


def _titled(table: Table, rendered: RenderableType) -> Iterator[RenderableType]:
    if table.title:
        yield Text(f"\n{table.title}", style="bold")
    yield rendered
    if table.legend:
        yield Padding(Text(table.legend, style="dim"), (0, 0, 0, 2), expand=False)


def _side_by_side(
    build: Callable[[Sequence[ScenarioSummary]], Table | None],
    scenarios: Sequence[ScenarioSummary],
    console: Console,
) -> Iterator[RenderableType]:
    """As many scenarios beside each other as the width holds, with their spreads in line if they fit too."""
    whole = build(scenarios) if scenarios else None
    if whole is None:
        return
    lead = len(whole.columns) - len(scenarios)
    lines = _lines_of_columns(whole, console, console.width, lead=lead)
    built = [build(scenarios[line.start - lead : line.stop - lead]) for line in lines]
    tables = [table for table in built if table is not None]
    inline = all(
        _least_width(_figures_table(table, inline=True), console) <= console.width for table in tables
    )
    for table in tables:
        yield from _titled(table, readable(_figures_table(table, inline), console))


def _least_width(table: RichTable, console: Console) -> int:
    return measured(table, console).minimum


def fits(table: Table, console: Console) -> bool:
    """Whether a table of figures has room with no word of its labels folded."""
    return _least_width(_figures_table(table, inline=True), console) <= console.width


def _prose_table(table: Table) -> RichTable:
    rich_table = _start_table(table)
    for heading in table.columns:
        rich_table.add_column(" ".join(heading), overflow="fold")
    for row in (row for group in table.groups for row in group):
        rich_table.add_row(*(Text(cell.text, style=_STYLES[cell.tone]) for cell in row))
    return rich_table


def _figures_table(table: Table, inline: bool) -> RichTable:
    """A table of figures; each column is set to its full width beforehand, so that no figure is ever cut."""
    rich_table = _start_table(table)
    rows = [row for group in table.groups for row in group]
    columns = []
    for i, heading in enumerate(table.columns, start=1):
        cells = _column([row[i] for row in rows], inline)
        width = max(map(len, (*heading, *(line for cell in cells for line in cell.plain.split("\n")))))
        title = Text("\n".join(f"{line:>{width}}" for line in heading))
        # Without no_wrap, rich narrows the widest columns first where room is short: the figures.
        rich_table.add_column(title, min_width=width, no_wrap=True)
        columns.append([_right(cell, width) for cell in cells])
    ends = set(accumulate(len(group) for group in table.groups[:-1]))
    for n, row in enumerate(rows):
        label = Text(row[0].text, style=_STYLES[row[0].tone])
        rich_table.add_row(label, *(column[n] for column in columns), end_section=n + 1 in ends)
    return rich_table


def _start_table(table: Table) -> RichTable:
    rich_table = RichTable(box=box.SIMPLE_HEAD, header_style="dim")
    rich_table.add_column(table.label, overflow="fold")
    return rich_table


def _column(cells: Sequence[Cell], inline: bool) -> list[Text]:
    """Cells of one column, padded so that medians stand under medians and shares under shares."""
    spread = max(len(cell.spread) for cell in cells) if inline else 0
    share = max(len(cell.share) for cell in cells)
    mark = max(len(cell.mark) for cell in cells)
    return [_cell(cell, spread, share, mark, inline) for cell in cells]


def _cell(cell: Cell, spread: int, share: int, mark: int, inline: bool) -> Text:
    if not cell.figure:
        return Text(cell.text, style=_STYLES[cell.tone])
    beside = f" {cell.spread:<{spread}}" if spread else ""
    aside = (f"{cell.share:>{share + 2}}" if share else "") + (f"{cell.mark:>{mark + 1}}" if mark else "")
    below = f"\n{cell.spread}{' ' * len(aside)}" if cell.spread and not inline else ""
    text = Text(style=_STYLES[cell.tone])
    return text.append(cell.text).append(beside, _ASIDE_STYLE).append(aside).append(below, _ASIDE_STYLE)


def _right(cell: Text, width: int) -> Text:
    """Right-justified by hand: rich would drop the blanks that hold the place of a missing share."""
    lines = cell.split("\n", allow_blank=True)
    return Text("\n").join(Text(" " * (width - len(line))).append_text(line) for line in lines)
