"""What macOS's programs and calls would say, by stand-ins for them."""

import ctypes
import os
from pathlib import Path

import psutil
import pytest

from swapbench import mac


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
