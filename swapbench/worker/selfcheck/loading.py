"""Claims about models in memory, about loaders, and about what those take for granted of MLX and mlx-lm."""

import gc
import json
import os
import struct
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import mlx.core as mx
import numpy as np

from swapbench.compat import wire
from swapbench.compat.mlx_lm import PARTS, build, unasked
from swapbench.instruments import page_cache
from swapbench.loaders import ModelLoader
from swapbench.loaders.arrays import Span, longest_array_bytes, shards_of, unwritten, views, weight_bytes
from swapbench.loaders.mapped import arrays_over, unmappable
from swapbench.loaders.tokenizer import load_lean, load_stock
from swapbench.machine.environment import Limits
from swapbench.machine.selfcheck import Found
from swapbench.models.checkpoint import TensorEntry
from swapbench.spec.experiment import PageCache
from swapbench.spec.strategy import Strategy, TokenizerMode
from swapbench.wire.swap import Reading
from swapbench.worker.meter import MlxMeter
from swapbench.worker.process import Heartbeat
from swapbench.worker.selfcheck import (
    KINDS,
    MINI,
    MODEL,
    UNALIGNED,
    first_token,
    judged,
    loader,
    mib,
    not_here,
    weights_of,
)

_LEFT_AFTER_UNLOAD: Final = 0.05
_COPIED_BY_MAP: Final = 0.1
# Other processes wire memory, too.
_WIRED_SHARE: Final = 0.5
# What a disk delivers varies, and more from one minute to the next on a virtual machine.
_FASTER: Final = 1.25
_LONGEST_STALL_S: Final = 0.25
# A loader that keeps others waiting does so each time; a busy machine, now and then.
_TRIES: Final = 3
_NOT_OURS: Final = ("stock", "reuse")
_TEXT: Final = "The capital of France is Paris."
_ROWS: Final = 1024
_HOLE_BYTES: Final = 64 << 20
# Multiples of an item's size, none of which is a multiple of anything larger.
_ODD: Final = (1, 3, 5, 7)


def unload(folder: Path) -> Found:
    """MLX's ledgers with a model, and after it."""
    size = weight_bytes(folder / MODEL)
    held, left = _held_and_left(folder / MODEL)
    finding = (
        f"of {mib(size)}: active {mib(held.mlx_active_bytes)}, and {mib(left.mlx_active_bytes)} after; "
        f"cache {mib(left.mlx_cache_bytes)} after; footprint {mib(held.footprint_bytes)}, and "
        f"{mib(left.footprint_bytes)} after"
    )
    most = size * _LEFT_AFTER_UNLOAD
    gone = (left.mlx_active_bytes or 0) <= most and (left.mlx_cache_bytes or 0) <= most
    return judged(gone and (held.mlx_active_bytes or 0) >= size, finding)


def wired(folder: Path) -> Found:
    """Wired memory without a model, with one that computes, and after it."""
    without = MlxMeter().read(exact=True).system_wired_bytes
    if without is None:
        return not_here("this system has no wired memory")
    wire("recommended")
    size = weight_bytes(folder / MODEL)
    held, left = (reading.system_wired_bytes or 0 for reading in _held_and_left(folder / MODEL))
    finding = f"of {mib(size)}: +{mib(held - without)} with it, {mib(left - held)} after its unload"
    return judged(min(held - without, held - left) >= size * _WIRED_SHARE, finding)


def _held_and_left(checkpoint: Path) -> tuple[Reading, Reading]:
    """The ledgers, exactly, with a model that computes, and after its unload."""
    meter, stock = MlxMeter(), loader("stock")
    loaded = stock.load(checkpoint)
    first_token(loaded.model)
    held = meter.read(exact=True)
    del loaded
    gc.collect()
    stock.released()
    return held, meter.read(exact=True)


def reads(folder: Path) -> Found:
    """Loads of the model, beside what the disk was measured to do."""
    limits = Limits.model_validate_json((folder / "limits.json").read_bytes())
    disk = limits.best("disk", "disk_buffered")
    if disk is None:
        return not_here("this volume has no reads past the page cache, so that the disk is unknown")
    checkpoint, told = folder / MODEL, []
    size, fastest = weight_bytes(checkpoint), dict.fromkeys((PageCache.COLD, PageCache.WARM), 0.0)
    for state in fastest:
        for kind in ("stock", "fill"):
            page_cache.arrange([*checkpoint.glob("*")], state)
            rate = size / _weights_s(checkpoint, kind) / 1e9
            told.append(f"{kind} {state} {rate:.2f}")
            fastest[state] = max(fastest[state], rate)
    cold, warm = fastest.values()
    finding = f"{', '.join(told)} GB/s; the disk by probe {disk.median:.2f} GB/s"
    return judged(cold <= _FASTER * disk.median and warm > cold, finding)


def _weights_s(checkpoint: Path, kind: str) -> float:
    """Seconds of a load's weights, tokenizer left out."""
    spent_s, span = _growing(time.perf_counter)
    loader(kind).load(checkpoint, span)
    return spent_s["weights"]


def _growing(read: Callable[[], float]) -> tuple[Mapping[str, float], Span]:
    """By how much a reading grows within each span."""
    grown: dict[str, float] = defaultdict(float)

    @contextmanager
    def span(name: str) -> Iterator[None]:
        before = read()
        yield
        grown[name] += read() - before

    return grown, span


def loaders(folder: Path) -> Found:
    """Each loader's weights beside stock's."""
    differ, instead = [], []
    for name in (MINI, UNALIGNED):
        stock = weights_of(loader("stock").load(folder / name).model)
        for kind in KINDS:
            loaded = loader(kind).load(folder / name)
            ours = weights_of(loaded.model)
            if ours.keys() != stock.keys() or not all(_equal(ours[key], stock[key]) for key in stock):
                differ.append(f"{kind} of the {name} checkpoint")
            if loaded.report.loader != kind:
                instead.append(f"{kind} was {loaded.report.loader} of the {name} checkpoint")
    finding = f"differ: {', '.join(differ)}" if differ else f"{len(KINDS)} loaders, equal"
    return judged(not differ, "; ".join([finding, *instead]))


def _equal(ours: mx.array, theirs: mx.array) -> bool:
    """By their bits: no number that isn't one is equal to itself."""
    alike = ours.dtype == theirs.dtype and ours.shape == theirs.shape
    return alike and bool(mx.array_equal(ours.view(mx.uint8), theirs.view(mx.uint8)))


def map_copies_nothing(folder: Path) -> Found:
    """The process's memory and the page cache, before the load, after it, and after the first token."""
    checkpoint = folder / MODEL
    files, size = page_cache.weight_files(checkpoint), weight_bytes(checkpoint)
    if why := unmappable(shards_of(checkpoint)):
        return not_here(why)
    page_cache.arrange(files, PageCache.WARM)
    meter = MlxMeter()
    # What computing takes by itself is not the model's, and what the tokenizer takes, not the weights'.
    first_token(loader("stock").load(folder / MINI).model)
    grown, span = _growing(lambda: meter.read().footprint_bytes or 0)
    loaded = ModelLoader(Strategy(loader="map", tokenizer=TokenizerMode.STOCK)).load(checkpoint, span)
    with span("first token"):
        first_token(loaded.model)
    after_load, after_token = grown["weights"], grown["weights"] + grown["first token"]
    share = page_cache.residency(files).share
    finding = (
        f"of {mib(size)}: footprint +{mib(after_load)} after the load, +{mib(after_token)} after the first "
        f"token; {share:.0%} in the page cache"
    )
    copied = max(after_load, after_token) > size * _COPIED_BY_MAP
    kept = share >= page_cache.WARM_SHARE
    return judged(loaded.report.loader == "map" and not copied and kept, finding)


def views_anywhere(_folder: Path) -> Found:
    """Sums of products, lookups and products with quantised weights, over views at odd offsets."""
    rows = mx.random.normal((64, 512)).astype(mx.bfloat16)
    quantised, scales, biases = mx.quantize(rows, 64, 4)
    arrays = (rows, rows.astype(mx.float32), rows.astype(mx.float16), quantised, scales, biases)
    mx.eval(arrays)
    right = _computed(arrays)
    wrong = [odd for odd in _ODD if not all(map(_equal, _computed(_laid(arrays, odd)), right))]
    finding = f"numbers differ at {wrong} times the items' size" if wrong else f"{len(_ODD)} offsets, equal"
    return judged(not wrong, finding)


def _laid(arrays: Sequence[mx.array], odd: int) -> list[mx.array]:
    """Copies of the arrays, as views into one memory that begin at so many times the size of their items."""
    names = {mx.bfloat16: "BF16", mx.float32: "F32", mx.float16: "F16", mx.uint32: "U32"}
    memory, target = unwritten(sum(array.nbytes + 64 for array in arrays))
    entries, at = [], 0
    for number, array in enumerate(arrays):
        begin = -(-at // 64) * 64 + odd * array.dtype.size
        target[begin : begin + array.nbytes] = np.asarray(array.view(mx.uint8)).tobytes()
        at = begin + array.nbytes
        entries.append(TensorEntry(str(number), names[array.dtype], array.shape, begin, at))
    return list(views(memory, 0, entries).values())


def _computed(arrays: Sequence[mx.array]) -> list[mx.array]:
    rows, singles, halves, quantised, scales, biases = arrays
    x = mx.arange(512, dtype=mx.float32).reshape(1, 512) / 512
    results = [
        x.astype(mx.bfloat16) @ rows.T,
        x @ singles.T,
        x.astype(mx.float16) @ halves.T,
        rows[mx.array([3, 1, 63])],
        mx.quantized_matmul(x.astype(mx.bfloat16), quantised, scales, biases, True, 64, 4),
    ]
    mx.eval(results)
    return results


def longest_buffer(folder: Path) -> Found:
    """A sparse file of two tensors, each as long as a buffer may be, but for its last pages."""
    if not mx.metal.is_available():
        return not_here("MLX's CPU build has no longest buffer")
    if not leaves_holes(folder):
        return not_here("this volume would write out every zero of such a file")
    most = longest_array_bytes()
    rows = (most - (1 << 20)) // (_ROWS * 4)
    length = rows * _ROWS * 4
    tensors = {
        name: {"dtype": "F32", "shape": [rows, _ROWS], "data_offsets": [begin, begin + length]}
        for name, begin in (("first", 0), ("second", length))
    }
    header = json.dumps(tensors).encode()
    header += b" " * (-(8 + len(header)) % (1 << 14))
    checkpoint = folder / "longest"
    checkpoint.mkdir()
    with (checkpoint / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for number in (1, 2):
            file.seek(8 + len(header) + number * length - 4)
            file.write(struct.pack("<f", number))
    weights = arrays_over(shards_of(checkpoint)[0], [])
    last = [float(array[-1, -1]) for array in weights.values()]
    finding = f"two of {length / 1e9:.2f} GB, of at most {most / 1e9:.2f} GB a buffer"
    return judged(last == [1.0, 2.0], finding)


def leaves_holes(folder: Path) -> bool:
    """Whether what is skipped in a file takes no room, as on APFS, and not on exFAT."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.seek(_HOLE_BYTES)
        file.write(b"1")
        file.flush()
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_blocks * 512 < _HOLE_BYTES // 2


def substitution(folder: Path) -> Found:
    """Which of the parts put in place of mlx-lm's own were asked, and whether what they gave was used."""
    checkpoint = folder / MINI
    zeros: dict[str, mx.array] = {}
    for shard in shards_of(checkpoint):
        arrays = mx.load(str(shard.path))
        assert isinstance(arrays, dict)
        zeros |= {name: mx.zeros_like(array) for name, array in arrays.items()}
    if missing := [why for part in PARTS if (why := unasked(part))]:
        return judged(False, "; ".join(missing))
    model, config = build(checkpoint, dict(zeros))
    used = all(not bool(mx.any(array)) for array in weights_of(model).values())
    eos = config.get("eos_token_id")
    lean = load_lean(checkpoint, eos)
    alike = lean.tokenizer.encode(_TEXT) == load_stock(checkpoint, eos).encode(_TEXT)
    findings = [] if used else ["the model has other weights than those that it was given"]
    findings += [] if alike and not lean.why else [f"the tokenizer's tokens differ; {lean.why}"]
    return judged(not findings, "; ".join(findings) or f"asked for {', '.join(PARTS)}")


def other_thread(folder: Path) -> Found:
    """The first token's numbers, by a thread that loaded nothing."""
    model = loader("stock").load(folder / MINI).model
    told: list[mx.array | Exception] = []

    def compute() -> None:
        try:
            told.append(first_token(model))
        except RuntimeError as error:  # no stream in this thread
            told.append(error)

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    if isinstance(told[0], Exception):
        return judged(False, str(told[0]))
    alike = _equal(told[0], first_token(model))
    return judged(alike, "equal numbers by both threads" if alike else "other numbers by the other thread")


def heartbeat(folder: Path) -> Found:
    """The longest time that another thread was kept waiting, while each loader loads cold; the least of three
    where that is too long."""
    stalls = {}
    for kind in KINDS:
        stalls[kind] = _stall_s(kind, folder / MODEL)
        for _ in range(1, _TRIES):
            if stalls[kind] > _LONGEST_STALL_S and kind not in _NOT_OURS:
                stalls[kind] = min(stalls[kind], _stall_s(kind, folder / MODEL))
    told = ", ".join(f"{kind} {stall * 1e3:.0f} ms" for kind, stall in stalls.items())
    ours = max(stall for kind, stall in stalls.items() if kind not in _NOT_OURS)
    return judged(ours <= _LONGEST_STALL_S, f"longest: {told}")


def _stall_s(kind: str, checkpoint: Path) -> float:
    page_cache.arrange(page_cache.weight_files(checkpoint), PageCache.COLD)
    with Heartbeat(lambda: None) as beat:
        loader(kind).load(checkpoint)
    return beat.longest_stall_s or 0.0
