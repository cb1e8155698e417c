"""What no single key of an experiment file shows: whether its tables agree with each other."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from swapbench.base.errors import did_you_mean
from swapbench.base.phases import PHASES
from swapbench.spec.complaints import LocatedError
from swapbench.spec.experiment.tables import CriterionKind, Script
from swapbench.spec.strategy import NAMED

if TYPE_CHECKING:
    from swapbench.spec.experiment.document import Experiment


def mistakes(experiment: "Experiment") -> Iterator[LocatedError]:
    """Names that are there twice or not at all, ranges that run backwards, tables that exclude each other."""
    seen: set[str] = set()
    for i, scenario in enumerate(experiment.scenario):
        if scenario.name in seen:
            yield LocatedError(
                ("scenario", i, "name"), f'"{scenario.name}" is there twice; names must differ'
            )
        seen.add(scenario.name)
        for side, model in (("from", scenario.from_model), ("to", scenario.to_model)):
            if model not in experiment.models:
                hint = did_you_mean(model, experiment.models)
                yield LocatedError(("scenario", i, side), f'no model "{model}" under [models]; {hint}')
    for phase, (low, high) in experiment.expected_s.items():
        if low > high:
            yield LocatedError(("expected_s", str(phase)), f"the range [{low:g}, {high:g}] runs backwards")
    if (experiment.target == "scripted") != (experiment.script is not None):
        yield LocatedError(("target",), 'target = "scripted" and a [script] table belong together')
    yield from _sharded_mistakes(experiment)
    yield from _fault_mistakes(experiment, seen)
    yield from _comparison_mistakes(experiment, seen)
    if experiment.script is not None:
        yield from _script_mistakes(experiment.script, seen, experiment.models)


def _sharded_mistakes(experiment: "Experiment") -> Iterator[LocatedError]:
    if experiment.target != "sharded":
        if experiment.sharded is not None:
            yield LocatedError(("sharded",), 'a [sharded] table is for target = "sharded"')
        return
    for key in ("requests", "agents", "clients"):
        if getattr(experiment.workload, key):
            yield LocatedError(
                ("workload", key), "a sharded target is idle when it is swapped: leave it at 0"
            )
    for i, scenario in enumerate(experiment.scenario):
        if scenario.requests:
            where = ("scenario", i, "requests")
            yield LocatedError(where, "a sharded target is idle when it is swapped: leave it out")
    for name, strategy in experiment.strategy.items():
        if strategy != NAMED["stock"]:
            yield LocatedError(
                ("strategy", name), "a sharded target loads by mlx-lm's sharded_load: stock alone"
            )


def _fault_mistakes(experiment: "Experiment", seen: set[str]) -> Iterator[LocatedError]:
    for i, fault in enumerate(experiment.fault):
        if fault.scenario not in seen:
            hint = did_you_mean(fault.scenario, seen)
            yield LocatedError(("fault", i, "scenario"), f'no scenario "{fault.scenario}"; {hint}')
    if experiment.fault and experiment.target in ("scripted", "sharded"):
        yield LocatedError(
            ("fault",), 'faults are for target = "inprocess" and for servers; a script has fails_in'
        )


def _comparison_mistakes(experiment: "Experiment", scenarios: set[str]) -> Iterator[LocatedError]:
    for i, criterion in enumerate(experiment.criterion):
        if criterion.kind is not CriterionKind.TIMES_FASTER:
            continue
        if criterion.scenario not in scenarios:
            hint = did_you_mean(criterion.scenario, scenarios)
            where = ("criterion", i, "scenario")
            yield LocatedError(where, f'no scenario "{criterion.scenario}"; {hint}')
        if criterion.strategy and criterion.strategy not in experiment.strategy:
            hint = did_you_mean(criterion.strategy, experiment.strategy)
            where = ("criterion", i, "strategy")
            yield LocatedError(where, f'no strategy "{criterion.strategy}" in this experiment; {hint}')


def _script_mistakes(script: Script, scenarios: set[str], models: Iterable[str]) -> Iterator[LocatedError]:
    for i, played in enumerate(script.swap):
        if played.scenario not in scenarios:
            hint = did_you_mean(played.scenario, scenarios)
            yield LocatedError(("script", "swap", i, "scenario"), f'no scenario "{played.scenario}"; {hint}')
        if played.answers_as is not None and played.answers_as not in models:
            hint = did_you_mean(played.answers_as, models)
            where = ("script", "swap", i, "answers_as")
            yield LocatedError(where, f'no model "{played.answers_as}" under [models]; {hint}')
    for span in script.spans:
        phase, _, name = span.partition("/")
        if phase not in PHASES or not name:
            hint = did_you_mean(phase, PHASES)
            yield LocatedError(("script", "spans", span), f'spans are named "phase/span"; {hint}')
    for model in script.model_bytes:
        if model not in models:
            hint = did_you_mean(model, models)
            yield LocatedError(("script", "model_bytes", model), f"no such model under [models]; {hint}")
