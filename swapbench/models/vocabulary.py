"""What a tokenizer has to hold: how many tokens and merges, and which of them are special."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

# One token for each byte: with these, byte-level BPE can spell any text.
BYTE_TOKENS: Final = 256

MINI_SIZE: Final = 1536

ChatStyle = Literal["chatml", "turns"]


@dataclass(frozen=True)
class Vocabulary:
    """The facts of a tokenizer.

    Args:
        size: tokens, special ones included; ids are 0 to size - 1.
        merges: merge rules. Each token that is neither a byte nor special needs one; the rest are other
            ways to the same tokens, as tokenizers converted from SentencePiece have them.
        specials: special tokens and their ids.
        adds_bos: whether encoding puts `bos` before a text.
    """

    size: int
    merges: int
    specials: tuple[tuple[str, int], ...]
    bos: str
    eos: str
    pad: str
    adds_bos: bool
    chat: ChatStyle

    def id_of(self, special: str) -> int:
        """The id of a special token."""
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
