"""The examination, by a real child."""

import shutil
from pathlib import Path

import pytest

from swapbench.base.errors import WorkerError
from swapbench.machine.doctor.examination import examine, room_for
from tests.programs import FALSE


def test_a_real_examination(tmp_path: Path) -> None:
    found = examine(tmp_path)
    assert found.mlx_version
    assert (found.device, found.working_set_bytes is not None) in [("cpu", False), ("gpu", True)]
    assert 0 < found.probe_phase_s <= found.probe_phase_most_s
    assert 0 < found.sampler_share < 1
    assert found.first_touch_gb_per_s > 0
    assert found.resident_after_evict is not None
    assert not list(tmp_path.iterdir())


def test_an_interpreter_without_mlx_is_said(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="MLX could not be examined: exit code 1"):
        examine(tmp_path, python=FALSE)
    with pytest.raises(WorkerError, match="/nowhere/python"):
        examine(tmp_path, python="/nowhere/python")


def test_room_is_told_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    room = room_for("results", tmp_path / "to" / "come")
    assert room.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
