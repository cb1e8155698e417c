"""What an engine is busy with when it is swapped: KV caches full of tokens, requests in flight."""

import random
from typing import Any, cast

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.models.cache import make_prompt_cache

from swapbench.compat.mlx_lm import copied, holds_tokens, parts_of, trim_front
from swapbench.spec.experiment import CacheFill, Verify
from swapbench.wire.plan import Reply
from swapbench.worker.engine.batch import BatchEngine, Request
from swapbench.worker.engine.geometry import traced, untouched

# Longer than any request should take; a worker that really hangs is the parent's to kill.
PATIENCE_S = 3600.0

# What whoever has just begun to serve is asked.
HELLO = "Hello, who is answering now?"
_VERIFICATION_SEED = 2026
# Any token will do to go on from a cache, if it is always the same.
_FIRST_TOKEN = 1
_PREFILL_STEP = 512
_PROSE = (
    "the model was asked about memory and answered that a page is read once then kept until another one "
    "needs its place so a server with two models writes down what it knew before it lets go of the first"
)


def text(words: int, seed: int) -> str:
    """Plausible English, the same for the same seed."""
    vocabulary = _PROSE.split()
    chosen = random.Random(seed)
    return " ".join(chosen.choice(vocabulary) for _ in range(words))


def requests(count: int, prompt_tokens: int, decode_tokens: int, seed: int) -> list[Request]:
    """So many different requests."""
    return [
        Request(
            id=f"request-{n}",
            text=text(prompt_tokens, seed * count + n),
            prompt_tokens=prompt_tokens,
            max_tokens=decode_tokens,
        )
        for n in range(1, count + 1)
    ]


def ask(engine: BatchEngine, verify: Verify) -> tuple[Reply, ...]:
    """What the engine's model says to the verification prompts, one after another: alone in its batch, for
    another batch computes in another order, and rounds otherwise.

    Raises:
        RuntimeError: the engine is stopped or broken.
    """
    return tuple(
        Reply(prompt_tokens=length, tokens=_answered(engine, length, verify.tokens))
        for length in verify.prompt_tokens
    )


def _answered(engine: BatchEngine, prompt_tokens: int, tokens: int) -> tuple[int, ...]:
    return engine.submit(verification(prompt_tokens, tokens)).result(PATIENCE_S).tokens


def verification(prompt_tokens: int, tokens: int) -> Request:
    """What every model is asked, whoever serves it: the same text for the same length."""
    (request,) = requests(1, prompt_tokens, tokens, seed=_VERIFICATION_SEED)
    return request


def continuation(model: Any, cache: list[Any], tokens: int) -> tuple[int, ...]:
    """What the model says after a KV cache, greedily. The cache stays as it is."""
    copy = [copied(entry) for entry in cache]
    said = [mx.array(_FIRST_TOKEN)]
    with untouched(model):
        for _ in range(tokens):
            logits = model(said[-1].reshape(1, 1), cache=copy)
            said.append(mx.argmax(logits[0, -1]))
    return tuple(cast(int, token.item()) for token in said[1:])


def fill_cache(model: Any, tokenizer: Any, tokens: int, how: CacheFill, seed: int) -> list[Any]:
    """A KV cache of so many tokens, evaluated: prefilled by the model, or random of the same shapes.

    As after an answer: a prompt in steps, then one token, with which windowed layers forget what lies
    beyond their window.
    """
    cache: list[Any] = make_prompt_cache(model)
    if how is CacheFill.RANDOM:
        _fill_randomly(model, cache, tokens, seed)
        return cache
    ids = list(tokenizer.encode(text(tokens, seed)))
    ids = (ids * -(-tokens // len(ids)))[:tokens]
    with untouched(model):
        for step in _steps(tokens):
            model(mx.array([ids[:step]]), cache=cache)
            mx.eval([entry.state for entry in cache])
            ids = ids[step:]
    return cache


def _steps(tokens: int) -> list[int]:
    prompt = tokens - 1
    steps = [min(_PREFILL_STEP, prompt - start) for start in range(0, prompt, _PREFILL_STEP)]
    return [*steps, 1]


def _fill_randomly(model: Any, cache: list[Any], tokens: int, seed: int) -> None:
    key = mx.random.key(seed)
    for entry, shaped in zip(cache, traced(model, 1), strict=True):
        key, own = mx.random.split(key)
        _randomise(entry, shaped, tokens, own)
        mx.eval(entry.state)


def _randomise(entry: Any, shaped: Any, tokens: int, key: mx.array) -> None:
    """Bring an empty cache to so many tokens; `shaped` is one of the same model's after a single token."""
    parts = parts_of(entry)
    if parts is not None:
        for part, like, own in zip(
            parts, parts_of(shaped) or (), mx.random.split(key, len(parts)), strict=True
        ):
            _randomise(part, like, tokens, own)
    elif holds_tokens(shaped):
        for step in _steps(tokens):
            key, *halves = mx.random.split(key, 3)
            trim_front(entry)
            entry.update_and_fetch(
                *(
                    _random((1, like.shape[1], step, like.shape[-1]), like.dtype, half)
                    for like, half in zip((shaped.keys, shaped.values), halves, strict=True)
                )
            )
    else:
        entry.state = tree_map(
            lambda leaf: _random(leaf.shape, leaf.dtype, key) if isinstance(leaf, mx.array) else leaf,
            shaped.state,
        )


def _random(shape: tuple[int, ...], dtype: mx.Dtype, key: mx.array) -> mx.array:
    """Normal values; zeros where they count or number something."""
    if mx.issubdtype(dtype, mx.floating):
        return mx.random.normal(shape, key=key).astype(dtype)
    return mx.zeros(shape, dtype)
