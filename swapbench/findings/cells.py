"""Runs of several strategies: a scenario under a strategy is a cell, judged as a scenario of its own."""

from dataclasses import replace
from typing import TYPE_CHECKING

from swapbench.base.errors import UsageError, did_you_mean
from swapbench.spec.experiment import Experiment
from swapbench.store import Run, experiment_of

if TYPE_CHECKING:
    import pandas as pd


def cell_name(scenario: str, strategy: str) -> str:
    """What a scenario is called under a strategy, where there are several."""
    return f"{scenario} ({strategy})"


def by_cell(run: Run, experiment: Experiment) -> tuple[Run, Experiment]:
    """The run with a scenario for every cell; as it is where there is one strategy."""
    if len(experiment.strategy) == 1:
        return run, experiment
    scenarios = tuple(
        scenario.model_copy(update={"name": cell_name(scenario.name, strategy)})
        for scenario in experiment.scenario
        for strategy in experiment.strategy
    )
    named = replace(
        run,
        phases=_renamed(run.phases),
        swaps=_renamed(run.swaps),
        memory=_renamed(run.memory),
        requests=_renamed(run.requests),
    )
    return named, experiment.model_copy(update={"scenario": scenarios})


def only(run: Run, strategy: str) -> Run:
    """What a run says of one of its strategies, as a run of it alone.

    Raises:
        UsageError: the run has no such strategy.
    """
    names = list(experiment_of(run).strategy)
    if strategy not in names:
        raise UsageError(f'no strategy "{strategy}" in this run; {did_you_mean(strategy, names)}')
    how = experiment_of(run).strategy[strategy].model_dump(mode="json")
    alone = run.info.experiment | {"strategy": {strategy: how}, "criterion": []}
    info = run.info.model_copy(update={"experiment": alone})
    return replace(
        run,
        info=info,
        phases=_of(run.phases, strategy),
        swaps=_of(run.swaps, strategy),
        memory=_of(run.memory, strategy),
        requests=_of(run.requests, strategy),
    )


def _of(frame: "pd.DataFrame", strategy: str) -> "pd.DataFrame":
    return frame[frame["strategy"] == strategy]


def _renamed(frame: "pd.DataFrame") -> "pd.DataFrame":
    named = frame.copy()
    named["scenario"] = [
        cell_name(scenario, strategy) if scenario else ""
        for scenario, strategy in zip(frame["scenario"], frame["strategy"], strict=True)
    ]
    return named
