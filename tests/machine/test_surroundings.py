"""What platforms print, read; this machine, looked at for real; runs that go on at the same time."""

import os
import plistlib
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from swapbench.base.errors import WorkerError
from swapbench.machine.environment import Volume
from swapbench.machine.surroundings import (
    Presence,
    Storage,
    busiest_of_mine,
    chosen,
    described,
    examine,
    free_bytes,
    look_around,
    low_power_mode,
    memory_waits,
    on_battery,
    pressure_level,
    thermal_warning,
)
from tests.programs import FALSE

ON_MAINS = """Now drawing from 'AC Power'
 -InternalBattery-0 (id=1234567)\t80%; charging; 1:07 remaining present: true
"""
NO_LIMIT = """Note: No thermal warning level has been recorded
Note: No performance warning level has been recorded
Note: No CPU power status has been recorded
"""
WARNED = "Thermal Warning Level \t= 2\n"
SETTINGS = (
    "System-wide power settings:\nCurrently in use:\n standby              1\n lowpowermode         1\n"
)
# Where there is a high power mode too, as on an M4 Pro.
PRO_SETTINGS = "System-wide power settings:\nCurrently in use:\n standby     1\n powermode   {}\n"


@pytest.mark.parametrize(
    ("text", "battery"),
    [
        (ON_MAINS, False),
        (ON_MAINS.replace("AC Power", "Battery Power"), True),
        (ON_MAINS.replace("AC Power", "UPS Power"), True),
        ("", None),
    ],
)
def test_the_power_source_of_a_mac(text: str, battery: bool | None) -> None:
    assert on_battery(text) is battery


@pytest.mark.parametrize(
    ("text", "low"),
    [
        (SETTINGS, True),
        (SETTINGS.replace("  1\n", "  0\n"), False),
        (PRO_SETTINGS.format(0), False),
        (PRO_SETTINGS.format(1), True),
        (PRO_SETTINGS.format(2), False),
        ("", None),
    ],
)
def test_the_low_power_mode_of_a_mac(text: str, low: bool | None) -> None:
    assert low_power_mode(text) is low


@pytest.mark.parametrize(("text", "warned"), [(NO_LIMIT, False), (WARNED, True), ("", False)])
def test_the_thermal_warning_of_a_mac(text: str, warned: bool) -> None:
    assert thermal_warning(text) is warned


@pytest.mark.parametrize(
    ("text", "word"), [("always [madvise] never\n", "madvise"), ("[never]", "never"), ("", None)]
)
def test_the_chosen_word_of_a_kernel_setting(text: str, word: str | None) -> None:
    assert chosen(text) == word


@pytest.mark.parametrize(
    ("level", "says"),
    [
        ("1", ""),
        ("2", "the kernel calls memory pressure warning"),
        ("4", "the kernel calls memory pressure critical"),
        # Withheld, as from what runs in a sandbox.
        ("", ""),
    ],
)
def test_the_memory_pressure_of_a_mac(level: str, says: str) -> None:
    assert pressure_level(level) == says


@pytest.mark.parametrize(
    ("some", "says"),
    [
        ("0.00", ""),
        ("9.99", ""),
        ("38.20", "processes waited for memory in 38 % of the last ten seconds"),
    ],
)
def test_the_memory_pressure_of_linux(some: str, says: str) -> None:
    rest = "avg60=99.00 avg300=99.00 total=123456"
    assert memory_waits(f"some avg10={some} {rest}\nfull avg10=99.00 {rest}\n") == says
    assert memory_waits("") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="ionice is Linux's; macOS has its own")
@pytest.mark.parametrize(
    ("prefix", "says"),
    [
        ((), ""),
        (("nice", "-n", "7"), "nice, by 7"),
        (("ionice", "-c", "3"), "of the disk's idle class, as by `ionice -c 3`"),
    ],
)
def test_a_process_that_was_started_to_be_held_back_knows(prefix: tuple[str, ...], says: str) -> None:
    ask = "from swapbench.machine import surroundings; print(surroundings._held_back())"
    done = subprocess.run([*prefix, sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == f"{says}\n"


def test_this_machine_is_seen_as_it_is(tmp_path: Path) -> None:
    around = look_around((tmp_path, tmp_path / "to" / "come"))
    assert [storage.volume for storage in around.storages] == [Volume.of(tmp_path)]
    assert around.cores == os.cpu_count()
    assert around.memory.total.bytes <= psutil.virtual_memory().total
    assert 0 < around.memory.available.bytes <= around.memory.total.bytes
    if sys.platform == "linux":
        assert around.wired_limit_bytes is None


def test_a_process_of_ones_own_that_is_busy_is_named() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            named = busiest_of_mine()
            # On a busy machine two others may be busier.
            assert any(f"({busy.pid}, " in text for text in named) or len(named) == 2
        finally:
            busy.kill()


VOLUME = Volume(mount="/Volumes/models", device="/dev/disk5s1", file_system="apfs")


EITHER = "RemovableMediaOrExternalDevice"


def printed(bus: str, **told: bool) -> str:
    return plistlib.dumps({"DeviceNode": "/dev/disk5s1", "BusProtocol": bus, **told}).decode()


@pytest.mark.parametrize(
    ("diskutil", "storage"),
    [
        # The drive of a Mac with Apple Silicon.
        (
            printed("Apple Fabric", Internal=True, FileVault=True, **{EITHER: False}),
            Storage(VOLUME, "Apple Fabric", encrypted=True),
        ),
        # A drive on Thunderbolt, whose bus is an internal one's.
        (
            printed("PCI-Express", Internal=False, FileVault=False, **{EITHER: True}),
            Storage(VOLUME, "PCI-Express", external=True),
        ),
        # A card in a built-in reader.
        (
            printed("Secure Digital", Internal=True, **{EITHER: True}),
            Storage(VOLUME, "Secure Digital", external=True),
        ),
        # Releases that have no word for both.
        (printed("USB", Internal=False), Storage(VOLUME, "USB", external=True)),
        (printed("SATA", Internal=True), Storage(VOLUME, "SATA")),
        # A volume that it knows nothing of, as one on the network.
        (plistlib.dumps({"Error": True, "ErrorMessage": "Could not find disk"}).decode(), Storage(VOLUME)),
        ("Could not find disk: /Volumes/models\n", Storage(VOLUME)),
        ('<?xml version="1.0"?><plist><dict><key>', Storage(VOLUME)),
        ("", Storage(VOLUME)),
    ],
)
def test_the_drive_below_a_volume(diskutil: str, storage: Storage) -> None:
    assert described(VOLUME, diskutil) == storage


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
    free = free_bytes(tmp_path / "to" / "come")
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)


# Announces itself, says whom it met, and stays until it is told to end.
_STAYS = """
import sys
from swapbench.machine.surroundings import Presence
presence = Presence.announce()
print(len(presence.others), flush=True)
sys.stdin.readline()
print(presence.met(), flush=True)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "runs"
    monkeypatch.setenv("SWAPBENCH_RUNS", str(place))
    return place


@pytest.fixture
def other(place: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has announced itself."""
    with subprocess.Popen(
        [sys.executable, "-c", _STAYS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        yield process
        process.kill()


def test_who_is_alone_meets_nobody(place: Path) -> None:
    presence = Presence.announce()
    assert (presence.others, presence.met()) == ((), False)
    presence.leave()
    presence.leave()
    assert list(place.iterdir()) == []


def test_the_later_one_knows_at_once_and_the_earlier_one_at_its_end(other: subprocess.Popen[str]) -> None:
    presence = Presence.announce()
    assert (presence.others, presence.met()) == ((other.pid,), True)
    presence.leave()
    said, _ = other.communicate("end\n")
    assert said == "True\n"


def test_a_killed_process_is_nobody_and_its_file_goes(other: subprocess.Popen[str], place: Path) -> None:
    other.kill()
    other.wait()
    assert len(list(place.iterdir())) == 1
    presence = Presence.announce()
    assert presence.others == ()
    presence.leave()
    assert list(place.iterdir()) == []


def test_runs_of_one_process_follow_one_another_and_do_not_meet(place: Path) -> None:
    first, second = Presence.announce(), Presence.announce()
    assert not first.met()
    assert not second.met()


def test_the_place_is_everybodys(place: Path) -> None:
    before = os.umask(0o077)
    try:
        Presence.announce().leave()
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.stat().st_mode) == 0o1777


def test_where_no_file_can_be_made_nobody_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPBENCH_RUNS", "/dev/null/runs")
    presence = Presence.announce()
    assert (presence.others, presence.met()) == ((), False)
    presence.leave()
