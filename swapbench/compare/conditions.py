"""What two runs of an experiment must share for their figures to be compared."""

import json
from dataclasses import dataclass
from typing import Any

from swapbench.spec.experiment import Experiment, PageCache, Scenario


@dataclass(frozen=True)
class Conditions:
    """Under which a scenario's swaps were carried out: by key of the experiment, as text."""

    page_cache: PageCache
    settings: tuple[tuple[str, str], ...]


def conditions_of(experiment: Experiment, scenario: str, strategy: str) -> Conditions:
    """The conditions of a scenario under a strategy; what bears on no swap's time is not among them.

    Keys that an older run did not have yet have their default, which is how things were.
    """
    found = next((s for s in experiment.scenario if s.name == scenario), None)
    settings = {
        "target": experiment.target,
        "settle_after_unload": experiment.settle_after_unload,
        "touch_free_memory": experiment.touch_free_memory,
        "first_token": experiment.first_token,
        "fault": [f.model_dump(mode="json") for f in experiment.fault if f.scenario == scenario],
        **_flat("workload", experiment.workload.model_dump(mode="json")),
        **_flat("engine", experiment.engine.model_dump(mode="json")),
        **_of_strategy(experiment, strategy),
        **(_of_scenario(experiment, found) if found else {}),
    }
    return Conditions(
        page_cache=experiment.page_cache_of(found) if found else experiment.page_cache,
        settings=tuple((key, _spelled(value)) for key, value in settings.items()),
    )


def _of_strategy(experiment: Experiment, name: str) -> dict[str, Any]:
    how = experiment.strategy.get(name)
    return {} if how is None else _flat("strategy", how.model_dump(mode="json"))


def _of_scenario(experiment: Experiment, scenario: Scenario) -> dict[str, Any]:
    own = {"first_token": scenario.first_token, "workload.requests": scenario.requests}
    return {
        "from": experiment.models[scenario.from_model],
        "to": experiment.models[scenario.to_model],
        **{key: value for key, value in own.items() if value is not None},
    }


def _flat(table: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{table}.{key}": value for key, value in values.items()}


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
