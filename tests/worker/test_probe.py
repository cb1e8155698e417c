"""The stopwatch, with a clock that the test turns."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.base.phases import PHASES, Phase
from swapbench.wire.events import Event
from swapbench.wire.swap import PhaseMeasured, Reading
from swapbench.worker.meter import Counters
from swapbench.worker.probe import OverlapError, PhaseFailure, SwapProbe
from swapbench.worker.targets.scripted import ScriptedError, ScriptedMeter
from tests.measured import planned


class _CostlyMeter(ScriptedMeter):
    """Every look at the ledgers takes 1 ms."""

    def read(self, *, exact: bool = False) -> Reading:
        self.advance(0.001)
        return super().read()


def _probe(meter: ScriptedMeter) -> tuple[SwapProbe, list[PhaseMeasured]]:
    rows: list[PhaseMeasured] = []

    def emit(event: Event) -> None:
        if isinstance(event, PhaseMeasured):
            rows.append(event)

    return SwapProbe(meter, emit, planned("s")), rows


def _fail_after(meter: ScriptedMeter, seconds: float) -> None:
    meter.advance(seconds)
    raise ScriptedError("no")


def _swap(meter: ScriptedMeter, probe: SwapProbe, seconds: Callable[[Phase], float]) -> None:
    probe.begin()
    for phase in PHASES:
        with probe.phase(phase):
            meter.advance(seconds(phase))


@given(st.lists(st.floats(0, 100), min_size=8, max_size=8))
def test_phases_and_unattributed_make_the_wall_time(durations: list[float]) -> None:
    meter = _CostlyMeter()
    probe, rows = _probe(meter)
    _swap(meter, probe, dict(zip(PHASES, durations, strict=True)).__getitem__)
    assert sum(row.seconds for row in rows) + probe.unattributed_s == pytest.approx(probe.total_s)


def test_the_observers_cost_is_unattributed_and_told() -> None:
    meter = _CostlyMeter()
    probe, _ = _probe(meter)
    _swap(meter, probe, lambda _: 1.0)
    # Seven looks fall between the eight phases; the first and the last lie outside.
    assert probe.unattributed_s == pytest.approx(0.007)
    assert probe.probe_s == pytest.approx(0.007)
    assert probe.total_s == pytest.approx(8.007)


def test_the_targets_own_time_between_phases_is_unattributed_but_not_the_probes() -> None:
    meter = ScriptedMeter()
    probe, _ = _probe(meter)
    probe.begin()
    with probe.phase(Phase.DRAIN):
        meter.advance(1.0)
    meter.advance(0.5)
    with probe.phase(Phase.EVICT):
        meter.advance(1.0)
    assert probe.unattributed_s == pytest.approx(0.5)
    assert probe.probe_s == 0


def test_looking_between_phases_is_at_the_observers_expense() -> None:
    meter = ScriptedMeter()
    probe, _ = _probe(meter)
    probe.begin()
    with probe.phase(Phase.UNLOAD):
        meter.advance(1.0)
    with probe.observing():
        meter.advance(0.25)
    with probe.phase(Phase.LOAD):
        meter.advance(1.0)
    assert (probe.probe_s, probe.unattributed_s) == (0.25, 0.25)


def test_a_failing_phase_has_a_row_and_is_named() -> None:
    meter = ScriptedMeter()
    probe, rows = _probe(meter)
    probe.begin()
    with pytest.raises(ScriptedError), probe.phase(Phase.LOAD):
        _fail_after(meter, 2.0)
    assert probe.failure is not None
    assert probe.failure.phase is Phase.LOAD
    assert [(row.phase, row.seconds) for row in rows] == [("load", 2.0)]


def test_times_of_a_phase_that_is_entered_again_add_up() -> None:
    meter = ScriptedMeter()
    probe, rows = _probe(meter)
    probe.begin()
    for phase, seconds in ((Phase.EVICT, 0.5), (Phase.LOAD, 1.0), (Phase.EVICT, 0.05)):
        with probe.phase(phase):
            meter.advance(seconds)
    assert probe.phase_s == pytest.approx({"evict": 0.55, "load": 1.0})
    assert probe.unattributed_s == pytest.approx(0)
    assert [(row.phase, row.start_s) for row in rows] == [("evict", 0.0), ("load", 0.5), ("evict", 1.5)]


@pytest.mark.parametrize("inner", ["load", "first_token"])
def test_a_phase_inside_another_is_refused_and_both_are_named(inner: str) -> None:
    meter = ScriptedMeter()
    probe, _ = _probe(meter)
    probe.begin()
    entering = probe.first_token() if inner == "first_token" else probe.phase(Phase.LOAD)
    with (
        pytest.raises(OverlapError, match=f"{inner} was entered while unload goes on"),
        probe.phase(Phase.UNLOAD),
        entering,
    ):
        meter.advance(1.0)
    assert probe.unattributed_s == 0


def test_the_first_failure_is_the_failure_and_what_came_of_it_is_told_too() -> None:
    probe, _ = _probe(ScriptedMeter())
    probe.begin()
    error = ScriptedError("the engine is gone")
    with suppress(ScriptedError):
        try:
            with probe.phase(Phase.LOAD):
                raise ScriptedError("no such weights")
        finally:
            with probe.phase(Phase.REINIT):
                raise error
    assert probe.failure == PhaseFailure(Phase.LOAD, "no such weights")
    said = "load failed: no such weights; reinit failed too: the engine is gone"
    assert probe.told(error, "the swap") == said


def test_a_phase_that_went_well_in_the_end_has_not_failed() -> None:
    meter = ScriptedMeter()
    probe, _ = _probe(meter)
    probe.begin()
    with suppress(ScriptedError), probe.phase(Phase.LOAD):
        _fail_after(meter, 1.0)
    with probe.phase(Phase.LOAD):
        meter.advance(1.0)
    assert probe.failure is None
    assert probe.told(ScriptedError("no"), "verifying") == "verifying failed: no"


def test_spans_come_after_their_phase_and_count_from_the_swaps_start() -> None:
    meter = ScriptedMeter()
    meter.advance(100.0)
    probe, rows = _probe(meter)
    probe.begin()
    with probe.phase(Phase.LOAD):
        meter.advance(1.0)
        with probe.span("read"):
            meter.advance(2.0)
    assert [(row.span, row.start_s, row.seconds) for row in rows] == [("", 0.0, 3.0), ("read", 1.0, 2.0)]


def test_first_token_is_beside_the_total_not_in_it() -> None:
    meter = ScriptedMeter()
    probe, _ = _probe(meter)
    _swap(meter, probe, lambda _: 1.0)
    with probe.first_token():
        meter.advance(0.5)
    assert probe.total_s == 8.0
    assert probe.first_token_s == 0.5
    assert probe.to_first_token_s == 8.5


def test_counters_are_what_the_phase_itself_did() -> None:
    class _Faulting(ScriptedMeter):
        def counters(self) -> Counters:
            return Counters(int(self.now_s() * 10), 0, int(self.now_s() * 4096))

    meter = _Faulting()
    meter.advance(5.0)
    probe, rows = _probe(meter)
    probe.begin()
    with probe.phase(Phase.LOAD):
        meter.advance(2.0)
    assert (rows[0].minor_faults, rows[0].disk_read_bytes) == (20, 8192)
