"""Memory during swaps, and leaks across them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from swapbench.findings import analyse
from swapbench.findings.chart_data import pictures_of
from swapbench.findings.memory import (
    ENOUGH_SWAPS,
    WARMUP_SWAPS,
    Growth,
    LeakFinding,
    LedgerSummary,
    ScenarioMemory,
    find_leaks,
    one_off_bytes,
)
from swapbench.findings.swaps import Swap, swaps_of
from swapbench.stats.estimate import theil_sen
from swapbench.wire.swap import Reading
from tests.findings.recording import LARGE_BYTES, SMALL_BYTES, Recording, reading

MB = 1_000_000
# MLX active around the phases of a swap down: 7 GB before, 20 MB left after unload, 270 MB after load.
DOWN = [LARGE_BYTES] * 4 + [20 * MB] + [SMALL_BYTES] * 4


def down(recording: Recording) -> ScenarioMemory:
    return analyse(recording.run()).memory[1]


def points(summary: LedgerSummary) -> list[float | None]:
    values = (summary.before, summary.peak, summary.after_unload, summary.after)
    return [None if value is None else value.point for value in values]


def test_a_ledger_is_followed_through_the_swap(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "down", active=DOWN)
    active, _cache, footprint, _available = down(recording).ledgers
    assert points(active) == [LARGE_BYTES, LARGE_BYTES, 20 * MB, SMALL_BYTES]
    assert points(footprint) == [LARGE_BYTES + 100 * MB] * 2 + [120 * MB, SMALL_BYTES + 100 * MB]


def test_what_is_not_reclaimed_is_told_against_the_worker_without_a_model(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "down", active=DOWN)
    for ledger in down(recording).ledgers:
        expected = 0 if ledger.ledger == "mlx_cache" else 20 * MB
        assert ledger.not_reclaimed is not None
        assert ledger.not_reclaimed.point == expected
        assert ledger.returned is not None
        assert ledger.returned.point == (0 if ledger.ledger == "mlx_cache" else LARGE_BYTES - 20 * MB)


def test_of_what_is_available_the_least_is_the_extreme(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "down", active=DOWN)
    available = down(recording).ledgers[3]
    assert available.peak is not None
    assert available.peak.point == 20_000 * MB - LARGE_BYTES


def test_a_peak_between_two_phases_is_seen_by_the_samples(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.sample(0, "down", t_s=2.0, active=9_000 * MB)
    recording.swap(0, "down", active=DOWN)
    active = down(recording).ledgers[0]
    assert active.peak is not None
    assert active.peak.point == 9_000 * MB


def test_ledgers_that_were_not_recorded_are_said_to_be_so(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "down")
    assert not any(ledger.recorded for ledger in down(recording).ledgers)


@pytest.mark.parametrize(
    ("left", "outcome"), [(0, "pass"), (300 * MB, "pass"), (400 * MB, "fail"), (LARGE_BYTES, "fail")]
)
def test_the_share_given_back_is_judged(tmp_path: Path, left: int, outcome: str) -> None:
    recording = Recording(tmp_path, criterion=[{"kind": "memory-reclaimed", "at_least": 0.95}])
    recording.swap(0, "down", active=[LARGE_BYTES] * 4 + [left] + [SMALL_BYTES] * 4)
    verdict = analyse(recording.run()).verdicts[0]
    assert verdict.outcome == outcome


def test_a_small_models_footprint_is_not_judged_but_its_mlx_memory_is(tmp_path: Path) -> None:
    # 2 MB come back to MLX; that the process gives none of it back to the system says nothing.
    recording = Recording(tmp_path, criterion=[{"kind": "memory-reclaimed"}])
    recording.swap(0, "down", active=[2 * MB] * 4 + [0] + [MB] * 4)
    small = recording.writer.info.models[1].model_copy(update={"weight_bytes": 2 * MB})
    run = recording.run(models=(recording.writer.info.models[0], small))
    verdict = analyse(run).verdicts[0]
    assert verdict.outcome == "pass"
    assert "MLX active" in verdict.reason


def test_without_ledgers_nothing_is_claimed_about_memory(tmp_path: Path) -> None:
    recording = Recording(tmp_path, criterion=[{"kind": "memory-reclaimed"}])
    recording.swap(0, "down")
    assert analyse(recording.run()).verdicts[0].outcome == "inconclusive"


def test_of_several_workers_the_median_is_what_one_weighs_without_a_model(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "down", active=DOWN)
    recording.writer.update(baselines=(reading(0), reading(2 * MB), reading(9 * MB)))
    active, *_ = down(recording).ledgers
    assert active.not_reclaimed is not None
    assert active.not_reclaimed.point == 18 * MB


MIB = 1 << 20
REPOSITORY = Path(__file__).parents[2]
LARGE = 7_000_000_000


def verdicts(leaks: tuple[LeakFinding, ...]) -> dict[str, str]:
    return {leak.ledger: leak.outcome for leak in leaks}


def leaks_of(recording: Recording, tolerance_bytes: int = MIB) -> dict[str, LeakFinding]:
    return {leak.ledger: leak for leak in find_leaks(swaps_of(recording.run()), tolerance_bytes)}


def cycle(recording: Recording, settled: Callable[[int], int], rounds: int) -> None:
    """Up and down, `rounds` times; `settled` is what MLX holds beyond the model after each swap."""
    for number in range(rounds):
        for position, (scenario, model) in enumerate((("up", LARGE), ("down", 100_000_000))):
            beyond = settled(2 * number + position)
            recording.swap(number, scenario, settled=reading(model + beyond))


def test_growth_that_no_slope_explains_is_told_apart() -> None:
    assert one_off_bytes([([0.0, 1.0, 2.0], [0.0, 100.0, 100.0])], slope=0.0) == 100.0
    assert one_off_bytes([([0.0, 1.0, 2.0], [0.0, 10.0, 20.0])], slope=10.0) == 0.0


def test_a_leak_of_five_mib_a_swap_is_found_in_every_ledger_that_holds_it(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=10)
    cycle(recording, lambda index: 5 * MIB * index, rounds=10)
    leaks = leaks_of(recording)
    assert verdicts(tuple(leaks.values())) == {
        "mlx_active": "leak",
        "mlx_cache": "clean",
        "footprint": "leak",
        "system_available": "not judged",
    }
    slope = leaks["footprint"].slope
    assert slope is not None
    assert slope.point == pytest.approx(5 * MIB)
    assert slope.points == 20 - WARMUP_SWAPS


def test_memory_that_stays_is_clean(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=10)
    cycle(recording, lambda index: 0, rounds=10)
    assert leaks_of(recording)["footprint"].outcome == "clean"


def test_growth_in_the_first_three_swaps_is_warm_up(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=10)
    cycle(recording, lambda index: 200 * MIB * min(index, 2), rounds=10)
    assert leaks_of(recording)["footprint"].outcome == "clean"


def test_one_round_can_not_tell(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=1)
    cycle(recording, lambda index: 0, rounds=1)
    found = leaks_of(recording)["footprint"]
    assert (found.outcome, found.reason) == ("not measurable", "not measurable from one round")


def test_two_rounds_leave_one_settled_reading_a_scenario(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=2)
    cycle(recording, lambda index: 0, rounds=2)
    found = leaks_of(recording)["footprint"]
    assert found.outcome == "not measurable"
    assert found.reason.startswith("not measurable from 2 rounds")


def test_three_rounds_are_inconclusive_and_say_so(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=3)
    cycle(recording, lambda index: 5 * MIB * index, rounds=3)
    found = leaks_of(recording)["footprint"]
    assert found.outcome == "inconclusive"
    assert "not decided by 3 rounds, about 12 needed" in found.reason


@pytest.mark.parametrize(
    "page", ["docs/results.md", "docs/experiments.md", "docs/measuring.md", "docs/guides/read-a-report.md"]
)
def test_how_many_swaps_settle_it_is_one_number_everywhere(page: str) -> None:
    text = " ".join((REPOSITORY / page).read_text(encoding="utf-8").split())
    assert f"about {ENOUGH_SWAPS} swaps" in text


def test_a_ledger_that_a_target_can_not_have_is_not_spoken_of(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=5)
    for number in range(5):
        recording.swap(number, "up", settled=Reading(footprint_bytes=1_000))
    assert set(leaks_of(recording)) == {"footprint"}


def test_a_resumed_run_is_not_compared_across_its_workers(tmp_path: Path) -> None:
    # The second worker happens to hold 500 MiB more throughout: that is no growth.
    recording = Recording(tmp_path, rounds=20)
    for worker in range(2):
        for number in range(10):
            beyond = 500 * MIB * worker
            recording.swap(10 * worker + number, "up", settled=reading(LARGE + beyond))
        recording.restart_worker()
    found = leaks_of(recording)["footprint"]
    assert found.slope is not None
    assert found.slope.high == 0
    assert found.slope.points == 2 * (10 - WARMUP_SWAPS)


def test_warm_up_rounds_failed_and_invalid_swaps_are_no_points(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=10, warmup=2)
    for number in range(2):
        recording.swap(number, "up", settled=reading(LARGE), warmup=True)
    for number in range(2, 12):
        recording.swap(number, "up", settled=reading(LARGE))
    recording.swap(12, "up", settled=reading(2 * LARGE), valid=False, invalid_reason="not warm")
    recording.failed_swap(13, "up", status="rolled_back")
    found = leaks_of(recording)["footprint"]
    assert found.slope is not None
    assert found.slope.points == 9


# Seeded simulations of settled bytes, one scenario, 20 swaps after the warm-up. The bounds are what the
# rule promises (2.5 % of false alarms at the most against a slope on the tolerance itself) plus what 200
# draws can deviate by chance.

DRAWS = 200
Settled = Callable[[np.random.Generator, npt.NDArray[np.float64]], npt.NDArray[np.float64]]


def share_of_leaks(settled: Settled, tolerance_bytes: int, folder: Path, n: int = 20) -> float:
    rng = np.random.default_rng(12)
    recording = Recording(folder)
    recording.swap(0, "up", settled=reading(LARGE))
    (pattern,) = swaps_of(recording.run())
    xs = np.arange(n, dtype=float)
    alarms = 0
    for _ in range(DRAWS):
        ys = settled(rng, xs)
        swaps = [replace_settled(pattern, WARMUP_SWAPS + int(x), y) for x, y in zip(xs, ys, strict=True)]
        first = [replace_settled(pattern, i, 0.0) for i in range(WARMUP_SWAPS)]
        found = {leak.ledger: leak for leak in find_leaks([*first, *swaps], tolerance_bytes)}
        alarms += found["footprint"].outcome == "leak"
    return alarms / DRAWS


def replace_settled(pattern: Swap, index: int, footprint: float) -> Swap:
    return replace(pattern, index=index, round=index, settled={"footprint": float(footprint)})


def noise(rng: np.random.Generator, xs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = rng.normal(0, 4 * MIB, len(xs))
    return values


def test_noise_raises_hardly_a_false_alarm_even_without_tolerance(tmp_path: Path) -> None:
    assert share_of_leaks(noise, 0, tmp_path) <= 0.05


def test_noise_raises_no_false_alarm_within_tolerance(tmp_path: Path) -> None:
    assert share_of_leaks(noise, MIB, tmp_path) <= 0.01


@pytest.mark.parametrize("at", [2, 7, 10, 13, 18])
def test_a_step_is_no_leak(tmp_path: Path, at: int) -> None:
    def step(rng: np.random.Generator, xs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return noise(rng, xs) / 4 + 300 * MIB * (xs >= at)

    assert share_of_leaks(step, MIB, tmp_path) <= 0.05


@pytest.mark.parametrize("time_constant", [1, 2, 3, 4])
def test_a_pool_that_fills_up_is_no_leak(tmp_path: Path, time_constant: float) -> None:
    def plateau(rng: np.random.Generator, xs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        rise: npt.NDArray[np.float64] = 1 - np.exp(-xs / time_constant)
        return noise(rng, xs) / 4 + 100 * MIB * rise

    assert share_of_leaks(plateau, MIB, tmp_path) <= 0.05


def test_a_leak_at_the_tolerance_is_hardly_ever_called_one(tmp_path: Path) -> None:
    def slow(rng: np.random.Generator, xs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return noise(rng, xs) + MIB * xs

    assert share_of_leaks(slow, MIB, tmp_path) <= 0.05


def test_a_true_leak_is_found_nearly_always(tmp_path: Path) -> None:
    def leak(rng: np.random.Generator, xs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return noise(rng, xs) + 4 * MIB * xs

    assert share_of_leaks(leak, MIB, tmp_path) >= 0.95


def test_memory_that_remembers_what_it_was_is_no_leak(tmp_path: Path) -> None:
    """Autocorrelated: each reading is near the one before, as when an allocator holds on for a while."""

    def wandering(rng: np.random.Generator, xs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        values = np.zeros(len(xs))
        for i, shock in enumerate(rng.normal(0, 2 * MIB, len(xs))):
            values[i] = shock if i == 0 else 0.6 * values[i - 1] + shock
        return values

    assert share_of_leaks(wandering, MIB, tmp_path) <= 0.02


@pytest.mark.parametrize("period", [2, 3, 5, 7])
def test_memory_that_is_given_back_every_few_swaps_is_no_leak(tmp_path: Path, period: int) -> None:
    def sawtooth(rng: np.random.Generator, xs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64] = noise(rng, xs) / 4 + 20 * MIB * (xs % period)
        return values

    assert share_of_leaks(sawtooth, MIB, tmp_path) <= 0.02


def spikes(rng: np.random.Generator, xs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """One reading in six is 500 MiB too high."""
    values: npt.NDArray[np.float64] = noise(rng, xs) / 4 + 500 * MIB * (rng.random(len(xs)) < 1 / 6)
    return values


def test_spikes_are_no_leak(tmp_path: Path) -> None:
    assert share_of_leaks(spikes, MIB, tmp_path) <= 0.02


def test_spikes_hide_no_leak(tmp_path: Path) -> None:
    assert share_of_leaks(lambda rng, xs: spikes(rng, xs) + 6 * MIB * xs, MIB, tmp_path) >= 0.9


@pytest.mark.parametrize("true_slope", [-2 * MIB, 0, MIB, 5 * MIB])
def test_the_interval_holds_the_true_slope_as_often_as_it_says(true_slope: float) -> None:
    rng = np.random.default_rng(5)
    xs = np.arange(20, dtype=float)
    held = 0
    for _ in range(DRAWS):
        slope = theil_sen([(list(xs), list(noise(rng, xs) + true_slope * xs))])
        assert slope is not None
        held += slope.low <= true_slope <= slope.high
    assert held / DRAWS >= 0.93


@pytest.mark.parametrize(("kept_more", "outcome"), [(0, "leak"), (8 * MIB, "not judged")])
def test_a_footprint_that_grows_with_what_malloc_keeps_is_not_called_a_leak(
    kept_more: int, outcome: str, tmp_path: Path
) -> None:
    """As of large models' memory in glibc's heap, which every load leaves in other pieces."""
    recording = Recording(tmp_path)
    for number in range(12):
        recording.swap(
            number,
            "up",
            settled=reading(LARGE, over_baseline=number * 4 * MIB),
            kept_bytes=LARGE + number * kept_more,
        )
    found = leaks_of(recording)
    assert found["footprint"].outcome == outcome
    assert found["mlx_active"].outcome == "clean"
    assert ("give_back = true" in found["footprint"].reason) == bool(kept_more)


def footprint(tmp_path: Path, growth_bytes: int) -> Growth:
    recording = Recording(tmp_path, rounds=8)
    for number in range(8):
        for scenario, held in (("up", LARGE_BYTES), ("down", SMALL_BYTES)):
            recording.swap(number, scenario, settled=reading(held, over_baseline=2 * number * growth_bytes))
    run = recording.run()
    found = pictures_of(run, analyse(run)).growth
    return next(growth for growth in found if growth.finding.ledger == "footprint")


def test_growth_is_counted_from_the_first_swap_with_the_same_model_that_the_slope_rests_on(
    tmp_path: Path,
) -> None:
    growth = footprint(tmp_path, 5 * MIB)
    first_of: dict[str, float] = {}
    for point in growth.points:
        if point.considered:
            first_of.setdefault(point.scenario, point.growth_bytes)
    assert first_of == {"up": 0.0, "down": 0.0}
    assert [point.swap for point in growth.points if not point.considered] == [0, 1, 2]


def test_the_line_has_the_slope_and_the_tolerance_begins_at_nothing(tmp_path: Path) -> None:
    growth = footprint(tmp_path, 5 * MIB)
    (x0, y0), (x1, y1) = growth.slope
    assert growth.finding.slope is not None
    assert abs((y1 - y0) / (x1 - x0) - growth.finding.slope.point) < 1
    assert growth.tolerance[0] == (3.0, 0.0)
    assert growth.tolerance[1][1] == 12 * MIB


def test_memory_that_was_never_recorded_has_no_picture(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    run = recording.run()
    assert pictures_of(run, analyse(run)).growth == ()
