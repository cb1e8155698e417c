"""Two mini models that two ranks can share, plans to swap them, and the ranks that run."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from swapbench.models.catalogue import lookup
from swapbench.models.stand_ins import order
from swapbench.models.stand_ins.store import make
from swapbench.spec.experiment import Source, load
from swapbench.spec.overrides import sets
from swapbench.wire.plan import Arm, Checkpoint, Plan, make_plan, turns

FILE = Path(__file__).parents[3] / "experiments" / "exp012-sharded.toml"

SMALL, LARGE = "qwen2.5-7b", "qwen2.5-14b"

MakePlan = Callable[..., Plan]


@pytest.fixture(scope="session")
def shareable(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """The experiment's models, as minis."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWAPBENCH_CACHE", str(tmp_path_factory.mktemp("shareable")))
        return {name: _mini(name) for name in (SMALL, LARGE)}


def _mini(name: str) -> Checkpoint:
    entry = lookup(name)
    assert entry is not None
    path = make(order.of_entry(entry, Source.MINI), lambda *_: None)
    return Checkpoint(name=name, reference=name, source=Source.MINI, path=path, weight_bytes=entry.mini_bytes)


@pytest.fixture(scope="session")
def make_a_plan(shareable: dict[str, Checkpoint], tmp_path_factory: pytest.TempPathFactory) -> MakePlan:
    """The plan of exp012-sharded with overrides, and with other checkpoints in the place of its own."""

    def planned(*overrides: str, **checkpoints: Checkpoint) -> Plan:
        experiment = load(FILE, sets(["verify.tokens=0", "warmup=0", *overrides]))
        arm = Arm("", experiment, shareable | checkpoints, "")
        return make_plan(arm, turns(experiment)[0], tmp_path_factory.mktemp("scratch"))

    return planned


def ranks() -> dict[int, psutil.Process]:
    """The ranks that this process has started and that still run, by number."""
    running = {}
    for child in psutil.Process(os.getpid()).children(recursive=True):
        with suppress(psutil.Error, KeyError):
            running[int(child.environ()["MLX_RANK"])] = child
    return running
