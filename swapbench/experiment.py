"""Experiment files: TOML, strict, and every mistake answered with file, key and nearest valid word."""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from swapbench.errors import ExperimentError, UsageError, did_you_mean
from swapbench.phases import Phase

# 1: first published form.
SCHEMA_VERSION: Final = 1

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Name = Annotated[str, Field(pattern=_NAME)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """A table of a file that the user writes: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Source(StrEnum):
    """Where checkpoints come from."""

    HUB = "hub"
    SYNTHETIC = "synthetic"
    MINI = "mini"


class PageCache(StrEnum):
    """What is to be true of the page cache when the new model is loaded."""

    WARM = "warm"
    COLD = "cold"
    AS_IS = "as-is"


class CacheFill(StrEnum):
    """How the agents' KV caches get their contents."""

    PREFILL = "prefill"
    RANDOM = "random"


class CriterionKind(StrEnum):
    """What an experiment can demand of its results."""

    ANY_UNDER_TARGET = "any-under-target"
    ALL_UNDER_TARGET = "all-under-target"
    BOTTLENECK_IDENTIFIED = "bottleneck-identified"
    NO_LEAK = "no-leak"
    MEMORY_RECLAIMED = "memory-reclaimed"


class Scenario(Strict):
    """An ordered pair of models."""

    name: Name
    from_model: str = Field(alias="from", description="the model that is served before the swap")
    to_model: str = Field(alias="to", description="the model that is served after the swap")


class Workload(Strict):
    """What the engine is doing when the swap is asked for. The default is nothing: idle."""

    requests: int = Field(0, ge=0, le=256, description="requests in flight when the swap is asked for")
    prompt_tokens: int = Field(32, ge=1, description="prompt tokens of each request")
    decode_tokens: int = Field(32, ge=1, description="tokens each request asks for")
    agents: int = Field(0, ge=0, description="agents whose KV caches are held, and evicted by the swap")
    cache_tokens: int = Field(256, ge=1, description="tokens in each agent's KV cache")
    cache_fill: CacheFill = Field(
        CacheFill.PREFILL,
        description="prefill: computed by the model; random: random values of the true shapes",
    )
    drain_deadline_s: Seconds = Field(
        5.0, description="after this, drain carries requests over to the new model"
    )


class EngineSettings(Strict):
    """Settings of the reference engine."""

    kv_budget_bytes: int = Field(2 << 30, gt=0, description="memory for KV caches, whatever the model")
    block_tokens: int = Field(64, ge=1, description="tokens per block of the pool")
    max_batch: int = Field(16, ge=1, le=256, description="requests decoded together")


class Criterion(Strict):
    """One demand on the results."""

    kind: CriterionKind
    title: str = Field("", description="how the report names it; the kind's own words when empty")
    at_least: float = Field(
        0.95, ge=0, le=1, description="memory-reclaimed: the share of the old model's bytes"
    )


class ScriptedSwap(Strict):
    """How one scenario (in one round, or in all) goes on the scripted target."""

    scenario: str
    round: int | None = Field(None, ge=0, description="only in this round; in all rounds when left out")
    seconds: dict[Phase, Seconds] = {}
    first_token_s: Seconds | None = None
    fails_in: Phase | None = None
    failure: Literal["error", "exit", "kill", "hang"] = "error"
    rollback: bool = Field(True, description="whether the old model can be put back after an error")


class Script(Strict):
    """What the scripted target plays: durations, memory and failures, on a clock of its own."""

    seconds: dict[Phase, Seconds] = {}
    spans: dict[str, Seconds] = Field({}, description='seconds of spans, by "phase/span"')
    first_token_s: Seconds = 0.1
    model_bytes: dict[str, Bytes] = Field({}, description="resident bytes of each model")
    leak_bytes: int = Field(0, description="bytes each swap fails to give back")
    resident: float = Field(
        1.0, ge=0, le=1, description="share of the checkpoint that mincore finds resident"
    )
    swap: tuple[ScriptedSwap, ...] = ()


class Experiment(Strict):
    """One experiment: models, scenarios, workload, criteria."""

    schema_version: Literal[1] = SCHEMA_VERSION
    title: str = ""
    description: str = ""
    target: Literal["inprocess", "scripted"] = Field("inprocess", description="the system under test")
    source: Source = Field(Source.HUB, description="where checkpoints come from")
    models: dict[Name, str] = Field(
        description="name -> catalogue name, Hugging Face repo, synthetic model's name, or path",
        min_length=1,
    )
    scenario: tuple[Scenario, ...] = Field(min_length=1)
    rounds: int = Field(3, ge=1, le=10_000)
    warmup: int = Field(0, ge=0, le=1_000, description="rounds before, recorded but left out of statistics")
    target_s: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="the whole swap shall stay under this"
    )
    expected_s: dict[Phase, tuple[Seconds, Seconds]] = Field({}, description="expected range of each phase")
    page_cache: PageCache = PageCache.WARM
    first_token: bool = Field(True, description="whether the new model is asked for a token after each swap")
    strategy: Literal["stock"] = "stock"
    swap_timeout_s: float = Field(900.0, gt=0, description="a worker silent for longer is hung, and killed")
    sample_every_s: float = Field(0.05, ge=0.005, le=10, description="interval of the memory timeline")
    leak_tolerance_bytes: int = Field(1 << 20, ge=0, description="growth per swap that is not called a leak")
    workload: Workload = Workload()
    engine: EngineSettings = EngineSettings()
    criterion: tuple[Criterion, ...] = ()
    script: Script | None = None

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        seen: set[str] = set()
        for i, scenario in enumerate(self.scenario):
            if scenario.name in seen:
                raise _located(
                    ("scenario", i, "name"), f'"{scenario.name}" is there twice; names must differ'
                )
            seen.add(scenario.name)
            for side, model in (("from", scenario.from_model), ("to", scenario.to_model)):
                if model not in self.models:
                    hint = did_you_mean(model, self.models)
                    raise _located(("scenario", i, side), f'no model "{model}" under [models]; {hint}')
        for phase, (low, high) in self.expected_s.items():
            if low > high:
                raise _located(("expected_s", str(phase)), f"the range [{low:g}, {high:g}] runs backwards")
        for i, played in enumerate(self.script.swap if self.script else ()):
            if played.scenario not in seen:
                hint = did_you_mean(played.scenario, seen)
                raise _located(("script", "swap", i, "scenario"), f'no scenario "{played.scenario}"; {hint}')
        if (self.target == "scripted") != (self.script is not None):
            raise _located(("target",), 'target = "scripted" and a [script] table belong together')
        return self

    def model_names(self) -> tuple[str, ...]:
        """The models that the scenarios use, in the order in which they first appear."""
        return tuple(dict.fromkeys(name for s in self.scenario for name in (s.from_model, s.to_model)))


class _LocatedError(ValueError):
    """A mistake that only the whole file shows, with the key it belongs to."""

    def __init__(self, loc: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.loc = loc


def _located(loc: tuple[str | int, ...], message: str) -> _LocatedError:
    return _LocatedError(loc, message)


def experiment_dirs() -> tuple[Path, ...]:
    """Where experiments are looked up by name: ./experiments first, then those that came with swapbench."""
    package = Path(__file__).parent
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
        if path.is_file():
            return path
        raise UsageError(f"{name_or_path}: no such file; `swapbench list` shows the experiments there are")
    found = discover()
    if name_or_path in found:
        return found[name_or_path]
    raise UsageError(f'no experiment "{name_or_path}"; {did_you_mean(name_or_path, found)}')


def load(path: Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment file and apply `key.path=value` overrides, both checked by one schema.

    Raises:
        ExperimentError: with file, key, what is wrong and the nearest valid word, in one line.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExperimentError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ExperimentError(f"{path}: not UTF-8 text, so not TOML") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ExperimentError(f"{path}: not valid TOML: {_one_line(str(error))}") from None
    for override in overrides:
        _apply_override(raw, override)
    return validate(raw, str(path))


def validate(raw: Mapping[str, Any], origin: str) -> Experiment:
    """An experiment from parsed TOML; `origin` names the file in errors.

    Raises:
        ExperimentError: as `load`.
    """
    try:
        return Experiment.model_validate(raw)
    except ValidationError as error:
        raise ExperimentError(f"{origin}: {_first_error(error, raw)}") from None


def schema() -> dict[str, Any]:
    """The JSON Schema of experiment files, for editors."""
    document = Experiment.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **document,
        "title": "swapbench experiment",
    }


def _apply_override(raw: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise UsageError(
            f"--set {override}: write key.path=value, as in --set rounds=5 or --set workload.agents=4"
        )
    value = _parse_value(text.strip())
    node: Any = raw
    for depth, part in enumerate(parts[:-1]):
        node = _descend(node, part, ".".join(parts[: depth + 1]), override)
    if isinstance(node, list):
        node[_index(node, parts[-1], override)] = value
    else:
        node[parts[-1]] = value


def _descend(node: Any, part: str, so_far: str, override: str) -> Any:
    child = node[_index(node, part, override)] if isinstance(node, list) else node.setdefault(part, {})
    if not isinstance(child, dict | list):
        raise UsageError(f'--set {override}: "{so_far}" is a value, not a table')
    return child


def _index(items: list[Any], part: str, override: str) -> int:
    """An item of an array of tables, by its name (or scenario, or kind) or by its number."""
    names = [str(item.get("name", item.get("kind", ""))) if isinstance(item, dict) else "" for item in items]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    raise UsageError(f'--set {override}: no "{part}" there; {did_you_mean(part, filter(None, names))}')


def _parse_value(text: str) -> Any:
    """A TOML value, or the text itself where it is none, so that --set source=mini needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _first_error(error: ValidationError, raw: Mapping[str, Any]) -> str:
    # Unknown keys come first: a misspelt key also makes a required one missing, and is the cause of it.
    details = sorted(error.errors(), key=lambda d: d["type"] != "extra_forbidden")[0]
    cause = details.get("ctx", {}).get("error")
    loc = cause.loc if isinstance(cause, _LocatedError) else details["loc"]
    loc = tuple(part for part in loc if part != "[key]")
    where = _spell(loc, raw)
    if isinstance(cause, _LocatedError):
        return f"{where}: {cause}"
    match details["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key; {did_you_mean(str(loc[-1]), _keys_at(loc[:-1]))}"
        case "missing":
            return f"{where}: missing"
        case "enum" | "literal_error":
            given = str(details["input"])
            return f'{where}: "{given}" is not allowed; {did_you_mean(given, _allowed(details))}'
        case "string_pattern_mismatch":
            return f'{where}: "{details["input"]}" is no name; use letters, digits, ".", "_" and "-"'
    message = details["msg"].replace("Value error, ", "")
    shown = json.dumps(details["input"], default=str)
    return f"{where}: {_one_line(message)}" + (f" (it is {shown})" if len(shown) <= 40 else "")


def _allowed(details: Any) -> list[str]:
    return re.findall(r"'([^']*)'", str(details.get("ctx", {}).get("expected", "")))


def _spell(loc: tuple[str | int, ...], raw: Mapping[str, Any]) -> str:
    """A key path as a user writes it; items of arrays by their name where they have one."""
    words: list[str] = []
    node: Any = raw
    for part in loc:
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            node = None
        name = node.get("name") if isinstance(part, int) and isinstance(node, dict) else None
        words.append(str(name) if isinstance(name, str) else str(part))
    return ".".join(words) or "file"


def _keys_at(loc: tuple[str | int, ...]) -> list[str]:
    """The valid keys of the table at `loc`."""
    model: type[BaseModel] = Experiment
    for part in loc:
        if isinstance(part, int):
            continue
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _one_line(text: str) -> str:
    return " ".join(text.split())
