"""Free memory is touched by a child, which ends."""

import resource

from swapbench.worker.touching import touch_free_memory


def test_a_child_touches_as_much_as_was_asked_for_and_this_process_nothing() -> None:
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    touch_free_memory(300 << 20)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >= 300 << 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < ours + (100 << 10)
