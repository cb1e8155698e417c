"""What a tokenizer has to hold; a byte-level BPE one of any size whose every token can come out of some text.

Words look like " bacidu": an anchor (the space), then syllables. Merges first join a consonant and a vowel
to a syllable, and then only ever extend what begins with the anchor, by a syllable or by a last consonant.
No two merges compete for the same piece of text, so the text of a token always becomes that token again.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

# One token for each byte: with these, byte-level BPE can spell any text.
BYTE_TOKENS: Final = 256

MINI_SIZE: Final = 1536

ChatStyle = Literal["chatml", "turns"]


@dataclass(frozen=True)
class Vocabulary:
    """The facts of a tokenizer: ids are 0 to `size` - 1, special tokens included.

    Each token that is neither a byte nor special needs one of the `merges`; the rest are other ways to the
    same tokens, as tokenizers converted from SentencePiece have them.
    """

    size: int
    merges: int
    specials: tuple[tuple[str, int], ...]
    bos: str
    eos: str
    pad: str
    adds_bos: bool  # whether encoding puts `bos` before a text
    chat: ChatStyle

    def id_of(self, special: str) -> int:
        return dict(self.specials)[special]


def of_config(config: Mapping[str, Any]) -> Vocabulary:
    """A vocabulary for a model of which only config.json is known: its size, and its bos and eos ids."""
    size = int(config["vocab_size"])
    taken: dict[str, int] = {}
    for token, key in (("<|im_end|>", "eos_token_id"), ("<|endoftext|>", "bos_token_id")):
        first = next(iter(_ids(config.get(key))), None)
        if first is not None and 0 <= first < size and first not in taken.values():
            taken[token] = first
    free = (number for number in range(size - 1, -1, -1) if number not in taken.values())
    for token in ("<|endoftext|>", "<|im_start|>", "<|im_end|>"):
        if token not in taken:
            taken[token] = next(free)
    return Vocabulary(
        size=size,
        merges=size - BYTE_TOKENS - len(taken),
        specials=tuple(sorted(taken.items(), key=lambda entry: entry[1])),
        bos="<|endoftext|>",
        eos="<|im_end|>",
        pad="<|endoftext|>",
        adds_bos=False,
        chat="chatml",
    )


def scaled_down(full: Vocabulary) -> Vocabulary:
    """The same kind of vocabulary in MINI_SIZE tokens, the special ones first."""
    size = min(full.size, MINI_SIZE)
    return replace(
        full,
        size=size,
        merges=size - BYTE_TOKENS - len(full.specials),
        specials=tuple((token, number) for number, (token, _) in enumerate(full.specials)),
    )


def renumbered(ids: Any, before: Vocabulary, after: Vocabulary) -> Any:
    """A config's token id, or list of them, by the special tokens' new ids; others are left out."""
    names = {number: token for token, number in before.specials}
    moved = [after.id_of(names[number]) for number in _ids(ids) if number in names]
    if isinstance(ids, list):
        return moved
    return moved[0] if moved else None


def _ids(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [number for number in values if isinstance(number, int) and not isinstance(number, bool)]


Merge = tuple[str, str]

_CONSONANTS: Final = "bcdfghjklmnpqrstvwxz"
_VOWELS: Final = "aeiou"

_TEMPLATES: Final[dict[ChatStyle, str]] = {
    "chatml": (
        "{% for message in messages %}"
        "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
        "{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "turns": (
        "{{ bos_token }}"
        "{% for message in messages %}"
        "<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
        "{{ message['content'] | trim }}<end_of_turn>\n"
        "{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    ),
}


def write_tokenizer(folder: Path, vocabulary: Vocabulary) -> None:
    """Write tokenizer.json and tokenizer_config.json, chat template included."""
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": vocabulary.bos,
        "eos_token": vocabulary.eos,
        "pad_token": vocabulary.pad,
        "unk_token": None,
        "model_max_length": 131_072,
        "clean_up_tokenization_spaces": False,
        "chat_template": _TEMPLATES[vocabulary.chat],
    }
    contents = {"tokenizer.json": tokenizer_json(vocabulary), "tokenizer_config.json": settings}
    for name, content in contents.items():
        text = json.dumps(content, ensure_ascii=False, indent=2)
        (folder / name).write_text(text, encoding="utf-8")


def tokenizer_json(vocabulary: Vocabulary) -> dict[str, Any]:
    """The contents of tokenizer.json."""
    ids, merges = _model(vocabulary)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": token, **flags} for token, number in vocabulary.specials],
        "normalizer": None,
        "pre_tokenizer": _BYTE_LEVEL,
        "post_processor": _post_processor(vocabulary),
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": ids,
            "merges": merges,
        },
    }


_BYTE_LEVEL: Final = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _model(vocabulary: Vocabulary) -> tuple[dict[str, int], list[Merge]]:
    """Tokens with their ids (the ordinary ones fill the gaps between the special), and merges in order."""
    specials = dict(vocabulary.specials)
    grown = _grown(vocabulary.size - len(specials) - BYTE_TOKENS)
    ordinary = [*_byte_symbols(), *(left + right for left, right in grown)]
    gaps = sorted({*range(vocabulary.size)} - {*specials.values()})
    ids = dict(zip(ordinary, gaps, strict=False)) | specials
    # Other ways to the same words: split before the last vowel, or before the last vowel and consonant.
    words = [(left, right) for left, right in grown if left.startswith(_SPACE)]
    others = [(left + right[0], right[1]) for left, right in words if len(right) == 2]
    others += [(left[:-1], left[-1] + right) for left, right in words if len(right) == 1 and len(left) > 2]
    return dict(sorted(ids.items(), key=lambda e: e[1])), [*grown, *others[: vocabulary.merges - len(grown)]]


def _grown(count: int) -> list[Merge]:
    """The merges that make `count` new tokens, one each: syllables, words, and what may end a word."""
    syllables = [(consonant, vowel) for consonant in _CONSONANTS for vowel in _VOWELS]
    endings = [(vowel, consonant) for vowel in _VOWELS for consonant in _CONSONANTS]
    words = islice(_words(), max(0, count - len(syllables) - len(endings)))
    return [*syllables, *words, *endings][:count]


def _words() -> Iterator[Merge]:
    """Merges without end, for longer and longer words."""
    words = [_SPACE]
    while True:
        longer = []
        for word in words:
            for consonant in _CONSONANTS:
                yield word, consonant
                for vowel in _VOWELS:
                    yield word, consonant + vowel
                    longer.append(word + consonant + vowel)
        words = longer


def _byte_symbols() -> list[str]:
    """The printable character that stands for each byte in GPT-2's byte-level alphabet, by byte."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    beyond = iter(range(BYTE_TOKENS, 2 * BYTE_TOKENS))
    return [chr(byte if byte in printable else next(beyond)) for byte in range(BYTE_TOKENS)]


_SPACE: Final = _byte_symbols()[ord(" ")]


def _post_processor(vocabulary: Vocabulary) -> dict[str, Any]:
    if not vocabulary.adds_bos:
        return _BYTE_LEVEL
    bos = vocabulary.bos

    def special(type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": bos, "type_id": type_id}}

    first, second = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [special(0), first],
        "pair": [special(0), first, special(1), second],
        "special_tokens": {bos: {"id": bos, "ids": [vocabulary.id_of(bos)], "tokens": [bos]}},
    }
