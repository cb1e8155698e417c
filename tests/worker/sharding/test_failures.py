"""What becomes of a swap when a rank dies, stalls or fails in it: two ranks, for real."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import psutil
import pytest

from swapbench.spec.experiment import EngineSettings, Sharded
from swapbench.wire.events import Event, StepStarted
from swapbench.wire.plan import Checkpoint
from swapbench.wire.swap import PhaseMeasured, PlannedSwap, SwapFinished
from swapbench.worker.session import run_session
from swapbench.worker.sharding import RankOrder, Welcome, Work
from swapbench.worker.sharding.share import Share
from swapbench.worker.targets.sharded import ShardedTarget
from tests.worker.sharding.conftest import SMALL, MakePlan, ranks

DIES, STALLS = range(2)


class Story:
    """What happened to each round's first swap, whose ranks come to harm as soon as they are to load."""

    def __init__(self) -> None:
        self._harm: dict[int, Callable[[], None]] = {
            DIES: lambda: ranks()[1].kill(),
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
            case SwapFinished(swap=PlannedSwap(scenario="up")):
                self.swaps.append(event)
            case PhaseMeasured(swap=PlannedSwap(scenario="up")):
                self.measured.append(event)


@pytest.fixture(scope="module")
def story(make_a_plan: MakePlan) -> Story:
    plan = make_a_plan("rounds=2", "steady_tokens=0", "sharded.stall_s=5.0")
    told = Story()
    run_session(plan, ShardedTarget(plan), told, 0)
    return told


@pytest.mark.slow
def test_a_rank_that_is_killed_fails_the_swap_by_number_and_signal(story: Story) -> None:
    assert story.swaps[DIES].error == "load failed: rank 1 of 2 was killed by SIGKILL"


def test_a_rank_that_is_stopped_fails_the_swap_within_the_deadline(story: Story) -> None:
    error = story.swaps[STALLS].error
    assert error.startswith("load failed: rank 0 of 2 stalled: no sign of life for 5 s (stopped, hung, or")


def test_fresh_ranks_serve_the_old_model_after_each_failure(story: Story) -> None:
    assert [swap.status for swap in story.swaps] == ["rolled_back", "rolled_back"]
    assert [swap.failed_phase for swap in story.swaps] == ["load", "load"]


def test_no_rank_outlives_its_crew_not_even_a_stopped_one(story: Story) -> None:
    assert len(story.harmed) == 4
    assert not [rank for rank in story.harmed if rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE]
    assert not ranks()


def test_what_a_failed_swap_measured_before_is_kept(story: Story) -> None:
    of_died = [row for row in story.measured if row.swap.round == DIES]
    assert {(row.phase, row.rank) for row in of_died if not row.span} == {
        *(("unload", rank) for rank in (0, 1, None))
    }


def test_a_rank_that_fails_says_why_and_hears_the_next_order(
    shareable: dict[str, Checkpoint], tmp_path: Path
) -> None:
    copy = tmp_path / SMALL
    copytree(shareable[SMALL].path, copy)
    (shard,) = copy.glob("model*.safetensors")
    data = shard.read_bytes()
    shard.write_bytes(data[:8] + b"\0" * 64 + data[72:])
    alone = Welcome(sharded=Sharded(ranks=1), ranks=1, engine=EngineSettings(wired="off"), pulse_s=3600)
    share = Share(alone, lambda _: None)
    failed = share.carry_out(RankOrder(number=7, work=Work.LOAD, path=copy, name=SMALL))
    assert failed.number == 7
    assert "parse error" in failed.error
    unloaded = share.carry_out(RankOrder(number=8, work=Work.UNLOAD, path=copy, name=SMALL))
    assert unloaded.error == ""
    assert [row.phase for row in unloaded.measured] == ["unload"]
