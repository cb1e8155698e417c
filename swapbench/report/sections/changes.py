"""What changed from one side to another: figures of both, their ratio, the verdict on it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from swapbench.base import figures as f
from swapbench.compare.change import FEWEST, Change, Verdict
from swapbench.compare.comparison import Comparison
from swapbench.report.blocks import Cell, Headings, Row, Table, Tone
from swapbench.report.layout import columns, figure, headed, row
from swapbench.report.sections import REQUEST_TO_FIRST_TOKEN, estimate_cell
from swapbench.stats.ranks import Shift

_TONES: Final[dict[Verdict, Tone]] = {
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
_PERCENT: Final = " %"


def pairs(changes: Iterable[Change], what: str = "pair") -> str:
    """How many pairs the ratios of several figures rest on: `10 pairs`, `8 to 10 pairs`."""
    ns = sorted({0 if change.ratio is None else change.ratio.n for change in changes}) or [0]
    return f"{ns[0]} to {f.counted(ns[-1], what)}" if len(ns) > 1 else f.counted(ns[0], what)


def phases(comparison: Comparison, sides: Headings, *, verdicts: bool = True) -> Table:
    """Every phase of every scenario."""
    groups = tuple(
        _group(s.scenario, s.phases, f.table_seconds, comparison.margin, verdicts)
        for s in comparison.scenarios
    )
    legend = "a phase under 1 % of both swaps is not judged" if verdicts else ""
    headings = (*sides, *columns("verdict")) if verdicts else sides
    return Table("Phases, seconds", "phase", headings, groups, legend=legend)


def memory(comparison: Comparison, sides: Headings, *, verdicts: bool = True) -> Table | None:
    """What is held after a swap, and at the most within; None where nothing was recorded."""
    groups = tuple(
        _group(s.scenario, s.memory, f.memory, comparison.margin, verdicts)
        for s in comparison.scenarios
        if s.memory
    )
    headings = (*sides, *columns("verdict")) if verdicts else sides
    return Table("Memory", "ledger", headings, groups) if groups else None


def _group(
    title: str, changes: Sequence[Change], spell: Callable[[float], str], margin: float, verdicts: bool
) -> tuple[Row, ...]:
    width = 4 if verdicts else 3
    rows = (row(f"  {change.figure}", *cells(change, spell, margin)[:width]) for change in changes)
    return headed(title, width, rows)


def cells(change: Change, spell: Callable[[float], str], margin: float) -> Row:
    """Both sides, their ratio, and the verdict."""
    verdict = Cell(verdict_words(change, margin), tone=_TONES[change.verdict])
    ratio = figure(f.NOT_RECORDED, "quiet") if change.ratio is None else ratio_cell(change.ratio)
    return (estimate_cell(change.a, spell), estimate_cell(change.b, spell), ratio, verdict)


def ratio_cell(ratio: Shift) -> Cell:
    """A ratio as a change, with its bounds."""
    return Cell(f.ratio_change(ratio.point), spread=ratio_bounds(ratio), figure=True)


def ratio_bounds(ratio: Shift) -> str:
    """`(+8.1 to +17 %)`; nothing where there are too few pairs for bounds."""
    if ratio.high == float("inf"):
        return ""
    low, high = f.ratio_change(ratio.low), f.ratio_change(ratio.high)
    if low.endswith(_PERCENT) and high.endswith(_PERCENT):
        low = low.removesuffix(_PERCENT)
    return f"({low} to {high})"


def finds_from(detectable: float | None) -> Cell:
    """The least change that would be found four times in five."""
    return figure("" if detectable is None else f.ratio_change(1 + detectable), "quiet")


def verdict_words(change: Change, margin: float) -> str:
    """The verdict, with what an inconclusive one could still hide."""
    if change.verdict is Verdict.NO_WORSE:
        return f"no {'worse' if change.unit == 's' else 'more'} than {f.share_change(margin)}"
    if change.verdict is not Verdict.INCONCLUSIVE or change.ratio is None:
        return str(change.verdict)
    if change.ratio.n < FEWEST:
        return f"inconclusive: n = {change.ratio.n}, {FEWEST} wanted"
    return "inconclusive" if change.most is None else f"inconclusive: up to {f.ratio_change(1 + change.most)}"
