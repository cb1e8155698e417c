"""The lean way to mlx-lm's tokenizer: the same objects by the same code, with nothing done twice.

mlx_lm.utils.load_tokenizer parses tokenizer.json once to learn its decoder, transformers again to learn its
added tokens, and then for what it is; and the vocabulary is fetched three times, and once token by token.
Here decoder and added tokens are read from the file's beginning, and the vocabulary is fetched once.
"""

import json
import re
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mlx_lm.tokenizer_utils
from mlx_lm.utils import load_tokenizer
from transformers import AddedToken, AutoTokenizer

from swapbench.models.validation import NO_TOKENIZER_CODE

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()

# A fresh one for each call: said outright, for where nothing is said transformers asks on standard input.
_NO_CODE: Final = {"trust_remote_code": False}

# Where these are, transformers merges them with what tokenizer.json says; that is left to it.
_LEGACY: Final = ("special_tokens_map.json", "added_tokens.json")


@dataclass(frozen=True)
class Lean:
    """A tokenizer as mlx-lm wraps it, and why it came mlx-lm's way after all; empty when it didn't."""

    tokenizer: Any
    why: str


def load_stock(path: Path, eos_token_ids: int | list[int] | None) -> Any:
    """What mlx_lm.utils.load_tokenizer makes; no code of the checkpoint's runs, and nobody is asked whether.

    Raises:
        ValueError: the tokenizer can't be had without code of the checkpoint's.
        Exception: what mlx-lm and transformers raise, where the files are at fault.
    """
    with _code_refused():
        return load_tokenizer(path, dict(_NO_CODE), eos_token_ids=eos_token_ids)


def load_lean(path: Path, eos_token_ids: int | list[int] | None) -> Lean:
    """The same as `load_stock`, in about half the time.

    Raises:
        Exception: as `load_stock`.
    """
    try:
        head = _head(path)
    except _UnlikeError as error:
        return Lean(load_stock(path, eos_token_ids), f"tokenizer by mlx-lm's way: {error}")
    with _code_refused():
        return Lean(_load(path, eos_token_ids, head), "")


def refuse_mute(tokenizer: Any) -> None:
    """transformers makes a tokenizer of hardly any files, without a word.

    Raises:
        ValueError: no text has tokens in this one.
    """
    if not tokenizer.encode("Hello", add_special_tokens=False):
        raise ValueError("it knows no tokens, as without its files")


@contextmanager
def _code_refused() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise ValueError(NO_TOKENIZER_CODE) from None


class _UnlikeError(Exception):
    """A tokenizer of another kind than this module knows how to shorten."""


@dataclass(frozen=True)
class _Head:
    """What stands before the vocabulary in tokenizer.json."""

    decoder: Any
    added_tokens: list[dict[str, Any]]


def _head(path: Path) -> _Head:
    file = path / "tokenizer.json"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise _UnlikeError("it has no readable tokenizer.json") from None
    found: dict[str, Any] = {}
    try:
        for name, value in _members(text):
            found[name] = value
            if "decoder" in found and "added_tokens" in found:
                return _Head(found["decoder"], found["added_tokens"])
    except ValueError:
        raise _UnlikeError("tokenizer.json is not JSON") from None
    raise _UnlikeError("tokenizer.json names no decoder or no added tokens")


def _members(text: str) -> Iterator[tuple[str, Any]]:
    """The members of a JSON object one after another, so that whoever has seen enough can stop."""
    at = _after_space(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("no object")
    at = _after_space(text, at + 1)
    while text[at : at + 1] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _after_space(text, at)
        if text[at : at + 1] != ":" or not isinstance(name, str):
            raise ValueError("no member")
        value, at = _DECODER.raw_decode(text, _after_space(text, at + 1))
        yield name, value
        at = _after_space(text, at)
        if text[at : at + 1] == ",":
            at = _after_space(text, at + 1)
        elif text[at : at + 1] != "}":
            raise ValueError("neither another member nor the end")


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _load(path: Path, eos_token_ids: int | list[int] | None, head: _Head) -> Any:
    original = mlx_lm.tokenizer_utils.load
    # A copy of the function that sees other globals: patching the module would reach other threads' loads.
    seen = original.__globals__ | {"json": _Json(head), "AutoTokenizer": _Auto(head)}
    load = types.FunctionType(original.__code__, seen, original.__name__, original.__defaults__)
    wrapper = load(path, dict(_NO_CODE), eos_token_ids, *_defaults(path))
    # Laid over the methods while the wrapper was made; from here on tokens may be added.
    for name in ("get_vocab", "convert_ids_to_tokens"):
        vars(wrapper._tokenizer).pop(name, None)
    return wrapper


def _defaults(path: Path) -> list[Any]:
    """A model's settings for checkpoints without them, where this mlx-lm has them (0.32.1 and newer)."""
    look_up = getattr(mlx_lm.utils, "_tokenizer_defaults", None)
    return [look_up(path)] if look_up is not None else []


class _Json:
    """json, for a function that wants nothing of tokenizer.json but its decoder."""

    def __init__(self, head: _Head) -> None:
        self._head = head

    def load(self, _file: Any) -> dict[str, Any]:
        return {"decoder": self._head.decoder}


class _Auto:
    """AutoTokenizer, told of the added tokens, and handing out the vocabulary that it fetched once."""

    def __init__(self, head: _Head) -> None:
        self._head = head

    def from_pretrained(self, path: Path, **settings: Any) -> Any:
        if not _says_added_tokens(path) and not any((path / name).exists() for name in _LEGACY):
            settings["added_tokens_decoder"] = {
                entry["id"]: AddedToken(**{name: value for name, value in entry.items() if name != "id"})
                for entry in self._head.added_tokens
            }
        tokenizer = AutoTokenizer.from_pretrained(path, **settings)
        vocabulary = tokenizer.get_vocab()
        tokens: list[str | None] = [None] * len(tokenizer)
        for token, number in vocabulary.items():
            if number < len(tokens):
                tokens[number] = token
        own = tokenizer.convert_ids_to_tokens

        def convert(ids: Any, *args: Any, **kwargs: Any) -> Any:
            whole = isinstance(ids, list) and not args and not kwargs and ids == list(range(len(tokens)))
            return list(tokens) if whole and len(vocabulary) == len(tokens) else own(ids, *args, **kwargs)

        vars(tokenizer)["get_vocab"] = lambda: vocabulary
        vars(tokenizer)["convert_ids_to_tokens"] = convert
        return tokenizer


def _says_added_tokens(path: Path) -> bool:
    try:
        config = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "added_tokens_decoder" in config
