"""The reference target: mlx-lm's model, batch engine and KV caches in this very process."""

import gc
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mlx_lm.models.cache import make_prompt_cache

from swapbench.base.phases import Phase
from swapbench.compat import mlx_identity, wire
from swapbench.loaders import Loaded, ModelLoader, platform
from swapbench.loaders.arrays import Span, unmeasured
from swapbench.machine.allowance import ByteLimit, memory
from swapbench.spec.experiment import CacheFill
from swapbench.wire.plan import Checkpoint, Plan, Reply
from swapbench.wire.swap import Audit, ClientRequest, PlannedSwap, Recovery, Restored, Steady
from swapbench.worker.checking import Serving, refuse_broken, refuse_too_large
from swapbench.worker.engine.batch import BatchEngine, FrontDoor, ask
from swapbench.worker.engine.caches import CacheStore, ModelTag, continuation, fill_cache, unsavable
from swapbench.worker.engine.geometry import BlockPool
from swapbench.worker.engine.requests import (
    HELLO,
    PATIENCE_S,
    Request,
    Ticket,
    Traffic,
    client_request,
    requests,
    seen_by_client,
)
from swapbench.worker.meter import MlxMeter, Settled, settle
from swapbench.worker.preparation import keep_page_cache, set_page_cache, touch_free_memory
from swapbench.worker.probe import SwapProbe
from swapbench.worker.targets import NONE_RESTORED, NONE_SEEN, RefusedError, Target

# Requests that clients still send once the new model has shown its first token.
_SENT_AFTERWARDS = 2
# How often a client that waits looks whether anybody still works on its request.
_LOOK_S = 0.1
_HELLO = Request(id="hello", text=HELLO, prompt_tokens=8, max_tokens=1)


class InProcessTarget(Target):
    """Serves one model by a BatchEngine; the pool's budget and the cache store outlive every swap."""

    _nothing = NONE_SEEN

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.meter: MlxMeter = MlxMeter()
        self._engine = engine = plan.experiment.engine
        if engine.wired == "server":
            wire("recommended")
        self._pool = BlockPool(engine.kv_budget_bytes, engine.block_tokens)
        self._store = CacheStore(plan.scratch_dir)
        self._agents = tuple(f"agent-{n}" for n in range(1, plan.experiment.workload.agents + 1))
        # What the caches of the first and the last agent, who speak for all, went on with when they were
        # filled: by agent and model.
        self._continuations: dict[tuple[str, str], tuple[int, ...]] = {}
        self._loader = ModelLoader(plan.how)
        self._reserved = False
        self._freed_bytes = 0
        self._tag: ModelTag | None = None
        self._serving: dict[Path, Serving] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._loaded: Loaded | None = None
        self._batch: BatchEngine | None = None
        # Of the swap that goes on, or was the last.
        self._fallback: Checkpoint | None = None
        self._following: Path | None = None
        self._tickets: tuple[Ticket, ...] = ()
        self._carried: tuple[Ticket, ...] = ()
        self._door = FrontDoor(plan.experiment.workload.queue_limit)
        self._traffic: Traffic[Request, Ticket | None] | None = None
        self._tell(note=self._loader.unasked)

    def identity(self) -> tuple[dict[str, str], str]:
        return mlx_identity()

    def serve(self, checkpoint: Checkpoint) -> None:
        self._outcome = NONE_SEEN
        self._tickets = self._carried = ()
        if self._served == checkpoint and self._batch is not None and self._batch.serves:
            return
        refuse_too_large(checkpoint, self._room_for(checkpoint))
        self._serving[checkpoint.path] = refuse_broken(checkpoint)
        self._stop_traffic()
        self._stop()
        self._store.evict_all(unmeasured)
        self._unload()
        if not self._reserved:
            self._loader.reserve(other.path for other in self._plan.checkpoints.values())
            self._reserved = True
        self._load_unmeasured(checkpoint)
        self._reinit(checkpoint)

    def prepare(self, to: Checkpoint, planned: PlannedSwap) -> None:
        """Fill the agents' caches, set the page cache, and put requests in flight, decoding."""
        work, loaded = self._plan.experiment.workload, self._the_loaded
        kind = unsavable(make_prompt_cache(loaded.model)) if self._agents else ""
        if kind:
            raise RefusedError(
                f"{self.served.name} has caches of a kind of its own ({kind}), which mlx-lm can't save: "
                "agents' would be lost; set workload.agents = 0"
            )
        self._fill_caches(planned.round)
        self._refuse_a_full_disk()
        if self._plan.experiment.touch_free_memory:
            touch_free_memory(to.weight_bytes)
        label = self._plan.page_cache_of(planned.scenario)
        set_page_cache(to, label)
        own = self._plan.scenario(planned.scenario).requests
        count = work.requests if own is None else own
        wanted = requests(count, work.prompt_tokens, work.decode_tokens, seed=planned.round)
        self._tickets = tuple(self._the_batch.submit(request) for request in wanted)
        for ticket in self._tickets:
            ticket.first_token(PATIENCE_S)
        self._start_traffic(planned)
        keep_page_cache(to, label)

    def check(self, to: Checkpoint, planned: PlannedSwap) -> None:
        # Size first: it is told by the files' sizes, and building a model of that size takes some, too.
        refuse_too_large(to, self._room_for(to))
        self._serving[to.path] = refuse_broken(to)
        self._tag = ModelTag.of(to.path, to.name)
        self._loader.look(to.path)

    def swap(self, to: Checkpoint, probe: SwapProbe) -> None:
        """Replace the model that is served by `to`, one measured phase after another."""
        self._fallback, self._following = self._served, to.path
        probe.begin()
        with probe.phase(Phase.DRAIN):
            self._loader.begin(to.path)
            self._drain()
        with probe.phase(Phase.EVICT):
            self._evict(probe.span)
        with probe.phase(Phase.SHUTDOWN):
            self._stop()
        with probe.phase(Phase.UNLOAD):
            self._unload(probe.span)
        with probe.observing():
            self._look_at_release()
            self._look_at_page_cache(to)
        with probe.phase(Phase.LOAD):
            self._load(to, probe.span)
            self._note_load()
        with probe.phase(Phase.RECONFIGURE):
            self._pool.reconfigure(self._serving[to.path].geometry)
            self._tell(kv_capacity_bytes=self._pool.capacity_bytes)
        with probe.phase(Phase.UPDATE_TAG):
            assert self._tag is not None
            self._store.update_tag(self._tag)
        with probe.phase(Phase.REINIT):
            self._reinit(to)

    def first_token(self, probe: SwapProbe) -> None:
        """A request of its own, beside whatever was carried over."""
        batch = self._the_batch
        with probe.first_token():
            ticket = batch.submit(_HELLO)
            ticket.first_token(PATIENCE_S)
        ticket.result(PATIENCE_S)

    def steady(self) -> Steady:
        asked = self._plan.experiment.steady_tokens
        if asked == 0:
            return Steady()
        ticket = self._the_batch.submit(replace(_HELLO, id="steady", max_tokens=asked))
        ticket.result(PATIENCE_S)
        rate = ticket.steady_tokens_per_s
        return Steady(ticket.first_token_s, None if math.isnan(rate) else rate)

    def restore(self) -> Restored:
        """Read the served model's files, compare what the caches go on with, and free them again."""
        files = self._store.saved()
        if not files:
            return NONE_RESTORED
        begun_s = self.meter.now_s()
        for agent in files:
            self._store.restore(agent)
        seconds = self.meter.now_s() - begun_s
        held, before = self._store.held(), self._continuations
        keys = [(agent, self.served.name) for agent in self._agents]
        restored = Restored(
            caches=len(files),
            tokens=sum(held[agent] for agent in files),
            bytes=sum(path.stat().st_size for path in files.values()),
            seconds=seconds,
            changed=tuple(k[0] for k in keys if k in before and self._continuation(k[0]) != before[k]),
        )
        for agent in files:
            self._store.forget(agent)
        return restored

    def replies(self) -> tuple[Reply, ...]:
        return ask(self._the_batch, self._plan.experiment.verify)

    def roll_back(self, old: Checkpoint) -> Recovery:
        """Serve the old model again, its agents' caches restored."""
        if self._batch is not None:
            # A broken engine has failed its requests already: there is nothing to carry.
            with suppress(RuntimeError):
                self._carried += self._batch.drain(0, self._engine.drain_grace_s).carried
            self._stop()
        if self._loaded is None or self._served != old:
            self._unload()
            self._load_unmeasured(old)
        for agent in self._agents:
            self._store.restore(agent)
        self._reinit(old)
        return "itself"

    def answer(self) -> None:
        self._the_batch.submit(_HELLO).result(PATIENCE_S)

    def audit(self) -> Audit:
        """Each agent's cache, in memory or read back; and all files of all models."""
        readable = 0
        for agent in self._agents:
            with suppress(ValueError):  # a broken file is counted as that
                readable += self._store.restore(agent)
        return Audit(readable, self._store.broken())

    def finish(self) -> int:
        """Wait until every request of the workload is answered, by whichever model."""
        for ticket in self._tickets:
            self._answered(ticket)
        if self._traffic is not None:
            # The swap is over: clients go on for a little, to feel the new model too.
            self._traffic.await_more(_SENT_AFTERWARDS)
            for sent in self._traffic.stop():
                if sent.ticket is not None:
                    self._answered(sent.ticket)
        return len(self._tickets)

    def clients(self, planned: PlannedSwap, begun_s: float) -> tuple[ClientRequest, ...]:
        if self._traffic is None:
            return ()
        zero_s = self.meter.clock_origin_ns / 1e9 + begun_s
        return tuple(seen_by_client(sent, planned, zero_s) for sent in self._traffic.sent())

    def settle(self) -> Settled:
        gc.collect()
        return settle(self.meter)

    def close(self) -> None:
        """Stop the clients and the engine, drop the model, remove the evicted caches."""
        self._stop_traffic()
        self._stop()
        self._thread.shutdown()
        self._unload()
        self._loader.close()
        shutil.rmtree(self._plan.scratch_dir, ignore_errors=True)

    @property
    def _the_loaded(self) -> Loaded:
        assert self._loaded is not None
        return self._loaded

    @property
    def _the_batch(self) -> BatchEngine:
        if self._batch is None:
            raise RuntimeError("no engine runs")
        return self._batch

    def _answered(self, ticket: Ticket) -> None:
        """Wait for an answer as long as the engine has anything left to do."""
        while not ticket.done:
            idle = self._batch is None or not (self._batch.in_flight or self._door.waiting)
            if not ticket.wait(_LOOK_S) and idle:
                raise RuntimeError(f"{ticket.request.id} was taken, and will never be answered")
        ticket.result(0)

    def _fill_caches(self, round_: int) -> None:
        """Give each agent a cache of its own, other than before."""
        work, loaded = self._plan.experiment.workload, self._the_loaded
        begun_s = self.meter.now_s()
        for n, agent in enumerate(self._agents):
            # Other contents in each round: a store that writes only what changed has something to write.
            seed = round_ * work.agents + n
            cache = fill_cache(loaded.model, loaded.tokenizer, work.cache_tokens, work.cache_fill, seed)
            self._store.hold(agent, cache, work.cache_tokens)
        seconds = self.meter.now_s() - begun_s
        if self.served.name in self._plan.expected:
            for agent in self._agents[:1] + self._agents[1:][-1:]:
                self._continuations[agent, self.served.name] = self._continuation(agent)
        if self._agents and work.cache_fill is CacheFill.PREFILL:
            self._tell(prefilled_tokens=work.agents * work.cache_tokens, prefill_s=seconds)

    def _continuation(self, agent: str) -> tuple[int, ...]:
        cache = self._store.get(agent)
        assert cache is not None
        return continuation(self._the_loaded.model, cache, self._plan.experiment.verify.tokens)

    def _start_traffic(self, planned: PlannedSwap) -> None:
        """Have clients send, and wait until one of them is being answered."""
        work = self._plan.experiment.workload
        self._stop_traffic()
        if work.clients == 0:
            return
        self._traffic = Traffic(
            self._door.submit,
            lambda number: client_request(number, work, planned.round),
            work.clients,
            work.rate_per_s,
            seed=planned.round,
        )
        self._traffic.start()
        self._traffic.await_more(1)
        first = self._traffic.sent()[0].ticket
        assert first is not None
        first.first_token(PATIENCE_S)

    def _stop_traffic(self) -> None:
        if self._traffic is not None:
            self._traffic.stop()
            self._traffic = None

    def _drain(self) -> None:
        self._door.close()
        deadline_s = self._plan.experiment.workload.drain_deadline_s
        drained = self._the_batch.drain(deadline_s, self._engine.drain_grace_s)
        self._carried = drained.carried
        self._tell(drained_requests=drained.finished, carried_requests=len(drained.carried))

    def _evict(self, span: Span) -> None:
        evicted = self._store.evict_all(span, self._plan.how.evict_workers, self._plan.how.fsync)
        self._tell(evicted_caches=evicted.caches, evicted_bytes=evicted.bytes)

    def _stop(self) -> None:
        self._door.close()
        if self._batch is not None:
            self._batch.stop(self._engine.drain_grace_s)
            self._batch = None

    def _unload(self, span: Span = unmeasured) -> None:
        self._served = self._loaded = None
        gc.collect()
        self._loader.released(self._following, span)
        self._following = None

    def _look_at_release(self) -> None:
        """What malloc keeps; and whether memory comes back late, for which the swap waits."""
        self._freed_bytes = self._kept_by_malloc()
        if self._plan.experiment.settle_after_unload:
            settled = settle(self.meter)
            self._tell(release_settle_s=settled.seconds, released=settled.ledgers)

    def _load(self, checkpoint: Checkpoint, span: Span) -> None:
        refuse_too_large(checkpoint, self._room_for(checkpoint))
        self._loaded = self._loader.load(checkpoint.path, span)
        self._served = checkpoint

    def _note_load(self) -> None:
        """Of a swap alone: what serves before it, or again after it failed, is none of its doing."""
        loaded = self._the_loaded
        self._tell(
            loaded_bytes=loaded.weight_bytes,
            loader=loaded.report.loader,
            loader_why=loaded.report.why,
            note=self._loader.unasked,
            ahead_bytes=loaded.report.ahead_bytes,
            kept_bytes=loaded.report.kept_bytes + self._freed_bytes,
        )

    def _load_unmeasured(self, checkpoint: Checkpoint) -> None:
        self._load(checkpoint, unmeasured)
        self._pool.reconfigure(self._serving[checkpoint.path].geometry)
        self._store.update_tag(ModelTag.of(checkpoint.path, checkpoint.name))

    def _room_for(self, _checkpoint: Checkpoint) -> ByteLimit:
        """What a model may take: what is set, or what this process can get once the old model is gone."""
        if self._engine.memory_limit_bytes:
            return ByteLimit(self._engine.memory_limit_bytes, "engine.memory_limit_bytes")
        ours = self._loaded.weight_bytes if self._loaded is not None else 0
        kept = self._loader.kept_bytes + self._kept_by_malloc()
        room = memory().obtainable
        return replace(room, bytes=room.bytes + max(ours, kept))

    def _kept_by_malloc(self) -> int:
        """What was freed, where that is not given back; malloc counts it whether or not it was."""
        return 0 if self._plan.how.gives_back else platform.freed_memory_bytes()

    def _refuse_a_full_disk(self) -> None:
        """What is held has to be written before the old model may go."""
        needed, folder = self._store.unsaved_bytes(), self._plan.scratch_dir
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise RefusedError(
                f"no room to evict: {needed / 1e6:,.1f} MB of KV caches, and {free / 1e6:,.1f} MB of disk "
                f"free at {folder}; delete something, or choose another disk with --out"
            )

    def _reinit(self, checkpoint: Checkpoint) -> None:
        """A new engine over the loaded model, which goes on with the requests carried over."""
        loaded = self._the_loaded
        # Known before anything can fail: an engine that nobody stops would keep the one thread for ever.
        self._batch = batch = BatchEngine(
            loaded.model,
            loaded.tokenizer,
            self._pool,
            self._thread,
            max_batch=self._engine.max_batch,
            name=checkpoint.name,
            batches=self._serving[checkpoint.path].batches,
        )
        batch.await_ready(self._engine.drain_grace_s)
        if self._engine.wired == "off":
            wire("nothing")
        while self._carried:
            batch.resubmit(self._carried[0])
            self._carried = self._carried[1:]
        self._door.open(batch)
