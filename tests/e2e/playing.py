"""An experiment on another target than the shipped ones, in this very process, into a run folder."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from swapbench.models.locate import provide
from swapbench.run.runner import follow, new_job
from swapbench.run.worker_process import replies_of, verified_models
from swapbench.spec.experiment import find, load
from swapbench.spec.overrides import sets
from swapbench.wire.events import Event
from swapbench.wire.plan import make_plan, schedule, turns
from swapbench.worker.process import leave
from swapbench.worker.session import run_session
from swapbench.worker.targets.inprocess import InProcessTarget


class _Unseen:
    def on(self, event: Event) -> None:
        pass


def carry_out(target: type[InProcessTarget], name: str, overrides: list[str], out: Path) -> NoReturn:
    """Run the experiment on the target, and end; fresh processes say what its models should answer."""
    file = find(name)
    experiment = load(file, sets(overrides))
    checkpoints = provide(experiment.models, experiment.source, lambda _: None)
    job = new_job(experiment, file, checkpoints, out, command=[target.__name__])
    (turn,) = turns(experiment)
    expected = {
        model: replies_of(checkpoints[model], experiment, sys.executable, job.writer.folder / "worker.log")
        for model in verified_models(experiment, schedule(experiment, turn))
    }
    plan = make_plan(job.arms[0], turn, job.writer.folder / "caches", expected=expected)
    events: list[Event] = []
    run_session(plan, target(plan), events.append, os.getpid())
    follow(events, job.writer, _Unseen())
    leave()
