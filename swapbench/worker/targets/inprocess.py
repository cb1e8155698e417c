"""The reference target: mlx-lm's model, batch engine and KV caches in this very process."""

import gc
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.metadata import version

import mlx.core as mx

from swapbench.experiment import PageCache
from swapbench.ledgers import system
from swapbench.loaders import Loaded, Span, stock
from swapbench.phases import Phase
from swapbench.wire import Checkpoint, Plan, Reading
from swapbench.worker import allocator, page_cache
from swapbench.worker.engine.batch import BatchEngine, Request, Ticket
from swapbench.worker.engine.blocks import BlockPool
from swapbench.worker.engine.caches import CacheStore
from swapbench.worker.engine.geometry import KVGeometry
from swapbench.worker.engine.tag import ModelTag
from swapbench.worker.engine.workload import fill_cache, requests
from swapbench.worker.meter import MlxMeter
from swapbench.worker.probe import Probe
from swapbench.worker.targets import Outcome

# Longer than any request should take; a worker that really hangs is the parent's to kill.
_PATIENCE_S = 3600.0
_HELLO = Request(id="hello", text="Hello, who is answering now?", prompt_tokens=8, max_tokens=1)

_SETTLE_STEP_S = 0.01
_SETTLE_STEPS = 5
_SETTLE_AT_MOST_S = 2.0
_SETTLE_TOLERANCE_BYTES = 256 << 10


class InProcessTarget:
    """Serves one model by a BatchEngine; the pool's budget and the cache store outlive every swap."""

    def __init__(self, plan: Plan) -> None:
        self.meter = MlxMeter()
        self._plan = plan
        self._pool = BlockPool(plan.engine.kv_budget_bytes, plan.engine.block_tokens)
        self._store = CacheStore(plan.scratch_dir)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._served: Checkpoint | None = None
        self._loaded: Loaded | None = None
        self._batch: BatchEngine | None = None
        self._fallback: Checkpoint | None = None
        self._agents: tuple[str, ...] = ()
        self._tickets: tuple[Ticket, ...] = ()
        self._carried: tuple[Ticket, ...] = ()
        self._outcome = Outcome()

    def identity(self) -> tuple[dict[str, str], str]:
        """Versions of mlx and mlx-lm; MLX's default device."""
        info = mx.device_info()
        name = str(info.get("device_name", "unknown"))
        versions = {package: version(package) for package in ("mlx", "mlx-lm", "transformers")}
        return versions, f"{mx.default_device().type.name} ({name})"

    def serve(self, checkpoint: Checkpoint) -> None:
        """Load `checkpoint` unless it is served already."""
        self._outcome = Outcome()
        self._tickets = self._carried = ()
        if self._served == checkpoint and self._batch is not None:
            return
        self._stop()
        self._store.evict_all(_unmeasured)
        self._unload()
        self._start(checkpoint)

    def prepare(self, to: Checkpoint, round_: int) -> None:
        """Fill the agents' caches, set the page cache, and put requests in flight, decoding."""
        work, batch, loaded = self._plan.workload, self._batch, self._loaded
        assert batch is not None
        assert loaded is not None
        self._agents = tuple(f"agent-{n}" for n in range(1, work.agents + 1))
        for n, agent in enumerate(self._agents):
            # Other contents in each round: a store that writes only what changed has something to write.
            seed = round_ * work.agents + n
            cache = fill_cache(loaded.model, loaded.tokenizer, work.cache_tokens, work.cache_fill, seed)
            self._store.hold(agent, cache, work.cache_tokens)
        self._set_page_cache(to)
        wanted = requests(work.requests, work.prompt_tokens, work.decode_tokens, seed=round_)
        self._tickets = tuple(batch.submit(request) for request in wanted)
        for ticket in self._tickets:
            ticket.first_token(_PATIENCE_S)
        self._keep_page_cache(to)

    def swap(self, to: Checkpoint, probe: Probe) -> None:
        """Replace the model that is served by `to`, one measured phase after another."""
        self._fallback = self._served
        probe.begin()
        with probe.phase(Phase.DRAIN):
            self._drain()
        with probe.phase(Phase.EVICT):
            self._evict(probe.span)
        with probe.phase(Phase.SHUTDOWN):
            self._stop()
        with probe.phase(Phase.UNLOAD):
            self._unload()
        with probe.observing():
            self._look_at_page_cache(to)
        with probe.phase(Phase.LOAD):
            self._load(to, probe.span)
        with probe.phase(Phase.RECONFIGURE):
            self._fit_pool()
        with probe.phase(Phase.UPDATE_TAG):
            self._store.update_tag(ModelTag.of(to.path, to.name))
        with probe.phase(Phase.REINIT):
            self._reinit(to)

    def outcome(self) -> Outcome:
        """What the last swap did, as far as it came."""
        return self._outcome

    def first_token(self, probe: Probe) -> None:
        """A request of its own, beside whatever was carried over."""
        assert self._batch is not None
        with probe.first_token():
            ticket = self._batch.submit(_HELLO)
            ticket.first_token(_PATIENCE_S)
        ticket.result(_PATIENCE_S)

    def roll_back(self) -> None:
        """Serve the old model again, its agents' caches restored, and have it answer a request."""
        old = self._fallback
        assert old is not None
        if self._batch is not None:
            self._carried += self._batch.drain(0).carried
            self._stop()
        if self._loaded is None or self._served != old:
            self._unload()
            self._load(old, _unmeasured)
            self._fit_pool()
            self._store.update_tag(ModelTag.of(old.path, old.name))
        for agent in self._agents:
            if agent not in self._store.held():
                self._store.restore(agent)
        self._reinit(old)
        assert self._batch is not None
        self._batch.submit(_HELLO).result(_PATIENCE_S)

    def finish(self) -> int:
        """Wait until every request of the workload is answered, by whichever model."""
        for ticket in self._tickets:
            ticket.result(_PATIENCE_S)
        return len(self._tickets)

    def settle(self) -> float:
        """Collect, then wait until the ledgers have stood still for 50 ms."""
        gc.collect()
        begun_s = self.meter.now_s()
        recent: list[Reading] = []
        while self.meter.now_s() - begun_s < _SETTLE_AT_MOST_S:
            recent = [*recent[-_SETTLE_STEPS + 1 :], self.meter.read()]
            if len(recent) == _SETTLE_STEPS and _still(recent):
                break
            time.sleep(_SETTLE_STEP_S)
        return self.meter.now_s() - begun_s

    def close(self) -> None:
        """Stop the engine, drop the model, remove the evicted caches."""
        self._stop()
        self._thread.shutdown()
        self._unload()
        shutil.rmtree(self._plan.scratch_dir, ignore_errors=True)

    def _start(self, checkpoint: Checkpoint) -> None:
        self._load(checkpoint, _unmeasured)
        self._fit_pool()
        self._store.update_tag(ModelTag.of(checkpoint.path, checkpoint.name))
        self._reinit(checkpoint)

    def _set_page_cache(self, to: Checkpoint) -> None:
        files = page_cache.weight_files(to.path)
        if self._plan.page_cache is PageCache.WARM:
            page_cache.prime(files)
        elif self._plan.page_cache is PageCache.COLD:
            page_cache.evict(files)

    def _keep_page_cache(self, to: Checkpoint) -> None:
        """Kernels that reclaim idle pages take some back while requests are brought in flight."""
        files = page_cache.weight_files(to.path)
        if self._plan.page_cache is PageCache.WARM and page_cache.residency(files).share < 1:
            page_cache.prime(files)

    def _drain(self) -> None:
        assert self._batch is not None
        drained = self._batch.drain(self._plan.workload.drain_deadline_s)
        self._carried = drained.carried
        self._outcome = Outcome(drained_requests=drained.finished, carried_requests=len(drained.carried))

    def _evict(self, span: Span) -> None:
        evicted = self._store.evict_all(span)
        self._outcome = replace(self._outcome, evicted_caches=evicted.caches, evicted_bytes=evicted.bytes)

    def _stop(self) -> None:
        if self._batch is not None:
            self._batch.stop()
            self._batch = None

    def _unload(self) -> None:
        self._served = self._loaded = None
        gc.collect()
        # Every layer that was built drew from MLX's chain of random keys, lazily; unless somebody
        # evaluates it, the chain grows with each load for ever.
        mx.eval(mx.random.state)
        mx.clear_cache()
        allocator.give_back()

    def _look_at_page_cache(self, to: Checkpoint) -> None:
        share = page_cache.residency(page_cache.weight_files(to.path)).share
        self._outcome = replace(self._outcome, resident_before=share)

    def _load(self, checkpoint: Checkpoint, span: Span) -> None:
        _refuse_what_cannot_fit(checkpoint)
        self._loaded = stock.load(checkpoint.path, span)
        self._served = checkpoint
        self._outcome = replace(self._outcome, loaded_bytes=self._loaded.weight_bytes)

    def _fit_pool(self) -> None:
        assert self._loaded is not None
        self._pool.reconfigure(KVGeometry.of(self._loaded.model))

    def _reinit(self, checkpoint: Checkpoint) -> None:
        """A new engine over the loaded model, which goes on with the requests carried over."""
        loaded = self._loaded
        assert loaded is not None
        batch = BatchEngine(
            loaded.model,
            loaded.tokenizer,
            self._pool,
            self._thread,
            max_batch=self._plan.engine.max_batch,
            name=checkpoint.name,
        )
        for ticket in self._carried:
            batch.resubmit(ticket)
        self._batch, self._carried = batch, ()


def _refuse_what_cannot_fit(checkpoint: Checkpoint) -> None:
    """MLX's CPU build does not survive an allocation that fails, nor any build the OOM killer."""
    needed = sum(file.stat().st_size for file in page_cache.weight_files(checkpoint.path))
    obtainable = system().obtainable_bytes()
    if needed > obtainable:
        gigabytes = (
            f"{needed / 1e9:.1f} GB of weights, and only {obtainable / 1e9:.1f} GB of memory to be had"
        )
        raise MemoryError(f"{checkpoint.name} does not fit: {gigabytes}")


def _unmeasured(_name: str) -> AbstractContextManager[None]:
    return nullcontext()


def _still(readings: Sequence[Reading]) -> bool:
    """Whether no ledger of this process moved by more than the tolerance."""
    for ledger in ("mlx_active_bytes", "mlx_cache_bytes", "footprint_bytes"):
        values = [getattr(reading, ledger) or 0 for reading in readings]
        if max(values) - min(values) > _SETTLE_TOLERANCE_BYTES:
            return False
    return True
