"""The agents' KV caches, each of one model's weights: in memory while it serves, on disk when it has gone."""

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import mlx.core as mx
from mlx_lm.models.cache import load_prompt_cache, save_prompt_cache

from swapbench.compat.mlx_lm import is_savable
from swapbench.loaders.source import Span
from swapbench.machine import mac
from swapbench.models.cache import checkpoint_digest
from swapbench.spec.strategy import Fsync
from swapbench.worker.engine.geometry import array_bytes


@dataclass(frozen=True)
class ModelTag:
    """Identifies weights, not only their shapes: two models of one geometry must not share caches."""

    fingerprint: str
    revision: str
    name: str

    @classmethod
    def of(cls, checkpoint: Path, name: str) -> Self:
        """The tag of a checkpoint folder, by every byte of its weights.

        Takes a millisecond, and seconds at the first time that swapbench sees the files.

        Raises:
            OSError: a file can't be read.
        """
        return cls(checkpoint_digest(checkpoint), _revision(checkpoint), name)


def _revision(checkpoint: Path) -> str:
    """The commit of a Hugging Face cache snapshot, .../snapshots/<commit>."""
    return checkpoint.name if checkpoint.parent.name == "snapshots" else ""


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

    @property
    def tag(self) -> ModelTag | None:
        """The model whose caches are valid now."""
        return self._tag

    def update_tag(self, tag: ModelTag) -> None:
        """Another model serves from now on.

        Raises:
            RuntimeError: caches of the model before are still held; evict them first.
        """
        if self._held and self._tag != tag:
            raise RuntimeError(f"{len(self._held)} caches of the model before are still held")
        self._tag = tag

    def hold(self, agent: str, cache: list[Any], tokens: int) -> None:
        """Keep an agent's new or changed cache; the next eviction writes it."""
        if self._tag is None:
            raise RuntimeError("no model serves yet, so no cache can be valid")
        self._held[agent] = _Held(cache, tokens, self._tag, saved=False)

    def held(self) -> dict[str, int]:
        """Tokens in memory, by agent."""
        return {agent: entry.tokens for agent, entry in self._held.items()}

    def get(self, agent: str) -> list[Any] | None:
        """An agent's cache in memory. Whoever changes it must `hold` it again."""
        entry = self._held.get(agent)
        return None if entry is None else entry.cache

    def evict_all(self, span: Span, workers: int = 1, fsync: Fsync = Fsync.EACH) -> Evicted:
        """Write what changed since it was last saved, free everything.

        Spans: `write`, in it `write/<agent>` for each cache, and `sync` where that comes at the end.

        Args:
            workers: threads that write at once.
            fsync: `each` syncs a file before it gets its name; `once` writes all, syncs all, then names all;
                `off` leaves it to the system: a power cut may lose caches then, a crash does not.

        Raises:
            OSError: a cache could not be written; it, and whatever is not safe by then, is still held.
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
        """Bring an agent's cache back into memory, if there is one of exactly this model.

        What is in memory already stays: it is at least as new as its file.

        Raises:
            ValueError: the file is corrupt, or says that it belongs to another agent or model.
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
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: no readable KV cache: {error}") from None
        expected = _metadata(agent, self._tag)
        if {key: metadata.get(key) for key in expected} != expected:
            raise ValueError(f"{path}: belongs to agent {metadata.get('agent')} under another model")
        self._held[agent] = _Held(cache, int(metadata["tokens"]), self._tag, saved=True)
        return True

    def saved(self) -> dict[str, Path]:
        """The files of the model that serves now, by agent, of those that this store has written."""
        return {agent: path for (agent, tag), path in self._files.items() if tag == self._tag}

    def unsaved_bytes(self) -> int:
        """What evicting everything now would have to write."""
        return sum(
            array_bytes(entry) for held in self._held.values() if not held.saved for entry in held.cache
        )

    def broken(self) -> int:
        """How many files bear a cache's name and can't be read as one."""
        return sum(not _readable(path) for path in self._root.glob("[!.]*.safetensors"))

    def forget(self, agent: str) -> None:
        """Free a cache that is as its file is.

        Raises:
            RuntimeError: it has changed since it was written.
        """
        entry = self._held.get(agent)
        if entry is not None and not entry.saved:
            raise RuntimeError(f"the cache of {agent} is not on disk yet")
        self._held.pop(agent, None)

    def _write_part(self, agent: str) -> int:
        """Write a cache under a name that nobody looks for; returns its bytes."""
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
    except (RuntimeError, ValueError, KeyError, TypeError):
        return False
    return True


def _metadata(agent: str, tag: ModelTag) -> dict[str, str]:
    # mlx-lm flattens metadata as a tree, in which an empty text would vanish.
    return {
        "agent": agent,
        "model": tag.name,
        "fingerprint": tag.fingerprint,
        "revision": tag.revision or "-",
    }


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not mac.reaches_the_medium(descriptor):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
