"""Targets with the faults that real swappers were seen to have: `python -m tests.e2e.faulty FAULT OUT`."""

import sys
import timeit
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from swapbench.loaders import Loaded
from swapbench.loaders.arrays import Span, unmeasured
from swapbench.wire.plan import Checkpoint, Reply
from swapbench.wire.swap import Recovery
from swapbench.worker.engine.batch import BatchEngine, ask
from swapbench.worker.engine.geometry import BlockPool, KVGeometry
from swapbench.worker.targets.inprocess import InProcessTarget
from tests.e2e.playing import carry_out

MIB = 1 << 20
_LONG_PROMPT = 32


class KeepsTheBootModel(InProcessTarget):
    """The first model that was ever loaded stays referenced; every later one is freed."""

    boot: Loaded | None = None

    def _unload(self, span: Span = unmeasured) -> None:
        self.boot = self.boot or self._loaded
        super()._unload(span)


class AnswersLongPromptsWithTheOldModel(InProcessTarget):
    """A second path, for long prompts, that nobody told of the swap."""

    old: Loaded | None = None

    def _unload(self, span: Span = unmeasured) -> None:
        self.old = self._loaded or self.old
        super()._unload(span)

    def replies(self) -> tuple[Reply, ...]:
        assert self.old is not None
        assert self._served is not None
        pool = BlockPool(64 * MIB, 16)
        pool.reconfigure(KVGeometry.of(self.old.model))
        verify, served = self._plan.experiment.verify, super().replies()
        # Engines take turns on the one thread: the current one has to leave it first.
        self._stop()
        engine = BatchEngine(
            self.old.model, self.old.tokenizer, pool, self._thread, max_batch=1, name="old", batches=True
        )
        stale = ask(engine, verify)
        engine.stop()
        self._reinit(self._served)
        pairs = zip(served, stale, strict=True)
        return tuple(old if new.prompt_tokens > _LONG_PROMPT else new for new, old in pairs)


class HealthyWithoutAnEngine(InProcessTarget):
    """Its load fails, and what it calls rolled back has no engine."""

    def _load(self, checkpoint: Checkpoint, span: Span) -> None:
        if self._fallback is not None:
            raise OSError("the disk is gone")
        super()._load(checkpoint, span)

    def roll_back(self, old: Checkpoint) -> Recovery:
        self._stop()
        return "itself"


class LosesADrainedRequest(InProcessTarget):
    """What the deadline cut off is carried over, all but one."""

    def _drain(self) -> None:
        super()._drain()
        self._carried = self._carried[1:]


class LosesWhoWaitsAtTheDoor(InProcessTarget):
    """The queue of the old engine's clients is forgotten with it."""

    def _reinit(self, checkpoint: Checkpoint) -> None:
        self._door._waiting.clear()
        super()._reinit(checkpoint)


class StartsNoEngine(InProcessTarget):
    """The new model's engine breaks as it starts."""

    def _reinit(self, checkpoint: Checkpoint) -> None:
        super()._reinit(checkpoint)
        if self._fallback is not None and checkpoint != self._fallback:
            assert self._batch is not None
            self._batch._fail_waiting(RuntimeError("out of streams"))
            self._batch.await_ready(1)


class HasNoRoom(InProcessTarget):
    """The disk that caches are evicted to has a kilobyte left."""

    def _refuse_a_full_disk(self) -> None:
        with patch("shutil.disk_usage", lambda _: SimpleNamespace(free=1000)):
            super()._refuse_a_full_disk()


class WedgesAfterAFailure(InProcessTarget):
    """One load fails, and its half-made state makes every later one fail."""

    loads = 0

    def _load(self, checkpoint: Checkpoint, span: Span) -> None:
        self.loads += 1
        # The first three are the model to begin with, and two swaps; rolling back still works.
        if self.loads > 3 and checkpoint != self._fallback:
            raise RuntimeError("another load is in progress")
        super()._load(checkpoint, span)


class HoldsPythonsLock(InProcessTarget):
    """Computes while it loads, in one call that lets no other thread run, longer than anyone would wait."""

    _SECONDS = 1.6

    def __init__(self, plan: Any) -> None:
        super().__init__(plan)
        some = 5_000_000
        took_s = min(timeit.repeat(lambda: sum(range(some)), number=1, repeat=3))
        self._terms = int(some * self._SECONDS / took_s)

    def _load(self, checkpoint: Checkpoint, span: Span) -> None:
        assert sum(range(self._terms)) > 0
        super()._load(checkpoint, span)


class _PoolOfBlocks(BlockPool):
    """Keeps as many blocks as the first model had, whatever they weigh."""

    def reconfigure(self, geometry: KVGeometry) -> None:
        blocks = self.capacity_blocks
        super().reconfigure(geometry)
        self.capacity_blocks = blocks or self.capacity_blocks


class CountsBlocksAndNotBytes(InProcessTarget):
    """Its KV budget is a number of blocks."""

    def __init__(self, plan: Any) -> None:
        super().__init__(plan)
        self._pool = _PoolOfBlocks(
            plan.experiment.engine.kv_budget_bytes, plan.experiment.engine.block_tokens
        )


class KeepsMemoryOutsideMlx(InProcessTarget):
    """Freed by MLX, kept by somebody whom MLX does not count."""

    kept: bytearray | None = None

    def _unload(self, span: Span = unmeasured) -> None:
        super()._unload(span)
        self.kept = self.kept or bytearray(b"x") * (256 * MIB)


_CUT = ["workload.drain_deadline_s=0", "workload.decode_tokens=64"]
_UNVERIFIED = ["verify.tokens=0", "steady_tokens=0"]

FAULTS: dict[str, tuple[type[InProcessTarget], list[str]]] = {
    "boot-model": (KeepsTheBootModel, _UNVERIFIED),
    "long-prompts": (AnswersLongPromptsWithTheOldModel, ["rounds=1"]),
    "no-engine": (HealthyWithoutAnEngine, [*_UNVERIFIED, "rounds=1"]),
    "lost-request": (LosesADrainedRequest, [*_UNVERIFIED, *_CUT, "rounds=1"]),
    "lost-client": (
        LosesWhoWaitsAtTheDoor,
        [
            *_UNVERIFIED,
            "rounds=1",
            "workload.clients=2",
            "workload.rate_per_s=20.0",
            "workload.decode_tokens=2",
        ],
    ),
    "engine-breaks": (StartsNoEngine, [*_UNVERIFIED, "rounds=1"]),
    # What is carried over fits the small model's blocks, and not the large one's.
    "carried-too-long": (
        InProcessTarget,
        [
            *_UNVERIFIED,
            "rounds=1",
            "engine.kv_budget_bytes=200_000",
            "workload.drain_deadline_s=0",
            "workload.decode_tokens=48",
        ],
    ),
    "no-room": (HasNoRoom, [*_UNVERIFIED, "rounds=1"]),
    "wedged": (WedgesAfterAFailure, _UNVERIFIED),
    "python-lock": (HoldsPythonsLock, [*_UNVERIFIED, "rounds=1"]),
    "blocks": (CountsBlocksAndNotBytes, [*_UNVERIFIED, "rounds=1"]),
    "outside-mlx": (KeepsMemoryOutsideMlx, [*_UNVERIFIED, "rounds=1"]),
}


if __name__ == "__main__":
    chosen, settings = FAULTS[sys.argv[1]]
    carry_out(chosen, "quick", settings, Path(sys.argv[2]))
