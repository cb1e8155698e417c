"""Two runs side by side: how the report opens, and its sections in the order in which they are read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from swapbench.base import figures as f
from swapbench.base.errors import Exit
from swapbench.base.phases import LEDGER_LABELS
from swapbench.compare.change import FEWEST, Verdict
from swapbench.compare.comparison import (
    Comparison,
    LeakComparison,
    ScenarioComparison,
    SideFacts,
    exit_code,
    gravest,
)
from swapbench.compare.fingerprint import Difference
from swapbench.findings.chart_data import Dots
from swapbench.findings.overall import GRADES
from swapbench.report.blocks import (
    NOT_AT_A_TERMINAL,
    Cell,
    Chart,
    Charts,
    Diagram,
    Line,
    Lines,
    Opening,
    Section,
    Table,
    Tile,
    Tone,
    section,
)
from swapbench.report.charts.comparison import drawable
from swapbench.report.charts.comparison import forest as draw_forest
from swapbench.report.charts.comparison import sides as draw_sides
from swapbench.report.sections.changes import (
    FIGURES,
    capital,
    cells,
    memory,
    pairs,
    phases,
    ratio_bounds,
    verdict_words,
)
from swapbench.report.sections.overview import CAPTION, gantt_of_sides
from swapbench.report.sections.view import RunView


@dataclass(frozen=True)
class ComparisonView:
    """A comparison; on a page with both sides' charts, and what the second side is called among several."""

    comparison: Comparison
    other: str = "B"
    a: RunView | None = None
    b: RunView | None = None

    @property
    def columns(self) -> tuple[str, str, str]:
        """What the columns of two sides and of their ratio are headed by."""
        return ("A", self.other, f"{self.other}/A")


def comparison_sections(view: ComparisonView) -> tuple[Section, ...]:
    """Every section that has something to say."""
    return tuple(made for make in SECTIONS if (made := make(view)).blocks)


def comparison_opening(comparisons: Sequence[Comparison]) -> Opening:
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
    yield comparison_verdict(comparison).text
    for line in noise_floor(comparison):
        yield f"noise floor of {line.label}: {line.text}"


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
            below = (
                f"estimated over {of}",
                f"medians: {a} against {b}",
                verdict_words(s.headline, comparison.margin),
            )
            yield Tile(f"{s.scenario}, {comparison.b.label}" if several else s.scenario, change, unit, below)


def _pairs_table(a: Dots, b: Dots, other: str) -> Table:
    left, right = ({dot.round: dot.seconds for dot in side.counted} for side in (a, b))
    rows = tuple(
        (Cell(f"round {n}"), *(_seconds(side.get(n)) for side in (left, right)))
        for n in sorted(left.keys() | right.keys())
    )
    return Table(f"{a.name}: seconds by round", "round", (("A",), (other,)), (rows,))


def _seconds(value: float | None) -> Cell:
    return Cell(f.NOT_RECORDED if value is None else f.table_seconds(value), figure=True)


def _change(view: ComparisonView) -> Section:
    found = view.comparison
    chart = Chart(
        title=f"{view.other} against A",
        caption=(
            "The change of each scenario's headline with its one-sided 95 % bounds. The shaded band is "
            f"the margin of {f.change(found.margin)}: a bar that stays left of its right edge is no "
            "regression."
        ),
        spec=partial(draw_forest, found, view.other),
    )
    return section(
        "change",
        "What changed",
        Charts((chart,)) if drawable(found) else None,
        headlines(found, view.columns) if found.scenarios else None,
        Lines("Noise floor", noise_floor(found)),
        Diagram(gantt_of_sides(found), CAPTION),
        decides=True,
    )


def _rounds(view: ComparisonView) -> Section:
    """Every counted swap of either side."""
    a = () if view.a is None else view.a.pictures.dots
    b = {} if view.b is None else {dots.name: dots for dots in view.b.pictures.dots}
    charts = tuple(
        Chart(
            title=dots.name,
            caption=(
                f"{capital(FIGURES[dots.figure])}: A as circles, {view.other} as diamonds, a line at either "
                "median."
            ),
            spec=partial(draw_sides, dots, b[dots.name], view.other),
            panel=True,
            table=_pairs_table(dots, b[dots.name], view.other),
        )
        for dots in a
        if dots.name in b and dots.counted and b[dots.name].counted
    )
    return section("rounds", "Over the rounds", Charts(charts))


def _phases(view: ComparisonView) -> Section:
    found = view.comparison
    table = phases(found, view.columns) if found.scenarios else None
    return section("phases", "Phases, seconds", table)


def _memory(view: ComparisonView) -> Section:
    found = view.comparison
    return section("memory", "Memory", memory(found, view.columns), Lines("Leaks", leaks(found)))


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
    _change,
    _rounds,
    _phases,
    _memory,
    _compared,
)

# A setting can be a whole table: JSON has it all.
_LONGEST: Final = 100


def comparison_facts(comparison: Comparison) -> tuple[Line, ...]:
    """What is compared, before any figure."""
    lines = [_side("A", comparison.a, comparison.paired), _side("B", comparison.b, comparison.paired)]
    sides = (comparison.a, comparison.b)
    models = dict.fromkeys(f"{', '.join(side.sources)}: {side.source_says}" for side in sides)
    lines.append(Line("models", " against ".join(models)))
    lines.append(Line("machine", " against ".join(dict.fromkeys(side.machine for side in sides))))
    if comparison.paired:
        lines.insert(0, Line("run", _run(comparison.a)))
        how = "each first in every other round" if comparison.pair_order == "abba" else "at random, seeded"
        lines.append(Line("order", f"{how}: {_grouped(comparison.turns)}"))
    return tuple(lines)


def _side(name: str, side: SideFacts, paired: bool) -> Line:
    """Two arms have a run in common; runs that are compared are called by their ids."""
    versions = ", ".join(f"{package} {version}" for package, version in side.versions.items())
    which = "" if side.label == name else side.label
    told = (which if paired else _run(side), f.counted(side.counts.counted, "swap"))
    return Line(name, ", ".join(filter(None, told)), below=(versions,))


def _run(side: SideFacts) -> str:
    return f"{side.run_id}, {side.started_at:%Y-%m-%d %H:%M} UTC"


def _grouped(turns: str) -> str:
    """By rounds: AB BA AB; a long row is told by its ends."""
    rounds = [turns[i : i + 2] for i in range(0, len(turns), 2)]
    return " ".join(rounds if len(rounds) <= 12 else [*rounds[:6], "…", *rounds[-3:]])


def unlike(comparison: Comparison) -> tuple[Line, ...]:
    """What is not the same in both."""
    return tuple(
        Line(
            "",
            _shortened(difference).describe(),
            "doubt" if difference.decisive and not comparison.paired else "plain",
        )
        for difference in comparison.differences
    )


def _shortened(difference: Difference) -> Difference:
    a, b = (
        value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…" for value in (difference.a, difference.b)
    )
    return replace(difference, a=a, b=b)


def headlines(comparison: Comparison, sides: Sequence[str]) -> Table:
    """The figure that decides, scenario by scenario."""
    names = list(dict.fromkeys(FIGURES[s.figure] for s in comparison.scenarios))
    rows = tuple(
        (
            Cell(s.scenario if len(names) == 1 else f"{s.scenario}, {FIGURES[s.figure]}"),
            *cells(s.headline, f.table_seconds, comparison.margin),
            Cell("" if s.detectable is None else f.ratio_change(1 + s.detectable), figure=True, tone="quiet"),
        )
        for s in comparison.scenarios
    )
    return Table(
        title=f"{capital(names[0]) if len(names) == 1 else 'Headline'}, seconds: median (min{f.EN_DASH}max)",
        label="scenario",
        columns=(*((side,) for side in sides), ("verdict",), ("finds", "from")),
        groups=(rows,),
        legend=f"{sides[-1]}: {_ratio_legend(comparison)}; finds from: the least change that four of "
        "five such comparisons would find",
    )


def _ratio_legend(comparison: Comparison) -> str:
    of = f"{_pairs(comparison)}, each of one round" if comparison.paired else "all pairs of swaps"
    return f"Hodges{f.EN_DASH}Lehmann estimate over {of}, between two one-sided 95 % bounds"


def _pairs(comparison: Comparison) -> str:
    return pairs([s.headline for s in comparison.scenarios])


def leaks(comparison: Comparison) -> tuple[Line, ...]:
    """Growth per swap in either run; nothing where neither run can tell."""
    if all(leak.a.slope is None and leak.b.slope is None for leak in comparison.leaks):
        return (Line("", "not measurable: neither run has enough swaps in one process"),)
    return tuple(_leak(leak) for leak in comparison.leaks)


def _leak(leak: LeakComparison) -> Line:
    tone: Tone = "bad" if leak.b.outcome == "leak" else "plain"
    return Line(
        LEDGER_LABELS[leak.ledger],
        f"A {leak.a.outcome}: {leak.a.reason}",
        tone,
        below=(f"B {leak.b.outcome}: {leak.b.reason}",),
    )


def noise_floor(comparison: Comparison) -> tuple[Line, ...]:
    """What the same thing measured twice shows: how small a margin this machine can carry."""
    return tuple(_floor(s) for s in comparison.scenarios) if comparison.same else ()


def _floor(scenario: ScenarioComparison) -> Line:
    change = scenario.headline
    if change.ratio is None or change.most is None or change.ratio.n < FEWEST:
        return Line(scenario.scenario, f"not known from fewer than {FEWEST} pairs", "doubt")
    reach = max(change.most, 1 / change.ratio.low - 1) if change.ratio.low else change.most
    return Line(
        scenario.scenario,
        f"{f.ratio_change(change.ratio.point)} {ratio_bounds(change)} between two of the same with "
        f"{f.counted(change.ratio.n, 'pair')}: a margin under {f.share_change(reach)} is not to be had",
    )


def comparison_verdict(comparison: Comparison) -> Line:
    """The whole comparison in one line."""
    if not comparison.comparable:
        return Line("", "not comparable: shown side by side, without verdicts", "doubt")
    said = ", ".join(_short(comparison)) or "nothing was measured in both"
    return Line("", f"the same thing twice: {said}" if comparison.same else said, _tone(comparison))


def _short(comparison: Comparison) -> Iterator[str]:
    for s in comparison.scenarios:
        if s.headline.ratio is None:
            yield f"{s.scenario} not measured"
        else:
            change = f.ratio_change(s.headline.ratio.point)
            yield f"{s.scenario} {verdict_words(s.headline, comparison.margin)} ({change})"


def _tone(comparison: Comparison) -> Tone:
    if comparison.regressions:
        return "bad"
    undecided = any(s.headline.verdict is Verdict.INCONCLUSIVE for s in comparison.scenarios)
    return "doubt" if undecided or not comparison.scenarios else "good"


_VERDICT_WORDS: Final = {
    Exit.FAILED: "Failed",
    Exit.REGRESSION: "Slower",
    Exit.LEAK: "Leak",
    Exit.INCONCLUSIVE: "Inconclusive",
    Exit.OK: "No worse",
}


def verdict_word(comparison: Comparison) -> str:
    """The verdict in a word, as the strict exit code says it."""
    return _VERDICT_WORDS[exit_code(comparison, strict=True)]
