"""Two runs side by side, as tables and lines; how they look is up to terminal and Markdown."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from swapbench.base import figures as f
from swapbench.base.errors import Exit
from swapbench.base.phases import LEDGER_LABELS
from swapbench.compare.change import FEWEST, Change, Verdict
from swapbench.compare.comparison import Comparison, LeakComparison, ScenarioComparison, SideFacts, exit_code
from swapbench.compare.fingerprint import Difference
from swapbench.report.shapes import Cell, Line, Part, Table, Tone
from swapbench.report.tables import REQUEST_TO_FIRST_TOKEN
from swapbench.stats.estimate import Estimate

VERDICT_TONES: Final[dict[Verdict, Tone]] = {
    Verdict.SLOWER: "bad",
    Verdict.MORE: "bad",
    Verdict.FASTER: "good",
    Verdict.LESS: "good",
    Verdict.NO_WORSE: "good",
    Verdict.INCONCLUSIVE: "doubt",
    Verdict.NOT_MEASURED: "quiet",
    Verdict.TOO_SHORT: "quiet",
    Verdict.NOT_COMPARABLE: "doubt",
}
FIGURES: Final = {"to_first_token": REQUEST_TO_FIRST_TOKEN, "total": "total"}

_VERDICT_WORDS: Final = {
    Exit.FAILED: "Failed",
    Exit.REGRESSION: "Slower",
    Exit.LEAK: "Leak",
    Exit.INCONCLUSIVE: "Inconclusive",
    Exit.OK: "No worse",
}

# What the columns of two sides and of their ratio are headed by.
AB: Final = ("A", "B", "B/A")

_PERCENT: Final = " %"

# A setting can be a whole table: JSON has it all.
_LONGEST: Final = 100

_Spell = Callable[[float], str]


def facts(comparison: Comparison) -> tuple[Line, ...]:
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


def headlines(comparison: Comparison, sides: Sequence[str] = AB) -> Table:
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
        columns=(*_columns(sides), ("verdict",), ("finds", "from")),
        groups=(rows,),
        legend=f"{sides[-1]}: {_ratio_legend(comparison)}; finds from: the least change that four of "
        "five such comparisons would find",
    )


def capital(title: str) -> str:
    """A title's first letter, large."""
    return title[:1].upper() + title[1:]


def _columns(sides: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple((side,) for side in sides)


def _ratio_legend(comparison: Comparison) -> str:
    of = f"{_pairs(comparison)}, each of one round" if comparison.paired else "all pairs of swaps"
    return f"Hodges{f.EN_DASH}Lehmann estimate over {of}, between two one-sided 95 % bounds"


def _pairs(comparison: Comparison) -> str:
    return pairs([s.headline for s in comparison.scenarios])


def pairs(changes: Iterable[Change], what: str = "pair") -> str:
    """How many pairs the ratios of several figures rest on: `10 pairs`, `8 to 10 pairs`."""
    ns = sorted({0 if change.ratio is None else change.ratio.n for change in changes}) or [0]
    return f"{ns[0]} to {f.counted(ns[-1], what)}" if len(ns) > 1 else f.counted(ns[0], what)


def phases(comparison: Comparison, sides: Sequence[str] = AB, *, verdicts: bool = True) -> Table:
    """Every phase of every scenario."""
    return Table(
        title="Phases, seconds",
        label="phase",
        columns=_columns((*sides, "verdict") if verdicts else sides),
        groups=tuple(
            _group(s, s.phases, f.table_seconds, comparison.margin, verdicts) for s in comparison.scenarios
        ),
        legend="a phase under 1 % of both swaps is not judged" if verdicts else "",
    )


def memory(comparison: Comparison, sides: Sequence[str] = AB, *, verdicts: bool = True) -> Table | None:
    """What is held after a swap, and at the most within; None where nothing was recorded."""
    groups = tuple(
        _group(s, s.memory, f.memory, comparison.margin, verdicts) for s in comparison.scenarios if s.memory
    )
    columns = _columns((*sides, "verdict") if verdicts else sides)
    return Table("Memory", "ledger", columns, groups) if groups else None


def _group(
    scenario: ScenarioComparison, changes: Sequence[Change], spell: _Spell, margin: float, verdicts: bool
) -> tuple[tuple[Cell, ...], ...]:
    width = 4 if verdicts else 3
    heading = (Cell(scenario.scenario, tone="strong"), *(Cell("") for _ in range(width)))
    rows = tuple((Cell(f"  {change.figure}"), *cells(change, spell, margin)[:width]) for change in changes)
    return (heading, *rows)


def cells(change: Change, spell: _Spell, margin: float) -> tuple[Cell, ...]:
    return (
        _figure(change.a, spell),
        _figure(change.b, spell),
        _ratio(change),
        Cell(verdict_words(change, margin), tone=VERDICT_TONES[change.verdict]),
    )


def _figure(value: Estimate | None, spell: _Spell) -> Cell:
    if value is None:
        return Cell(f.NOT_RECORDED, figure=True, tone="quiet")
    low, high = spell(value.low), spell(value.high)
    spread = f"({low}{f.EN_DASH}{high})" if low != high else ""
    return Cell(spell(value.point), spread=spread, figure=True)


def _ratio(change: Change) -> Cell:
    if change.ratio is None:
        return Cell(f.NOT_RECORDED, figure=True, tone="quiet")
    return Cell(f.ratio_change(change.ratio.point), spread=ratio_bounds(change), figure=True)


def ratio_bounds(change: Change) -> str:
    """`(+8.1 to +17 %)`; nothing where there are too few pairs for bounds."""
    assert change.ratio is not None
    if change.ratio.high == float("inf"):
        return ""
    low, high = f.ratio_change(change.ratio.low), f.ratio_change(change.ratio.high)
    if low.endswith(_PERCENT) and high.endswith(_PERCENT):
        low = low.removesuffix(_PERCENT)
    return f"({low} to {high})"


def verdict_words(change: Change, margin: float) -> str:
    """The verdict, with what an inconclusive one could still hide."""
    if change.verdict is Verdict.NO_WORSE:
        return f"no {'worse' if change.unit == 's' else 'more'} than {f.share_change(margin)}"
    if change.verdict is not Verdict.INCONCLUSIVE or change.ratio is None:
        return str(change.verdict)
    if change.ratio.n < FEWEST:
        return f"inconclusive: n = {change.ratio.n}, {FEWEST} wanted"
    return "inconclusive" if change.most is None else f"inconclusive: up to {f.ratio_change(1 + change.most)}"


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


def notes(comparison: Comparison) -> tuple[Line, ...]:
    """What a reader would get wrong without being told."""
    return tuple(Line("", note) for note in comparison.notes)


def verdict_line(comparison: Comparison) -> Line:
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


def verdict_word(comparison: Comparison) -> str:
    """The verdict in a word, as the strict exit code says it."""
    return _VERDICT_WORDS[exit_code(comparison, strict=True)]


def explained(comparison: Comparison) -> Iterator[tuple[str, tuple[Part, ...]]]:
    """What explains the headlines, the most telling first, each under its title."""
    yield "Noise floor", (Part("", lines=noise_floor(comparison)),)
    yield "Phases", (Part("", table=phases(comparison) if comparison.scenarios else None),)
    yield "Memory and leaks", (Part("", table=memory(comparison)), Part("Leaks", lines=leaks(comparison)))
    yield "What differs", (Part("", lines=unlike(comparison)),)
    yield "What was compared", (Part("", lines=facts(comparison)),)
    yield "Notes", (Part("", lines=notes(comparison)),)


def parts(comparison: Comparison) -> tuple[Part, ...]:
    """The whole comparison, in the order in which it is read."""
    listed = (
        Part("Verdict", lines=(verdict_line(comparison),)),
        Part("", lines=facts(comparison)),
        Part("What differs", lines=unlike(comparison)),
        Part("", table=headlines(comparison) if comparison.scenarios else None),
        Part("Noise floor", lines=noise_floor(comparison)),
        Part("", table=phases(comparison) if comparison.scenarios else None),
        Part("", table=memory(comparison)),
        Part("Leaks", lines=leaks(comparison)),
        Part("Notes", lines=notes(comparison)),
    )
    return tuple(part for part in listed if part.lines or part.table)
