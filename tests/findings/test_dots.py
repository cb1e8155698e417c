"""Every swap as a dot."""

from pathlib import Path

from swapbench.findings import analyse
from swapbench.findings.pictures import pictures_of
from tests.findings.recording import Recording


def test_every_swap_is_a_dot_of_its_kind_and_failed_ones_are_counted(tmp_path: Path) -> None:
    recording = Recording(tmp_path, warmup=1)
    recording.swap(0, "up", {"load": 4.0}, warmup=True)
    recording.swap(1, "up", {"load": 3.0})
    recording.swap(2, "up", {"load": 2.0}, valid=False, invalid_reason="not cold")
    recording.failed_swap(3, "up")
    run = recording.run()
    up = pictures_of(run, analyse(run)).dots[0]
    assert [(dot.round, dot.seconds, dot.kind) for dot in up.dots] == [
        (0, 4.0, "warm-up"),
        (1, 3.0, "counted"),
        (2, 2.0, "invalid"),
    ]
    assert up.without == 1
    assert up.estimate is not None
    assert (up.estimate.point, up.estimate.n) == (3.0, 1)


def test_outliers_are_marked(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=8)
    for number in range(8):
        recording.swap(number, "up", {"load": 9.0 if number == 5 else 3.0})
    run = recording.run()
    up = pictures_of(run, analyse(run)).dots[0]
    assert [dot.round for dot in up.dots if dot.outlier] == [5]
    assert up.interval is not None


def test_strategies_have_their_dots_in_the_ladders_order(tmp_path: Path) -> None:
    recording = Recording(tmp_path, strategy=["stock", "slab", "map"])
    for strategy, load_s in (("stock", 3.0), ("slab", 1.0), ("map", 2.0)):
        recording.swap(0, "up", {"load": load_s}, strategy=strategy)
    run = recording.run()
    pictures = pictures_of(run, analyse(run))
    assert [dots.name for dots in pictures.ladders[0].strategies] == ["slab", "map", "stock"]
    assert [timeline.scenario for timeline in pictures.timelines] == ["up (stock)", "up (slab)"]
    assert pictures.dots == ()
