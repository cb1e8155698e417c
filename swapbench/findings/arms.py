"""A run that compares two things, taken apart: each arm as a run of its own."""

from dataclasses import replace
from typing import TYPE_CHECKING

from swapbench.base.errors import UsageError, did_you_mean
from swapbench.store import ArmInfo, Run

if TYPE_CHECKING:
    import pandas as pd


def arms_of(run: Run) -> tuple[Run, ...]:
    """A run for each arm, in their order; the run itself where it compares nothing."""
    return tuple(_alone(run, arm) for arm in run.info.arms) or (run,)


def arm_of(run: Run, name: str) -> Run:
    """One arm as a run of its own.

    Raises:
        UsageError: the run has no such arm, or no arms.
    """
    if not run.info.arms:
        raise UsageError(f'no arm "{name}": this run has no two arms; leave --arm out')
    for arm in run.info.arms:
        if arm.name == name:
            return _alone(run, arm)
    names = [arm.name for arm in run.info.arms]
    raise UsageError(f'no arm "{name}" in this run; {did_you_mean(name, names)}')


def _alone(run: Run, arm: ArmInfo) -> Run:
    info = run.info.model_copy(
        update={
            "experiment": arm.experiment,
            "models": arm.models,
            "worker": arm.worker,
            "baselines": arm.baselines,
            "server": arm.server,
            "notes": (*run.info.notes, *arm.notes),
            "arms": (),
        }
    )
    return replace(
        run,
        info=info,
        phases=_of(run.phases, arm.name),
        swaps=_of(run.swaps, arm.name),
        memory=_of(run.memory, arm.name),
        requests=_of(run.requests, arm.name),
    )


def _of(frame: "pd.DataFrame", arm: str) -> "pd.DataFrame":
    return frame[frame["arm"] == arm]
