"""One rank's part of a sharded model: checked, loaded, asked for tokens, dropped, and measured."""

import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load_config, load_model

from swapbench.base.phases import Phase
from swapbench.compat import mlx_identity, wire
from swapbench.compat.mlx_lm import Mode, load_share, unasked
from swapbench.instruments import page_cache
from swapbench.loaders.arrays import Span
from swapbench.models.stand_ins.store import advised
from swapbench.models.validation import brief
from swapbench.spec.experiment import Source
from swapbench.wire.events import Event
from swapbench.wire.swap import NO_SWAP, Message, PhaseMeasured
from swapbench.worker.checking import fault_of
from swapbench.worker.engine.caches import ModelTag
from swapbench.worker.engine.geometry import BlockPool, KVGeometry
from swapbench.worker.engine.requests import tokens_of, verification
from swapbench.worker.meter import MlxMeter, settle
from swapbench.worker.probe import SwapProbe
from swapbench.worker.sharding import Pulse, RankOrder, Ready, Report, Welcome, Work


class Share:
    """What one rank holds, measured by its own instruments. All orders but to check and to unload are carried
    out by every rank together.
    """

    def __init__(self, welcome: Welcome, say: Callable[[Message], None]) -> None:
        if welcome.engine.wired == "server":
            wire("recommended")
        self._meter = MlxMeter()
        self._measured: list[PhaseMeasured] = []
        threading.Thread(target=self._pulse, args=(say, welcome.pulse_s), name="pulse", daemon=True).start()
        several = welcome.ranks > 1
        if not several:  # nobody to connect to: mlx.launch leaves an empty list, which the ring can't read
            os.environ.pop("MLX_HOSTFILE", None)
        backend = welcome.sharded.backend.removesuffix("-ring") if several else "any"
        self._group = mx.distributed.init(strict=several, backend=backend)
        if self._group.size() != welcome.ranks:
            raise RuntimeError(f"{self._group.size()} ranks met, and {welcome.ranks} were to")
        self._mode: Mode = welcome.sharded.mode
        self._pool = BlockPool(welcome.engine.kv_budget_bytes, welcome.engine.block_tokens)
        self._model: Any = None
        self._tokenizer: Any = None
        self._cache: list[Any] = []
        versions, device = mlx_identity()
        say(Ready(versions=versions, device=device, note=unasked("shares")))

    def _pulse(self, say: Callable[[Message], None], every_s: float) -> None:
        pause = threading.Event()
        while not pause.wait(every_s):
            say(Pulse(reading=self._meter.read()))

    def carry_out(self, order: RankOrder) -> Report:
        """The report of one order. A failure is told: the coordinator decides what becomes of the others."""
        try:
            found = self._found(order)
        except Exception as error:  # noqa: BLE001 - the rank's border: whatever failed, the coordinator must know
            found = {"error": " ".join(str(error).split())[:300] or type(error).__name__}
        measured, self._measured = tuple(self._measured), []
        return Report(number=order.number).model_copy(update={**found, "measured": measured})

    def _found(self, order: RankOrder) -> dict[str, object]:
        match order.work:
            case Work.CHECK:
                return {"refused": self._refusal(order.path)}
            case Work.PAGE_CACHE:
                page_cache.arrange(page_cache.weight_files(order.path), order.label)
                return {}
            case Work.RESIDENCY:
                return {"resident": page_cache.residency(page_cache.weight_files(order.path)).share}
            case Work.SETTLE:
                gc.collect()
                settled = settle(self._meter)
                return {"settle_s": settled.seconds, "settled": settled.ledgers}
        probe = SwapProbe(self._meter, self._note, NO_SWAP)
        probe.begin()
        if order.work is Work.GENERATE:
            return self._generate(order, probe)
        with probe.phase(Phase(order.work.value)):
            return self._carry_out_phase(order, probe.span)

    def _note(self, event: Event) -> None:
        if isinstance(event, PhaseMeasured):
            self._measured.append(event)

    def _carry_out_phase(self, order: RankOrder, span: Span) -> dict[str, object]:
        match order.work:
            case Work.UNLOAD:
                self._model = self._tokenizer = None
                self._cache = []
                gc.collect()
                # Lazily drawn keys of every layer ever built would pile up: see ModelLoader.released.
                mx.eval(mx.random.state)
                mx.clear_cache()
            case Work.LOAD:
                self._model, self._tokenizer = load_share(order.path, self._mode, self._group, span)
                held: dict[str, mx.array] = dict(tree_flatten(self._model.parameters()))
                return {"weight_bytes": sum(array.nbytes for array in held.values())}
            case Work.RECONFIGURE:
                self._pool.reconfigure(KVGeometry.of(self._model))
                return {"kv_capacity_bytes": self._pool.capacity_bytes}
            case Work.UPDATE_TAG:
                return {"tag": ModelTag.of(order.path, order.name).fingerprint}
            case Work.REINIT:
                self._cache = make_prompt_cache(self._model)
                with span("barrier"):
                    mx.eval(mx.distributed.all_sum(mx.array(1.0), group=self._group, stream=mx.cpu))
        return {}

    def _generate(self, order: RankOrder, probe: SwapProbe) -> dict[str, object]:
        """Greedy tokens, which every rank finds for itself, and the rate of those after the first."""
        with probe.first_token():
            self._cache = make_prompt_cache(self._model)
            prompt = verification(order.prompt_tokens, 1).text
            tokens = [self._next(tokens_of(prompt, order.prompt_tokens, self._tokenizer))]
        begun_s = time.perf_counter()
        while len(tokens) < order.tokens:
            tokens.append(self._next(tokens[-1:]))
        seconds = time.perf_counter() - begun_s
        rate = (order.tokens - 1) / seconds if order.tokens > 1 else None
        return {"tokens": tuple(tokens), "tokens_per_s": rate}

    def _next(self, ids: list[int]) -> int:
        logits = self._model(mx.array([ids]), cache=self._cache)
        token = mx.argmax(logits[0, -1])
        # Ranks of a pipeline send by what hangs on their caches: those have to be evaluated too.
        mx.eval(token, [entry.state for entry in self._cache])
        return cast(int, token.item())

    def _refusal(self, path: Path) -> str:
        """Why the checkpoint can't be loaded in shares; empty when it can."""
        fault = fault_of(path)
        if fault is not None:
            return str(advised(fault, Source.LOCAL, path))
        try:
            ModelTag.of(path, "")  # found here, outside the timed swap, and remembered
            return self._unshareable(load_model(path, lazy=True)[0], path)
        except Exception as error:  # noqa: BLE001 - whatever mlx-lm's classes make of a config is the answer
            return brief(error)

    def _unshareable(self, model: Any, path: Path) -> str:
        kind, ranks = model.model_type, self._group.size()
        if self._mode == "pipeline":
            if not hasattr(getattr(model, "model", None), "pipeline"):
                return f'mlx-lm has no pipeline for {kind} models; choose mode = "tensor"'
            if not (path / "model.safetensors.index.json").is_file():
                return "no model.safetensors.index.json, by which sharded_load finds each rank's files"
            if len(model.layers) < ranks:
                return f"{len(model.layers)} layers are too few for {ranks} ranks"
            return ""
        if not hasattr(model, "shard"):
            return f"mlx-lm can't shard tensors of {kind} models; choose another model"
        # mlx-lm divides heads among ranks without looking whether that leaves any over.
        config = load_config(path)
        sizes = config.get("text_config", config)
        heads = sizes.get("num_key_value_heads") or sizes.get("num_attention_heads")
        if isinstance(heads, int) and heads % ranks:
            left_over = f"{heads} KV heads can't be divided among {ranks} ranks"
            return f"{left_over}; choose a number that divides {heads}"
        try:
            model.shard(self._group)  # lazily: what can't be divided it refuses
        except ValueError as error:
            return f"its tensors can't be divided among {ranks} ranks: {error}"
        return ""
