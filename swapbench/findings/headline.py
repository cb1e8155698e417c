"""The figure that a scenario stands for: swap request to first token, or the total where that is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swapbench.base import headline
from swapbench.base.headline import HeadlineFigure
from swapbench.findings.swaps import Swap


@dataclass(frozen=True)
class Headlined:
    """A counted swap with its headline figure in seconds, which is never 0: logarithms are taken of it.

    `first` is whether it is the first of its scenario in its worker process, which pays for what later
    ones find done: kernels compiled, allocators grown, libraries read.
    """

    swap: Swap
    seconds: float
    first: bool


def headline_figure(counted: Sequence[Swap]) -> HeadlineFigure:
    """The figure that the counted swaps of one scenario stand for."""
    return headline.headline_figure(len(counted), sum("to_first_token_s" in swap.figures for swap in counted))


def headlines_by_scenario(swaps: Sequence[Swap]) -> Mapping[str, Sequence[Headlined]]:
    """The counted swaps of each scenario in the order in which they were carried out."""
    firsts = _firsts(swaps)
    return {
        scenario: _headlined([swap for swap in swaps if swap.counted and swap.scenario == scenario], firsts)
        for scenario in dict.fromkeys(swap.scenario for swap in swaps)
    }


def _headlined(counted: Sequence[Swap], firsts: frozenset[int]) -> list[Headlined]:
    figure = f"{headline_figure(counted)}_s"
    return [
        Headlined(swap, seconds, swap.index in firsts)
        for swap in counted
        if (seconds := swap.figures.get(figure, 0.0)) > 0
    ]


def _firsts(swaps: Sequence[Swap]) -> frozenset[int]:
    """The first swap of each scenario in each worker process, whether it is counted or a warm-up."""
    first_of: dict[tuple[int, str], int] = {}
    for swap in swaps:
        if swap.status == "ok":
            first_of.setdefault((swap.worker, swap.scenario), swap.index)
    return frozenset(first_of.values())
