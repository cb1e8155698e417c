"""What becomes of a swap when a rank dies, stalls or fails in it: two ranks, for real."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import psutil
import pytest

from swapbench.wire.events import Event, StepStarted
from swapbench.wire.plan import Checkpoint
from swapbench.wire.swap import PhaseMeasured, PlannedSwap, SwapFinished
from swapbench.worker.session import run_session
from swapbench.worker.targets.sharded import ShardedTarget
from tests.worker.sharding.conftest import LARGE, MakePlan, ranks

DIES, FAILS, STALLS = range(3)


class Story:
    """What happened to each round's first swap, whose ranks come to harm as soon as they are to load."""

    def __init__(self, shard: Path) -> None:
        self._shard = shard
        self._whole = shard.read_bytes()
        self._harm: dict[int, Callable[[], None]] = {
            DIES: lambda: ranks()[1].kill(),
            FAILS: lambda: _spoil(shard),
            STALLS: lambda: ranks()[0].suspend(),
        }
        self.swaps: list[SwapFinished] = []
        self.measured: list[PhaseMeasured] = []
        self.harmed: list[psutil.Process] = []

    def __call__(self, event: Event) -> None:
        match event:
            case StepStarted(step="load", swap=PlannedSwap(scenario="up", round=number)):
                if harm := self._harm.get(number):
                    self.harmed += ranks().values()
                    harm()
            case StepStarted(step="rolling back"):
                self._shard.write_bytes(self._whole)
            case SwapFinished(swap=PlannedSwap(scenario="up")):
                self.swaps.append(event)
            case PhaseMeasured(swap=PlannedSwap(scenario="up")):
                self.measured.append(event)


@pytest.fixture(scope="module")
def story(
    make_a_plan: MakePlan, shareable: dict[str, Checkpoint], tmp_path_factory: pytest.TempPathFactory
) -> Story:
    copy = tmp_path_factory.mktemp("copy") / LARGE
    copytree(shareable[LARGE].path, copy)
    own = shareable[LARGE].model_copy(update={"path": copy})
    plan = make_a_plan("rounds=3", "steady_tokens=0", "sharded.stall_s=5.0", **{LARGE: own})
    (shard,) = copy.glob("model*.safetensors")
    told = Story(shard)
    run_session(plan, ShardedTarget(plan), told, 0)
    return told


def _spoil(shard: Path) -> None:
    data = shard.read_bytes()
    shard.write_bytes(data[:8] + b"\0" * 64 + data[72:])


def test_a_rank_that_is_killed_fails_the_swap_by_number_and_signal(story: Story) -> None:
    assert story.swaps[DIES].error == "load failed: rank 1 of 2 was killed by SIGKILL"


def test_a_rank_that_fails_says_why(story: Story) -> None:
    error = story.swaps[FAILS].error
    assert error.startswith("load failed: rank ")
    assert "parse error" in error


def test_a_rank_that_is_stopped_fails_the_swap_within_the_deadline(story: Story) -> None:
    error = story.swaps[STALLS].error
    assert error.startswith("load failed: rank 0 of 2 stalled: no sign of life for 5 s (stopped, hung, or")


def test_fresh_ranks_serve_the_old_model_after_each_failure(story: Story) -> None:
    assert [swap.status for swap in story.swaps] == ["rolled_back", "rolled_back", "rolled_back"]
    assert [swap.failed_phase for swap in story.swaps] == ["load", "load", "load"]


def test_no_rank_outlives_its_crew_not_even_a_stopped_one(story: Story) -> None:
    assert len(story.harmed) == 6
    assert not [rank for rank in story.harmed if rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE]
    assert not ranks()


def test_what_a_failed_swap_measured_before_is_kept(story: Story) -> None:
    of_died = [row for row in story.measured if row.swap.round == DIES]
    assert {(row.phase, row.rank) for row in of_died if not row.span} == {
        *(("unload", rank) for rank in (0, 1, None))
    }
