"""KV caches: filled, gone on from, and each agent's kept: in memory while its model serves, then on disk."""

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.models.cache import load_prompt_cache, make_prompt_cache, save_prompt_cache

from swapbench.compat.mlx_lm import copied, holds_tokens, is_savable, parts_of, trim_front
from swapbench.loaders.arrays import Span
from swapbench.machine import mac
from swapbench.models.cache import checkpoint_digest
from swapbench.spec.experiment import CacheFill
from swapbench.spec.strategy import Fsync
from swapbench.worker.engine.geometry import array_bytes, traced, untouched
from swapbench.worker.engine.requests import text, tokens_of

# What mlx-lm raises over a file that is no prompt cache.
_UNREADABLE = (RuntimeError, ValueError, KeyError, TypeError)
# Any token will do to go on from a cache, if it is always the same.
_FIRST_TOKEN = 1
_PREFILL_STEP = 512


@dataclass(frozen=True)
class ModelTag:
    """Identifies weights, not only their shapes: two models of one geometry must not share caches."""

    fingerprint: str
    revision: str
    name: str

    @classmethod
    def of(cls, checkpoint: Path, name: str) -> Self:
        """By every byte of the weights: a millisecond, or seconds when swapbench sees the files first."""
        # The commit, where it is a snapshot of Hugging Face's cache.
        revision = checkpoint.name if checkpoint.parent.name == "snapshots" else ""
        return cls(checkpoint_digest(checkpoint), revision, name)


@dataclass(frozen=True)
class Evicted:
    """What an eviction did: caches freed, and of these the ones written, with the bytes of their files."""

    caches: int
    written: int
    bytes: int


@dataclass(frozen=True)
class _Held:
    cache: list[Any]
    tokens: int
    tag: ModelTag
    saved: bool


class CacheStore:
    """KV caches by agent and ModelTag together: an agent used under two models keeps both.

    Files are mlx-lm's prompt caches (safetensors), each written whole before it gets its name.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tag: ModelTag | None = None
        self._held: dict[str, _Held] = {}
        self._files: dict[tuple[str, ModelTag], Path] = {}

    def update_tag(self, tag: ModelTag) -> None:
        """Another model serves from now on; RuntimeError where caches of the one before are still held."""
        if self._held and self._tag != tag:
            raise RuntimeError(f"{len(self._held)} caches of the model before are still held")
        self._tag = tag

    def hold(self, agent: str, cache: list[Any], tokens: int) -> None:
        """Keep an agent's new or changed cache; the next eviction writes it."""
        if self._tag is None:
            raise RuntimeError("no model serves yet, so no cache can be valid")
        self._held[agent] = _Held(cache, tokens, self._tag, saved=False)

    def held(self) -> dict[str, int]:
        return {agent: entry.tokens for agent, entry in self._held.items()}

    def get(self, agent: str) -> list[Any] | None:
        """An agent's cache in memory. Whoever changes it must `hold` it again."""
        entry = self._held.get(agent)
        return None if entry is None else entry.cache

    def evict_all(self, span: Span, workers: int = 1, fsync: Fsync = Fsync.EACH) -> Evicted:
        """Write what changed since it was last saved, on so many threads at once, and free everything.

        Spans: `write`, in it `write/<agent>` for each cache, and `sync` where that comes at the end. `fsync`:
        `each` syncs a file before it gets its name; `once` writes all, syncs all, then names all; `off`
        leaves it to the system. OSError: a cache could not be written; it, and whatever is not safe by then,
        is still held.
        """
        agents = list(self._held)
        unsaved = [agent for agent in agents if not self._held[agent].saved]
        # Threads only write: what is still to be computed is computed here.
        mx.eval([layer.state for agent in unsaved for layer in self._held[agent].cache])
        sizes: list[int] = []

        def write(agent: str) -> None:
            with span(f"write/{agent}"):
                sizes.append(self._write_part(agent))
                if fsync is not Fsync.ONCE:
                    self._keep(agent, sync=fsync is Fsync.EACH)

        try:
            with span("write"):
                _for_each(unsaved, workers, write)
            if fsync is Fsync.ONCE:
                with span("sync"):
                    _for_each(unsaved, workers, lambda agent: self._keep(agent, sync=True))
        except BaseException:
            for agent in self._held.keys() & set(unsaved):
                self._part(agent).unlink(missing_ok=True)
            raise
        self._held.clear()
        return Evicted(len(agents), len(unsaved), sum(sizes))

    def restore(self, agent: str) -> bool:
        """Bring an agent's cache back into memory, if it is of this very model; a newer one stays.

        Raises ValueError where the file is corrupt, or says that it belongs to another agent or model.
        """
        if self._tag is None:
            return False
        if agent in self._held:
            return True
        path = self._path(agent, self._tag)
        if not path.exists():
            return False
        try:
            cache, metadata = load_prompt_cache(str(path), return_metadata=True)
            mx.eval([entry.state for entry in cache])
        except _UNREADABLE as error:
            raise ValueError(f"{path}: no readable KV cache: {error}") from None
        if not _metadata(agent, self._tag).items() <= metadata.items():
            raise ValueError(f"{path}: belongs to agent {metadata.get('agent')} under another model")
        self._held[agent] = _Held(cache, int(metadata["tokens"]), self._tag, saved=True)
        return True

    def saved(self) -> dict[str, Path]:
        """The files of the model that serves now, by agent, of those that this store has written."""
        return {agent: path for (agent, tag), path in self._files.items() if tag == self._tag}

    def unsaved_bytes(self) -> int:
        unsaved = [held.cache for held in self._held.values() if not held.saved]
        return sum(array_bytes(entry) for cache in unsaved for entry in cache)

    def broken(self) -> int:
        """How many files bear a cache's name and can't be read as one."""
        return sum(not _readable(path) for path in self._root.glob("[!.]*.safetensors"))

    def forget(self, agent: str) -> None:
        """Free a cache that is as its file is; RuntimeError where it has changed since."""
        entry = self._held.get(agent)
        if entry is not None and not entry.saved:
            raise RuntimeError(f"the cache of {agent} is not on disk yet")
        self._held.pop(agent, None)

    def _write_part(self, agent: str) -> int:
        entry, part = self._held[agent], self._part(agent)
        self._root.mkdir(parents=True, exist_ok=True)
        metadata = _metadata(agent, entry.tag) | {"tokens": str(entry.tokens)}
        try:
            save_prompt_cache(str(part), entry.cache, metadata)
        except RuntimeError as error:  # MLX's words for whatever the system said
            raise OSError(f"the cache of {agent} can't be written to {self._root}: {error}") from None
        return part.stat().st_size

    def _keep(self, agent: str, *, sync: bool) -> None:
        """What was written gets its name, and is freed."""
        entry, part = self._held[agent], self._part(agent)
        path = self._path(agent, entry.tag)
        if sync:
            _sync(part)
        part.replace(path)
        if sync:
            _sync(self._root)
        self._files[agent, entry.tag] = path
        del self._held[agent]

    def _part(self, agent: str) -> Path:
        # save_safetensors insists on the ending, so the part has it too, behind a name of its own.
        path = self._path(agent, self._held[agent].tag)
        return path.with_name(f".part-{path.name}")

    def _path(self, agent: str, tag: ModelTag) -> Path:
        """Named by a digest: an agent may be called anything."""
        key = "\0".join((agent, tag.name, tag.fingerprint, tag.revision))
        return self._root / f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.safetensors"


def unsavable(caches: Iterable[Any]) -> str:
    """The class of the first cache that mlx-lm can't bring back from a file; empty where there is none."""
    return next((type(entry).__name__ for entry in caches if not is_savable(entry)), "")


def _for_each(agents: list[str], workers: int, call: Callable[[str], None]) -> None:
    """Call for every agent, on so many threads; the first error is raised when all have ended."""
    if workers == 1:
        for agent in agents:
            call(agent)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="evict") as pool:
        for _ in pool.map(call, agents):
            pass


def _readable(path: Path) -> bool:
    try:
        mx.eval([entry.state for entry in load_prompt_cache(str(path))])
    except _UNREADABLE:
        return False
    return True


def _metadata(agent: str, tag: ModelTag) -> dict[str, str]:
    # mlx-lm flattens metadata as a tree, in which an empty text would vanish.
    revision = tag.revision or "-"
    return {"agent": agent, "model": tag.name, "fingerprint": tag.fingerprint, "revision": revision}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not mac.reaches_the_medium(descriptor):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        key = mx.random.key(seed)
        for entry, shaped in zip(cache, traced(model, 1), strict=True):
            key, own = mx.random.split(key)
            _randomise(entry, shaped, tokens, own)
            mx.eval(entry.state)
        return cache
    ids = tokens_of(text(tokens, seed), tokens, tokenizer)
    with untouched(model):
        for step in _steps(tokens):
            model(mx.array([ids[:step]]), cache=cache)
            mx.eval([entry.state for entry in cache])
            ids = ids[step:]
    return cache


def _steps(tokens: int) -> list[int]:
    prompt = tokens - 1
    return [*(min(_PREFILL_STEP, prompt - start) for start in range(0, prompt, _PREFILL_STEP)), 1]


def _randomise(entry: Any, shaped: Any, tokens: int, key: mx.array) -> None:
    """Bring an empty cache to so many tokens; `shaped` is one of the same model's after a single token."""
    parts = parts_of(entry)
    if parts is not None:
        keys = mx.random.split(key, len(parts))
        for part, like, own in zip(parts, parts_of(shaped) or (), keys, strict=True):
            _randomise(part, like, tokens, own)
    elif holds_tokens(shaped):
        for step in _steps(tokens):
            key, *halves = mx.random.split(key, 3)
            trim_front(entry)
            made = []
            for like, half in zip((shaped.keys, shaped.values), halves, strict=True):
                made.append(_random((1, like.shape[1], step, like.shape[-1]), like.dtype, half))
            entry.update_and_fetch(*made)
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
