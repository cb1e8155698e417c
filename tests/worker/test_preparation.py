"""Free memory is touched by a child, which ends."""

import resource
import sys

from swapbench.worker.preparation import touch_free_memory

# In which the kernel tells the most that was resident.
UNIT = 1 if sys.platform == "darwin" else 1024


def test_a_child_touches_as_much_as_was_asked_for_and_this_process_nothing() -> None:
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
    touch_free_memory(300 << 20)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * UNIT >= 300 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT < ours + (100 << 20)
