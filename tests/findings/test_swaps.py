"""From tables to swaps: what belongs together is put together, whatever a crash left behind."""

from pathlib import Path

import pytest

from swapbench.findings.swaps import swaps_of
from tests.findings.recording import Recording


def test_a_swap_has_its_phases_and_its_spans(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0}, spans={"load/read": 2.0, "load/tokenizer": 0.5}, first_token_s=0.2)
    (swap,) = swaps_of(recording.run())
    assert swap.phase_s("load") == 3.0
    assert swap.phase_s("drain") == 0.0
    assert {name: span.seconds for name, span in swap.spans.items()} == {
        "load/read": 2.0,
        "load/tokenizer": 0.5,
    }
    assert swap.phase_s("first_token") == 0.2
    assert swap.attributed_s == swap.total_s == 3.0


def test_swaps_stand_in_the_order_in_which_they_were_carried_out(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(2):
        recording.swap(number, "up")
        recording.swap(number, "down")
    assert [(s.index, s.round, s.scenario) for s in swaps_of(recording.run())] == [
        (0, 0, "up"),
        (1, 0, "down"),
        (2, 1, "up"),
        (3, 1, "down"),
    ]


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({}, True),
        ({"valid": False}, False),
        ({"warmup": True}, False),
        ({"status": "rolled_back"}, False),
        ({"status": "failed"}, False),
        ({"total_s": None}, False),
        ({"total_s": float("nan")}, False),
    ],
)
def test_only_what_went_well_is_counted(tmp_path: Path, fields: dict[str, object], counted: bool) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", **fields)  # type: ignore[arg-type]
    assert swaps_of(recording.run())[0].counted is counted


def entered(recording: Recording, phase: str, span: str, start_s: float, seconds: float) -> None:
    """One more row of phases.csv, of the first swap up."""
    recording._phase(recording._planned(0, "up"), phase, span, start_s, seconds)


def test_a_phase_that_was_entered_again_is_the_sum_of_its_rows(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"evict": 0.5, "load": 3.0}, total_s=3.55)
    entered(recording, "evict", "", 3.5, 0.05)
    (swap,) = swaps_of(recording.run())
    assert swap.phase_s("evict") == pytest.approx(0.55)
    assert swap.attributed_s == pytest.approx(swap.total_s)


def test_spans_of_one_name_add_up_and_never_outlast_their_phase(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for start_s, seconds in ((0.0, 1.0), (0.5, 1.0), (2.0, 0.5)):
        entered(recording, "load", "read", start_s, seconds)
    recording.swap(0, "up", {"load": 3.0})
    (swap,) = swaps_of(recording.run())
    assert swap.spans["load/read"].seconds == pytest.approx(2.0)


def test_what_was_not_recorded_is_absent_not_zero(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", probe_s=None)
    (swap,) = swaps_of(recording.run())
    assert "probe_s" not in swap.figures
    assert swap.settled == {}
    assert swap.phases["load"].after == {}


def test_samples_count_only_during_the_swap_itself(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.sample(0, "up", t_s=0.5, active=9_000)  # while the swap is prepared
    # The parent, which looks on from outside, tells no swap.
    recording.sample(0, "up", t_s=1.9, active=0, swap_used=None)
    recording.sample(0, "up", t_s=2.0, active=5_000, swap_used=100)
    recording.sample(0, "up", t_s=2.5, active=6_000, swap_used=700)
    recording.sample(0, "down", t_s=2.6, active=8_000)
    recording.sample(0, "up", t_s=50.0, active=9_000)  # while it settles
    recording.swap(0, "up", {"load": 3.0})
    (swap,) = swaps_of(recording.run())
    assert swap.extremes["mlx_active"] == 6_000
    assert swap.extremes["system_available"] == 20_000_000_000 - 6_000
    assert swap.swap_used_growth_bytes == 600


def test_a_new_worker_is_known_by_its_clock(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    recording.swap(0, "down")
    recording.restart_worker()
    recording.swap(1, "up")
    assert [swap.worker for swap in swaps_of(recording.run())] == [0, 0, 1]


def test_after_a_swap_that_could_not_be_rolled_back_memory_is_another_workers(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    recording.failed_swap(0, "down", status="rolled_back")
    recording.failed_swap(1, "up", status="failed")
    recording.swap(1, "down")
    assert [swap.worker for swap in swaps_of(recording.run())] == [0, 0, 0, 1]
