"""Two runs side by side, section by section."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from swapbench.base import figures
from swapbench.base.errors import Exit
from swapbench.compare.comparison import Comparison, gravest
from swapbench.findings import Findings
from swapbench.findings.chart_data import Dots, Pictures
from swapbench.findings.overall import GRADES
from swapbench.report import comparison as text
from swapbench.report.html.charts.forest import drawable
from swapbench.report.html.charts.forest import forest as draw_forest
from swapbench.report.html.charts.sides import sides as draw_sides
from swapbench.report.html.page import Block, Figure, Opening, Section, Tile, filled, lines_block, table_block
from swapbench.report.shapes import Cell, Table


@dataclass(frozen=True)
class SideView:
    """One side, as a report of its own shows it."""

    findings: Findings
    pictures: Pictures


def opening(comparisons: Sequence[Comparison]) -> Opening:
    """The verdict on every pair."""
    first, several = comparisons[0], len(comparisons) > 1
    found, code = gravest(comparisons, strict=True)
    return Opening(
        title=first.title,
        kicker=f"{first.a.label} against {', '.join(c.b.label for c in comparisons)} · {first.a.machine}",
        grade=GRADES[code],
        verdict=_WORDS[code].format(other=side_name(1 + comparisons.index(found))),
        because=tuple(
            f"{comparison.b.label}: {said}" if several else said
            for comparison in comparisons
            for said in _because(comparison)
        ),
        tiles=tuple(tile for comparison in comparisons for tile in _tiles(comparison, several)),
    )


_WORDS: Final = {
    Exit.FAILED: "Swaps failed: the comparison is not whole",
    Exit.REGRESSION: "{other} is slower than A",
    Exit.LEAK: "{other} leaks, A does not",
    Exit.INCONCLUSIVE: "Inconclusive",
    Exit.OK: "{other} is no worse than A",
}


def _because(comparison: Comparison) -> Iterator[str]:
    yield text.verdict_line(comparison).text
    for line in text.noise_floor(comparison):
        yield f"noise floor of {line.label}: {line.text}"


def side_name(number: int) -> str:
    """`A` for the first side, `B` for the second."""
    return chr(ord("A") + number)


def _tiles(comparison: Comparison, several: bool) -> Iterator[Tile]:
    for s in comparison.scenarios:
        ratio = s.headline.ratio
        if ratio is not None and s.headline.a and s.headline.b:
            change, _, unit = figures.ratio_change(ratio.point).partition(" ")
            a, b = (figures.seconds(side.point) for side in (s.headline.a, s.headline.b))
            of = figures.counted(ratio.n, "pair") if comparison.paired else "all pairs of swaps"
            below = (
                f"estimated over {of}",
                f"medians: {a} against {b}",
                text.verdict_words(s.headline, comparison.margin),
            )
            yield Tile(f"{s.scenario}, {comparison.b.label}" if several else s.scenario, change, unit, below)


def sections(
    comparison: Comparison, a: SideView, b: SideView, other: str, prefix: str = ""
) -> tuple[Section, ...]:
    """What changed from A to the `other` side, headline first."""
    sides = ("A", other, f"{other}/A")
    made = (
        Section(f"{prefix}change", "What changed", tuple(_change(comparison, sides, prefix))),
        Section(f"{prefix}pairs", "Over the rounds", tuple(_pairs(a, b, other, prefix))),
        Section(
            f"{prefix}phases",
            "Phases, seconds",
            table_block(text.phases(comparison, sides) if comparison.scenarios else None, titled=False),
        ),
        Section(f"{prefix}held", "Memory", tuple(_memory(comparison, sides))),
        Section(f"{prefix}compared", "What was compared", tuple(_compared(comparison))),
    )
    return filled(made)


def _change(comparison: Comparison, sides: Sequence[str], prefix: str) -> Iterator[Block]:
    if drawable(comparison):
        figure = Figure(
            id=f"{prefix}forest",
            title=f"{sides[1]} against A",
            caption=(
                "The change of each scenario's headline with its one-sided 95 % bounds. The shaded band is "
                f"the margin of {figures.change(comparison.margin)}: a bar that stays left of its "
                "right edge is no regression."
            ),
            drawing=draw_forest(comparison, sides[1]),
        )
        yield Block("figure", figures=(figure,))
    if comparison.scenarios:
        yield from table_block(text.headlines(comparison, sides))
    yield from lines_block("Noise floor", text.noise_floor(comparison))


def _pairs(a: SideView, b: SideView, other: str, prefix: str) -> Iterator[Block]:
    theirs = {dots.name: dots for dots in b.pictures.dots}
    shown = tuple(
        Figure(
            id=f"{prefix}pair-{number}",
            title=dots.name,
            caption=(
                f"{text.capital(text.FIGURES[dots.figure])}: A as circles, {other} as diamonds, a line at "
                "either median."
            ),
            drawing=draw_sides(dots, theirs[dots.name], other),
            table=_pairs_table(dots, theirs[dots.name], other),
        )
        for number, dots in enumerate(a.pictures.dots)
        if dots.name in theirs and dots.counted and theirs[dots.name].counted
    )
    if shown:
        yield Block("panels", figures=shown)


def _pairs_table(a: Dots, b: Dots, other: str) -> Table:
    left, right = ({dot.round: dot.seconds for dot in side.counted} for side in (a, b))
    rows = tuple(
        (Cell(f"round {n}"), *(_seconds(side.get(n)) for side in (left, right)))
        for n in sorted(left.keys() | right.keys())
    )
    return Table(f"{a.name}: seconds by round", "round", (("A",), (other,)), (rows,))


def _seconds(value: float | None) -> Cell:
    return Cell(figures.NOT_RECORDED if value is None else figures.table_seconds(value), figure=True)


def _memory(comparison: Comparison, sides: Sequence[str]) -> Iterator[Block]:
    yield from table_block(text.memory(comparison, sides), titled=False)
    yield from lines_block("Leaks", text.leaks(comparison))


def _compared(comparison: Comparison) -> Iterator[Block]:
    yield from lines_block("", text.facts(comparison))
    yield from lines_block("What differs", text.unlike(comparison))
    yield from lines_block("Notes", text.notes(comparison))
