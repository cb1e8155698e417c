"""The plan that a worker carries out, and how it comes from an experiment."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, Literal

from pydantic import Field

from swapbench.spec.experiment import EngineSettings, Experiment, PageCache, Scenario, Sharded, Source, Verify
from swapbench.spec.preset import Preset
from swapbench.spec.strategy import Strategy
from swapbench.wire.swap import Message, PlannedSwap, SwapKey

# 1: first published form.
# 2: servers seen from outside: `server` and `swap_timeout_s` of the plan; what they report, and requests in
#    flight that fail or stall, of a swap.
# 3: `local` among the sources of checkpoints.
# 4: the plan has the experiment itself; every event has its swap, and a swap's figures are nested.
WIRE_VERSION: Final = 4

# Which of two arms comes first in a round: each in every other round, or as a seeded coin says.
PairOrder = Literal["abba", "random"]


class Checkpoint(Message):
    """A model as the run uses it."""

    name: str
    reference: str
    source: Source
    path: Path
    weight_bytes: int = Field(ge=0)


class Server(Message):
    """A server seen from outside: how it is spoken to, and where it runs; started where `url` is empty.

    `log` is where what it prints is kept.
    """

    preset: Preset
    url: str = ""
    log: Path = Path()


class Reply(Message):
    """What a model says, greedily, to the verification prompt of so many tokens."""

    prompt_tokens: int
    tokens: tuple[int, ...]


class Questions(Message):
    """What a fresh process is asked about a checkpoint."""

    checkpoint: Checkpoint
    verify: Verify
    engine: EngineSettings
    sharded: Sharded | None = None


class Replies(Message):
    """Its replies, one for each length of prompt."""

    replies: tuple[Reply, ...]


class Plan(Message):
    """Everything the worker must know. Rounds and their order are decided by the parent.

    `expected` is what a fresh process answers, by model: one without is not verified. `recover` is the swap
    in which the worker before was lost: its old model is to answer again, first of all. `orchestrator` is
    somebody's own, as module:class, looked for in the worker's interpreter.
    """

    wire_version: int = WIRE_VERSION
    turn: int = 0
    arm: str = ""
    strategy: str
    experiment: Experiment
    checkpoints: dict[str, Checkpoint]
    schedule: tuple[PlannedSwap, ...]
    expected: dict[str, tuple[Reply, ...]] = Field(default_factory=dict)
    fail_fast: bool
    scratch_dir: Path
    server: Server | None = None
    orchestrator: str = ""
    recover: PlannedSwap | None = None

    @property
    def how(self) -> Strategy:
        """The strategy that the worker swaps by."""
        return self.experiment.strategy[self.strategy]

    def scenario(self, name: str) -> Scenario:
        """The scenario called `name`."""
        return next(s for s in self.experiment.scenario if s.name == name)

    def asks(self, scenario: Scenario) -> bool:
        """Whether the new model is asked for a token after the scenario's swaps."""
        return self.experiment.asks(scenario)

    def asks_of(self, model: str) -> bool:
        """Whether it is after any swap that brings this model."""
        return any(s.to_model == model and self.asks(s) for s in self.experiment.scenario)

    def page_cache_of(self, scenario: str) -> PageCache:
        """What is to be true of the page cache in the scenario's swaps."""
        return self.experiment.page_cache_of(self.scenario(scenario))


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
    """What one worker carries out: rounds of one strategy, for one arm. A run's turns are numbered."""

    strategy: str
    rounds: tuple[int, ...]
    arm: str = ""
    number: int = 0


def turns(experiment: Experiment) -> tuple[Turn, ...]:
    """One turn of all rounds for a single strategy; of several, each has a turn in every round.

    Their order within a round is random, since who comes first finds another machine than who comes last, and
    seeded. A worker each, since what one strategy leaves behind in a process is what the next would use.
    """
    rounds = range(experiment.warmup + experiment.rounds)
    names = list(experiment.strategy)
    if len(names) == 1:
        return (Turn(names[0], tuple(rounds)),)
    order = [(name, (at,)) for at in rounds for name in _shuffled(names, experiment.seed, at)]
    return tuple(Turn(name, rounds_, number=number) for number, (name, rounds_) in enumerate(order))


def paired_turns(arms: Sequence[Arm], order: PairOrder, seed: int) -> tuple[Turn, ...]:
    """A turn for either arm in every round: A B, then B A, and so on, so that a machine that warms up, or a
    neighbour that comes and goes, meets both alike."""
    experiment = arms[0].experiment
    both = [
        (next(iter(arm.experiment.strategy)), (at,), arm.name)
        for at in range(experiment.warmup + experiment.rounds)
        for arm in arms[:: -1 if _backwards(order, seed, at) else 1]
    ]
    return tuple(Turn(*turn, number=number) for number, turn in enumerate(both))


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
        PlannedSwap(
            turn=turn.number,
            arm=turn.arm,
            round=number,
            warmup=number < experiment.warmup,
            scenario=scenario.name,
            strategy=turn.strategy,
            from_model=scenario.from_model,
            to_model=scenario.to_model,
        )
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
    return Plan(
        turn=turn.number,
        arm=turn.arm,
        strategy=turn.strategy,
        experiment=arm.experiment,
        checkpoints=dict(arm.checkpoints),
        schedule=schedule(arm.experiment, turn, done),
        expected=dict(expected or {}),
        fail_fast=fail_fast,
        scratch_dir=scratch_dir,
        server=None if arm.server is None else arm.server.model_copy(update={"log": log}),
        orchestrator=arm.orchestrator,
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
