"""What a list of runs says about each of them."""

from dataclasses import dataclass
from datetime import datetime

from swapbench.findings.arms import arms_of
from swapbench.findings.cells import by_cell
from swapbench.findings.facts import facts_of
from swapbench.findings.summary import count, headline
from swapbench.findings.swaps import swaps_of
from swapbench.store import Run, RunStatus, experiment_of


@dataclass(frozen=True)
class RunOutline:
    """One run in a list; `headline_s` is what each scenario took under each strategy, as a report has it."""

    run_id: str
    experiment: str
    started_at: datetime
    sources: tuple[str, ...]
    status: RunStatus
    swaps_ok: int
    swaps_failed: int
    headline_s: dict[str, float]
    folder: str


def outline(run: Run) -> RunOutline:
    """The outline of a run, from its swaps alone.

    Raises:
        ResultsError: run.json holds no experiment that this swapbench understands.
    """
    cells, experiment = by_cell(run, experiment_of(run))
    swaps = swaps_of(cells)
    facts, counts = facts_of(run, experiment, swaps), count(swaps)
    arms = [(f" ({arm.name})", alone) for arm, alone in zip(run.info.arms, arms_of(run), strict=False)]
    headlines = {
        f"{s.name}{mark}": headline([swap for swap in own if swap.counted and swap.scenario == s.name])[0]
        for mark, own in [(mark, swaps_of(alone)) for mark, alone in arms] or [("", swaps)]
        for s in experiment.scenario
    }
    return RunOutline(
        run_id=facts.run_id,
        experiment=facts.experiment,
        started_at=facts.started_at,
        sources=facts.sources,
        status=facts.status,
        swaps_ok=counts.counted + counts.warmup + counts.invalid,
        swaps_failed=counts.failed + counts.rolled_back + counts.refused,
        headline_s={name: value.point for name, value in headlines.items() if value and not run.damage},
        folder=facts.folder,
    )
