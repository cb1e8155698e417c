"""The tokenizer: mlx-lm's way after the weights, leanly from the swap request on, or kept across swaps.

mlx_lm.utils.load_tokenizer parses tokenizer.json once to learn its decoder, transformers again to learn its
added tokens, and then for what it is; and the vocabulary is fetched three times, and once token by token.
Leanly, decoder and added tokens are read from the file's beginning, and the vocabulary is fetched once.
"""

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Final, NamedTuple

from mlx_lm.utils import load_config, load_tokenizer

from swapbench.compat.mlx_lm import NO_CODE, UnaskedError, tokenizer_of, unasked
from swapbench.models.validation import NO_TOKENIZER_CODE
from swapbench.spec.strategy import TokenizerMode

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()
_State = tuple[Path, tuple[tuple[str, int, int], ...]]


class Lean(NamedTuple):
    """A tokenizer as mlx-lm wraps it, and why it came mlx-lm's way after all; empty when it didn't."""

    tokenizer: Any
    why: str


def load_stock(path: Path, eos_token_ids: int | list[int] | None) -> Any:
    """What mlx_lm.utils.load_tokenizer makes; no code of the checkpoint's runs, and nobody is asked whether.

    Raises ValueError where it can't be had without, and what transformers raises over the files.
    """
    with _code_refused():
        return load_tokenizer(path, dict(NO_CODE), eos_token_ids=eos_token_ids)


def load_lean(path: Path, eos_token_ids: int | list[int] | None) -> Lean:
    """The same as `load_stock`, in about half the time; raises as it."""
    try:
        decoder, added_tokens = _head(path)
        if why := unasked("tokenizer"):
            raise _UnlikeError(why)
        with _code_refused():
            return Lean(tokenizer_of(path, eos_token_ids, decoder, added_tokens), "")
    except (_UnlikeError, UnaskedError) as error:
        return Lean(load_stock(path, eos_token_ids), f"tokenizer by mlx-lm's way: {error}")


def refuse_mute(tokenizer: Any) -> None:
    """ValueError of a tokenizer in which no text has tokens: transformers makes one of hardly any files."""
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


def _head(path: Path) -> tuple[Any, list[dict[str, Any]]]:
    """Decoder and added tokens, which stand before the vocabulary in tokenizer.json."""
    try:
        text = (path / "tokenizer.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise _UnlikeError("it has no readable tokenizer.json") from None
    found: dict[str, Any] = {}
    try:
        for name, value in _members(text):
            found[name] = value
            if "decoder" in found and "added_tokens" in found:
                return found["decoder"], found["added_tokens"]
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


class Tokenizers:
    def __init__(self, mode: TokenizerMode) -> None:
        self._mode = mode
        self._coming: dict[Path, Future[Lean]] = {}
        self._kept: dict[_State, Lean] = {}

    def begin(self, checkpoint: Path) -> None:
        """Have a checkpoint's tokenizer soon."""
        if self._mode is TokenizerMode.STOCK or checkpoint in self._coming:
            return
        if _state(checkpoint) in self._kept:
            return
        coming: Future[Lean] = Future()

        def parse() -> None:
            try:
                coming.set_result(_lean(checkpoint))
            except BaseException as error:  # noqa: BLE001 - a thread's border: whoever waits is told
                coming.set_exception(error)

        Thread(target=parse, name="tokenizer", daemon=True).start()
        # One at a time: what was begun for a swap that came to nothing is of no use.
        self._coming = {checkpoint: coming}

    def get(self, checkpoint: Path, config: dict[str, Any]) -> Lean:
        """The tokenizer, and why it came otherwise than asked for; raises what transformers raises."""
        if self._mode is TokenizerMode.STOCK:
            return Lean(load_stock(checkpoint, config.get("eos_token_id")), "")
        state = _state(checkpoint)
        if state in self._kept:
            return self._kept[state]
        coming = self._coming.pop(checkpoint, None)
        found = coming.result() if coming is not None else _lean(checkpoint)
        if self._mode is TokenizerMode.KEEP:
            self._kept[state] = found
        return found

    def close(self) -> None:
        self._coming.clear()
        self._kept.clear()


def _lean(checkpoint: Path) -> Lean:
    return load_lean(checkpoint, load_config(checkpoint).get("eos_token_id"))


def _state(checkpoint: Path) -> _State:
    """A folder with what its small files are: other contents are another tokenizer."""
    files = sorted(path for path in checkpoint.iterdir() if path.suffix != ".safetensors" and path.is_file())
    stats = [(path.name, path.stat()) for path in files]
    return checkpoint, tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
