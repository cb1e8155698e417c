from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlx_lm.utils import load_tokenizer
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from swapbench.models.catalogue import CATALOGUE, Entry
from swapbench.models.stand_ins.tokenizer import (
    Vocabulary,
    of_config,
    scaled_down,
    tokenizer_json,
    write_tokenizer,
)

by_name = pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
MINI = scaled_down(CATALOGUE[0].vocabulary)
SMOLLM2 = CATALOGUE[0].vocabulary


def built(vocabulary: Vocabulary, folder: Path) -> Any:
    write_tokenizer(folder, vocabulary)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return built(MINI, tmp_path_factory.mktemp("mini"))


@by_name
@pytest.mark.parametrize("full", [True, False], ids=["full", "mini"])
def test_tokens_and_merges_are_as_many_as_stated_and_agree(entry: Entry, full: bool) -> None:
    vocabulary = entry.vocabulary if full else scaled_down(entry.vocabulary)
    model = tokenizer_json(vocabulary)["model"]
    assert sorted(model["vocab"].values()) == list(range(vocabulary.size))
    assert len(set(model["merges"])) == len(model["merges"]) == vocabulary.merges
    assert all({left, right, left + right} <= model["vocab"].keys() for left, right in model["merges"])


def test_every_token_comes_out_of_its_own_text(tmp_path: Path) -> None:
    tokenizer = built(SMOLLM2, tmp_path)
    specials = dict(SMOLLM2.specials)
    for token, number in tokenizer.get_vocab().items():
        text = tokenizer.decode([number])
        if token not in specials and "\ufffd" not in text:
            assert tokenizer.encode(text).ids == [number]


def test_a_byte_that_is_no_text_alone_still_has_its_token(mini: Any) -> None:
    assert len(mini.encode("é").ids) == 2
    assert mini.decode(mini.encode("é").ids) == "é"


@given(st.text())
def test_any_text_survives_encoding_and_decoding(mini: Any, text: str) -> None:
    ids = mini.encode(text).ids
    assert mini.decode(ids, skip_special_tokens=False) == text
    assert all(number < MINI.size for number in ids)


def test_the_tokenizer_is_the_same_each_time() -> None:
    assert tokenizer_json(MINI) == tokenizer_json(MINI)


@by_name
def test_transformers_and_mlx_lm_load_it_and_apply_its_chat_template(
    entry: Entry, minis: dict[str, Path]
) -> None:
    folder = minis[entry.name]
    for tokenizer in (AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)):
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Grüße, 世界 🎉"}], add_generation_prompt=True, tokenize=False
        )
        assert "Grüße, 世界 🎉" in prompt
        ids = tokenizer.encode(prompt, add_special_tokens=False)
        assert ids[0] == scaled_down(entry.vocabulary).id_of(
            "<bos>" if entry.vocabulary.adds_bos else "<|im_start|>"
        )
        assert tokenizer.decode(ids) == prompt


@by_name
def test_transformers_own_class_gives_text_back(entry: Entry, minis: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(minis[entry.name])
    text = " bacidu e\u0301 \u212b\n\t  日本 \x00"
    back = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False))
    # Qwen2's class normalises to NFC whatever tokenizer.json says, as it does for the published one.
    assert back == (normalize("NFC", text) if entry.name.startswith("qwen") else text)


def test_bos_is_put_first_where_the_model_wants_it(minis: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(minis["gemma-3-12b"])
    assert tokenizer.encode("hi")[0] == tokenizer.bos_token_id


@given(
    size=st.integers(300, 3000),
    eos=st.one_of(st.none(), st.integers(-5, 4000), st.lists(st.integers(0, 4000), max_size=3)),
    bos=st.one_of(st.none(), st.integers(-5, 4000)),
)
def test_a_vocabulary_of_any_config_is_whole(size: int, eos: Any, bos: Any) -> None:
    vocabulary = of_config({"vocab_size": size, "eos_token_id": eos, "bos_token_id": bos})
    model = tokenizer_json(vocabulary)["model"]
    assert sorted(model["vocab"].values()) == list(range(size))
    assert len(model["merges"]) == vocabulary.merges


def test_a_configs_end_of_text_keeps_its_id() -> None:
    vocabulary = of_config({"vocab_size": 1000, "eos_token_id": [7, 8], "bos_token_id": 3})
    assert vocabulary.id_of(vocabulary.eos) == 7
    assert vocabulary.id_of(vocabulary.bos) == 3
