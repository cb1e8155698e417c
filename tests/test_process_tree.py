"""A process and its children, looked at from outside."""

import subprocess
import sys

from swapbench.process_tree import ProcessTree

MIB = 1 << 20
HOLDING_CHILD = f"import sys; held = b'x' * (96 * {MIB}); print('ready', flush=True); input()"
PARENT = (
    "import subprocess, sys\n"
    f"child = subprocess.Popen([sys.executable, '-c', {HOLDING_CHILD!r}], stdin=sys.stdin)\n"
    "child.wait()"
)


def test_what_a_child_of_the_process_holds_is_counted_too() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        reading = ProcessTree(parent.pid).read()
        parent.communicate(b"\n")
    assert (reading.footprint_bytes or 0) > 96 * MIB
    assert reading.mlx_active_bytes is None


def test_a_process_that_has_ended_has_no_footprint() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    reading = ProcessTree(child.pid).read()
    assert reading.footprint_bytes is None
    assert (reading.system_available_bytes or 0) > 0
