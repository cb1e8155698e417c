"""Runs that go on at the same time find out about each other."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swapbench.machine.neighbours import Presence

# Announces itself, says whom it met, and stays until it is told to end.
_STAYS = """
import sys
from swapbench.machine.neighbours import Presence
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
