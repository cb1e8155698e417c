"""Every swap as a dot: its figure by round, and which of them are in no statistic."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from swapbench.base.headline import HeadlineFigure
from swapbench.findings.cells import cell_name
from swapbench.findings.headline import headline_figure
from swapbench.findings.ladder import Ladder
from swapbench.findings.outliers import Outlier
from swapbench.findings.swaps import Swap
from swapbench.stats.estimate import Estimate, Interval, estimate, median_interval

Kind = Literal["counted", "warm-up", "invalid"]


@dataclass(frozen=True)
class Dot:
    """One swap."""

    round: int
    seconds: float
    kind: Kind
    outlier: bool


@dataclass(frozen=True)
class Dots:
    """The swaps of one scenario, or of one strategy in it.

    `without` have no such figure: they failed. `left_out` have one and no dot, for there are too many.
    """

    name: str
    figure: HeadlineFigure
    dots: tuple[Dot, ...]
    estimate: Estimate | None
    interval: Interval | None
    without: int
    left_out: int = 0

    @property
    def counted(self) -> tuple[Dot, ...]:
        """Those that are in the figures."""
        return tuple(dot for dot in self.dots if dot.kind == "counted")


@dataclass(frozen=True)
class LadderDots:
    """Totals of every swap of every strategy, in the ladder's order."""

    scenario: str
    strategies: tuple[Dots, ...]


def dots_of(
    name: str, swaps: Sequence[Swap], outliers: Iterable[Outlier], figure: HeadlineFigure | None = None
) -> Dots:
    """The headline of each of a scenario's swaps; `figure` where it is compared by another than its own."""
    own = headline_figure([swap for swap in swaps if swap.counted])
    return _dots(name, swaps, figure or own, {o.round for o in outliers if o.scenario == name})


def ladder_dots(ladder: Ladder, swaps: Sequence[Swap], outliers: Sequence[Outlier]) -> LadderDots:
    """The total of each swap, strategy by strategy.

    Args:
        swaps: of cells, as `by_cell` names them.
    """
    strategies = []
    for rung in ladder.rungs:
        cell = cell_name(ladder.scenario, rung.strategy)
        far = {o.round for o in outliers if o.scenario == cell}
        theirs = [swap for swap in swaps if swap.scenario == cell]
        strategies.append(_dots(rung.strategy, theirs, "total", far))
    return LadderDots(ladder.scenario, tuple(strategies))


def _dots(name: str, swaps: Sequence[Swap], figure: HeadlineFigure, outliers: set[int]) -> Dots:
    column = f"{figure}_s"
    having = [swap for swap in swaps if column in swap.figures]
    counted = [swap.figures[column] for swap in having if swap.counted]
    return Dots(
        name=name,
        figure=figure,
        dots=tuple(_dot(swap, swap.figures[column], swap.round in outliers) for swap in having),
        estimate=estimate(counted),
        interval=median_interval(counted),
        without=len(swaps) - len(having),
    )


def _dot(swap: Swap, seconds: float, outlier: bool) -> Dot:
    kind: Kind = "counted" if swap.counted else "warm-up" if swap.warmup else "invalid"
    return Dot(swap.round, seconds, kind, outlier and swap.counted)
