"""Both ways to share a model, swapped there and back by two real ranks."""

from collections.abc import Iterator

import pytest

from swapbench.base.phases import FIRST_TOKEN
from swapbench.spec.experiment import EngineSettings, Verify
from swapbench.wire.events import Event
from swapbench.wire.plan import Checkpoint, Questions, Reply
from swapbench.wire.swap import PhaseMeasured, PlannedSwap
from swapbench.worker import reference
from swapbench.worker.probe import SwapProbe
from swapbench.worker.targets import RefusedError
from swapbench.worker.targets.sharded import ShardedTarget
from tests.measured import planned
from tests.worker.sharding.conftest import LARGE, SMALL, MakePlan

VERIFY = Verify(tokens=6, prompt_tokens=(5, 40))


class Swapped:
    """A crew that served the small model, swapped to the large one, and back again."""

    def __init__(self, target: ShardedTarget, models: dict[str, Checkpoint]) -> None:
        self.target = target
        self.events: list[Event] = []
        target.serve(models[SMALL])
        self.before: tuple[Reply, ...] = target.replies()
        for name in (LARGE, SMALL):
            self.probe = SwapProbe(target.meter, self.events.append, planned(f"to {name}"))
            target.prepare(models[name], PlannedSwap(round=0, warmup=False, scenario="up"))
            target.swap(models[name], self.probe)
            target.first_token(self.probe)
        self.after = target.replies()

    def rows(self, phase: str, span: str = "") -> dict[int | None, PhaseMeasured]:
        """By rank, of the last swap."""
        return {
            row.rank: row
            for row in self.events
            if isinstance(row, PhaseMeasured) and (row.phase, row.span) == (phase, span)
        }


@pytest.fixture(scope="module", params=["tensor", "pipeline"])
def swapped(
    request: pytest.FixtureRequest, make_a_plan: MakePlan, shareable: dict[str, Checkpoint]
) -> Iterator[Swapped]:
    plan = make_a_plan(f"sharded.mode={request.param}")
    asking = plan.experiment.model_copy(update={"verify": VERIFY})
    plan = plan.model_copy(update={"experiment": asking})
    target = ShardedTarget(plan)
    try:
        yield Swapped(target, shareable)
    finally:
        target.close()


@pytest.mark.slow
def test_a_model_that_comes_back_says_what_it_said_to_ranks_that_had_never_swapped(swapped: Swapped) -> None:
    assert swapped.after == swapped.before


def test_ranks_share_the_weights_and_together_have_them_all(
    swapped: Swapped, shareable: dict[str, Checkpoint]
) -> None:
    held = {rank: row.weight_bytes or 0 for rank, row in swapped.rows("load").items()}
    assert held[None] == held[0] + held[1]
    assert max(held[0], held[1]) < shareable[SMALL].weight_bytes
    assert held[None] >= 0.99 * shareable[SMALL].weight_bytes
    assert swapped.target.outcome().loaded_bytes == held[None]


def test_the_phase_is_one_ranks_row_and_the_skew_stands_beside_it(swapped: Swapped) -> None:
    load, barrier = swapped.rows("load"), swapped.rows("load", "barrier")
    work_s = {rank: load[rank].seconds - barrier[rank].seconds for rank in (0, 1)}
    slowest = max(work_s, key=lambda rank: work_s[rank])
    assert load[None].seconds == load[slowest].seconds
    assert barrier[None].seconds == barrier[slowest].seconds
    (skew,) = swapped.rows("load", "skew").values()
    assert skew.rank is None
    assert skew.seconds == pytest.approx(abs(work_s[0] - work_s[1]))


def test_sharded_loads_parts_are_told_apart_on_every_rank(swapped: Swapped) -> None:
    for span in ("look", "tokenizer", "build", "read", "barrier"):
        assert set(swapped.rows("load", span)) == {0, 1, None}


def test_the_phases_and_what_is_in_none_add_up_to_the_swap(swapped: Swapped) -> None:
    probe = swapped.probe
    assert sum(probe.phase_s.values()) + probe.unattributed_s == pytest.approx(probe.total_s)
    assert 0 < probe.unattributed_s < probe.total_s
    assert (probe.to_first_token_s or 0) > probe.total_s
    assert FIRST_TOKEN not in probe.phase_s


def test_every_phase_is_measured_on_every_rank(swapped: Swapped) -> None:
    for phase in ("unload", "load", "reconfigure", "update_tag", "reinit", "first_token"):
        assert set(swapped.rows(phase)) == {0, 1, None}


def test_what_nothing_was_done_for_has_no_row(swapped: Swapped) -> None:
    assert not swapped.rows("drain")
    assert not swapped.rows("evict")


def test_a_checkpoint_that_only_one_rank_could_hold_is_refused(
    swapped: Swapped, shareable: dict[str, Checkpoint]
) -> None:
    gone = shareable[SMALL].model_copy(update={"path": shareable[SMALL].path / "nowhere"})
    with pytest.raises(RefusedError, match=r"qwen2\.5-7b, on rank 0: .*nowhere"):
        swapped.target.check(gone, PlannedSwap(round=0, warmup=False, scenario="up"))
    swapped.target.answer()


def test_layers_that_are_passed_on_compute_what_one_process_computes(
    swapped: Swapped, shareable: dict[str, Checkpoint]
) -> None:
    """Tensors that are summed in parts round otherwise: those are held against fresh ranks alone."""
    sharded = swapped.target._plan.experiment.sharding()
    if sharded is None or sharded.mode == "tensor":
        pytest.skip("sums of parts round otherwise")
    alone = reference.answer(Questions(checkpoint=shareable[SMALL], verify=VERIFY, engine=EngineSettings()))
    assert swapped.before == alone.replies
