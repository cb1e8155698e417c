"""Stored histories of runs, to judge later ones by: a folder each under results/baselines/, made for git.

results/baselines/NAME/runs.jsonl          a line for each run, oldest first
results/baselines/NAME/FINGERPRINT.json    what the runs of that fingerprint have in common
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from swapbench.base.errors import IncomparableError, ResultsError, UsageError, did_you_mean
from swapbench.base.files import write_atomically
from swapbench.base.phases import HeadlineFigure

# 1: first published form.
BASELINE_VERSION: Final = 1

FOLDER: Final = "baselines"
_RUNS: Final = "runs.jsonl"
_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class KeptScenario(BaseModel):
    """One scenario of a kept run: the median of its headline figure over `n` swaps, and of its phases."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    figure: HeadlineFigure
    n: int
    seconds: float = Field(gt=0, allow_inf_nan=False)
    phases_s: dict[str, float] = {}


class _Versioned(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    baseline_version: int = BASELINE_VERSION


class KeptRun(_Versioned):
    """What a baseline keeps of a run."""

    run_id: str
    experiment: str
    started_at: datetime
    fingerprint: str
    versions: dict[str, str]
    scenarios: dict[str, KeptScenario]


def names(results: Path) -> list[str]:
    """The baselines that there are."""
    return sorted(path.parent.name for path in (results / FOLDER).glob(f"*/{_RUNS}"))


def load(results: Path, name: str) -> tuple[KeptRun, ...]:
    """The runs of a baseline, oldest first.

    Raises:
        IncomparableError: there is no such baseline.
        ResultsError: its file can't be read.
    """
    path = results / FOLDER / name / _RUNS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise IncomparableError(
            f'no baseline "{name}" under {results / FOLDER}; {did_you_mean(name, names(results))}; '
            f"`swapbench baseline save {name}` makes one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: can't be read: {error}") from None
    return tuple(_entry(path, number, line) for number, line in enumerate(lines, start=1) if line.strip())


def fingerprints(results: Path, name: str) -> dict[str, dict[str, str]]:
    """What the runs of each fingerprint in a baseline have in common, aspect by aspect.

    Raises:
        ResultsError: a file of it can't be read.
    """
    return {path.stem: _aspects(path) for path in sorted((results / FOLDER / name).glob("*.json"))}


def _aspects(path: Path) -> dict[str, str]:
    try:
        return TypeAdapter(dict[str, str]).validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: can't be read: {error}") from None
    except ValidationError as error:
        raise ResultsError(f"{path}: {_first_fault(error)}") from None


def save(
    results: Path, name: str, entries: Iterable[KeptRun], aspects: Mapping[str, Mapping[str, str]]
) -> tuple[int, int]:
    """Add runs to a baseline; returns how many are new, and how many there are now. A run is kept once.

    Args:
        aspects: what is behind each fingerprint of the entries.

    Raises:
        UsageError: the name can't be a folder's.
        ResultsError: what is there already can't be read.
    """
    if not name or not _NAME_CHARACTERS.issuperset(name) or name.startswith("."):
        raise UsageError(f'"{name}": a baseline is named by letters, digits, ".", "_" and "-"')
    there = {entry.run_id: entry for entry in load(results, name)} if name in names(results) else {}
    new = {entry.run_id: entry for entry in entries if entry.run_id not in there}
    kept = sorted((there | new).values(), key=lambda entry: (entry.started_at.timestamp(), entry.run_id))
    folder = results / FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    for digest, of in aspects.items():
        write_atomically(folder / f"{digest}.json", json.dumps(dict(of), indent=2, ensure_ascii=False) + "\n")
    write_atomically(folder / _RUNS, "".join(f"{entry.model_dump_json()}\n" for entry in kept))
    return len(new), len(kept)


def _entry(path: Path, number: int, line: str) -> KeptRun:
    try:
        # Before anything else: a newer form may have changed every other field.
        version = _Versioned.model_validate_json(line).baseline_version
        if version > BASELINE_VERSION:
            raise ResultsError(
                f"{path}: line {number}: version {version} is newer than this swapbench reads "
                f"({BASELINE_VERSION}); upgrade swapbench"
            )
        return KeptRun.model_validate_json(line)
    except ValidationError as error:
        raise ResultsError(f"{path}: line {number}: {_first_fault(error)}") from None


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"]))
    return f"{where}: {fault['msg']}" if where else fault["msg"]
