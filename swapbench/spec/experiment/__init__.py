"""Experiment files, found, read and checked; every mistake told with file, key and nearest valid word."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from swapbench.base.errors import ExperimentError, UsageError, did_you_mean, one_line
from swapbench.base.phases import PHASES, Phase
from swapbench.spec import overrides as settings
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
from swapbench.spec.strategy import NAMED, Strategy
from swapbench.spec.validation import (
    Bytes,
    Complaint,
    Flag,
    LocatedError,
    Location,
    Name,
    PositiveSeconds,
    Real,
    Reference,
    Seconds,
    Strict,
    Whole,
    complain,
    read_toml,
)

__all__ = ["SCHEMA_VERSION", "CacheFill", "Criterion", "CriterionKind", "EngineSettings", "Experiment"]
__all__ += ["FaultKind", "GateSettings", "InjectedFault", "PageCache", "Scenario", "Script", "ScriptedSwap"]
__all__ += ["Sharded", "Source", "Verify", "Workload", "discover", "experiment_dirs", "find", "load"]
__all__ += ["schema", "validate", "with_strategies"]

# 1: first published form.
SCHEMA_VERSION: Final = 1

_MISSING: Final = "no such file"
# Of the overrides of which none is to blame alone.
_NAMED_OVERRIDES: Final = 3


def _named(value: Any) -> Any:
    """Strategies by name, or a list of names, as tables; a table that bears a known name adds to it."""
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, list | tuple):
        value = {str(name): {} for name in value}
        for name in (name for name in value if name not in NAMED):
            hint = f"{did_you_mean(name, NAMED)}, or [strategy.{name}] defines it"
            if "," in name:
                hint = f"a list is written {json.dumps([part.strip() for part in name.split(',')])}"
            raise ValueError(f'no strategy "{name}"; {hint}')
    if not isinstance(value, dict):
        return value
    if not value:
        raise ValueError("must name at least one strategy")
    return {
        name: NAMED[name].model_dump() | table if name in NAMED and isinstance(table, dict) else table
        for name, table in value.items()
    }


Strategies = Annotated[
    dict[Name, Strategy],
    BeforeValidator(_named, json_schema_input_type=str | list[str] | dict[Name, Strategy]),
]


# A preset's name or file, a URL, or both with an @ between; `swapbench.run.targets` knows which there are.
Target = Annotated[str, Field(pattern=r"^\S+$")]


class Experiment(Strict):
    """One experiment: models, scenarios, workload, criteria."""

    schema_version: Literal[1] = Field(SCHEMA_VERSION, description="the version of this format")
    title: str = Field("", description="one line, shown by `swapbench list` and above the report")
    description: str = Field("", description="what it asks and why")
    target: Target = Field(
        "inprocess",
        description="the system under test: `inprocess`, `sharded` (with `[sharded]`), `scripted` with a "
        "`[script]`, a server by preset, TOML file or URL, or an orchestrator of your own (docs/targets.md)",
    )
    source: Source = Field(
        Source.HUB,
        description="where models come from that are given by name: `hub`, `synthetic`, `mini`; or `local`: "
        "all are given by path",
    )
    models: dict[Name, Reference] = Field(
        description="name -> catalogue name, Hugging Face repo, synthetic model's name, path", min_length=1
    )
    scenario: tuple[Scenario, ...] = Field(min_length=1, description="the swaps of one round, in order")
    order: Literal["listed", "balanced"] = Field(
        "listed",
        description="`balanced` runs every other round's scenarios backwards: what comes first in a process "
        "is slower, or faster, than what comes after. In a circle this costs a load before each swap",
    )
    rounds: Whole = Field(3, ge=1, le=10_000, description="rounds that count")
    warmup: Whole = Field(
        0, ge=0, le=1_000, description="rounds before them: recorded and marked, left out of statistics"
    )
    target_s: PositiveSeconds = Field(30.0, description="limit for the whole swap, in seconds")
    expected_s: dict[Phase, tuple[Seconds, Seconds]] = Field({}, description="expected range of each phase")
    page_cache: PageCache = Field(
        PageCache.WARM,
        description="of the new checkpoint: `warm` reads it in, `cold` drops it, `as-is` looks",
    )
    first_token: Flag = Field(True, description="whether the new model is asked for a token after each swap")
    steady_tokens: Whole = Field(
        16, ge=0, le=4096, description="tokens of a second request, for the steady rate; `0` asks none"
    )
    settle_after_unload: Flag = Field(
        False,
        description="wait, within the swap, until memory has settled after unload: for when memory is the "
        "question, and time isn't",
    )
    strategy: Strategies = Field(
        default_factory=lambda: {"stock": NAMED["stock"]},
        description="how phases are carried out: a strategy's name, a list of names to compare, or "
        "`[strategy.NAME]` tables; `stock` is mlx-lm's own way",
    )
    seed: Whole = Field(0, ge=0, description="of the order in which a round takes several strategies")
    touch_free_memory: Flag = Field(
        False,
        description="before each swap a child writes to as much free memory as the new model takes: virtual "
        "machines give free memory to their host, and the first to touch it waits for its return",
    )
    swap_timeout_s: PositiveSeconds = Field(
        900.0, description="a worker silent for longer is killed, as hung"
    )
    sample_every_s: Real = Field(0.05, ge=0.005, le=10, description="interval of the memory timeline")
    leak_tolerance_bytes: Bytes = Field(1 << 20, description="growth per swap that is not called a leak")
    workload: Workload = Workload()
    engine: EngineSettings = EngineSettings()
    verify: Verify = Verify()
    gate: GateSettings = GateSettings()
    criterion: tuple[Criterion, ...] = ()
    fault: tuple[InjectedFault, ...] = ()
    sharded: Sharded | None = None
    script: Script | None = None

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        for mistake in _mistakes(self):
            raise mistake
        return self

    def model_names(self) -> tuple[str, ...]:
        """The models that the scenarios use, in the order in which they first appear."""
        return tuple(dict.fromkeys(name for s in self.scenario for name in (s.from_model, s.to_model)))

    def reloads(self, meant: Mapping[str, str]) -> tuple[str, ...]:
        """The scenarios whose two models are one, by what the names of models mean."""
        return tuple(
            s.name
            for s in self.scenario
            if meant.get(s.from_model, s.from_model) == meant.get(s.to_model, s.to_model)
        )

    def sharding(self) -> Sharded | None:
        """How models are shared among ranks; None for targets of one process."""
        return (self.sharded or Sharded()) if self.target == "sharded" else None

    def asks(self, scenario: Scenario) -> bool:
        """Whether the new model is asked for a token after the scenario's swaps."""
        return self.first_token if scenario.first_token is None else scenario.first_token

    def page_cache_of(self, scenario: Scenario) -> PageCache:
        """What is to be true of the page cache in a scenario's swaps."""
        return scenario.page_cache or self.page_cache

    def fault_in(self, scenario: str, round_: int) -> InjectedFault | None:
        """The first fault that is meant for a scenario in a round."""
        return next((f for f in self.fault if f.scenario == scenario and f.round in (None, round_)), None)


# Where a word of this kind would have to be.
_WHERE: Final = {"model": " under [models]", "strategy": " in this experiment", "scenario": ""}


def _mistakes(experiment: Experiment) -> Iterator[LocatedError]:
    """Tables that exclude each other, ranges that run backwards, names that are there twice or not at all."""
    target, names = experiment.target, [scenario.name for scenario in experiment.scenario]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield LocatedError(("scenario", i, "name"), f'"{name}" is there twice; names must differ')
    for phase, (low, high) in experiment.expected_s.items():
        if low > high:
            yield LocatedError(("expected_s", str(phase)), f"the range [{low:g}, {high:g}] runs backwards")
    if (target == "scripted") != (experiment.script is not None):
        yield LocatedError(("target",), 'target = "scripted" and a [script] table belong together')
    if experiment.fault and target in ("scripted", "sharded"):
        said = 'faults are for target = "inprocess" and for servers; a script has fails_in'
        yield LocatedError(("fault",), said)
    yield from _sharded_mistakes(experiment)
    for where, what, word, known in _references(experiment):
        if word not in known:
            yield LocatedError(where, f'no {what} "{word}"{_WHERE[what]}; {did_you_mean(word, known)}')
    for span in experiment.script.spans if experiment.script else ():
        phase_name, _, inner = span.partition("/")
        if phase_name not in PHASES or not inner:
            hint = did_you_mean(phase_name, PHASES)
            yield LocatedError(("script", "spans", span), f'spans are named "phase/span"; {hint}')


def _references(experiment: Experiment) -> Iterator[tuple[Location, str, str, Iterable[str]]]:
    """Every name by which one table speaks of another: where, of what kind, the name, and those there are."""
    models, scenarios = experiment.models, [scenario.name for scenario in experiment.scenario]
    for i, scenario in enumerate(experiment.scenario):
        yield ("scenario", i, "from"), "model", scenario.from_model, models
        yield ("scenario", i, "to"), "model", scenario.to_model, models
    for i, fault in enumerate(experiment.fault):
        yield ("fault", i, "scenario"), "scenario", fault.scenario, scenarios
    for i, criterion in enumerate(experiment.criterion):
        if criterion.kind is CriterionKind.TIMES_FASTER:
            yield ("criterion", i, "scenario"), "scenario", criterion.scenario, scenarios
            if criterion.strategy:
                yield ("criterion", i, "strategy"), "strategy", criterion.strategy, experiment.strategy
    script = experiment.script or Script()
    for i, played in enumerate(script.swap):
        yield ("script", "swap", i, "scenario"), "scenario", played.scenario, scenarios
        if played.answers_as is not None:
            yield ("script", "swap", i, "answers_as"), "model", played.answers_as, models
    for model in script.model_bytes:
        yield ("script", "model_bytes", model), "model", model, models


def _sharded_mistakes(experiment: Experiment) -> Iterator[LocatedError]:
    if experiment.target != "sharded":
        if experiment.sharded is not None:
            yield LocatedError(("sharded",), 'a [sharded] table is for target = "sharded"')
        return
    idle = "a sharded target is idle when it is swapped: leave it"
    for key in ("requests", "agents", "clients"):
        if getattr(experiment.workload, key):
            yield LocatedError(("workload", key), f"{idle} at 0")
    for i, scenario in enumerate(experiment.scenario):
        if scenario.requests:
            yield LocatedError(("scenario", i, "requests"), f"{idle} out")
    for name, strategy in experiment.strategy.items():
        if strategy != NAMED["stock"]:
            said = "a sharded target loads by mlx-lm's sharded_load: stock alone"
            yield LocatedError(("strategy", name), said)


def experiment_dirs() -> tuple[Path, ...]:
    """Where experiments are looked up by name: ./experiments first, then those that came with swapbench."""
    package = Path(__file__).parents[2]
    shipped = package / "_experiments"
    return (Path("experiments"), shipped if shipped.is_dir() else package.parent / "experiments")


def discover() -> dict[str, Path]:
    """Every experiment that can be run by name, sorted; a local file hides a shipped one."""
    paths = [path for folder in reversed(experiment_dirs()) for path in folder.glob("*.toml")]
    return dict(sorted({path.stem: path for path in paths}.items()))


def find(name_or_path: str) -> Path:
    """The file of an experiment given by name or by path; UsageError where there is none."""
    path = Path(name_or_path)
    is_path = path.suffix == ".toml" or len(path.parts) > 1
    try:
        if is_path and path.is_file():
            return path
        wrong = "is no experiment file" if name_or_path and path.exists() else _MISSING
        wrong = "is a folder, no experiment file" if name_or_path and path.is_dir() else wrong
    except (OSError, ValueError):  # a name that is too long, a folder that may not be entered
        wrong = _MISSING
    found = discover()
    if not is_path and name_or_path in found:
        return found[name_or_path]
    if is_path or wrong != _MISSING:
        raise UsageError(f"{name_or_path}: {wrong}; `swapbench list` shows the experiments")
    raise UsageError(f'no experiment "{name_or_path}"; {did_you_mean(name_or_path, found)}')


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
    # An override that misspells a model would else add one, and the run would measure the old one.
    used = experiment.model_names()
    for name in experiment.models:
        if name not in written.get("models", {}) and name not in used:
            by = next(override for override, where in given if where in (("models",), ("models", name)))
            hint = did_you_mean(name, used)
            raise ExperimentError(f'{by.name}: no scenario uses a model "{name}"; {hint}')
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


def validate(raw: Mapping[str, Any], origin: str) -> Experiment:
    """An experiment from parsed TOML; `origin` names the file in errors, which are as `load`'s."""
    try:
        return Experiment.model_validate(raw)
    except ValidationError as error:
        raise ExperimentError(f"{origin}: {complain(error, raw, Experiment)}") from None


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


def schema() -> dict[str, Any]:
    """The JSON Schema of experiment files, for editors."""
    document = Experiment.model_json_schema(by_alias=True)
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **document, "title": "swapbench experiment"}
