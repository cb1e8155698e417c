"""What a picture of a leak shows."""

from pathlib import Path

from swapbench.findings import analyse
from swapbench.findings.growth import Growth
from swapbench.findings.pictures import pictures_of
from tests.findings.recording import LARGE_BYTES, SMALL_BYTES, Recording, reading

MIB = 1 << 20


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
    (x0, y0), (x1, y1) = growth.slope.start, growth.slope.end
    assert growth.finding.slope is not None
    assert abs((y1 - y0) / (x1 - x0) - growth.finding.slope.point) < 1
    assert growth.tolerance.start == (3.0, 0.0)
    assert growth.tolerance.end[1] == 12 * MIB


def test_memory_that_was_never_recorded_has_no_picture(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    run = recording.run()
    assert pictures_of(run, analyse(run)).growth == ()
