"""An experiment as its file says it, whole."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from swapbench.base.errors import did_you_mean
from swapbench.base.phases import PHASES, Phase
from swapbench.spec.experiment.tables import (
    Criterion,
    CriterionKind,
    EngineSettings,
    GateSettings,
    InjectedFault,
    PageCache,
    Scenario,
    Script,
    Sharded,
    Source,
    Verify,
    Workload,
)
from swapbench.spec.strategy import NAMED, Strategy
from swapbench.spec.validation import (
    Bytes,
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
)

# 1: first published form.
SCHEMA_VERSION: Final = 1


def _named(value: Any) -> Any:
    """Strategies by name, or a list of names, as tables; a table that bears a known name adds to it."""
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("must name at least one strategy")
        value = {str(name): {} for name in value}
        for name in value:
            if name not in NAMED:
                raise ValueError(f'no strategy "{name}"; {_instead(name)}')
    if not isinstance(value, dict):
        return value
    if not value:
        raise ValueError("must name at least one strategy")
    return {
        name: NAMED[name].model_dump() | table if name in NAMED and isinstance(table, dict) else table
        for name, table in value.items()
    }


def _instead(name: str) -> str:
    if "," in name:
        return f"a list is written {json.dumps([part.strip() for part in name.split(',')])}"
    return f"{did_you_mean(name, NAMED)}, or [strategy.{name}] defines it"


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
        description="name -> catalogue name, Hugging Face repo, synthetic model's name, or path",
        min_length=1,
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
        description="the new checkpoint before load: `warm` reads it in, `cold` drops it, `as-is` only looks",
    )
    first_token: Flag = Field(True, description="whether the new model is asked for a token after each swap")
    steady_tokens: Whole = Field(
        16,
        ge=0,
        le=4096,
        description="tokens of a second request, which tells the steady rate; `0` asks none",
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
        900.0, description="a worker silent for longer is hung, and killed"
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

    def page_cache_of(self, scenario: Scenario) -> PageCache:
        """What is to be true of the page cache in a scenario's swaps."""
        return scenario.page_cache or self.page_cache

    def fault_in(self, scenario: str, round_: int) -> InjectedFault | None:
        """The fault that a swap is to have."""
        return find_fault(self.fault, scenario, round_)


def find_fault(faults: Iterable[InjectedFault], scenario: str, round_: int) -> InjectedFault | None:
    """The first fault that is meant for a scenario in a round."""
    return next((f for f in faults if f.scenario == scenario and f.round in (None, round_)), None)


def _mistakes(experiment: Experiment) -> Iterator[LocatedError]:
    """Names that are there twice or not at all, ranges that run backwards, tables that exclude each other."""
    seen: set[str] = set()
    for i, scenario in enumerate(experiment.scenario):
        if scenario.name in seen:
            where = ("scenario", i, "name")
            yield LocatedError(where, f'"{scenario.name}" is there twice; names must differ')
        seen.add(scenario.name)
        for side, model in (("from", scenario.from_model), ("to", scenario.to_model)):
            yield from _unknown(("scenario", i, side), "model", model, experiment.models)
    for phase, (low, high) in experiment.expected_s.items():
        if low > high:
            yield LocatedError(("expected_s", str(phase)), f"the range [{low:g}, {high:g}] runs backwards")
    if (experiment.target == "scripted") != (experiment.script is not None):
        yield LocatedError(("target",), 'target = "scripted" and a [script] table belong together')
    if experiment.target == "sharded":
        yield from _sharded_mistakes(experiment)
    elif experiment.sharded is not None:
        yield LocatedError(("sharded",), 'a [sharded] table is for target = "sharded"')
    yield from _mistaken_names(experiment, seen)
    if experiment.script is not None:
        yield from _script_mistakes(experiment.script, seen, experiment.models)


def _mistaken_names(experiment: Experiment, scenarios: set[str]) -> Iterator[LocatedError]:
    """In faults and criteria."""
    for i, fault in enumerate(experiment.fault):
        yield from _unknown(("fault", i, "scenario"), "scenario", fault.scenario, scenarios)
    if experiment.fault and experiment.target in ("scripted", "sharded"):
        said = 'faults are for target = "inprocess" and for servers; a script has fails_in'
        yield LocatedError(("fault",), said)
    for i, criterion in enumerate(experiment.criterion):
        if criterion.kind is CriterionKind.TIMES_FASTER:
            yield from _unknown(("criterion", i, "scenario"), "scenario", criterion.scenario, scenarios)
            if criterion.strategy:
                where = ("criterion", i, "strategy")
                yield from _unknown(where, "strategy", criterion.strategy, experiment.strategy)


# Where a word of this kind would have to be.
_WHERE: Final = {"model": " under [models]", "strategy": " in this experiment", "scenario": ""}


def _unknown(where: Location, what: str, word: str, known: Iterable[str]) -> Iterator[LocatedError]:
    """A word that is none of those that are known."""
    if word not in known:
        yield LocatedError(where, f'no {what} "{word}"{_WHERE[what]}; {did_you_mean(word, known)}')


def _sharded_mistakes(experiment: Experiment) -> Iterator[LocatedError]:
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


def _script_mistakes(script: Script, scenarios: set[str], models: Iterable[str]) -> Iterator[LocatedError]:
    for i, played in enumerate(script.swap):
        yield from _unknown(("script", "swap", i, "scenario"), "scenario", played.scenario, scenarios)
        if played.answers_as is not None:
            yield from _unknown(("script", "swap", i, "answers_as"), "model", played.answers_as, models)
    for span in script.spans:
        phase, _, name = span.partition("/")
        if phase not in PHASES or not name:
            hint = did_you_mean(phase, PHASES)
            yield LocatedError(("script", "spans", span), f'spans are named "phase/span"; {hint}')
    for model in script.model_bytes:
        if model not in models:
            hint = did_you_mean(model, models)
            yield LocatedError(("script", "model_bytes", model), f"no such model under [models]; {hint}")
