"""Somebody's own orchestrator, driven by the session."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from swapbench.orchestrator import Phase, Probe
from swapbench.spec.experiment import Workload, validate
from swapbench.wire.events import Event
from swapbench.wire.plan import Arm, Checkpoint, make_plan, turns
from swapbench.wire.swap import PhaseMeasured, SwapFinished
from swapbench.worker.session import run_session
from swapbench.worker.targets.orchestrated import OrchestratedTarget
from tests.scripted import raw_experiment


class Server:
    """Serves by saying its model's name."""

    calls: ClassVar[list[str]] = []
    phases: tuple[Phase, ...] = (Phase.UNLOAD, Phase.LOAD)
    answers: ClassVar[Mapping[str, str]] = {}
    fails = ""
    mended_by = ""
    broken = False
    starts_that_fail: ClassVar[list[int]] = []
    starts = 0

    def start(self, models: Mapping[str, Path], first: str) -> None:
        self.calls.append(f"start {first} of {', '.join(sorted(models))}")
        self.starts += 1
        self.broken = False
        if self.starts in self.starts_that_fail:
            raise RuntimeError("no room")

    def apply_workload(self, workload: Workload) -> None:
        self.calls.append(f"workload of {workload.requests}")

    def swap(self, to: str, probe: Probe) -> None:
        self.calls.append(f"swap to {to}")
        if self.broken:
            self.broken = self.mended_by != "swap"
            return
        for phase in self.phases:
            with probe.phase(phase):
                if self.fails == phase:
                    self.broken = self.mended_by != ""
                    raise RuntimeError("no such weights")

    def verify(self, model: str, probe: Probe) -> str:
        if self.broken:
            raise RuntimeError("nothing is loaded")
        with probe.first_token():
            self.calls.append(f"verify {model}")
        return self.answers.get(model, f"I am {model}")

    def stop(self) -> None:
        self.calls.append("stop")


@pytest.fixture
def served() -> Iterator[type[Server]]:
    """A class of its own for each test, in a module that the target can import."""
    module = ModuleType("own_server")
    own = type("Own", (Server,), {"calls": []})
    module.Own = own  # type: ignore[attr-defined]
    sys.modules["own_server"] = module
    yield own
    del sys.modules["own_server"]


def played(
    tmp_path: Path, rounds: int = 1, asks: Mapping[str, bool] = {}, **changes: Any
) -> tuple[list[SwapFinished], list[PhaseMeasured]]:
    """`asks` is the scenarios' own `first_token`."""
    raw = raw_experiment(rounds=rounds, target="own", page_cache="as-is", workload={"requests": 2}, **changes)
    del raw["script"]
    raw["scenario"] = [
        s | ({"first_token": asks[s["name"]]} if s["name"] in asks else {}) for s in raw["scenario"]
    ]
    experiment = validate(raw, "test")
    checkpoints = {
        name: Checkpoint(name=name, reference=name, source=experiment.source, path=tmp_path, weight_bytes=10)
        for name in experiment.models
    }
    arm = Arm("", experiment, checkpoints, sys.executable, orchestrator="own_server:Own")
    plan = make_plan(arm, turns(experiment)[0], tmp_path)
    events: list[Event] = []
    run_session(plan, OrchestratedTarget(plan), events.append, pid=1)
    swaps = [event for event in events if isinstance(event, SwapFinished)]
    return swaps, [event for event in events if isinstance(event, PhaseMeasured)]


def test_its_methods_are_called_in_the_order_of_a_swap(served: type[Server], tmp_path: Path) -> None:
    played(tmp_path)
    assert served.calls[:5] == [
        "start small of large, small",
        "verify small",
        "workload of 2",
        "swap to large",
        "verify large",
    ]
    assert served.calls[-1] == "stop"


def test_phases_that_it_tells_are_measured_and_others_stay_empty(
    served: type[Server], tmp_path: Path
) -> None:
    swaps, phases = played(tmp_path)
    assert [swap.status for swap in swaps] == ["ok", "ok"]
    assert {event.phase for event in phases} == {"unload", "load", "first_token"}
    for swap in swaps:
        assert swap.timing.total_s is not None
        assert swap.timing.to_first_token_s is not None
        assert swap.timing.to_first_token_s >= swap.timing.total_s


def test_a_swap_that_tells_no_phase_is_measured_as_a_whole(served: type[Server], tmp_path: Path) -> None:
    served.phases = ()
    swaps, phases = played(tmp_path)
    assert {event.phase for event in phases} == {"whole", "first_token"}
    assert all(swap.timing.total_s is not None and swap.timing.unattributed_s is None for swap in swaps)


def test_a_model_that_answers_as_another_one_fails_the_swap(served: type[Server], tmp_path: Path) -> None:
    served.answers = {"small": "the same", "large": "the same"}
    swaps, _ = played(tmp_path, rounds=2)
    assert [swap.status for swap in swaps] == ["ok"] * 4
    served.calls.clear()

    def changing(self: Server, model: str, probe: Probe) -> str:
        with probe.first_token():
            self.calls.append(model)
        return "I am large" if "large" in self.calls and model == "small" else f"I am {model}"

    served.verify = changing  # type: ignore[method-assign]
    swaps, _ = played(tmp_path)
    assert [swap.status for swap in swaps] == ["ok", "rolled_back"]
    assert "the new model says what large says" in swaps[1].error


@pytest.mark.parametrize(
    ("mended_by", "recovery", "calls"),
    [
        ("", "itself", ["verify small"]),
        ("swap", "swap", ["swap to small", "verify small"]),
        ("restart", "restart", ["swap to small", "stop", "start small of large, small", "verify small"]),
    ],
)
def test_the_old_model_is_asked_before_anything_is_mended(
    mended_by: str, recovery: str, calls: list[str], served: type[Server], tmp_path: Path
) -> None:
    served.fails, served.mended_by = Phase.LOAD, mended_by
    swaps, _ = played(tmp_path)
    assert (swaps[0].status, swaps[0].recovery) == ("rolled_back", recovery)
    assert swaps[0].error == "load failed: no such weights"
    assert swaps[0].failed_phase == "load"
    at = served.calls.index("swap to large") + 1
    assert served.calls[at : at + len(calls)] == calls


def test_what_it_reports_is_in_the_row(served: type[Server], tmp_path: Path) -> None:
    served.report = lambda _: {"kv_capacity_bytes": 5, "restored_caches": 2}  # type: ignore[attr-defined]
    swaps, _ = played(tmp_path)
    assert {(s.outcome.kv_capacity_bytes, s.restored.caches, s.outcome.evicted_caches) for s in swaps} == {
        (5, 2, None)
    }
    served.report = lambda _: {"caches": 2}  # type: ignore[attr-defined]
    swaps, _ = played(tmp_path / "wrong")
    assert "report() told caches=2; it may tell whole numbers of kv_capacity_bytes" in swaps[0].error


def in_trouble(ends: BaseException) -> Any:
    """A swap to large whose load fails, and whose reinit, on the way out, fails too."""

    def swap(self: Server, to: str, probe: Probe) -> None:
        if to == "large":
            try:
                with probe.phase(Phase.LOAD):
                    raise ValueError("first trouble")
            finally:
                with probe.phase(Phase.REINIT):
                    raise ends

    return swap


@pytest.mark.parametrize(
    ("ends", "second"),
    [
        (RuntimeError("second trouble"), "second trouble"),
        (SystemExit(3), "sys.exit(3)"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_first_failure_is_the_failure_however_a_later_one_ends_the_swap(
    served: type[Server], tmp_path: Path, ends: BaseException, second: str
) -> None:
    served.swap = in_trouble(ends)  # type: ignore[method-assign]
    up, down = played(tmp_path)[0]
    assert (up.status, up.failed_phase) == ("rolled_back", "load")
    assert up.error == f"load failed: first trouble; reinit failed too: {second}"
    assert down.error == f"serving large failed: {up.error}"


def test_what_ends_a_swap_between_its_phases_failed_in_none(served: type[Server], tmp_path: Path) -> None:
    def swap(self: Server, to: str, probe: Probe) -> None:
        with probe.phase(Phase.UNLOAD):
            pass
        raise KeyboardInterrupt

    served.swap = swap  # type: ignore[method-assign]
    up = played(tmp_path)[0][0]
    assert (up.status, up.failed_phase) == ("rolled_back", None)
    assert up.error == "the swap failed: KeyboardInterrupt"


def test_a_phase_inside_another_fails_the_swap_whatever_is_made_of_it(
    served: type[Server], tmp_path: Path
) -> None:
    def swap(self: Server, to: str, probe: Probe) -> None:
        with probe.phase(Phase.UNLOAD), suppress(Exception), probe.phase(Phase.LOAD):
            pass

    served.swap = swap  # type: ignore[method-assign]
    up = played(tmp_path)[0][0]
    assert up.status == "rolled_back"
    assert "load was entered while unload goes on" in up.error


def test_one_that_did_not_start_is_started_again_and_not_asked_to_swap(
    served: type[Server], tmp_path: Path
) -> None:
    served.starts_that_fail = [1]
    swaps, _ = played(tmp_path)
    assert swaps[0].error == "serving small failed: no room"
    assert swaps[1].status == "ok"
    assert served.calls[:4] == [
        "start small of large, small",
        "stop",
        "start large of large, small",
        "verify large",
    ]


def test_phases_entered_again_add_up_in_the_swaps_row(served: type[Server], tmp_path: Path) -> None:
    served.phases = (Phase.EVICT, Phase.LOAD, Phase.EVICT)
    swaps, phases = played(tmp_path)
    for swap in swaps:
        rows = [
            row for row in phases if row.swap.scenario == swap.swap.scenario and row.phase != "first_token"
        ]
        assert [row.phase for row in rows] == ["evict", "load", "evict"]
        assert swap.timing.total_s is not None
        assert swap.timing.unattributed_s is not None
        assert swap.timing.unattributed_s == pytest.approx(
            swap.timing.total_s - sum(row.seconds for row in rows)
        )
        assert swap.timing.unattributed_s >= 0


def test_a_row_that_was_rolled_back_says_nothing_of_the_reload(served: type[Server], tmp_path: Path) -> None:
    served.fails = Phase.LOAD
    swaps, _ = played(tmp_path)
    assert (swaps[0].status, swaps[0].outcome.loaded_bytes) == ("rolled_back", None)


def test_a_scenario_that_asks_for_no_token_has_nobody_asked(served: type[Server], tmp_path: Path) -> None:
    swaps, phases = played(tmp_path, asks={"up": True, "down": False}, first_token=False)
    assert [swap.timing.first_token_s is None for swap in swaps] == [False, True]
    assert [row.swap.scenario for row in phases if row.phase == "first_token"] == ["up"]
    assert "verify small" not in served.calls
