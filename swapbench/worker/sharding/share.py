"""One rank's part of a sharded model: checked, loaded, asked for tokens, dropped."""

import gc
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load_config, load_model

from swapbench.compat.mlx_lm import Mode, load_share
from swapbench.loaders.arrays import Span
from swapbench.models.stand_ins.store import advised
from swapbench.models.validation import brief
from swapbench.spec.experiment import EngineSettings, Source
from swapbench.worker.checking import fault_of
from swapbench.worker.engine.caches import ModelTag
from swapbench.worker.engine.geometry import BlockPool, KVGeometry
from swapbench.worker.engine.requests import tokens_of, verification


@dataclass(frozen=True)
class Said:
    """Greedy tokens, and the rate at which those after the first came."""

    tokens: tuple[int, ...]
    tokens_per_s: float | None


class Share:
    """What one rank holds. All but `refusal` and `unload` are carried out by every rank together."""

    def __init__(self, mode: Mode, group: mx.distributed.Group, engine: EngineSettings) -> None:
        self._mode: Mode = mode
        self._group = group
        self._pool = BlockPool(engine.kv_budget_bytes, engine.block_tokens)
        self._model: Any = None
        self._tokenizer: Any = None
        self._cache: list[Any] = []

    def refusal(self, path: Path) -> str:
        """Why the checkpoint can't be loaded in shares; empty when it can."""
        fault = fault_of(path)
        if fault is not None:
            return str(advised(fault, Source.LOCAL, path))
        try:
            ModelTag.of(path, "")  # found here, outside the timed swap, and remembered
            return self._unshareable(load_model(path, lazy=True)[0], path)
        except Exception as error:  # noqa: BLE001 - whatever mlx-lm's classes make of a config is the answer
            return brief(error)

    def unload(self) -> None:
        """Drop the share and all that belongs to it."""
        self._model = self._tokenizer = None
        self._cache = []
        gc.collect()
        # Lazily drawn keys of every layer ever built would pile up: see ModelLoader.released.
        mx.eval(mx.random.state)
        mx.clear_cache()

    def load(self, path: Path, span: Span) -> int:
        """By sharded_load; returns the bytes of weights that this rank holds."""
        self._model, self._tokenizer = load_share(path, self._mode, self._group, span)
        held: dict[str, mx.array] = dict(tree_flatten(self._model.parameters()))
        return sum(array.nbytes for array in held.values())

    def fit_pool(self) -> int:
        """Fit this rank's block pool to its part of the KV geometry; returns the bytes of all blocks."""
        self._pool.reconfigure(KVGeometry.of(self._model))
        return self._pool.capacity_bytes

    def tag(self, path: Path, name: str) -> str:
        """The fingerprint of the checkpoint as this rank's machine has it."""
        return ModelTag.of(path, name).fingerprint

    def begin(self, span: Span) -> None:
        """A generation loop with an empty cache, and the other ranks at theirs."""
        self._cache = make_prompt_cache(self._model)
        with span("barrier"):
            mx.eval(mx.distributed.all_sum(mx.array(1.0), group=self._group, stream=mx.cpu))

    def first_token(self, prompt_tokens: int) -> int:
        """Begin an answer: the most likely token after the prompt, which every rank finds for itself."""
        self._cache = make_prompt_cache(self._model)
        prompt = tokens_of(verification(prompt_tokens, 1).text, prompt_tokens, self._tokenizer)
        return self._next(prompt)

    def go_on(self, first: int, tokens: int) -> Said:
        """The tokens after the first: `tokens` in all."""
        said = [first]
        begun_s = time.perf_counter()
        while len(said) < tokens:
            said.append(self._next(said[-1:]))
        seconds = time.perf_counter() - begun_s
        return Said(tuple(said), (tokens - 1) / seconds if tokens > 1 else None)

    def _next(self, ids: list[int]) -> int:
        logits = self._model(mx.array([ids]), cache=self._cache)
        token = mx.argmax(logits[0, -1])
        # Ranks of a pipeline send by what hangs on their caches: those have to be evaluated too.
        mx.eval(token, [entry.state for entry in self._cache])
        return cast(int, token.item())

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
        return _kv_heads_left_over(path, ranks) or self._tensors_left_over(model)

    def _tensors_left_over(self, model: Any) -> str:
        """Have mlx-lm share the model out, lazily: what can't be divided it refuses."""
        try:
            model.shard(self._group)
        except ValueError as error:
            return f"its tensors can't be divided among {self._group.size()} ranks: {error}"
        return ""


def _kv_heads_left_over(path: Path, ranks: int) -> str:
    """mlx-lm divides heads among ranks without looking whether that leaves any over."""
    config = load_config(path)
    sizes = config.get("text_config", config)
    heads = sizes.get("num_key_value_heads") or sizes.get("num_attention_heads")
    if isinstance(heads, int) and heads % ranks:
        return f"{heads} KV heads can't be divided among {ranks} ranks; choose a number that divides {heads}"
    return ""
