"""Runs of several strategies: each scenario under each strategy is a cell, judged as a scenario of its own."""

from dataclasses import replace
from typing import TYPE_CHECKING

from swapbench.experiment import Experiment
from swapbench.results import Run

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
    tables = {name: _renamed(getattr(run, name)) for name in ("phases", "swaps", "memory", "requests")}
    return replace(run, **tables), experiment.model_copy(update={"scenario": scenarios})


def only(run: Run, strategy: str) -> Run:
    """What a run says of one of its strategies, as a run of it alone."""
    info = run.info.model_copy(
        update={
            "experiment": run.info.experiment
            | {"strategy": {strategy: run.info.experiment["strategy"][strategy]}}
        }
    )
    tables = {
        name: (frame := getattr(run, name))[frame["strategy"] == strategy]
        for name in ("phases", "swaps", "memory", "requests")
    }
    return replace(run, info=info, **tables)


def _renamed(frame: "pd.DataFrame") -> "pd.DataFrame":
    named = frame.copy()
    named["scenario"] = [
        cell_name(scenario, strategy) if scenario else ""
        for scenario, strategy in zip(frame["scenario"], frame["strategy"], strict=True)
    ]
    return named
