"""Continuous decoding without batches, for models whose caches mlx-lm can't put together in one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache

from swapbench.compat.mlx_lm import can_merge, merged, wired
from swapbench.worker.engine.geometry import PREFILL_STEP, untouched


@dataclass(frozen=True)
class Response:
    """One token of a sequence, as BatchGenerator hands it out."""

    uid: int
    token: int
    finish_reason: str | None


@dataclass
class _Sequence:
    steps: Iterator[tuple[Any, Any]]
    left: int


class SerialGenerator:
    """What the engine asks of a BatchGenerator, with a cache and a forward pass for each sequence.

    Sequences take turns, a token each: all of them are in flight, as in a batch.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._sequences: dict[int, _Sequence] = {}
        self._next_uid = 0
        # Steps that take turns leave the stream of one of them behind.
        self._stream = mx.default_stream(mx.default_device())
        self._wired = wired(model)
        self._wired.__enter__()

    def insert(self, prompts: list[list[int]], max_tokens: list[int]) -> list[int]:
        """Take sequences in; their prompts are read when their turn comes.

        Raises:
            ValueError: a prompt is empty, or asks for no tokens.
        """
        if not all(prompts) or min(max_tokens) < 1:
            raise ValueError("a prompt has no tokens, or asks for none")
        uids = []
        for prompt, most in zip(prompts, max_tokens, strict=True):
            steps = generate_step(
                mx.array(prompt),
                self._model,
                max_tokens=most,
                prompt_cache=make_prompt_cache(self._model),
                prefill_step_size=PREFILL_STEP,
            )
            self._sequences[self._next_uid] = _Sequence(steps, most)
            uids.append(self._next_uid)
            self._next_uid += 1
        return uids

    def next(self) -> tuple[list[Any], list[Response]]:
        """The next token of every sequence, greedily; of prompts nothing is told."""
        responses = []
        for uid, sequence in list(self._sequences.items()):
            token, _ = next(sequence.steps)
            sequence.left -= 1
            if not sequence.left:
                self.remove([uid])
            responses.append(Response(uid, token, None if sequence.left else "length"))
        return [], responses

    def remove(self, uids: list[int]) -> None:
        """Forget sequences, and their caches with them."""
        for uid in uids:
            self._sequences.pop(uid)

    def close(self) -> None:
        """Forget everything."""
        self._sequences.clear()
        self._wired.__exit__(None, None, None)
        mx.set_default_stream(self._stream)


def can_batch(model: Any) -> bool:
    """Whether mlx-lm can put a model's caches together, and the model can work with what comes of it.

    The graph of two sequences tells, built and never evaluated: some classes want one number where a batch
    has an offset for each of its sequences.
    """
    pairs = list(zip(make_prompt_cache(model), make_prompt_cache(model), strict=True))
    if not all(can_merge(cache) for cache, _ in pairs):
        return False
    try:
        with untouched(model):
            model(mx.array([[0], [0]]), cache=[merged(*pair) for pair in pairs])
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        return False
    return True
