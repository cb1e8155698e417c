"""What macOS and Linux tell of energy, by stand-ins for both."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from swapbench.machine import energy, mac
from swapbench.machine.energy import Energy, Used, of_this_machine
from swapbench.worker.meter import TreeMeter


@dataclass(frozen=True)
class AppleEnergyMetrics:
    """As in zeus-apple-silicon 1.1.0."""

    cpu_total_mj: int | None = None
    efficiency_cores_mj: list[int] | None = None
    performance_cores_mj: list[int] | None = None
    efficiency_cluster_mj: list[int] | None = None
    performance_cluster_mj: list[int] | None = None
    efficiency_core_manager_mj: int | None = None
    performance_core_manager_mj: int | None = None
    dram_mj: int | None = None
    gpu_mj: int | None = None
    gpu_sram_mj: int | None = None
    ane_mj: int | None = None


# The parts of cpu_total_mj, and the GPU's SRAM, must not be counted again.
BEGUN = AppleEnergyMetrics(
    cpu_total_mj=23_296_000,
    efficiency_cores_mj=[2_000_000, 2_000_000],
    performance_cores_mj=[9_000_000, 9_000_000],
    efficiency_core_manager_mj=100_000,
    dram_mj=3_392_000,
    gpu_mj=15_066,
    gpu_sram_mj=1_000,
    ane_mj=281,
)
ENDED = replace(
    BEGUN,
    cpu_total_mj=23_326_500,
    performance_cores_mj=[9_015_000, 9_015_000],
    dram_mj=3_394_000,
    gpu_mj=75_066,
    gpu_sram_mj=9_000,
)


def has_zeus(monkeypatch: pytest.MonkeyPatch, *cumulative: AppleEnergyMetrics, release: str = "15.4") -> None:
    """A Mac with the package, whose counters stand so from look to look, the first at the start."""
    looks = iter(cumulative)
    monitor = SimpleNamespace(get_cumulative_energy=lambda: next(looks))
    package = SimpleNamespace(AppleEnergyMonitor=lambda: monitor, AppleEnergyMetrics=AppleEnergyMetrics)
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", package)
    monkeypatch.setattr(mac, "HERE", True)
    monkeypatch.setattr(mac, "release", lambda: release)


def used_in(seconds: float, reader: Energy) -> Used | None:
    """What the reader says of two looks, so far apart at the least."""
    before = reader.look()
    assert before is not None
    return reader.since(replace(before, at_s=before.at_s - seconds))


def test_a_mac_tells_of_cpu_gpu_memory_and_neural_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    has_zeus(monkeypatch, BEGUN, BEGUN, ENDED)
    reader = of_this_machine()
    assert reader.source == "CPU, GPU, DRAM, ANE by IOReport"
    used = used_in(10.0, reader)
    assert used is not None
    assert used.joules == pytest.approx(30.5 + 60.0 + 2.0)
    assert used.watts == pytest.approx(9.25, rel=0.01)


def test_what_a_chip_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    has_zeus(monkeypatch, *(replace(told, dram_mj=None) for told in (BEGUN, BEGUN, ENDED)))
    reader = of_this_machine()
    assert reader.source == "CPU, GPU, ANE by IOReport"
    used = used_in(10.0, reader)
    assert used is not None
    assert used.joules == pytest.approx(90.5)


@pytest.mark.parametrize(
    ("release", "seconds", "known"),
    [("15.4", 0.05, True), ("26.3", 0.05, True), ("27.0", 2.2, False), ("27.0", 3.0, True), ("", 2.2, False)],
)
def test_what_is_published_in_batches_is_told_of_longer_times_alone(
    monkeypatch: pytest.MonkeyPatch, release: str, seconds: float, known: bool
) -> None:
    has_zeus(monkeypatch, BEGUN, BEGUN, ENDED, release=release)
    assert (used_in(seconds, of_this_machine()) is not None) is known


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(replace(ENDED, cpu_total_mj=BEGUN.cpu_total_mj), id="the CPU's stands still"),
        pytest.param(replace(ENDED, gpu_mj=0), id="one began anew"),
        pytest.param(AppleEnergyMetrics(), id="nothing is told any more"),
    ],
)
def test_counters_that_can_not_be_right_are_unknown(
    monkeypatch: pytest.MonkeyPatch, later: AppleEnergyMetrics
) -> None:
    has_zeus(monkeypatch, BEGUN, BEGUN, later)
    assert used_in(10.0, of_this_machine()) is None


def test_a_mac_without_the_package_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mac, "HERE", True)
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", None)
    assert of_this_machine() is energy.NONE


def test_a_mac_whose_ioreport_refuses_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("Failed to create IOReport subscription.")

    has_zeus(monkeypatch)
    monkeypatch.setattr(sys.modules["zeus_apple_silicon"], "AppleEnergyMonitor", refuse)
    assert of_this_machine() is energy.NONE


RANGE_UJ = 262_143_328_850


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two processors, their memory, and what would count them again."""
    folder = tmp_path / "sys/class/powercap"
    zones = {
        "intel-rapl": None,
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:1:0": "dram",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    for zone, name in zones.items():
        (folder / zone).mkdir(parents=True)
        if name is not None:
            (folder / zone / "name").write_text(f"{name}\n")
            (folder / zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
            (folder / zone / "energy_uj").write_text("7000000\n")
    monkeypatch.setattr(mac, "HERE", False)
    monkeypatch.setattr(energy, "ROOT", tmp_path)
    return folder


def count_on(powercap: Path, joules: dict[str, float]) -> None:
    for zone, more in joules.items():
        file = powercap / zone / "energy_uj"
        file.write_text(f"{(int(file.read_text()) + round(more * 1e6)) % RANGE_UJ}\n")


def test_linux_tells_of_packages_and_memory(powercap: Path) -> None:
    reader = of_this_machine()
    assert reader.source == "package-0, package-1, dram by RAPL"
    before = reader.look()
    assert before is not None
    count_on(powercap, {"intel-rapl:0": 10, "intel-rapl:1": 20, "intel-rapl:0:1": 1, "intel-rapl:1:0": 2})
    count_on(powercap, {"intel-rapl:0:0": 9, "intel-rapl:2": 40, "intel-rapl-mmio:0": 10})
    used = reader.since(replace(before, at_s=before.at_s - 10))
    assert used is not None
    assert used.joules == pytest.approx(33)


def test_a_counter_that_began_anew_at_its_range_went_on(powercap: Path) -> None:
    count_on(powercap, {"intel-rapl:0": RANGE_UJ / 1e6 - 10})
    reader = of_this_machine()
    before = reader.look()
    assert before is not None
    count_on(powercap, {"intel-rapl:0": 25})
    assert int((powercap / "intel-rapl:0/energy_uj").read_text()) < 25e6
    used = reader.since(replace(before, at_s=before.at_s - 10))
    assert used is not None
    assert used.joules == pytest.approx(25)


def test_a_server_elsewhere_uses_the_energy_of_another_machine(powercap: Path) -> None:
    assert TreeMeter(here=True).energy.source == "package-0, package-1, dram by RAPL"
    assert TreeMeter(here=False).energy is energy.NONE


def test_two_looks_in_quick_succession_tell_nothing(powercap: Path) -> None:
    reader = of_this_machine()
    before = reader.look()
    assert before is not None
    count_on(powercap, {"intel-rapl:0": 25})
    assert reader.since(replace(before, at_s=before.at_s + 60)) is None


@pytest.mark.parametrize("zone", ["intel-rapl:0", "intel-rapl:0:1"])
def test_a_sum_of_which_a_part_may_not_be_read_is_unknown(powercap: Path, zone: str) -> None:
    # Root may read whatever its mode says.
    (powercap / zone / "energy_uj").unlink()
    (powercap / zone / "energy_uj").mkdir()
    assert of_this_machine() is energy.NONE


def test_counters_that_go_away_are_unknown_from_then_on(powercap: Path) -> None:
    reader = of_this_machine()
    before = reader.look()
    (powercap / "intel-rapl:0/energy_uj").unlink()
    assert reader.since(before) is None
    assert reader.look() is None


def test_a_machine_without_counters_has_no_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mac, "HERE", False)
    monkeypatch.setattr(energy, "ROOT", tmp_path)
    reader = of_this_machine()
    assert reader.source == ""
    assert reader.look() is None
    assert reader.since(None) is None
