"""The counters of this very process."""

import mmap
import os

from swapbench.instruments.ledgers import process
from swapbench.worker.counters import read_counters

MIB = 1 << 20


def test_touching_fresh_memory_is_counted_as_faults() -> None:
    ours = process(os.getpid())
    before = read_counters(ours)
    memory = mmap.mmap(-1, 8 * MIB)
    # 4 KiB pages are not certain: huge ones fault once per 2 MiB, still at least four times.
    memory[:] = b"x" * (8 * MIB)
    delta = read_counters(ours).since(before)
    memory.close()
    assert delta.minor_faults is not None
    assert delta.minor_faults >= 4
