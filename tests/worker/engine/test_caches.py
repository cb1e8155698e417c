"""The store keeps caches apart by agent and model, and loses none; tags tell models of one geometry apart."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache as cache_of_results
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx.utils import tree_flatten
from mlx_lm.models.cache import load_prompt_cache, make_prompt_cache, save_prompt_cache

from swapbench.machine import mac
from swapbench.spec.experiment import CacheFill
from swapbench.spec.strategy import Fsync
from swapbench.worker.engine import caches
from swapbench.worker.engine.caches import CacheStore, ModelTag, fill_cache
from tests.worker.engine.conftest import UNLIKE, WINDOW, make_model, next_token, tag_file

WEIGHTS = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where digests are kept."""
    monkeypatch.setenv("SWAPBENCH_CACHE", str(tmp_path / "cache"))


def test_a_copy_has_the_same_tag(tmp_path: Path) -> None:
    folder = tag_file(tmp_path / "a", WEIGHTS)
    copy = Path(shutil.copytree(folder, tmp_path / "b"))
    os.utime(copy / "model.safetensors", (0, 0))
    assert ModelTag.of(folder, "m") == ModelTag.of(copy, "m")


def test_weights_that_differ_in_one_byte_have_another_tag(tmp_path: Path) -> None:
    tuned = WEIGHTS[:5000] + b"!" + WEIGHTS[5001:]
    one, other = tag_file(tmp_path / "a", WEIGHTS), tag_file(tmp_path / "b", tuned)
    assert ModelTag.of(one, "m") != ModelTag.of(other, "m")


def test_another_configuration_has_another_tag(tmp_path: Path) -> None:
    one, other = tag_file(tmp_path / "a", WEIGHTS), tag_file(tmp_path / "b", WEIGHTS, '{"rope_theta": 1}')
    assert ModelTag.of(one, "m") != ModelTag.of(other, "m")


def test_a_hub_snapshot_knows_its_revision(tmp_path: Path) -> None:
    folder = tag_file(tmp_path / "models--org--name" / "snapshots" / "0a1b2c", WEIGHTS)
    assert ModelTag.of(folder, "m").revision == "0a1b2c"
    assert ModelTag.of(tag_file(tmp_path / "plain", WEIGHTS), "m").revision == ""


TAG = ModelTag("f1", "", "one")
OTHER = ModelTag("f2", "rev", "two")


@contextmanager
def no_span(_name: str) -> Iterator[None]:
    yield


@pytest.fixture
def store(tmp_path: Path) -> CacheStore:
    store = CacheStore(tmp_path / "caches")
    store.update_tag(TAG)
    return store


@cache_of_results
def _random_cache(tokens: int = 20, seed: int = 0) -> list[Any]:
    return fill_cache(make_model("llama"), None, tokens, CacheFill.RANDOM, seed)


def _continue(model: Any, cache: list[Any], token: int, count: int) -> list[int]:
    said = []
    for _ in range(count):
        token = next_token(model, [token], cache)
        said.append(token)
    return said


@pytest.mark.parametrize("kind", ["llama", "gemma3", "qwen2", *UNLIKE])
@pytest.mark.parametrize("tokens", [5, WINDOW, 3 * WINDOW + 1])
def test_a_restored_cache_goes_on_as_if_it_had_never_left(
    kind: str, tokens: int, store: CacheStore, tokenizer: Any
) -> None:
    model = make_model(kind)
    uninterrupted = _continue(model, fill_cache(model, tokenizer, tokens, CacheFill.PREFILL, 7), 3, 30)
    store.hold("agent", fill_cache(model, tokenizer, tokens, CacheFill.PREFILL, 7), tokens)
    store.evict_all(no_span)
    assert store.get("agent") is None
    assert store.restore("agent")
    restored = store.get("agent")
    assert restored is not None
    assert _continue(model, restored, 3, 30) == uninterrupted


def test_an_agent_used_under_two_models_keeps_both_caches(store: CacheStore) -> None:
    store.hold("agent", _random_cache(seed=1), 20)
    store.evict_all(no_span)
    store.update_tag(OTHER)
    assert not store.restore("agent")
    store.hold("agent", _random_cache(seed=2), 20)
    store.evict_all(no_span)
    for tag, seed in ((TAG, 1), (OTHER, 2)):
        store.update_tag(tag)
        assert store.restore("agent")
        cache = store.get("agent")
        assert cache is not None
        assert mx.array_equal(cache[0].keys, _random_cache(seed=seed)[0].keys)
        store.evict_all(no_span)


def test_only_what_changed_is_written(store: CacheStore) -> None:
    store.hold("a", _random_cache(), 20)
    store.hold("b", _random_cache(), 20)
    first = store.evict_all(no_span)
    assert (first.caches, first.written) == (2, 2)
    assert store.restore("a")
    assert store.restore("b")
    store.hold("b", _random_cache(seed=9), 20)
    second = store.evict_all(no_span)
    assert (second.caches, second.written) == (2, 1)
    assert second.bytes == first.bytes // 2


def test_files_are_mlx_lms_own_prompt_caches(store: CacheStore, tmp_path: Path) -> None:
    store.hold("agent", _random_cache(), 20)
    evicted = store.evict_all(no_span)
    (file,) = (tmp_path / "caches").iterdir()
    cache, metadata = load_prompt_cache(str(file), return_metadata=True)
    assert cache[0].offset == 20
    assert metadata["agent"] == "agent"
    assert evicted.bytes == file.stat().st_size


def test_a_full_disk_loses_nothing_and_leaves_nothing_half_written(
    store: CacheStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for agent in "abc":
        store.hold(agent, _random_cache(), 20)
    real = caches._sync
    written: list[Path] = []

    def full_at_the_second(path: Path) -> None:
        if path.suffix:
            written.append(path)
            if len(written) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(path)

    monkeypatch.setattr(caches, "_sync", full_at_the_second)
    with pytest.raises(OSError, match="No space left"):
        store.evict_all(no_span)
    assert set(store.held()) == {"b", "c"}
    assert len(list((tmp_path / "caches").iterdir())) == 1
    monkeypatch.setattr(caches, "_sync", real)
    assert store.restore("a")
    assert store.evict_all(no_span).written == 2


@pytest.mark.parametrize(("fsync", "syncs"), [(Fsync.EACH, 4), (Fsync.ONCE, 4), (Fsync.OFF, 0)])
@pytest.mark.parametrize("refused", [False, True])
def test_on_macos_what_a_sync_promises_is_asked_of_the_drive_and_of_the_system_where_that_refuses(
    store: CacheStore, monkeypatch: pytest.MonkeyPatch, fsync: Fsync, syncs: int, refused: bool
) -> None:
    asked: list[str] = []

    def ask_the_drive(_: int) -> bool:
        asked.append("drive")
        return not refused

    monkeypatch.setattr(mac, "reaches_the_medium", ask_the_drive)
    monkeypatch.setattr(os, "fsync", lambda _: asked.append("system"))
    for agent in "ab":
        store.hold(agent, _random_cache(), 20)
    store.evict_all(no_span, fsync=fsync)
    assert asked == ["drive", *(["system"] if refused else [])] * syncs


@pytest.mark.parametrize("fsync", list(Fsync))
@pytest.mark.parametrize("workers", [1, 4])
def test_caches_written_side_by_side_come_back_as_they_were(
    store: CacheStore, workers: int, fsync: Fsync
) -> None:
    agents = [f"agent-{n}" for n in range(9)]
    for seed, agent in enumerate(agents):
        store.hold(agent, _random_cache(seed=seed), 20)
    evicted = store.evict_all(no_span, workers, fsync)
    assert (evicted.caches, evicted.written) == (9, 9)
    assert evicted.bytes == sum(path.stat().st_size for path in store.saved().values())
    assert store.held() == {}
    for seed, agent in enumerate(agents):
        assert store.restore(agent)
        cache = store.get(agent)
        assert cache is not None
        assert mx.array_equal(cache[0].keys, _random_cache(seed=seed)[0].keys)


@pytest.mark.parametrize("fsync", list(Fsync))
@pytest.mark.parametrize("workers", [1, 4])
def test_what_fails_in_the_middle_is_still_held_and_the_rest_is_whole(
    store: CacheStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, fsync: Fsync
) -> None:
    for agent in "abcdef":
        store.hold(agent, _random_cache(), 20)
    real = save_prompt_cache

    def fails_for_c(path: str, cache: list[Any], metadata: dict[str, str]) -> None:
        if metadata["agent"] == "c":
            raise RuntimeError("disk on fire")
        real(path, cache, metadata)

    monkeypatch.setattr(caches, "save_prompt_cache", fails_for_c)
    with pytest.raises(OSError, match="the cache of c can't be written"):
        store.evict_all(no_span, workers, fsync)
    assert "c" in store.held()
    files = list((tmp_path / "caches").iterdir())
    assert not [path for path in files if path.name.startswith(".")]
    assert len(files) + len(store.held()) == 6
    monkeypatch.setattr(caches, "save_prompt_cache", real)
    store.evict_all(no_span, workers, fsync)
    assert len(store.saved()) == 6


def test_a_corrupt_file_is_told_with_its_path(store: CacheStore, tmp_path: Path) -> None:
    store.hold("agent", _random_cache(), 20)
    store.evict_all(no_span)
    (file,) = (tmp_path / "caches").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=file.name):
        store.restore("agent")


def test_a_file_under_anothers_name_is_refused(store: CacheStore, tmp_path: Path) -> None:
    store.hold("agent", _random_cache(), 20)
    store.evict_all(no_span)
    (file,) = (tmp_path / "caches").iterdir()
    file.rename(store._path("somebody else", TAG))
    with pytest.raises(ValueError, match="belongs to"):
        store.restore("somebody else")


def test_caches_of_the_model_before_must_be_evicted_first(store: CacheStore) -> None:
    store.hold("agent", _random_cache(), 20)
    with pytest.raises(RuntimeError, match="still held"):
        store.update_tag(OTHER)


def test_spans_tell_the_whole_and_each_cache(store: CacheStore) -> None:
    named: list[str] = []

    @contextmanager
    def span(name: str) -> Iterator[None]:
        named.append(name)
        yield

    store.hold("a", _random_cache(), 20)
    store.hold("b", _random_cache(), 20)
    store.evict_all(span)
    assert named == ["write", "write/a", "write/b"]


@settings(max_examples=30, deadline=None)
@given(agent=st.text(min_size=1))
def test_an_agent_may_be_called_anything(agent: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    agent = agent.encode("utf-8", "replace").decode()
    store = CacheStore(tmp_path_factory.mktemp("caches"))
    store.update_tag(TAG)
    store.hold(agent, _random_cache(4), 4)
    store.evict_all(no_span)
    assert store.restore(agent)


def test_restoring_never_replaces_what_is_newer_in_memory(store: CacheStore) -> None:
    store.hold("agent", _random_cache(), 20)
    store.evict_all(no_span)
    newer = _random_cache(tokens=25, seed=1)
    store.hold("agent", newer, 25)
    assert store.restore("agent")
    assert store.get("agent") is newer
    assert store.evict_all(no_span).written == 1


def test_two_names_of_the_same_weights_share_no_cache(store: CacheStore) -> None:
    store.hold("agent", _random_cache(), 20)
    store.evict_all(no_span)
    store.update_tag(replace(TAG, name="another"))
    assert not store.restore("agent")
    store.update_tag(TAG)
    assert store.restore("agent")


def test_a_cache_of_a_models_own_kind_is_known_to_be_lost() -> None:
    class LayerCache:
        pass

    assert caches.unsavable([*make_prompt_cache(make_model("falcon_h1")), LayerCache()]) == "LayerCache"
    assert caches.unsavable(make_prompt_cache(make_model("falcon_h1"))) == ""


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
@pytest.mark.parametrize("tokens", [1, 2, WINDOW, WINDOW + 1, 600])
def test_random_caches_have_the_shapes_of_prefilled_ones(kind: str, tokens: int, tokenizer: Any) -> None:
    model = make_model(kind)
    prefilled = fill_cache(model, tokenizer, tokens, CacheFill.PREFILL, seed=1)
    filled = fill_cache(model, tokenizer, tokens, CacheFill.RANDOM, seed=1)
    for real, made in zip(prefilled, filled, strict=True):
        assert (type(made), made.offset) == (type(real), real.offset) == (type(real), tokens)
        assert (made.keys.shape, made.values.shape) == (real.keys.shape, real.values.shape)
        assert (made.keys.dtype, made.nbytes) == (real.keys.dtype, real.nbytes)


@pytest.mark.parametrize("kind", UNLIKE)
@pytest.mark.parametrize("tokens", [2, 3 * WINDOW + 1, 600])
def test_whatever_a_model_remembers_random_caches_are_shaped_like_prefilled_ones(
    kind: str, tokens: int, tokenizer: Any
) -> None:
    model = make_model(kind)
    real, made = (fill_cache(model, tokenizer, tokens, how, seed=1) for how in reversed(CacheFill))
    assert list(map(_shapes, made)) == list(map(_shapes, real))
    assert not mx.any(mx.isnan(model(mx.array([[1]]), cache=made)))


def _shapes(cache: Any) -> list[Any]:
    leaves: list[tuple[str, Any]] = tree_flatten(cache.state)  # type: ignore[assignment]
    return [
        (type(cache), path, (leaf.shape, leaf.dtype) if isinstance(leaf, mx.array) else leaf)
        for path, leaf in leaves
    ]


def test_another_seed_fills_with_other_values(tokenizer: Any) -> None:
    model = make_model("llama")
    for how in CacheFill:
        one, other = (fill_cache(model, tokenizer, 30, how, seed) for seed in (1, 2))
        assert not mx.array_equal(one[0].keys, other[0].keys)
        again = fill_cache(model, tokenizer, 30, how, 1)
        assert mx.array_equal(one[0].keys, again[0].keys)
