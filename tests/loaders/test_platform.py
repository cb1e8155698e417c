"""What a platform offers loaders."""

import fcntl
import mmap
import os
import sys
from pathlib import Path

import mlx.core as mx
import pytest

from swapbench.ledgers import process
from swapbench.loaders import mapped, platform
from swapbench.loaders.arrays import address_of
from swapbench.loaders.mapped import Mapped
from swapbench.loaders.platform import give_back_freed_memory
from tests.loaders.test_sources import assert_same

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


def test_elsewhere_than_on_linux_nothing_of_linuxs_is_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class NoLinux:
        def __getattr__(self, name: str) -> None:
            raise AssertionError(f"{name} was called")

    monkeypatch.setattr(platform, "LINUX", False)
    monkeypatch.setattr(platform, "_libc", NoLinux())
    memory = memoryview(mmap.mmap(-1, 1 << 20))
    platform.ask_for_huge_pages(address_of(memory), memory.nbytes)
    platform.populate(address_of(memory), memory.nbytes)
    platform.give_back_freed_memory()
    assert "no mallopt" in platform.keep_freed_memory()


def test_where_there_is_no_o_direct_the_page_cache_is_told_to_keep_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on macOS; here the seam is the call, which Linux does not know."""
    told: list[tuple[int, int]] = []
    monkeypatch.delattr(os, "O_DIRECT")
    monkeypatch.setattr(fcntl, "fcntl", lambda _, command, value: told.append((command, value)))
    path = tmp_path / "file"
    path.write_bytes(b"weights")
    descriptor = platform.open_past_cache(path)
    assert descriptor is not None
    assert os.read(descriptor, 7) == b"weights"
    os.close(descriptor)
    assert told == [(48, 1)]


def test_what_metal_would_map_is_looked_at_as_the_file_has_it(
    monkeypatch: pytest.MonkeyPatch, minis: dict[str, Path]
) -> None:
    """mx.asarray(copy=False) wants Metal; a copy stands in for it, so that places and types are tested."""
    monkeypatch.setattr(mapped, "_overlays", lambda: False)
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(mx, "asarray", lambda words, copy: mx.array(words), raising=False)
    for checkpoint in minis.values():
        arrival = Mapped().begin(checkpoint)
        arrival.wait()
        assert_same(arrival.weights, checkpoint)


def test_a_page_that_cannot_be_had_is_an_error_and_no_crash() -> None:
    memory = mmap.mmap(-1, 1 << 20)
    view = memoryview(memory)
    address = address_of(view)
    view.release()
    memory.close()
    with pytest.raises(OSError, match="can't be read"):
        platform.populate(address, 1 << 20)
