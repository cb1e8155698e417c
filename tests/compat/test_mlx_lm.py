"""An mlx-lm that asks elsewhere gives stock and a note, never a strategy that silently isn't one."""

import inspect
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from textwrap import dedent
from typing import Any

import mlx.core as mx
import mlx_lm.tokenizer_utils
import mlx_lm.utils
import pytest

from swapbench.compat.mlx_lm import PARTS, UnaskedError, build, load_share, unasked
from swapbench.loaders import ModelLoader, Strategy, load, model_loader
from swapbench.loaders.tokenizer import load_lean
from swapbench.spec.strategy import LOADERS, NAMED, ReadAhead, TokenizerMode
from tests.loaders.conftest import parameters
from tests.loaders.test_tokenizer import assert_same

OURS = [name for name in LOADERS if name not in ("stock", "reuse")]


def moved(function: Any, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a function of mlx-lm's make a call by a helper beside it."""
    text = dedent(inspect.getsource(function))
    assert text.count(f"{call}(") == 1
    module = inspect.getmodule(function)
    assert module is not None
    monkeypatch.setattr(module, "_helper", eval(call, vars(module)), raising=False)
    helper = {"__name__": module.__name__}
    changed: dict[str, Any] = {}
    exec(text.replace(f"{call}(", "_helper("), vars(module) | helper, changed)
    name = function.__name__
    changed[name].__globals__.update(vars(module))
    monkeypatch.setattr(module, name, changed[name])


@pytest.fixture
def weights_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    moved(mlx_lm.utils.load_model, "mx.load", monkeypatch)


def test_this_mlx_lm_asks_for_everything() -> None:
    assert [unasked(part) for part in PARTS] == ["", "", ""]


@pytest.mark.parametrize("strategy", [*(NAMED[name] for name in OURS), Strategy(loader="slab", overlap=True)])
def test_where_weights_are_read_elsewhere_every_loader_is_stock_and_says_so(
    strategy: Strategy, minis: dict[str, Path], weights_moved: None
) -> None:
    loader = ModelLoader(strategy)
    assert "load_model reads weights otherwise" in loader.unasked
    loader.reserve(minis.values())
    loader.begin(minis["gemma"])
    loaded = loader.load(minis["gemma"])
    assert loaded.report.loader == "stock"
    assert f"not {strategy.loader}: mlx-lm" in loaded.report.why
    assert loader.kept_bytes == 0
    assert parameters(loaded.model) == parameters(load(minis["gemma"], "stock")[0])


@pytest.mark.parametrize("overlap", [False, True])
def test_a_load_notices_what_was_not_known_before(
    overlap: bool, minis: dict[str, Path], weights_moved: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_loader, "unasked", lambda _: "")
    loader = ModelLoader(Strategy(loader="slab", overlap=overlap, read_ahead=ReadAhead.SPARE))
    loader.reserve(minis.values())
    assert loader.unasked == ""
    for _ in range(2):
        loader.begin(minis["gemma"])
        loaded = loader.load(minis["gemma"])
        assert loaded.report.loader == "stock"
        assert "of 1 files it asked for 0" in loaded.report.why
        assert loader.kept_bytes == 0
        loader.released()
    assert "of 1 files it asked for 0" in loader.unasked
    assert parameters(loaded.model) == parameters(load(minis["gemma"], "stock")[0])


def test_weights_that_are_asked_for_otherwise_are_not_given(
    minis: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = dedent(inspect.getsource(mlx_lm.utils.load_model)).replace(
        "mx.load(wf)", "mx.load(wf, stream=None)"
    )
    changed: dict[str, Any] = {}
    exec(text, vars(mlx_lm.utils), changed)
    monkeypatch.setattr(mlx_lm.utils, "load_model", changed["load_model"])
    assert "mx.load has arguments" in unasked("weights")
    with pytest.raises(UnaskedError):
        build(minis["smollm2"], {})


@pytest.mark.parametrize("function", ["json.load", "AutoTokenizer.from_pretrained"])
def test_where_a_tokenizer_is_read_elsewhere_it_comes_by_mlx_lms_way(
    function: str, minis: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = mlx_lm.utils.load_tokenizer(minis["smollm2"])
    moved(mlx_lm.tokenizer_utils.load, function, monkeypatch)
    assert "reads tokenizers otherwise" in unasked("tokenizer")
    loader = ModelLoader(Strategy(loader="fill", tokenizer=TokenizerMode.OVERLAP))
    assert "reads tokenizers otherwise" in loader.unasked
    lean = load_lean(minis["smollm2"], None)
    assert re.match("tokenizer by mlx-lm's way: mlx-lm .* reads tokenizers otherwise", lean.why)
    assert_same(lean.tokenizer, stock)


@pytest.mark.parametrize("function", ["", "mx.distributed.all_sum", "load_tokenizer"])
def test_shares_are_loaded_all_the_same_and_told_apart_where_they_can_be(
    function: str, minis: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if function:
        moved(mlx_lm.utils.sharded_load, function, monkeypatch)
    assert ("sharded_load loads and meets otherwise" in unasked("shares")) == bool(function)
    spans: list[str] = []

    def span(name: str) -> AbstractContextManager[None]:
        spans.append(name)
        return nullcontext()

    model, tokenizer = load_share(minis["qwen"], "tensor", mx.distributed.init(), span)
    assert spans == ([] if function else ["look", "tokenizer", "build", "read", "barrier"])
    assert parameters(model) == parameters(load(minis["qwen"], "stock")[0])
    assert tokenizer.encode("one")


def test_whatever_another_version_makes_of_the_trial_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(model_path: Path) -> None:
        raise AssertionError

    monkeypatch.setattr(mlx_lm.utils, "load_model", renamed)
    assert "renamed() got an unexpected keyword argument" in unasked("weights")
    monkeypatch.setattr(mlx_lm.utils, "load_model", Callable)
    assert "is no plain function" in unasked("weights")


def test_no_other_module_uses_inner_parts() -> None:
    public = {
        "mlx_lm": {"load_config", "load_model", "load_tokenizer"},
        "mlx_lm.utils": {"load_config", "load_model", "load_tokenizer"},
        "mlx_lm.generate": {"generate_step"},
        "mlx_lm.models.cache": {"load_prompt_cache", "make_prompt_cache", "save_prompt_cache"},
    }
    package = Path(model_loader.__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.parent.name == "compat":
            continue
        assert not re.search(r"unittest\.mock|^\s*(from|import) transformers", text, re.MULTILINE), path
        for module, names in re.findall(r"^\s*from (mlx_lm[\w.]*) import ([\w, ]+)$", text, re.MULTILINE):
            assert set(names.split(", ")) <= public.get(module, set()), path
        assert not re.findall(r"mlx_lm\.(?!__file__)[a-z_.]+\(", text), path
