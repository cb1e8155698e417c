"""From an experiment to the plan that a worker carries out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from swapbench.experiment import Experiment
from swapbench.wire import Checkpoint, Plan, PlannedSwap, Reply

# Round, strategy, scenario: what tells the swaps of a run apart.
SwapKey = tuple[int, str, str]


@dataclass(frozen=True)
class Turn:
    """What one worker after another carries out: rounds of one strategy."""

    strategy: str
    rounds: tuple[int, ...]


def turns(experiment: Experiment) -> tuple[Turn, ...]:
    """One turn of all rounds for a single strategy; of several, each has a turn in every round.

    Their order within a round is random, since who comes first finds another machine than who comes last, and
    seeded. A worker each, since what one strategy leaves behind in a process is what the next would use.
    """
    rounds = range(experiment.warmup + experiment.rounds)
    names = list(experiment.strategy)
    if len(names) == 1:
        return (Turn(names[0], tuple(rounds)),)
    return tuple(
        Turn(name, (number,)) for number in rounds for name in _shuffled(names, experiment.seed, number)
    )


def _shuffled(names: Sequence[str], seed: int, number: int) -> list[str]:
    order = list(names)
    Random(f"{seed}:{number}").shuffle(order)
    return order


def schedule(experiment: Experiment, turn: Turn, done: Collection[SwapKey] = ()) -> tuple[PlannedSwap, ...]:
    """Every swap of a turn in order, warm-up rounds first, numbered from 0; those `done` are left out.

    What comes first in a process is slower, or faster, than what comes after: a balanced order runs every
    other round backwards, so that no scenario always follows the same one.
    """
    return tuple(
        PlannedSwap(round=number, warmup=number < experiment.warmup, scenario=scenario.name)
        for number in turn.rounds
        for scenario in experiment.scenario[:: -1 if experiment.order == "balanced" and number % 2 else 1]
        if (number, turn.strategy, scenario.name) not in done
    )


def make_plan(
    experiment: Experiment,
    turn: Turn,
    checkpoints: Mapping[str, Checkpoint],
    scratch_dir: Path,
    *,
    fail_fast: bool = False,
    done: Collection[SwapKey] = (),
    expected: Mapping[str, tuple[Reply, ...]] | None = None,
    recover: PlannedSwap | None = None,
) -> Plan:
    """All that a worker must know of an experiment to carry out a turn.

    Args:
        expected: what fresh processes answer, by model.
        recover: the swap in which the worker before was lost.
    """
    return Plan(
        target=experiment.target,
        strategy=turn.strategy,
        how=experiment.strategy[turn.strategy],
        checkpoints=dict(checkpoints),
        scenarios=experiment.scenario,
        schedule=schedule(experiment, turn, done),
        workload=experiment.workload,
        engine=experiment.engine,
        page_cache=experiment.page_cache,
        first_token=experiment.first_token,
        steady_tokens=experiment.steady_tokens,
        settle_after_unload=experiment.settle_after_unload,
        touch_free_memory=experiment.touch_free_memory,
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
