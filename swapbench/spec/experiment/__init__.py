"""Experiment files: found, read and checked, every mistake answered with file, key and nearest valid word."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from swapbench.base.errors import ExperimentError, UsageError, did_you_mean, one_line
from swapbench.spec import overrides as settings
from swapbench.spec.experiment.document import SCHEMA_VERSION, Experiment, find_fault
from swapbench.spec.experiment.tables import (
    CacheFill,
    Criterion,
    CriterionKind,
    EngineSettings,
    FaultKind,
    GateSettings,
    InjectedFault,
    PageCache,
    Scenario,
    Script,
    ScriptedSwap,
    Sharded,
    Source,
    Verify,
    Workload,
)
from swapbench.spec.overrides import Override
from swapbench.spec.strategy import NAMED
from swapbench.spec.validation import Complaint, Location, complain, read_toml

__all__ = [
    "SCHEMA_VERSION",
    "CacheFill",
    "Criterion",
    "CriterionKind",
    "EngineSettings",
    "Experiment",
    "FaultKind",
    "GateSettings",
    "InjectedFault",
    "PageCache",
    "Scenario",
    "Script",
    "ScriptedSwap",
    "Sharded",
    "Source",
    "Verify",
    "Workload",
    "discover",
    "experiment_dirs",
    "find",
    "find_fault",
    "load",
    "schema",
    "validate",
    "with_strategies",
]

_MISSING: Final = "no such file"
# Of the overrides of which none is to blame alone.
_NAMED_OVERRIDES: Final = 3


def experiment_dirs() -> tuple[Path, ...]:
    """Where experiments are looked up by name: ./experiments first, then those that came with swapbench."""
    package = Path(__file__).parents[2]
    shipped = package / "_experiments"
    return (Path("experiments"), shipped if shipped.is_dir() else package.parent / "experiments")


def discover() -> dict[str, Path]:
    """Every experiment that can be run by name, sorted; a local file hides a shipped one."""
    found: dict[str, Path] = {}
    for folder in experiment_dirs():
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def find(name_or_path: str) -> Path:
    """The file of an experiment given by name or by path.

    Raises:
        UsageError: there is none.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml" or len(path.parts) > 1:
        if _is_file(path):
            return path
        raise UsageError(f"{name_or_path}: {_wrong(path)}; `swapbench list` shows the experiments")
    found = discover()
    if name_or_path in found:
        return found[name_or_path]
    if name_or_path and _wrong(path) != _MISSING:
        raise UsageError(f"{name_or_path}: {_wrong(path)}; `swapbench list` shows the experiments")
    raise UsageError(f'no experiment "{name_or_path}"; {did_you_mean(name_or_path, found)}')


def _wrong(path: Path) -> str:
    """Why a path leads to no experiment file."""
    try:
        if path.is_dir():
            return "is a folder, no experiment file"
        return "is no experiment file" if path.exists() else _MISSING
    except (OSError, ValueError):
        return _MISSING


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def load(path: Path, overrides: Iterable[Override] = (), *, judged: bool = True) -> Experiment:
    """Read an experiment file and apply overrides, both checked by one schema.

    Args:
        judged: whether its criteria are kept, which may speak of what overrides take away.

    Raises:
        UsageError: an override can't be read, or leads nowhere.
        ExperimentError: with the file, or the option that is to blame, the key, what is wrong and the nearest
            valid word, in one line.
    """
    written = read_toml(path, ExperimentError)
    changed = deepcopy(written)
    given = [(override, settings.apply(changed, override)) for override in overrides]
    if not judged:
        changed.pop("criterion", None)
    try:
        experiment = Experiment.model_validate(changed)
    except ValidationError as error:
        validate(written, str(path))  # where the file itself is at fault, the message names it alone
        raise ExperimentError(_blamed(complain(error, changed, Experiment), path, given)) from None
    _refuse_idle_models(experiment, written, given)
    return experiment


def _blamed(found: Complaint, path: Path, given: Sequence[tuple[Override, Location]]) -> str:
    """The last option that set what is wrong; where there is none, they are to blame together."""
    for override, where in reversed(given):
        both = min(len(where), len(found.loc))
        if where[:both] == found.loc[:both]:
            inside = "" if both == len(found.loc) else f"{found.key}: "
            return one_line(f"{override.name}: {inside}{found.fault}")
    typed = [override.typed for override, _ in given]
    more = [f"{len(typed) - _NAMED_OVERRIDES} more"] if len(typed) > _NAMED_OVERRIDES else []
    told = ", ".join((*typed[:_NAMED_OVERRIDES], *more))
    return one_line(f"{path}{f' with {told}' if told else ''}: {found}")


def with_strategies(experiment: Experiment, names: Iterable[str]) -> Experiment:
    """The experiment by these strategies instead of its own: tables of its file, or those known by name.

    Criteria about strategies that are left out are left out with them.

    Raises:
        UsageError: there is no such strategy.
    """
    chosen = tuple(dict.fromkeys(names))
    if not chosen:
        return experiment
    known = NAMED | experiment.strategy
    for name in chosen:
        if name not in known:
            hint = "repeat --strategy for each of several" if "," in name else did_you_mean(name, known)
            raise UsageError(f'--strategy: no strategy "{name}"; {hint}')
    criteria = tuple(
        criterion
        for criterion in experiment.criterion
        if criterion.kind is not CriterionKind.TIMES_FASTER
        or ("stock" in chosen and len(chosen) > 1 and criterion.strategy in ("", *chosen))
    )
    tables = {name: known[name] for name in chosen}
    return experiment.model_copy(update={"strategy": tables, "criterion": criteria})


def _refuse_idle_models(
    experiment: Experiment, written: Mapping[str, Any], given: Iterable[tuple[Override, Location]]
) -> None:
    """An override that misspells a model would else add one, and the run would measure the old one."""
    used = experiment.model_names()
    for name in experiment.models:
        if name not in written.get("models", {}) and name not in used:
            by = next(override for override, where in given if where in (("models",), ("models", name)))
            hint = did_you_mean(name, used)
            raise ExperimentError(f'{by.name}: no scenario uses a model "{name}"; {hint}')


def validate(raw: Mapping[str, Any], origin: str) -> Experiment:
    """An experiment from parsed TOML; `origin` names the file in errors.

    Raises:
        ExperimentError: as `load`.
    """
    try:
        return Experiment.model_validate(raw)
    except ValidationError as error:
        raise ExperimentError(f"{origin}: {complain(error, raw, Experiment)}") from None


def schema() -> dict[str, Any]:
    """The JSON Schema of experiment files, for editors."""
    document = Experiment.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **document,
        "title": "swapbench experiment",
    }
