"""The two arms of a comparison: what is asked for, and whether that can be compared at all."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Final

from swapbench.base.errors import IncomparableError, UsageError
from swapbench.base.process import said_by
from swapbench.machine.allowance import memory
from swapbench.models.cache import checkpoint_digest, undigested
from swapbench.models.locate import provide
from swapbench.run.targets import fit, refuse_silent, refuse_wants, server_of
from swapbench.spec.experiment import Experiment, load
from swapbench.spec.overrides import Override
from swapbench.stats.ranks import fewest_pairs
from swapbench.store import ArmInfo
from swapbench.wire.events import WorkerReady
from swapbench.wire.plan import WIRE_VERSION, Checkpoint, scripted_checkpoints

# Both arms have the same turns, or there are no pairs.
_SHARED: Final = ("source", "rounds", "warmup", "order", "seed", "gate")

# What a worker tells of itself; a server's versions are the server's.
_PACKAGES: Final = ("mlx", "mlx-lm", "transformers")

# What targets of ours take beside what the worker does.
_TAKEN: Final = {"inprocess": ("mlx-lm",), "sharded": ("mlx-lm", "mlx")}
# Below it, reading all of a checkpoint takes no time worth telling.
_TOLD_BYTES: Final = 256 << 20
_ASK: Final = """
if want := lend["want"](*sys.argv[1:]):
    sys.exit(want)
from swapbench.wire import WIRE_VERSION
print(WIRE_VERSION)
"""
_ASK_VERSIONS: Final = """
import json, platform
from importlib.metadata import distributions
found = {one.name.lower(): one.version for one in distributions() if one.name}
python = f"{platform.python_implementation()} {platform.python_version()}"
print(json.dumps({name: found.get(name, "none") for name in sys.argv[1:]} | {"python": python}))
"""


@dataclass(frozen=True)
class Asked:
    """What an arm is to be: an interpreter, settings of its own, and what reports call it."""

    python: str
    settings: tuple[Override, ...] = ()
    label: str = ""


def make_arms(
    file: Path,
    common: Sequence[Override],
    asked: Sequence[Asked],
    pairs: int | None,
    say: Callable[[str], None],
) -> tuple[ArmInfo, ...]:
    """The arms of an experiment, checked, with their checkpoints at hand.

    Args:
        common: overrides for all.
        pairs: rounds that count; the experiment's `gate.pairs` when None.
        say: is told of mini models that have to be made.

    Raises:
        UsageError: the arms can't be compared, an interpreter can't run the worker, a model is missing.
    """
    fitted = []
    for arm in asked:
        # Criteria judge a run by itself, and may speak of strategies that are not compared here.
        experiment = load(file, [*common, *arm.settings], judged=False)
        refuse_unfit(arm.python, experiment.target)
        fitted.append(fit(experiment, arm.python))
        refuse_several_strategies(fitted[-1].experiment, file)
    loaded = [one.experiment for one in fitted]
    for experiment in loaded[1:]:
        _refuse_unlike(loaded[0], experiment)
    rounds = loaded[0].gate.pairs if pairs is None else pairs
    # The first pair pays for what the page cache does not hold yet: the interpreters' own files.
    turns = {"rounds": rounds, "warmup": max(1, loaded[0].warmup)}
    experiments = [experiment.model_copy(update=turns) for experiment in loaded]
    return tuple(
        ArmInfo(
            name=name,
            label=arm.label or name,
            python=arm.python,
            settings=tuple(override.text for override in arm.settings),
            experiment=experiment.model_dump(mode="json", by_alias=True),
            models=tuple(checkpoints_of(experiment, say, arm.python).values()),
            server=one.server,
            notes=one.notes,
        )
        for name, arm, experiment, one in zip(ascii_uppercase, asked, experiments, fitted, strict=False)
    )


def refuse_equal(arms: Sequence[ArmInfo]) -> None:
    """What was to differ may come to the same: a setting that is the default, or that both sides share.

    Raises:
        UsageError: there is no difference between the first two.
    """
    a, b = arms[:2]
    if (a.python, a.experiment) == (b.python, b.experiment):
        raise UsageError(
            "A and B are the same: check --a, --b, --a-set and --b-set (--pairs sets the rounds of both); "
            "--aa measures the noise"
        )


def refuse_too_few_pairs(arms: Sequence[ArmInfo]) -> None:
    """With several scenarios, a few pairs could not find anything, however large.

    Raises:
        UsageError: there are too few.
    """
    scenarios, pairs = len(arms[0].experiment["scenario"]), int(arms[0].experiment["rounds"])
    fewest = fewest_pairs(scenarios)
    if pairs < fewest:
        raise UsageError(
            f"{pairs} pairs are too few for {scenarios} scenarios: no change could be found in fewer than "
            f"{fewest}; raise --pairs"
        )


def checkpoints_of(
    experiment: Experiment, say: Callable[[str], None], python: str = sys.executable
) -> Mapping[str, Checkpoint]:
    """The checkpoints that an experiment swaps, by model; they, and its server, have to be there already.

    Args:
        python: the interpreter that loads them, where no server does.

    Raises:
        ModelError: one is missing, or can't be loaded; the message says what to do.
        UsageError: nobody listens where the server of others is to be, or mlx-lm can't run here.
    """
    server = server_of(experiment.target, python)
    refuse_wants(experiment, server)
    if server is not None:
        refuse_silent(server)
    if experiment.target == "scripted" or (server is not None and not server.preset.reads_paths):
        return scripted_checkpoints(experiment)
    wanted = {model: experiment.models[model] for model in experiment.model_names()}
    elsewhere = server is not None or python != sys.executable
    found = provide(wanted, experiment.source, say, elsewhere=elsewhere)
    # The digests by which caches know their weights are had before anything is timed; kept, and large once.
    most_bytes = memory().total.bytes
    for checkpoint in found.values() if server is None else ():
        new_bytes = undigested(checkpoint.path)
        if new_bytes > most_bytes:
            continue  # the worker refuses it
        if new_bytes > _TOLD_BYTES:
            say(f"{checkpoint.name}: reading all of it once, to know its weights ({new_bytes / 1e9:.2f} GB)")
        checkpoint_digest(checkpoint.path)
    return found


def refuse_unfit(python: str, target: str = "") -> None:
    """Whether an interpreter runs a worker that understands this parent, and has what the target takes.

    Raises:
        UsageError: it can't be started, or lacks what the worker needs.
        IncomparableError: its swapbench speaks another wire version.
    """
    if python == sys.executable:
        return
    said, last = said_by(python, _ASK, *_TAKEN.get(target, ()))
    if not said.isdecimal():
        raise UsageError(f"{python}: can't run swapbench's worker: {last}")
    if int(said) != WIRE_VERSION:
        raise IncomparableError(
            f"{python}: its swapbench speaks wire version {said}, this one {WIRE_VERSION}; "
            "choose versions that speak the same"
        )


def refuse_changed(python: str, worker: WorkerReady, folder: Path) -> None:
    """Whether an interpreter is still the one that a run began with: what it has installed may be newer.

    Raises:
        UsageError: it is not; the message names both.
    """
    names = [name for name in worker.versions if name in _PACKAGES]
    said, last = said_by(python, _ASK_VERSIONS, *names)
    if not said:
        raise UsageError(f"{python}: does not say what it has installed: {last}")
    began = {name: worker.versions[name] for name in names} | {"python": worker.python}
    for name, now in json.loads(said).items():
        if now != began[name]:
            raise UsageError(
                f"{folder}: begun with {name} {began[name]}, and {python} has {now}; "
                "resume with the former, or start a new run"
            )


def refuse_several_strategies(experiment: Experiment, file: Path) -> None:
    """Two things are compared: each has one way to swap.

    Raises:
        UsageError: there are more.
    """
    if len(experiment.strategy) > 1:
        raise UsageError(
            f"{file}: has {len(experiment.strategy)} strategies, and one at a time is compared: choose with "
            "--set strategy=NAME, or compare two by `swapbench ab` with --a-set strategy=NAME "
            "--b-set strategy=OTHER"
        )


def _refuse_unlike(a: Experiment, b: Experiment) -> None:
    for key in _SHARED:
        ours, theirs = (
            str(value if isinstance(value, int | str) else value.model_dump())
            for value in (getattr(a, key), getattr(b, key))
        )
        if ours != theirs:
            raise UsageError(
                f"{key} is {ours} in A and {theirs} in B: what both arms have in common is set with --set"
            )
    ends = [[(s.name, s.from_model, s.to_model) for s in e.scenario] for e in (a, b)]
    if ends[0] != ends[1]:
        raise UsageError("A and B have unlike scenarios: both arms carry out the same swaps, set with --set")
