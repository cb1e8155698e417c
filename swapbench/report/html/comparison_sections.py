"""Two runs side by side, section by section."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from swapbench.analysis import Findings, figures
from swapbench.analysis.comparison import Comparison, exit_code
from swapbench.analysis.dots import Dots
from swapbench.analysis.overall import Grade
from swapbench.analysis.pictures import Pictures
from swapbench.errors import Exit
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
    first = comparisons[0]
    return Opening(
        title=first.title,
        kicker=f"{first.a.label} against {', '.join(c.b.label for c in comparisons)} · {first.a.machine}",
        grade=_grade(comparisons),
        verdict=_verdict(comparisons),
        because=tuple(
            f"{comparison.b.label}: {text.verdict_line(comparison).text}"
            if len(comparisons) > 1
            else text.verdict_line(comparison).text
            for comparison in comparisons
        ),
        tiles=tuple(tile for comparison in comparisons for tile in _tiles(comparison, len(comparisons) > 1)),
    )


def _grade(comparisons: Sequence[Comparison]) -> Grade:
    codes = [exit_code(comparison, strict=True) for comparison in comparisons]
    if all(code is Exit.OK for code in codes):
        return "good"
    return "bad" if any(code not in (Exit.OK, Exit.INCONCLUSIVE) for code in codes) else "doubt"


def _verdict(comparisons: Sequence[Comparison]) -> str:
    codes = {exit_code(comparison, strict=True) for comparison in comparisons}
    for code, words in _WORDS:
        if code in codes:
            return words
    return "B is no worse than A"


_WORDS = (
    (Exit.FAILED, "Swaps failed: the comparison is not whole"),
    (Exit.REGRESSION, "B is slower than A"),
    (Exit.LEAK, "B leaks, A does not"),
    (Exit.INCONCLUSIVE, "Inconclusive"),
)


def _tiles(comparison: Comparison, several: bool) -> Iterator[Tile]:
    for s in comparison.scenarios:
        if s.headline.ratio is not None and s.headline.a and s.headline.b:
            change, _, unit = figures.ratio_change(s.headline.ratio.point).partition(" ")
            a, b = (figures.seconds(side.point) for side in (s.headline.a, s.headline.b))
            below = (f"{a} against {b}", text.verdict_words(s.headline, comparison.margin))
            yield Tile(f"{s.scenario}, {comparison.b.label}" if several else s.scenario, change, unit, below)


def sections(comparison: Comparison, a: SideView, b: SideView, prefix: str = "") -> tuple[Section, ...]:
    """What changed from A to B, headline first."""
    made = (
        Section(f"{prefix}change", "What changed", tuple(_change(comparison, prefix))),
        Section(f"{prefix}pairs", "Over the rounds", tuple(_pairs(a, b, prefix))),
        Section(
            f"{prefix}phases",
            "Phases, seconds",
            table_block(text.phases(comparison) if comparison.scenarios else None, titled=False),
        ),
        Section(f"{prefix}held", "Memory", tuple(_memory(comparison))),
        Section(f"{prefix}compared", "What was compared", tuple(_compared(comparison))),
    )
    return filled(made)


def _change(comparison: Comparison, prefix: str) -> Iterator[Block]:
    if drawable(comparison):
        figure = Figure(
            id=f"{prefix}forest",
            title="B against A",
            caption=(
                "The change of each scenario's headline with its one-sided 95 % bounds. The shaded band is "
                f"the margin of {figures.change(comparison.margin)}: a bar that stays left of its "
                "right edge is no regression."
            ),
            drawing=draw_forest(comparison),
        )
        yield Block("figure", figures=(figure,))
    if comparison.scenarios:
        yield from table_block(text.headlines(comparison))
    yield from lines_block("Noise floor", text.noise_floor(comparison))


def _pairs(a: SideView, b: SideView, prefix: str) -> Iterator[Block]:
    theirs = {dots.name: dots for dots in b.pictures.dots}
    shown = tuple(
        Figure(
            id=f"{prefix}pair-{number}",
            title=dots.name,
            caption="A as circles, B as diamonds, a line at either median.",
            drawing=draw_sides(dots, theirs[dots.name]),
            table=_pairs_table(dots, theirs[dots.name]),
        )
        for number, dots in enumerate(a.pictures.dots)
        if dots.name in theirs and dots.dots and theirs[dots.name].dots
    )
    if shown:
        yield Block("panels", figures=shown)


def _pairs_table(a: Dots, b: Dots) -> Table:
    left, right = ({dot.round: dot.seconds for dot in side.dots} for side in (a, b))
    rows = tuple(
        (Cell(f"round {n}"), *(_seconds(side.get(n)) for side in (left, right)))
        for n in sorted(left.keys() | right.keys())
    )
    return Table(f"{a.name}: seconds by round", "round", (("A",), ("B",)), (rows,))


def _seconds(value: float | None) -> Cell:
    return Cell(figures.NOT_RECORDED if value is None else figures.table_seconds(value), figure=True)


def _memory(comparison: Comparison) -> Iterator[Block]:
    yield from table_block(text.memory(comparison), titled=False)
    yield from lines_block("Leaks", text.leaks(comparison))


def _compared(comparison: Comparison) -> Iterator[Block]:
    yield from lines_block("", text.facts(comparison))
    yield from lines_block("What differs", text.unlike(comparison))
    yield from lines_block("Notes", text.notes(comparison))
