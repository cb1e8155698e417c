"""Ranks told apart, from rows made by hand."""

from pathlib import Path

import pytest

from swapbench.findings import Findings, analyse
from swapbench.report import to_csv, to_markdown
from tests.findings.recording import LARGE_BYTES, Recording


def found(tmp_path: Path, *, warmup: int = 0) -> Findings:
    """Three swaps of two ranks: the second takes 2 s longer than the first, which waits for it."""
    recording = Recording(tmp_path)
    for number in range(3):
        phases = {"unload": 0.5}
        recording.swap(number, "up", phases, total_s=3.6, warmup=number < warmup)
        recording.ranks(number, "up", (1.0, 2.05), (3.0, 0.1))
    return analyse(recording.run())


def test_the_phase_is_the_row_of_all_ranks_and_no_single_ranks(tmp_path: Path) -> None:
    findings = found(tmp_path)
    load = next(phase for phase in findings.scenarios[0].phases if phase.phase == "load")
    assert load.seconds is not None
    assert load.seconds.point == pytest.approx(3.1)


def test_a_ranks_own_work_leaves_out_what_it_waited(tmp_path: Path) -> None:
    (shared,) = found(tmp_path).sharing
    work = [rank.load.point for rank in shared.ranks if rank.load is not None]
    waits = [rank.barrier.point for rank in shared.ranks if rank.barrier is not None]
    assert work == pytest.approx([1.0, 3.0])
    assert waits == pytest.approx([2.05, 0.1])


def test_the_skew_and_each_ranks_bytes_are_told(tmp_path: Path) -> None:
    (shared,) = found(tmp_path).sharing
    assert shared.skew is not None
    assert shared.skew.point == pytest.approx(2.0)
    weights = [rank.weights.point for rank in shared.ranks if rank.weights is not None]
    assert weights == [LARGE_BYTES // 2] * 2


def test_warm_up_swaps_are_left_out(tmp_path: Path) -> None:
    (shared,) = found(tmp_path, warmup=1).sharing
    assert shared.skew is not None
    assert shared.skew.n == 2


def test_a_target_of_one_process_has_no_ranks(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    assert analyse(recording.run()).sharing == ()


def test_reports_show_every_rank(tmp_path: Path) -> None:
    findings = found(tmp_path)
    assert "<summary>Ranks</summary>" in to_markdown(findings)
    assert ",up,rank_load,rank 1,s,3," in to_csv(findings)
    assert ",up,skew,load,s,2," in to_csv(findings)
