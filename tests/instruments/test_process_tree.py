"""A process and its children, looked at from outside."""

import os
import subprocess
import sys

import pytest

from swapbench.instruments import process_tree
from swapbench.instruments.ledgers import process
from swapbench.instruments.process_tree import ProcessTree
from swapbench.machine import mac
from tests.libproc import Libproc

MIB = 1 << 20
HOLDING_CHILD = f"import sys; held = b'x' * (96 * {MIB}); print('ready', flush=True); input()"
PARENT = (
    "import subprocess, sys\n"
    f"child = subprocess.Popen([sys.executable, '-c', {HOLDING_CHILD!r}], stdin=sys.stdin)\n"
    "child.wait()"
)


@pytest.mark.parametrize("macos", [False, True])
def test_what_a_child_of_the_process_holds_is_counted_too(
    macos: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, library, reader = mac.family, Libproc(), type(process(os.getpid()))
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        tree = ProcessTree(parent.pid)
        monkeypatch.setattr(mac, "HERE", macos)
        monkeypatch.setattr(mac, "family", lambda pids: family(pids, library))
        monkeypatch.setattr(process_tree, "process", reader)
        reading = tree.read()
        parent.communicate(b"\n")
    assert (reading.footprint_bytes or 0) > 96 * MIB
    assert reading.mlx_active_bytes is None
    assert bool(library.asked) is macos


def test_a_process_that_has_ended_has_no_footprint() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    reading = ProcessTree(child.pid).read()
    assert reading.footprint_bytes is None
    assert (reading.system_available_bytes or 0) > 0
