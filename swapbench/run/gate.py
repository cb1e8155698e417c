"""Carries a gate out: measure, once more where it looks slower, soak, and judge what is on disk."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from swapbench.compare.comparison import compare_arms
from swapbench.compare.gate import Gate, GateOutcome, Soak, judge_history, judge_pairs, seems_to_leak
from swapbench.compare.history import History
from swapbench.findings.memory import WARMUP_SWAPS
from swapbench.run.arms import (
    Asked,
    checkpoints_of,
    make_arms,
    refuse_several_strategies,
    refuse_too_few_pairs,
    refuse_unfit,
)
from swapbench.run.base_checkout import (
    base_checkout,
    merge_base,
    refuse_other_code,
    refuse_shared_code,
    working_tree,
)
from swapbench.run.runner import Job, arms_from, new_job, new_paired_job
from swapbench.spec.experiment import load
from swapbench.spec.overrides import Override
from swapbench.store import Run
from swapbench.wire.plan import Arm


@dataclass(frozen=True)
class Asking:
    """What is to be gated, and how.

    Args:
        settings: overrides of the experiment.
        python: the interpreter that runs the change.
        carry: carries a job out and gives its run.
        say: is told what takes long.
    """

    file: Path
    settings: Sequence[Override]
    pairs: int | None
    margin: float | None
    python: str
    out: Path
    command: Sequence[str]
    carry: Callable[[Job], Run]
    say: Callable[[str], None]


def gate_on_base(asking: Asking, ref: str, build: str | None, *, trusted: bool) -> Gate:
    """Measure the working tree against the merge base with `ref`, both in turn, and judge.

    Args:
        build: the shell command that makes the base's .venv; None for uv or pip.
        trusted: the interpreter was named by the user, who knows what it runs.

    Raises:
        UsageError: there is no such base, or the interpreter does not run the working tree.
        IncomparableError: the base can't be built, or its swapbench speaks otherwise.
    """
    tree = working_tree(Path.cwd())
    commit = merge_base(tree, ref)
    refuse_shared_code(tree, os.environ.get("PYTHONPATH", ""))
    if not trusted:
        refuse_other_code(asking.python, tree)
    with base_checkout(tree, commit, asking.python, build, asking.say) as base:
        sides = (
            Asked(base.python, label=f"base {commit[:8]}"),
            Asked(asking.python, label=tree.describe()),
        )
        infos = make_arms(asking.file, asking.settings, sides, asking.pairs, asking.say)
        refuse_too_few_pairs(infos)
        old, new = arms_from(infos, str(asking.file))

        def measure() -> Run:
            return asking.carry(new_paired_job(infos, asking.file, asking.out, command=asking.command))

        first = measure()
        compared = compare_arms(first, asking.margin)
        slower = () if compared.broken else compared.regressions
        again = new.experiment.gate.confirm and _confirming(asking, slower)
        second = measure() if again else None
        soak = _soak(asking, new, old)
    notes = base.notes
    if commit == tree.commit and not tree.changed:
        notes = ("the working tree is the merge base: nothing was changed", *notes)
    return judge_pairs(first, second, soak, asking.margin, notes)


def gate_on_history(asking: Asking, name: str, history: History) -> Gate:
    """Measure the working tree alone, and judge by the runs that a baseline keeps.

    Raises:
        UsageError: the experiment compares strategies, or a model is missing.
    """
    experiment = load(asking.file, asking.settings)
    refuse_several_strategies(experiment, asking.file)
    refuse_unfit(asking.python, experiment.target)
    arm = Arm("", experiment, checkpoints_of(experiment, asking.say, asking.python), asking.python)
    first = _measure(asking, arm)
    judged = judge_history(first, None, None, asking.margin, name, history)
    slower = [s.scenario for s in judged.scenarios if s.outcome is GateOutcome.REGRESSION]
    again = experiment.gate.confirm and not judged.failures and _confirming(asking, slower)
    second = _measure(asking, arm) if again else None
    return judge_history(first, second, _soak(asking, arm, None), asking.margin, name, history)


def _confirming(asking: Asking, slower: Sequence[str]) -> bool:
    if slower:
        asking.say(f"slower: {', '.join(slower)}; measuring once more before that counts")
    return bool(slower)


def _soak(asking: Asking, new: Arm, old: Arm | None) -> Soak | None:
    """Many swaps in one process; of the base too, where the change seems to leak: whose is it."""
    swaps, scenarios = new.experiment.gate.soak_swaps, len(new.experiment.scenario)
    if swaps == 0:
        return None
    asking.say(f"soaking: {swaps} swaps in one process, for leaks")
    rounds = {"rounds": math.ceil((swaps + WARMUP_SWAPS) / scenarios), "warmup": 0}

    def soaked(arm: Arm) -> Run:
        experiment = arm.experiment.model_copy(update=rounds)
        return _measure(asking, Arm("", experiment, arm.checkpoints, arm.python), "gate")

    change = soaked(new)
    return Soak(change, soaked(old) if old is not None and seems_to_leak(change) else None)


def _measure(asking: Asking, arm: Arm, part_of: str = "") -> Run:
    job = new_job(
        arm.experiment, asking.file, arm.checkpoints, asking.out, command=asking.command, python=arm.python
    )
    job.writer.update(part_of=part_of)
    return asking.carry(job)
