"""Whether mlx-lm can load a checkpoint, asked of a process that has it; what it says, in words of help."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from swapbench.base.process import LENT
from swapbench.models.cache import keep, recall, remembered, state_of
from swapbench.models.checkpoint import (
    POINTER,
    Fault,
    code_wanted,
    damaged,
    json_damage,
    looks_whole,
    missing_files,
    missing_of_series,
    pointers,
    read_object,
    weight_map,
)

_QUESTION: Final = "fault"
_PATIENCE_S: Final = 120


def fault(folder: Path) -> Fault | None:
    """What a checkpoint lacks for any mlx-lm to load it; None when nothing.

    Of a folder that contradicts itself mlx-lm is asked: an index or a numbering may be wrong where everything
    is there. One that doesn't is believed until mlx-lm has been asked about it: lists come at once.
    """
    if found := damaged(folder):
        return found
    state = _state(folder)
    known = recall(_QUESTION, folder, state)
    if known is None and looks_whole(folder):
        return None
    found = read(known) if known is not None else _said_of(folder, state)
    return found if found and found.incomplete else None


def examined(folder: Path, before: Callable[[], None] = lambda: None) -> Fault | None:
    """Why this mlx-lm can't load a checkpoint, asked once for each state of its files; None where it can.

    `before` is called where that takes a process.
    """
    return damaged(folder) or _said_of(folder, _state(folder), before)


def keep_fault(folder: Path, found: Fault | None) -> None:
    """Remember what a process with mlx-lm has found, so that whoever has none says the same."""
    keep(_QUESTION, folder, _state(folder), written(found))


def _said_of(folder: Path, state: list[Any], before: Callable[[], None] = lambda: None) -> Fault | None:
    def find() -> Any:
        before()
        return ask(folder)

    try:
        return read(remembered(_QUESTION, folder, state, find))
    except UnansweredError as error:
        return Fault(f"mlx-lm could not be asked about it: {error}", "try again")


def written(found: Fault | None) -> dict[str, Any]:
    """As JSON has it."""
    return asdict(found) if found else {}


def read(answer: dict[str, Any]) -> Fault | None:
    """What `written` wrote."""
    return Fault(**answer) if answer else None


def _state(folder: Path) -> list[Any]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [version("mlx"), version("mlx-lm"), version("transformers"), *state_of(files)]


class UnansweredError(Exception):
    """There is no answer, which is none to remember."""


def ask(folder: Path, *options: str) -> Any:
    """What `swapbench.worker.checking` says in a process of its own; UnansweredError if nothing, in time."""
    try:
        asked = subprocess.run(
            [sys.executable, *LENT, "swapbench.worker.checking", *options, str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        return json.loads(asked.stdout)["answer"]
    except subprocess.TimeoutExpired:
        raise UnansweredError(f"no answer within {_PATIENCE_S} s") from None
    except (ValueError, KeyError, TypeError):
        last = asked.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise UnansweredError(f"exit code {asked.returncode}, {last[0]:.200}") from None


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
    if missing := _MISSING.search(str(error)):
        return Fault(_missing(path, missing[2], int(missing[1])))
    lost = missing_files(path)
    if lost and isinstance(error, KeyError):
        return Fault(_missing(path, str(error.args[0]), 1))
    if lost and isinstance(error, AttributeError | TypeError | IndexError):
        return Fault(f"{_listed(lost)} not there, and mlx-lm can't build the model without: {said}")
    return Fault(*_of_config(error, said), incomplete=False)


def _of_config(error: Exception, said: str) -> tuple[str, str]:
    if unexpected := _UNEXPECTED.search(str(error)):
        what = f"{_counted(int(unexpected[1]), unexpected[2])} in its files that config.json has no place for"
        return what, _MADE_FOR_EACH_OTHER
    if said.startswith("[load_safetensors]"):
        return said, ""
    # mlx's own begin with the operation: a layer of config.json's sizes over weights of others.
    if said.startswith(("Expected shape", "[")) or (isinstance(error, KeyError) and "." in said):
        return said, _MADE_FOR_EACH_OTHER
    if lacking := _NO_ARGUMENT.search(said):
        return f"config.json lacks {lacking[1]}", "get it again"
    what = f"a number or a name in config.json is wrong, in mlx-lm's words: {said}"
    return what, "correct it, or get config.json again"


def fault_of_tokenizer(path: Path, error: Exception) -> Fault:
    """Why transformers could not make a tokenizer of a checkpoint's files that says anything."""
    said = brief(error)
    if said == NO_TOKENIZER_CODE:
        return Fault(said, "it takes tokenizer files of a class that transformers has", incomplete=False)
    if found := pointers(path):
        return Fault(f"{found[0]} {POINTER}", "get it again")
    config = str(read_object(path / "tokenizer_config.json"))
    there = {name for name in ("vocab.json", "merges.txt", "tokenizer.json") if (path / name).is_file()}
    remedy = "get its files and config.json again, or try another transformers"
    if there == {"vocab.json", "merges.txt"} and not any(name in config for name in _BYTE_LEVEL):
        remedy = (
            f"set tokenizer_class in tokenizer_config.json to {' or '.join(_BYTE_LEVEL)}: "
            "those read vocab.json and merges.txt"
        )
    return Fault(f"the tokenizer can't be loaded by transformers {version('transformers')}: {said}", remedy)


def _missing(path: Path, first: str, count: int) -> str:
    """Which tensors no file holds; and which file should, where that is known and the file is not there."""
    file = weight_map(path).get(first, "")
    lost = (file,) if file in missing_files(path) else missing_of_series(path)
    not_there = f" ({_listed(lost)} not there)" if lost else ""
    return f"{_counted(count, first)} in none of its files{not_there}"


def _listed(files: Sequence[str]) -> str:
    return f"{', '.join(files[:3])}{' …' if len(files) > 3 else ''} {'is' if len(files) == 1 else 'are'}"


def _counted(count: int, first: str) -> str:
    return f"{first:.120} is" if count == 1 else f"{first:.120} and {count - 1} more tensors are"


def brief(error: Exception) -> str:
    """What an error says, in one line; its name where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__
