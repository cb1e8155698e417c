"""The lean tokenizer is mlx-lm's own, whatever is asked of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlx_lm.utils import load_tokenizer

from swapbench.loaders.tokenizer import _members, load_lean

MESSAGES = [{"role": "user", "content": "How are you?"}, {"role": "assistant", "content": "Fine."}]


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def assert_same(lean: Any, stock: Any) -> None:
    text = "Hello, wörld! 12 \u4f60\u597d\n\tdef f(): pass  <unk>"
    assert type(lean._tokenizer) is type(stock._tokenizer)
    assert type(lean.detokenizer) is type(stock.detokenizer)
    assert lean.encode(text) == stock.encode(text)
    assert lean.decode(lean.encode(text)) == stock.decode(stock.encode(text))
    assert lean.get_vocab() == stock.get_vocab()
    assert len(lean) == len(stock)
    assert lean.convert_ids_to_tokens(list(range(len(lean)))) == stock.convert_ids_to_tokens(
        list(range(len(stock)))
    )
    for name in ("eos_token_ids", "bos_token_id", "pad_token_id", "chat_template", "has_chat_template"):
        assert getattr(lean, name) == getattr(stock, name), name
    for name in ("has_thinking", "has_tool_calling", "tool_call_start", "added_tokens_decoder"):
        assert repr(getattr(lean, name)) == repr(getattr(stock, name)), name
    assert lean.special_tokens_map == stock.special_tokens_map
    if stock.has_chat_template:
        assert lean.apply_chat_template(MESSAGES) == stock.apply_chat_template(MESSAGES)


@pytest.mark.parametrize("name", ["smollm2", "gemma", "qwen"])
@pytest.mark.parametrize("eos", [None, 2, [1, 3]])
def test_it_is_mlx_lms_tokenizer(minis: dict[str, Path], name: str, eos: int | list[int] | None) -> None:
    lean = load_lean(minis[name], eos)
    assert lean.why == ""
    assert_same(lean.tokenizer, load_tokenizer(minis[name], eos_token_ids=eos))


def _no_template(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def _template_file(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{% for m in messages %}[{{ m['content'] }}]{% endfor %}")


def _added_tokens(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    entry = dict(content["added_tokens"][0])
    entry |= {"id": 9000, "content": "<extra>", "special": False, "normalized": True, "lstrip": True}
    content["added_tokens"].append(entry)
    (folder / "tokenizer.json").write_text(json.dumps(content))


def _model_first(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({"model": content.pop("model")} | content, indent=1))


def _says_added_tokens(folder: Path) -> None:
    tokens = {"0": {"content": "<first>", "special": True}}
    change(folder / "tokenizer_config.json", added_tokens_decoder=tokens)


def _special_tokens_map(folder: Path) -> None:
    (folder / "special_tokens_map.json").write_text(json.dumps({"unk_token": "<unknown>"}))


@pytest.mark.parametrize(
    "vary",
    [_no_template, _template_file, _added_tokens, _model_first, _says_added_tokens, _special_tokens_map],
)
@pytest.mark.parametrize("name", ["smollm2", "gemma", "qwen"])
def test_it_is_so_for_variants(
    minis: dict[str, Path], tmp_path: Path, name: str, vary: Callable[[Path], None]
) -> None:
    folder = tmp_path / "variant"
    shutil.copytree(minis[name], folder, ignore=shutil.ignore_patterns("*.safetensors"))
    vary(folder)
    assert_same(load_lean(folder, None).tokenizer, load_tokenizer(folder))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60))
@pytest.mark.parametrize("name", ["smollm2", "gemma", "qwen"])
def test_texts_stream_as_they_do_there(minis: dict[str, Path], name: str, text: str) -> None:
    pair = _pairs.setdefault(name, (load_lean(minis[name], None).tokenizer, load_tokenizer(minis[name])))
    ids = [tokenizer.encode(text) for tokenizer in pair]
    assert ids[0] == ids[1]
    streams = []
    for tokenizer in pair:
        stream = tokenizer.detokenizer
        for token in ids[0]:
            stream.add_token(token)
        stream.finalize()
        streams.append(stream.text)
    assert streams[0] == streams[1]


_pairs: dict[str, tuple[Any, Any]] = {}


def test_without_a_tokenizer_json_mlx_lm_is_asked(minis: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "none"
    shutil.copytree(minis["smollm2"], folder, ignore=shutil.ignore_patterns("*.safetensors"))
    content = json.loads((folder / "tokenizer.json").read_text())
    del content["decoder"]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    lean = load_lean(folder, None)
    assert "mlx-lm's way" in lean.why
    assert_same(lean.tokenizer, load_tokenizer(folder))


def test_a_broken_file_fails_as_it_does_there(minis: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(minis["smollm2"], folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "tokenizer.json").write_text('{"added_tokens": [')
    with pytest.raises(ValueError, match="Failed to parse") as theirs:
        load_tokenizer(folder)
    with pytest.raises(type(theirs.value), match="Failed to parse"):
        load_lean(folder, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=6), st.sampled_from([None, 0, 2]))
def test_members_are_those_of_the_whole(content: dict[str, Any], indent: int | None) -> None:
    assert dict(_members(json.dumps(content, indent=indent))) == content
