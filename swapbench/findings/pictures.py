"""What the pictures of a run are drawn from, beside its findings."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from swapbench.base.headline import HeadlineFigure
from swapbench.findings.cells import by_cell, cell_name
from swapbench.findings.dots import Dots, LadderDots, dots_of, ladder_dots
from swapbench.findings.findings import Findings
from swapbench.findings.growth import Growth, growth_of
from swapbench.findings.ladder import STOCK, Ladder
from swapbench.findings.swap_timeline import SwapTimeline, timeline_of
from swapbench.findings.swaps import Swap, swaps_of
from swapbench.store import Run, experiment_of


@dataclass(frozen=True)
class Pictures:
    """One run. Of several strategies, timelines are of stock and of each scenario's fastest."""

    command: str
    timelines: tuple[SwapTimeline, ...]
    dots: tuple[Dots, ...]
    ladders: tuple[LadderDots, ...]
    growth: tuple[Growth, ...]


def pictures_of(
    run: Run, findings: Findings, compared_by: Mapping[str, HeadlineFigure] | None = None
) -> Pictures:
    """The pictures of a run that was analysed.

    Args:
        compared_by: by scenario, the figure that both sides of a comparison have; each its own when None.

    Raises:
        ResultsError: as `analyse`.
    """
    whole = experiment_of(run)
    named, experiment = by_cell(run, whole)
    swaps = swaps_of(named)
    return Pictures(
        command=shlex.join(run.info.command),
        timelines=tuple(
            timeline
            for names in _shown(findings)
            for timeline in _on_one_axis(timeline_of(named, _of(swaps, name)) for name in names)
        ),
        dots=()
        if findings.ladders
        else tuple(
            dots_of(s.name, _of(swaps, s.name), findings.outliers, (compared_by or {}).get(s.name))
            for s in experiment.scenario
        ),
        ladders=tuple(ladder_dots(ladder, swaps, findings.outliers) for ladder in findings.ladders),
        growth=growth_of(swaps, findings.leaks, experiment.leak_tolerance_bytes),
    )


def _of(swaps: Sequence[Swap], scenario: str) -> list[Swap]:
    return [swap for swap in swaps if swap.scenario == scenario]


def _shown(findings: Findings) -> list[list[str]]:
    """Which scenarios' swaps are drawn, in groups that are to be compared."""
    if findings.ladders:
        return [list(_stock_and_fastest(ladder)) for ladder in findings.ladders]
    return [[scenario.name] for scenario in findings.scenarios]


def _on_one_axis(found: Iterable[SwapTimeline | None]) -> Iterator[SwapTimeline]:
    timelines = [timeline for timeline in found if timeline is not None]
    longest_s = max((timeline.end_s for timeline in timelines), default=0.0)
    return (replace(timeline, axis_s=longest_s) for timeline in timelines)


def _stock_and_fastest(ladder: Ladder) -> Iterator[str]:
    names = [rung.strategy for rung in ladder.rungs if rung.total is not None]
    stock = [name for name in names if name == STOCK]
    for name in dict.fromkeys([*stock, *names[:1]]):
        yield cell_name(ladder.scenario, name)
