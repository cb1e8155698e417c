"""Loads against what the machine could do."""

from pathlib import Path
from typing import Any

import pytest

from swapbench.findings import analyse
from swapbench.spec.experiment import Source
from tests.findings.recording import LARGE_BYTES, Recording
from tests.machine.test_limits import limits, rate


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
