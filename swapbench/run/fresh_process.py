"""What models answer in processes of their own, which never swapped: the measure of every answer after."""

import subprocess
from pathlib import Path

from pydantic import ValidationError

from swapbench.base.errors import WorkerError
from swapbench.base.process import LENT
from swapbench.spec.experiment import Experiment
from swapbench.wire.events import Checkpoint, PlannedSwap, Questions, Replies, Reply, encode


def verified_models(experiment: Experiment, swaps: tuple[PlannedSwap, ...]) -> tuple[str, ...]:
    """The models that the swaps lead to and that are asked for tokens there, in order."""
    if experiment.verify.tokens == 0 or experiment.target not in ("inprocess", "sharded"):
        return ()
    planned = {swap.scenario for swap in swaps}
    asked = (
        s.to_model
        for s in experiment.scenario
        if s.name in planned and (experiment.first_token if s.first_token is None else s.first_token)
    )
    return tuple(dict.fromkeys(asked))


def replies_of(checkpoint: Checkpoint, experiment: Experiment, python: str, log: Path) -> tuple[Reply, ...]:
    """Start a process, load the checkpoint, ask it what will be asked after each swap.

    Raises:
        WorkerError: it failed, or took longer than a swap may; the message says why.
    """
    begins = log.stat().st_size if log.exists() else 0
    questions = Questions(
        checkpoint=checkpoint,
        verify=experiment.verify,
        engine=experiment.engine,
        sharded=experiment.sharding(),
    )
    try:
        with log.open("ab") as output:
            done = subprocess.run(
                [python, *LENT, "swapbench.worker.reference"],
                input=encode(questions),
                stdout=subprocess.PIPE,
                stderr=output,
                timeout=experiment.swap_timeout_s,
                check=False,
            )
    except OSError as error:
        raise WorkerError(f"{python}: can't be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise WorkerError(f"no answer within {experiment.swap_timeout_s:g} s") from None
    try:
        return Replies.model_validate_json(done.stdout).replies
    except ValidationError:
        raise WorkerError(last_line(log, begins) or f"it ended with exit code {done.returncode}") from None


def last_line(log: Path, begins: int = 0) -> str:
    """The last that was printed to a log since byte `begins`, at most some hundred characters."""
    lines = log.read_bytes()[begins:].decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""
