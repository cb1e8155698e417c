"""Two runs side by side: how the report opens, and its sections in the order in which they are read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from swapbench.base import figures as f
from swapbench.base.errors import Exit
from swapbench.base.phases import LEDGER_LABELS
from swapbench.compare.change import FEWEST, Verdict
from swapbench.compare.comparison import Comparison, ScenarioComparison, SideFacts, exit_code, gravest
from swapbench.findings import GRADES
from swapbench.findings.chart_data import Dots
from swapbench.report.blocks import (
    NOT_AT_A_TERMINAL,
    Chart,
    Charts,
    Diagram,
    Headings,
    Line,
    Lines,
    Opening,
    Section,
    Table,
    Tile,
    Tone,
)
from swapbench.report.charts.comparison import forest as draw_forest
from swapbench.report.charts.comparison import sides as draw_sides
from swapbench.report.layout import capital, columns, figure, made, row, section, spelt
from swapbench.report.sections import RunView, changes
from swapbench.report.sections.overview import CAPTION, gantt_of_sides

# By the strict exit code: a verdict in a word, and in words.
_WORDS: Final = {
    Exit.FAILED: ("Failed", "Swaps failed: the comparison is not whole"),
    Exit.REGRESSION: ("Slower", "{other} is slower than A"),
    Exit.LEAK: ("Leak", "{other} leaks, A does not"),
    Exit.INCONCLUSIVE: ("Inconclusive", "Inconclusive"),
    Exit.OK: ("No worse", "{other} is no worse than A"),
}

# A setting can be a whole table: JSON has it all.
_LONGEST: Final = 100


@dataclass(frozen=True)
class ComparisonView:
    """A comparison; on a page with both sides' charts, and what the second side is called among several."""

    comparison: Comparison
    other: str = "B"
    a: RunView | None = None
    b: RunView | None = None

    @property
    def columns(self) -> Headings:
        """What the columns of two sides and of their ratio are headed by."""
        return columns("A", self.other, f"{self.other}/A")


def comparison_sections(view: ComparisonView) -> tuple[Section, ...]:
    """Every section that has something to say."""
    return made(SECTIONS, view)


def comparison_opening(comparisons: Sequence[Comparison]) -> Opening:
    """The verdict on every pair."""
    first, several = comparisons[0], len(comparisons) > 1
    found, code = gravest(comparisons, strict=True)
    because = []
    for comparison in comparisons:
        said = [comparison_verdict(comparison).text]
        said += [f"noise floor of {line.label}: {line.text}" for line in noise_floor(comparison)]
        because += [f"{comparison.b.label}: {text}" if several else text for text in said]
    return Opening(
        title=first.title,
        kicker=f"{first.a.label} against {', '.join(c.b.label for c in comparisons)} · {first.a.machine}",
        grade=GRADES[code],
        verdict=_WORDS[code][1].format(other=side_name(1 + comparisons.index(found))),
        because=tuple(because),
        tiles=tuple(tile for comparison in comparisons for tile in _tiles(comparison, several)),
    )


def side_name(number: int) -> str:
    """`A` for the first side, `B` for the second."""
    return chr(ord("A") + number)


def _tiles(comparison: Comparison, several: bool) -> Iterator[Tile]:
    for s in comparison.scenarios:
        ratio = s.headline.ratio
        if ratio is not None and s.headline.a and s.headline.b:
            change, _, unit = f.ratio_change(ratio.point).partition(" ")
            a, b = (f.seconds(side.point) for side in (s.headline.a, s.headline.b))
            of = f.counted(ratio.n, "pair") if comparison.paired else "all pairs of swaps"
            verdict = changes.verdict_words(s.headline, comparison.margin)
            below = (f"estimated over {of}", f"medians: {a} against {b}", verdict)
            yield Tile(f"{s.scenario}, {comparison.b.label}" if several else s.scenario, change, unit, below)


def _change(view: ComparisonView) -> Section:
    found = view.comparison
    caption = (
        "The change of each scenario's headline with its one-sided 95 % bounds. The shaded band is "
        f"the margin of {f.change(found.margin)}: a bar that stays left of its right edge is no "
        "regression."
    )
    chart = Chart(f"{view.other} against A", caption, partial(draw_forest, found, view.other))
    return section(
        "change",
        "What changed",
        Charts((chart,)) if any(s.headline.ratio for s in found.scenarios) else None,
        _headlines(found, view.columns) if found.scenarios else None,
        Lines("Noise floor", noise_floor(found)),
        Diagram(gantt_of_sides(found), CAPTION),
        decides=True,
    )


def _headlines(comparison: Comparison, sides: Headings) -> Table:
    """The figure that decides, scenario by scenario."""
    names = list(dict.fromkeys(changes.FIGURES[s.figure] for s in comparison.scenarios))
    one = len(names) == 1
    rows = tuple(
        row(
            s.scenario if one else f"{s.scenario}, {changes.FIGURES[s.figure]}",
            *changes.cells(s.headline, f.table_seconds, comparison.margin),
            changes.finds_from(s.detectable),
        )
        for s in comparison.scenarios
    )
    by = changes.pairs(s.headline for s in comparison.scenarios)
    of = f"{by}, each of one round" if comparison.paired else "all pairs of swaps"
    return Table(
        title=f"{capital(names[0]) if one else 'Headline'}, seconds: median (min{f.EN_DASH}max)",
        label="scenario",
        columns=(*sides, *columns("verdict", "finds\nfrom")),
        groups=(rows,),
        legend=f"{sides[-1][0]}: Hodges{f.EN_DASH}Lehmann estimate over {of}, between two one-sided 95 % "
        "bounds; finds from: the least change that four of five such comparisons would find",
    )


def _rounds(view: ComparisonView) -> Section:
    """Every counted swap of either side."""
    a = () if view.a is None else view.a.pictures.dots
    b = {} if view.b is None else {dots.name: dots for dots in view.b.pictures.dots}
    both = ((dots, b[dots.name]) for dots in a if dots.name in b)
    charts = tuple(_pairs_chart(*two, view.other) for two in both if all(dots.counted for dots in two))
    return section("rounds", "Over the rounds", Charts(charts))


def _pairs_chart(a: Dots, b: Dots, other: str) -> Chart:
    left, right = ({dot.round: dot.seconds for dot in side.counted} for side in (a, b))
    rows = tuple(
        row(f"round {n}", *(figure(spelt(side.get(n), f.table_seconds)) for side in (left, right)))
        for n in sorted(left.keys() | right.keys())
    )
    table = Table(f"{a.name}: seconds by round", "round", columns("A", other), (rows,))
    what = capital(changes.FIGURES[a.figure])
    caption = f"{what}: A as circles, {other} as diamonds, a line at either median."
    return Chart(a.name, caption, partial(draw_sides, a, b, other), panel=True, table=table)


def _phases(view: ComparisonView) -> Section:
    found = view.comparison
    table = changes.phases(found, view.columns) if found.scenarios else None
    return section("phases", "Phases, seconds", table)


def _memory(view: ComparisonView) -> Section:
    """Ledgers, and growth per swap on either side."""
    found, lines = view.comparison, []
    for leak in found.leaks:
        tone: Tone = "bad" if leak.b.outcome == "leak" else "plain"
        a, b = (f"{name} {one.outcome}: {one.reason}" for name, one in (("A", leak.a), ("B", leak.b)))
        lines.append(Line(LEDGER_LABELS[leak.ledger], a, tone, below=(b,)))
    if all(leak.a.slope is None and leak.b.slope is None for leak in found.leaks):
        lines = [Line("", "not measurable: neither run has enough swaps in one process")]
    return section("memory", "Memory", changes.memory(found, view.columns), Lines("Leaks", tuple(lines)))


def _compared(view: ComparisonView) -> Section:
    # A terminal has the facts at the top.
    found = view.comparison
    return section(
        "compared",
        "What was compared",
        Lines("", comparison_facts(found), on=NOT_AT_A_TERMINAL),
        Lines("What differs", unlike(found)),
        Lines("Notes", tuple(Line("", note) for note in found.notes)),
    )


SECTIONS: Final[tuple[Callable[[ComparisonView], Section], ...]] = (
    *(_change, _rounds, _phases, _memory, _compared),
)


def comparison_facts(comparison: Comparison) -> tuple[Line, ...]:
    """What is compared, before any figure."""
    sides = (comparison.a, comparison.b)
    lines = [_side(name, side, comparison.paired) for name, side in zip("AB", sides, strict=True)]
    lines.append(Line("models", models_of(comparison)))
    lines.append(Line("machine", " against ".join(dict.fromkeys(side.machine for side in sides))))
    if comparison.paired:
        lines.insert(0, Line("run", _run(comparison.a)))
        how = "each first in every other round" if comparison.pair_order == "abba" else "at random, seeded"
        # By rounds: AB BA AB; a long row is told by its ends.
        rounds = [comparison.turns[i : i + 2] for i in range(0, len(comparison.turns), 2)]
        grouped = rounds if len(rounds) <= 12 else [*rounds[:6], "…", *rounds[-3:]]
        lines.append(Line("order", f"{how}: {' '.join(grouped)}"))
    return tuple(lines)


def models_of(comparison: Comparison) -> str:
    """What the models of both sides are."""
    sides = (comparison.a, comparison.b)
    return " against ".join(dict.fromkeys(f"{', '.join(s.sources)}: {s.source_says}" for s in sides))


def _side(name: str, side: SideFacts, paired: bool) -> Line:
    """Two arms have a run in common; runs that are compared are called by their ids."""
    versions = ", ".join(f"{package} {version}" for package, version in side.versions.items())
    which = "" if side.label == name else side.label
    told = (which if paired else _run(side), f.counted(side.counts.counted, "swap"))
    return Line(name, ", ".join(filter(None, told)), below=(versions,))


def _run(side: SideFacts) -> str:
    return f"{side.run_id}, {side.started_at:%Y-%m-%d %H:%M} UTC"


def unlike(comparison: Comparison) -> tuple[Line, ...]:
    """What is not the same in both."""

    def cut(value: str) -> str:
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"

    return tuple(
        Line(
            "",
            replace(difference, a=cut(difference.a), b=cut(difference.b)).describe(),
            "doubt" if difference.decisive and not comparison.paired else "plain",
        )
        for difference in comparison.differences
    )


def noise_floor(comparison: Comparison) -> tuple[Line, ...]:
    """What the same thing measured twice shows: how small a margin this machine can carry."""
    return tuple(_floor(s) for s in comparison.scenarios) if comparison.same else ()


def _floor(scenario: ScenarioComparison) -> Line:
    change = scenario.headline
    if change.ratio is None or change.most is None or change.ratio.n < FEWEST:
        return Line(scenario.scenario, f"not known from fewer than {FEWEST} pairs", "doubt")
    reach = max(change.most, 1 / change.ratio.low - 1) if change.ratio.low else change.most
    found = f"{f.ratio_change(change.ratio.point)} {changes.ratio_bounds(change.ratio)}"
    return Line(
        scenario.scenario,
        f"{found} between two of the same with "
        f"{f.counted(change.ratio.n, 'pair')}: a margin under {f.share_change(reach)} is not to be had",
    )


def comparison_verdict(comparison: Comparison) -> Line:
    """The whole comparison in one line."""
    if not comparison.comparable:
        return Line("", "not comparable: shown side by side, without verdicts", "doubt")
    told = []
    for s in comparison.scenarios:
        words, ratio = changes.verdict_words(s.headline, comparison.margin), s.headline.ratio
        change = "not measured" if ratio is None else f"{words} ({f.ratio_change(ratio.point)})"
        told.append(f"{s.scenario} {change}")
    said = ", ".join(told) or "nothing was measured in both"
    undecided = any(s.headline.verdict is Verdict.INCONCLUSIVE for s in comparison.scenarios)
    tone: Tone = "doubt" if undecided or not comparison.scenarios else "good"
    text = f"the same thing twice: {said}" if comparison.same else said
    return Line("", text, "bad" if comparison.regressions else tone)


def verdict_word(comparison: Comparison) -> str:
    """The verdict in a word, as the strict exit code says it."""
    return _WORDS[exit_code(comparison, strict=True)][0]
