"""What macOS's programs and calls would say, by stand-ins for them."""

import ctypes
import fcntl
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from swapbench.machine import mac
from tests.libproc import Libproc


class Notifications:
    """The calls of <notify.h>, which write to where they are pointed at."""

    def __init__(self, level: int, refuses: str = "") -> None:
        self.level, self.refuses = level, refuses
        self.cancelled: list[int] = []

    def notify_register_check(self, name: bytes, token: object) -> int:
        assert name == b"com.apple.system.thermalpressurelevel"
        ctypes.cast(token, ctypes.POINTER(ctypes.c_int))[0] = 41  # type: ignore[arg-type]
        return int(self.refuses == "register")

    def notify_get_state(self, token: ctypes.c_int, state: object) -> int:
        assert token.value == 41
        ctypes.cast(state, ctypes.POINTER(ctypes.c_uint64))[0] = self.level  # type: ignore[arg-type]
        return int(self.refuses == "state")

    def notify_cancel(self, token: ctypes.c_int) -> int:
        self.cancelled.append(token.value)
        return 0


@pytest.mark.parametrize("level", range(5))
def test_thermal_pressure_is_asked_of_the_system(level: int) -> None:
    calls = Notifications(level)
    assert mac.thermal_pressure(calls) == level
    assert calls.cancelled == [41]


@pytest.mark.parametrize("refuses", ["register", "state"])
def test_a_system_that_does_not_tell_its_thermal_pressure_has_none(refuses: str) -> None:
    assert mac.thermal_pressure(Notifications(2, refuses)) is None


def test_a_mac_is_kept_awake_as_long_as_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mac, "HERE", True)
    program, told = tmp_path / "caffeinate", tmp_path / "told"
    program.write_text(f'#!/bin/sh\necho "$@" > {told}\nexec tail -f /dev/null\n')
    program.chmod(0o755)
    before = set(psutil.Process().children())
    with mac.kept_awake(str(program)):
        while not (told.exists() and told.read_text()):
            pass
        assert told.read_text() == f"-i -w {os.getpid()}\n"
        (child,) = set(psutil.Process().children()) - before
    assert not child.is_running()


def test_a_run_goes_on_where_nothing_keeps_the_machine_awake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mac, "HERE", True)
    with mac.kept_awake(str(tmp_path / "caffeinate")):
        pass


def test_what_a_program_prints_is_had_and_one_that_is_not_there_prints_nothing(tmp_path: Path) -> None:
    assert mac.printed_by("/bin/echo", "26.1") == "26.1\n"
    assert mac.printed_by(str(tmp_path / "sw_vers"), "-productVersion") == ""


def test_a_family_is_found_by_one_call_for_each_of_it() -> None:
    below = {1: [10, 11], 10: [100], 11: [], 100: [], 7: [70], 70: []}
    library = Libproc(below.__getitem__)
    assert mac.family([1], library) == {1, 10, 11, 100}
    assert sorted(pid for pid, _ in library.asked) == [1, 10, 11, 100]
    assert mac.family([10, 7], library) == {10, 100, 7, 70}


def test_a_family_is_left_where_its_pids_go_round_in_circles() -> None:
    below = {1: [2], 2: [1]}
    assert mac.family([1], Libproc(below.__getitem__)) == {1, 2}


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 300])
def test_none_of_many_children_is_left_out_for_want_of_room(count: int) -> None:
    many = list(range(1000, 1000 + count))
    library = Libproc(lambda pid: many if pid == 1 else [])
    assert mac.family([1], library) == {1, *many}


def test_a_process_that_is_gone_has_no_children() -> None:
    assert mac.family([1], Libproc(lambda _: [])) == {1}


class Policies:
    """What a process is told of itself; by default what one that was started from a terminal is told."""

    def __init__(self, background: int = 0, qos: int = 0, disk: int = 1) -> None:
        self.qos_class_main = lambda: qos
        self.background, self.disk = background, disk

    def getpriority(self, which: int, who: int) -> int:
        assert (which, who) == (4, 0)
        return self.background

    def getiopolicy_np(self, kind: int, scope: int) -> int:
        assert (kind, scope) == (0, 0)
        return self.disk


@pytest.mark.parametrize(
    ("policies", "says"),
    [
        (Policies(), ""),
        (Policies(qos=0x15), ""),
        (Policies(qos=0x21, disk=5), ""),
        (Policies(disk=2), ""),
        # A call that fails.
        (Policies(background=-1, disk=-1), ""),
        (Policies(background=1), "in the background, as by `taskpolicy -b`"),
        (Policies(qos=0x09), "of background QoS, as a launchd job may be"),
        (Policies(qos=0x05), "of maintenance QoS, as a launchd job may be"),
        (Policies(qos=0x11), "of utility QoS, as a launchd job may be"),
        (Policies(disk=3), "under the disk policy throttle, as by `taskpolicy -d`"),
        (Policies(disk=4), "under the disk policy utility, as by `taskpolicy -d`"),
    ],
)
def test_a_process_whose_reads_are_held_back_is_told_why(policies: Policies, says: str) -> None:
    assert mac.held_back(policies) == says


@pytest.mark.parametrize("refused", [False, True])
def test_the_drives_own_cache_is_written_out_where_the_volume_can(
    refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def ask(descriptor: int, command: int) -> int:
        asked.append((descriptor, command))
        if refused:
            raise OSError(45, "Operation not supported")
        return 0

    monkeypatch.setattr(mac, "HERE", True)
    monkeypatch.setattr(fcntl, "fcntl", ask)
    assert mac.reaches_the_medium(7) is not refused
    assert asked == [(7, 51)]
