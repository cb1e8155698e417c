"""From an experiment to the plan that a worker carries out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from swapbench.spec.experiment import Experiment
from swapbench.wire.events import Checkpoint, Plan, PlannedSwap, Reply, Server

# Arm, round, strategy, scenario: what tells the swaps of a run apart.
SwapKey = tuple[str, int, str, str]

# Which of two arms comes first in a round: each in every other round, or as a seeded coin says.
PairOrder = Literal["abba", "random"]


@dataclass(frozen=True)
class Arm:
    """One of the things that a run compares, as its workers get it. An ordinary run has one, of no name."""

    name: str
    experiment: Experiment
    checkpoints: Mapping[str, Checkpoint]
    python: str
    server: Server | None = None
    orchestrator: str = ""


@dataclass(frozen=True)
class Turn:
    """What one worker after another carries out: rounds of one strategy, for one arm."""

    strategy: str
    rounds: tuple[int, ...]
    arm: str = ""


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


def paired_turns(arms: Sequence[Arm], order: PairOrder, seed: int) -> tuple[Turn, ...]:
    """A turn for either arm in every round: A B, then B A, and so on, so that a machine that warms up, or a
    neighbour that comes and goes, meets both alike."""
    experiment = arms[0].experiment
    return tuple(
        Turn(next(iter(arm.experiment.strategy)), (number,), arm.name)
        for number in range(experiment.warmup + experiment.rounds)
        for arm in arms[:: -1 if _backwards(order, seed, number) else 1]
    )


def _backwards(order: PairOrder, seed: int, number: int) -> bool:
    return number % 2 == 1 if order == "abba" else Random(f"{seed}:{number}").random() < 0.5


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
        if (turn.arm, number, turn.strategy, scenario.name) not in done
    )


def make_plan(
    arm: Arm,
    turn: Turn,
    scratch_dir: Path,
    *,
    fail_fast: bool = False,
    done: Collection[SwapKey] = (),
    expected: Mapping[str, tuple[Reply, ...]] | None = None,
    recover: PlannedSwap | None = None,
    log: Path = Path(),
) -> Plan:
    """All that a worker must know to carry out a turn.

    Args:
        expected: what fresh processes answer, by model.
        recover: the swap in which the worker before was lost.
        log: where what a server prints is kept.
    """
    experiment = arm.experiment
    return Plan(
        target=experiment.target,
        strategy=turn.strategy,
        how=experiment.strategy[turn.strategy],
        checkpoints=dict(arm.checkpoints),
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
        swap_timeout_s=experiment.swap_timeout_s,
        server=None if arm.server is None else arm.server.model_copy(update={"log": log}),
        orchestrator=arm.orchestrator,
        script=experiment.script,
        sharded=experiment.sharding(),
        faults=experiment.fault,
        recover=recover,
    )


def scripted_checkpoints(experiment: Experiment) -> dict[str, Checkpoint]:
    """What a script plays models with, or a server that keeps its own: names and sizes, and no files."""
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
