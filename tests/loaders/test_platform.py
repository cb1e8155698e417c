"""What a platform offers loaders."""

import mmap
import os
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from swapbench.instruments.ledgers import process
from swapbench.loaders import mapped, platform
from swapbench.loaders.arrays import UnfitError, address_of, shards_of
from swapbench.loaders.mapped import map_files
from swapbench.loaders.platform import give_back_freed_memory
from tests.loaders.test_sources import assert_same

MIB = 1 << 20

linux = pytest.mark.skipif(sys.platform != "linux", reason="by calls and files that macOS has not")


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
    advised = []

    class NoLinux:
        def madvise(self, address: int, length: int, advice: int) -> int:
            advised.append(advice)
            return 0

        def __getattr__(self, name: str) -> None:
            raise AssertionError(f"{name} was called")

    monkeypatch.setattr(platform, "LINUX", False)
    monkeypatch.setattr(platform, "_libc", NoLinux())
    memory = memoryview(mmap.mmap(-1, 1 << 20))
    platform.ask_for_huge_pages(address_of(memory), memory.nbytes)
    platform.populate(address_of(memory), memory.nbytes)
    platform.give_back_freed_memory()
    assert "no mallopt" in platform.keep_freed_memory()
    # POSIX's, the same number on both: the only advice that macOS is given.
    assert advised == [mmap.MADV_WILLNEED] == [3]


@linux
def test_pages_are_had_without_linuxs_call_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(4 * MIB))
    monkeypatch.setattr(platform, "LINUX", False)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
        view = memoryview(mapping)
        before = process(os.getpid()).memory().file_backed_bytes or 0
        platform.populate(address_of(view), view.nbytes)
        assert (process(os.getpid()).memory().file_backed_bytes or 0) - before > 3 * MIB
        view.release()


@pytest.fixture
def like_metal(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """mx.asarray(copy=False) wants Metal; a copy stands in for it, so that places and types are tested.

    Returns:
        Bytes of each buffer that was asked for.
    """
    asked: list[int] = []

    def asarray(words: np.ndarray[tuple[int], np.dtype[np.uint64]], copy: bool) -> mx.array:
        assert not copy
        asked.append(words.nbytes)
        return mx.array(words)

    monkeypatch.setattr(mapped, "_overlays", lambda: False)
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(mx, "asarray", asarray, raising=False)
    return asked


def test_what_metal_would_map_is_looked_at_as_the_file_has_it(
    like_metal: list[int], minis: dict[str, Path]
) -> None:
    for checkpoint in minis.values():
        arrival = map_files(checkpoint)
        arrival.wait()
        assert_same(arrival.weights, checkpoint)
    assert all(asked % mmap.PAGESIZE == 0 for asked in like_metal)


def test_a_file_longer_than_one_buffer_is_mapped_in_pieces(
    like_metal: list[int], minis: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 1 << 20
    monkeypatch.setattr(mapped, "longest_array_bytes", lambda: most)
    for checkpoint in minis.values():
        arrival = map_files(checkpoint)
        arrival.wait()
        assert_same(arrival.weights, checkpoint)
    assert len(like_metal) > len(minis)
    assert max(like_metal) <= most


def test_a_tensor_longer_than_one_buffer_is_unfit_to_be_mapped(
    like_metal: list[int], minis: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "longest_array_bytes", lambda: 4 * mmap.PAGESIZE)
    with pytest.raises(UnfitError, match=r"is more than one buffer may have, 0\.00 GB"):
        map_files(minis["smollm2"])
    assert all(asked <= 4 * mmap.PAGESIZE for asked in like_metal)


def test_an_mlx_that_makes_no_array_over_memory_is_unfit_to_map(
    like_metal: list[int], minis: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As mlx 0.32.0 says it."""

    def refuse(words: object, copy: bool) -> mx.array:
        raise ValueError("Cannot convert array without copying")

    monkeypatch.setattr(mx, "asarray", refuse, raising=False)
    with pytest.raises(UnfitError, match="without copying"):
        map_files(minis["smollm2"])


@linux
def test_a_model_is_mapped_to_be_read_and_shared(like_metal: list[int], minis: dict[str, Path]) -> None:
    """Whatever the GPU uses of a private mapping, xnu copies."""
    mappings: list[mapped.Mapping] = []
    (shard,) = shards_of(minis["smollm2"])
    mapped.arrays_over(shard, mappings)
    for mapping in mappings:
        lines = Path("/proc/self/maps").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith(f"{mapping.address:x}-"))
        assert line.split()[1] == "r--s"


@linux
def test_a_page_that_cannot_be_had_is_an_error_and_no_crash() -> None:
    memory = mmap.mmap(-1, 1 << 20)
    view = memoryview(memory)
    address = address_of(view)
    view.release()
    memory.close()
    with pytest.raises(OSError, match="can't be read"):
        platform.populate(address, 1 << 20)
