"""What can be known of a checkpoint before anything is given up for it."""

from mlx_lm.utils import load_model

from swapbench.experiment import Source
from swapbench.loaders.stock import refuse_code
from swapbench.models.checkpoint import fault
from swapbench.models.store import MADE_SOURCES, cache_root
from swapbench.wire import Checkpoint
from swapbench.worker.targets import RefusedError


def refuse_broken(checkpoint: Checkpoint) -> None:
    """Look at the files' headers, then have mlx-lm build the model and match names and shapes, lazily.

    Nothing of the weights is read: a 7 GB checkpoint takes some 60 ms.

    Raises:
        RefusedError: with what is wrong, where, and what to do.
    """
    lack = fault(checkpoint.path)
    if not lack:
        try:
            refuse_code(checkpoint.path)
            load_model(checkpoint.path, lazy=True)
        except Exception as error:  # noqa: BLE001 - whatever mlx-lm's classes make of a config is the answer
            lack = " ".join(str(error).split())[:200] or type(error).__name__
    if lack:
        raise RefusedError(f"{checkpoint.name}: {lack} ({checkpoint.path}); {_remedy(checkpoint)}")


def _remedy(checkpoint: Checkpoint) -> str:
    source, folder = checkpoint.source, checkpoint.path
    if source is Source.HUB:
        return f"`swapbench models fetch {checkpoint.reference}` completes it"
    if source in MADE_SOURCES and folder.parent == cache_root() / source:
        remove = f"`swapbench models rm {folder.name} --source {source}`"
        return f"remove it by {remove}, and make it again by `swapbench models synth`"
    return "put a whole checkpoint there"
