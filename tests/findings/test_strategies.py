"""Loads against the machine's limits; strategies side by side."""

from pathlib import Path
from typing import Any

import pytest

from swapbench.base.errors import UsageError
from swapbench.findings import analyse
from swapbench.findings.runs import only
from swapbench.findings.strategies import Ladder
from swapbench.spec.experiment import Source
from swapbench.wire.swap import MemorySample
from tests.findings.recording import LARGE_BYTES, Recording, reading
from tests.machine.test_environment import limits, rate
from tests.measured import planned


def recorded(folder: Path, **changes: Any) -> Recording:
    recording = Recording(folder, **changes)
    for number in range(3):
        recording.swap(number, "up", loaded_bytes=LARGE_BYTES, load_gb_per_s=2.0)
        recording.swap(number, "down")
    return recording


def test_a_cold_load_is_set_against_the_disk(tmp_path: Path) -> None:
    up, down = analyse(recorded(tmp_path, page_cache="cold").run(), limits()).limits
    assert up.limit_gb_per_s == 5.0
    assert up.share == pytest.approx(0.4)
    assert up.floor_s == pytest.approx(1.4)
    assert up.target_s == 30.0
    assert (down.share, down.floor_s) == (None, None)


def test_a_cold_load_is_set_against_the_page_caches_own_reads_where_those_are_faster(tmp_path: Path) -> None:
    through = limits(rates=(*limits().rates, rate("disk_buffered", 8.0)))
    up, _ = analyse(recorded(tmp_path, page_cache="cold").run(), through).limits
    assert (up.limit, up.limit_gb_per_s) == ("cold read through the page cache, one thread", 8.0)


def test_a_warm_load_is_set_against_memory(tmp_path: Path) -> None:
    up, _ = analyse(recorded(tmp_path, page_cache="warm").run(), limits()).limits
    assert up.limit_gb_per_s == 60.0
    assert up.floor_s == pytest.approx(7 / 60)


def test_where_nobody_knows_what_was_cached_no_limit_holds(tmp_path: Path) -> None:
    assert analyse(recorded(tmp_path, page_cache="as-is").run(), limits()).limits == ()


def test_without_limits_the_report_says_how_to_get_them(tmp_path: Path) -> None:
    run = recorded(tmp_path).run()
    assert analyse(run).limits == ()
    assert any("swapbench probe" in note for note in analyse(run).notes)
    assert not any("swapbench probe" in note for note in analyse(run, limits()).notes)


def test_what_the_run_recorded_goes_before_what_was_measured_since(tmp_path: Path) -> None:
    recording = recorded(tmp_path, page_cache="cold")
    recording.writer.update(limits=limits(rates=limits().rates[:1]))
    up, _ = analyse(recording.run(), limits()).limits
    assert up.limit_gb_per_s == 1.0


def test_neither_minis_nor_scripts_are_set_against_a_limit(tmp_path: Path) -> None:
    mini = recorded(tmp_path / "mini", source=Source.MINI).run()
    scripted = recorded(tmp_path / "scripted", target="scripted", script={}).run()
    for run in (mini, scripted):
        assert analyse(run, limits()).limits == ()
        assert not any("swapbench probe" in note for note in analyse(run).notes)


FASTER = {"kind": "times-faster", "scenario": "up", "of": "weights", "times": 4.0}


def compared(folder: Path, rounds: int = 6, **changes: Any) -> Recording:
    """Stock takes 4 s for a load of 3 s weights; slab a fifth of it; every other round is twice as slow."""
    recording = Recording(folder, strategy=["stock", "slab"], rounds=rounds, **changes)
    for number in range(rounds):
        slow = 1 + number % 2
        for strategy, faster in (("stock", 1), ("slab", 5)):
            scale = slow / faster
            for scenario in ("up", "down"):
                recording.swap(
                    number,
                    scenario,
                    {"load": 4.0 * scale},
                    spans={"load/weights": 3.0 * scale},
                    strategy=strategy,
                    loaded_bytes=LARGE_BYTES,
                    loader=strategy,
                    loader_why="" if strategy == "stock" else "because",
                )
    return recording


def up(recording: Recording, **known: Any) -> Ladder:
    return analyse(recording.run(), **known).ladders[0]


def test_a_run_of_one_strategy_has_no_ladder(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    assert analyse(recording.run()).ladders == ()


def test_the_fastest_comes_first_and_ratios_are_of_the_same_round(tmp_path: Path) -> None:
    ladder = up(compared(tmp_path))
    assert [rung.strategy for rung in ladder.rungs] == ["slab", "stock"]
    slab = ladder.rung("slab")
    assert slab is not None
    assert slab.total_times is not None
    assert (slab.total_times.point, slab.total_times.low, slab.total_times.high) == pytest.approx((5, 5, 5))
    assert slab.total_times.n == 6
    assert slab.weights is not None
    assert slab.weights.point == pytest.approx(0.9)
    assert (slab.loaders, slab.reasons) == (("slab",), ("because",))
    assert ladder.rung("map") is None


def test_a_rung_is_set_against_the_limit_by_its_weights(tmp_path: Path) -> None:
    cold = [{"name": "up", "from": "small", "to": "large", "page_cache": "cold"}]
    recording = Recording(tmp_path, strategy=["stock", "slab"], scenario=cold)
    for strategy in ("stock", "slab"):
        recording.swap(0, "up", spans={"load/weights": 2.8}, strategy=strategy, loaded_bytes=LARGE_BYTES)
    ladder = up(recording, limits=limits())
    assert ladder.page_cache == "cold"
    assert ladder.rungs[0].limit_share == pytest.approx(7 / 2.8 / 5.0)


def test_memory_is_told_apart_by_strategy(tmp_path: Path) -> None:
    recording = Recording(tmp_path, strategy=["stock", "slab"], rounds=1)
    for strategy, held in (("stock", LARGE_BYTES), ("slab", 2 * LARGE_BYTES)):
        recording.swap(0, "up", strategy=strategy, start_s=1.0)
        recording.writer.add(
            MemorySample(
                swap=planned(round=0, scenario="up", strategy=strategy), t_s=1.5, ledgers=reading(held)
            )
        )
    ladder = up(recording)
    shares = {rung.strategy: rung.peak_share for rung in ladder.rungs}
    assert shares["stock"] == pytest.approx(1.0, abs=0.05)
    assert shares["slab"] == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize(("times", "outcome"), [(4.0, "pass"), (5.5, "fail")])
def test_a_criterion_is_judged_by_the_median_ratio(tmp_path: Path, times: float, outcome: str) -> None:
    made = compared(tmp_path, criterion=[FASTER | {"times": times}])
    verdict = analyse(made.run()).verdicts[0]
    assert verdict.outcome == outcome
    assert "slab is 5.0" in verdict.reason


def test_a_criterion_wants_five_rounds(tmp_path: Path) -> None:
    verdict = analyse(compared(tmp_path, rounds=4, criterion=[FASTER]).run()).verdicts[0]
    assert verdict.outcome == "inconclusive"
    assert "5 rounds are wanted" in verdict.reason


def test_one_strategy_of_several_is_reported_as_a_run_of_its_own(tmp_path: Path) -> None:
    run = compared(tmp_path, criterion=[FASTER]).run()
    findings = analyse(only(run, "slab"))
    assert findings.ladders == ()
    assert findings.scenarios[0].name == "up"
    assert findings.scenarios[0].total is not None
    assert findings.scenarios[0].total.n == 6
    with pytest.raises(UsageError, match='no strategy "slap" in this run; did you mean "slab"'):
        only(run, "slap")


def test_every_cell_is_counted(tmp_path: Path) -> None:
    findings = analyse(compared(tmp_path).run())
    assert findings.counts.counted == 24
    assert findings.facts.planned_swaps == 24
    assert {scenario.name for scenario in findings.scenarios} == {
        "up (stock)",
        "up (slab)",
        "down (stock)",
        "down (slab)",
    }


@pytest.mark.parametrize(("slab_s", "told"), [((1.0, 1.1), True), ((1.0, 9.0), False)])
def test_a_strategy_is_told_apart_from_stock_where_every_round_says_so(
    tmp_path: Path, slab_s: tuple[float, float], told: bool
) -> None:
    recording = Recording(tmp_path, strategy=["stock", "slab"])
    for number, seconds in enumerate(slab_s):
        recording.swap(number, "up", {"load": 3.0}, strategy="stock")
        recording.swap(number, "up", {"load": seconds}, strategy="slab")
    rungs = {rung.strategy: rung for rung in analyse(recording.run()).ladders[0].rungs}
    assert (rungs["slab"].told_apart, rungs["stock"].told_apart) == (told, False)
