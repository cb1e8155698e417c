"""From an experiment to the plan that a worker carries out."""

from collections.abc import Collection, Mapping
from pathlib import Path

from swapbench.experiment import Experiment
from swapbench.wire import Checkpoint, Plan, PlannedSwap, Reply


def schedule(experiment: Experiment, done: Collection[tuple[int, str]] = ()) -> tuple[PlannedSwap, ...]:
    """Every swap in order, warm-up rounds first, numbered from 0; `done` (round, scenario) are left out.

    What comes first in a process is slower, or faster, than what comes after: a balanced order runs every
    other round backwards, so that no scenario always follows the same one.
    """
    rounds = experiment.warmup + experiment.rounds
    return tuple(
        PlannedSwap(round=number, warmup=number < experiment.warmup, scenario=scenario.name)
        for number in range(rounds)
        for scenario in experiment.scenario[:: -1 if experiment.order == "balanced" and number % 2 else 1]
        if (number, scenario.name) not in done
    )


def make_plan(
    experiment: Experiment,
    checkpoints: Mapping[str, Checkpoint],
    scratch_dir: Path,
    *,
    fail_fast: bool = False,
    done: Collection[tuple[int, str]] = (),
    expected: Mapping[str, tuple[Reply, ...]] | None = None,
    recover: PlannedSwap | None = None,
) -> Plan:
    """All that a worker must know of an experiment.

    Args:
        expected: what fresh processes answer, by model.
        recover: the swap in which the worker before was lost.
    """
    return Plan(
        target=experiment.target,
        strategy=experiment.strategy,
        checkpoints=dict(checkpoints),
        scenarios=experiment.scenario,
        schedule=schedule(experiment, done),
        workload=experiment.workload,
        engine=experiment.engine,
        page_cache=experiment.page_cache,
        first_token=experiment.first_token,
        steady_tokens=experiment.steady_tokens,
        settle_after_unload=experiment.settle_after_unload,
        verify=experiment.verify,
        expected=dict(expected or {}),
        sample_every_s=experiment.sample_every_s,
        fail_fast=fail_fast,
        scratch_dir=scratch_dir,
        script=experiment.script,
        faults=experiment.fault,
        recover=recover,
    )


def scripted_checkpoints(experiment: Experiment) -> dict[str, Checkpoint]:
    """What a script plays models with: names and sizes, and no files."""
    sizes = experiment.script.model_bytes if experiment.script else {}
    return {
        name: Checkpoint(
            name=name,
            reference=reference,
            source=experiment.source,
            path=Path(),
            weight_bytes=sizes.get(name, 0),
        )
        for name, reference in experiment.models.items()
    }
