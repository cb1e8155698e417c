"""What mlx-lm and transformers say of a checkpoint that they can't load, in words of help to its owner."""

import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from swapbench.models.checkpoint import (
    code_wanted,
    json_damage,
    missing_files,
    missing_of_series,
    pointers,
    weight_map,
)
from swapbench.models.headers import POINTER
from swapbench.models.soundness import Fault, damaged

NO_TOKENIZER_CODE: Final = (
    "the tokenizer wants to run code of the checkpoint's (auto_map in tokenizer_config.json), and none is run"
)
_MISSING: Final = re.compile(r"Missing (\d+) parameters:\s*(.*?)(?:,|\.?\s*$)", re.DOTALL)
_UNEXPECTED: Final = re.compile(r"Received (\d+) parameters not in model:\s*(.*?)(?:,|\.?\s*$)", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Model type (.*) not supported\.", re.DOTALL)
_NO_ARGUMENT: Final = re.compile(r"missing \d+ required positional arguments?: (.*)")
_MADE_FOR_EACH_OTHER: Final = "config.json and weights have to be of one model: get both from one place"
_BYTE_LEVEL: Final = ("GPT2Tokenizer", "Qwen2Tokenizer")


def fault_of_model(path: Path, error: Exception) -> Fault:
    """Why mlx-lm could not make a model of a checkpoint's files."""
    if found := damaged(path):
        return found
    if wanted := code_wanted(path):
        return Fault(wanted, "choose a model whose architecture mlx-lm has", incomplete=False)
    said = brief(error)
    if unknown := _UNKNOWN.fullmatch(said):
        return Fault(
            f'mlx-lm {version("mlx-lm")} knows no architecture "{unknown[1]:.80}"',
            "a newer mlx-lm may: `pip install -U mlx-lm`",
            incomplete=False,
        )
    if isinstance(error, json.JSONDecodeError):  # the one that is read where config.json says nothing of it
        file = path / "hf_quant_config.json"
        return Fault(f"{file.name} {json_damage(file)}", "get it again")
    missing = _MISSING.search(str(error))
    if missing:
        return Fault(_missing(path, missing[2], int(missing[1])))
    lost = missing_files(path)
    if lost and isinstance(error, KeyError):
        return Fault(_missing(path, str(error.args[0]), 1))
    if lost and isinstance(error, AttributeError | TypeError | IndexError):
        return Fault(f"{_listed(lost)} not there, and mlx-lm can't build the model without: {said}")
    return _of_config(error, said)


def _of_config(error: Exception, said: str) -> Fault:
    unexpected = _UNEXPECTED.search(str(error))
    if unexpected:
        what = f"{_counted(int(unexpected[1]), unexpected[2])} in its files that config.json has no place for"
        return Fault(what, _MADE_FOR_EACH_OTHER, incomplete=False)
    if said.startswith("[load_safetensors]"):
        return Fault(said, incomplete=False)
    # mlx's own begin with the operation: a layer of config.json's sizes over weights of others.
    if said.startswith(("Expected shape", "[")) or (isinstance(error, KeyError) and "." in said):
        return Fault(said, _MADE_FOR_EACH_OTHER, incomplete=False)
    if lacking := _NO_ARGUMENT.search(said):
        return Fault(f"config.json lacks {lacking[1]}", "get it again", incomplete=False)
    what = f"a number or a name in config.json is wrong, in mlx-lm's words: {said}"
    return Fault(what, "correct it, or get config.json again", incomplete=False)


def fault_of_tokenizer(path: Path, error: Exception) -> Fault:
    """Why transformers could not make a tokenizer of a checkpoint's files that says anything."""
    said = brief(error)
    if said == NO_TOKENIZER_CODE:
        return Fault(said, "it takes tokenizer files of a class that transformers has", incomplete=False)
    if found := pointers(path):
        return Fault(f"{found[0]} {POINTER}", "get it again")
    remedy = "get its files and config.json again, or try another transformers"
    if _unread_vocabulary(path):
        remedy = (
            f"set tokenizer_class in tokenizer_config.json to {' or '.join(_BYTE_LEVEL)}: "
            "those read vocab.json and merges.txt"
        )
    return Fault(f"the tokenizer can't be loaded by transformers {version('transformers')}: {said}", remedy)


def _unread_vocabulary(path: Path) -> bool:
    """Whether a vocabulary is there that the tokenizer's class does not look at."""
    try:
        config = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        config = {}
    there = {name for name in ("vocab.json", "merges.txt", "tokenizer.json") if (path / name).is_file()}
    return there == {"vocab.json", "merges.txt"} and not any(name in str(config) for name in _BYTE_LEVEL)


def _missing(path: Path, first: str, count: int) -> str:
    """Which tensors no file holds; and which file should, where that is known and the file is not there."""
    file = weight_map(path).get(first, "")
    lost = (file,) if file in missing_files(path) else missing_of_series(path)
    return f"{_counted(count, first)} in none of its files" + (
        f" ({_listed(lost)} not there)" if lost else ""
    )


def _listed(files: Sequence[str]) -> str:
    return f"{', '.join(files[:3])}{' …' if len(files) > 3 else ''} {'is' if len(files) == 1 else 'are'}"


def _counted(count: int, first: str) -> str:
    return f"{first:.120} is" if count == 1 else f"{first:.120} and {count - 1} more tensors are"


def brief(error: Exception) -> str:
    """What an error says, in one line; its name where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__
