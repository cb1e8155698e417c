"""What a platform offers loaders."""

import os
import sys

import pytest

from swapbench.ledgers import process
from swapbench.loaders.platform import give_back_freed_memory

MIB = 1 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps a heap that can be trimmed")
def test_what_the_heap_keeps_is_given_back() -> None:
    ours = process(os.getpid())
    # Small pieces come from the heap; the last one, still held, keeps glibc from trimming by itself.
    pieces = [b"x" * 65_536 for _ in range(1600)]
    held = b"y" * 65_536
    during = ours.memory().footprint_bytes or 0
    del pieces
    give_back_freed_memory()
    assert during - (ours.memory().footprint_bytes or 0) > 80 * MIB
    assert held
