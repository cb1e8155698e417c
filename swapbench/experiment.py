"""Experiment files: TOML, strict, and every mistake answered with file, key and nearest valid word."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from swapbench import overrides as settings
from swapbench.complaints import LocatedError, complain
from swapbench.errors import ExperimentError, UsageError, did_you_mean
from swapbench.fields import (
    Bytes,
    Flag,
    Name,
    PositiveSeconds,
    Real,
    Reference,
    Seconds,
    Strict,
    Tokens,
    Whole,
)
from swapbench.phases import PHASES, Phase
from swapbench.strategy import NAMED, Strategy

# 1: first published form.
SCHEMA_VERSION: Final = 1


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
    TIMES_FASTER = "times-faster"


class Scenario(Strict):
    """An ordered pair of models."""

    name: Name = Field(description="how tables call it")
    from_model: str = Field(alias="from", description="the model that is served before the swap")
    to_model: str = Field(alias="to", description="the model that is served after it")
    first_token: Flag | None = Field(None, description="`first_token` for this scenario alone")
    page_cache: PageCache | None = Field(None, description="`page_cache` for this scenario alone")
    requests: Annotated[int, Field(strict=True, ge=0, le=256)] | None = Field(
        None, description="`workload.requests` for this scenario alone"
    )


class Workload(Strict):
    """What the engine is doing when the swap is asked for. The default is nothing: idle."""

    requests: Whole = Field(0, ge=0, le=256, description="requests in flight when the swap is asked for")
    prompt_tokens: Tokens = Field(32, description="prompt tokens of each")
    decode_tokens: Tokens = Field(32, description="tokens that each asks for")
    agents: Whole = Field(
        0, ge=0, le=4096, description="agents whose KV caches are held, and evicted by the swap"
    )
    cache_tokens: Tokens = Field(256, description="tokens in each agent's cache")
    cache_fill: CacheFill = Field(
        CacheFill.PREFILL,
        description="`prefill`: computed by the model; `random`: random values of the true shapes, for "
        "machines that compute slowly",
    )
    clients: Whole = Field(
        0,
        ge=0,
        le=256,
        description="clients that go on sending before, during and after the swap, each request as long as "
        "`prompt_tokens` and `decode_tokens` say",
    )
    rate_per_s: Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=1000)] = Field(
        2.0,
        description="requests of all clients together; they come by a Poisson process whether or not earlier "
        "ones are answered (open loop)",
    )
    queue_limit: Whole = Field(
        256, ge=0, le=1 << 20, description="requests that may wait while no engine serves; more are refused"
    )
    drain_deadline_s: Seconds = Field(
        5.0, description="after this, drain carries what is left over to the new model"
    )


class EngineSettings(Strict):
    """Settings of the reference engine."""

    kv_budget_bytes: Whole = Field(
        2 << 30, ge=1, le=1 << 50, description="memory for KV caches, whatever the model"
    )
    block_tokens: Tokens = Field(64, description="tokens per block of the pool")
    memory_limit_bytes: Bytes = Field(
        0, description="a model with more bytes of weights is refused; `0`: what the machine can give"
    )
    drain_grace_s: PositiveSeconds = Field(
        60.0,
        description="after the drain deadline, a step of the engine that takes longer is stuck, and the swap "
        "fails",
    )
    max_batch: Whole = Field(16, ge=1, le=256, description="requests decoded together")


class Verify(Strict):
    """What the new model must prove after each swap, outside the timed phases."""

    tokens: Whole = Field(8, ge=0, le=1024, description="tokens of each answer; `0` verifies nothing")
    prompt_tokens: tuple[Tokens, ...] = Field(
        (8, 64),
        min_length=1,
        max_length=16,
        description="lengths of the prompts: some faults show only in long ones, so raise the second where "
        "computing is fast",
    )


class Sharded(Strict):
    """How a model is shared among processes by MLX's distributed engine, for target = "sharded"."""

    mode: Literal["tensor", "pipeline"] = Field(
        "tensor",
        description="what each rank holds: `tensor` a part of every layer, `pipeline` some of the layers",
    )
    ranks: Whole = Field(
        2,
        ge=1,
        le=256,
        description="processes on this machine, as `--hosts N`; a hostfile has its own number",
    )
    backend: Literal["ring", "jaccl", "jaccl-ring", "mpi"] = Field(
        "ring", description="how ranks speak with each other: `ring`, `jaccl`, `jaccl-ring`, `mpi`"
    )
    hostfile: str = Field(
        "",
        description="mlx.launch's list of machines, rank 0 first, as `--hostfile FILE`; this machine "
        "alone when empty",
    )
    python: str = Field(
        "", description="the ranks' interpreter, a path that holds on every machine; the worker's when empty"
    )
    listen: str = Field(
        "",
        description="the address of this machine to which ranks report; when empty, the one on the way to "
        "the first other machine",
    )
    port: Whole = Field(
        0,
        ge=0,
        le=65_000,
        description="the first port between ranks; 0 takes free ones on this machine, and mlx.launch's "
        "own elsewhere",
    )
    stall_s: PositiveSeconds = Field(
        30.0, description="a rank without a sign of life for longer has stalled, and the swap fails"
    )
    deadline_s: PositiveSeconds = Field(
        600.0, description="a phase that any rank has not ended after this fails the swap"
    )


class Criterion(Strict):
    """One demand on the results."""

    kind: CriterionKind = Field(description="one of those below")
    title: str = Field("", description="how the report names it")
    at_least: Real = Field(
        0.95,
        ge=0,
        le=1,
        description="for `memory-reclaimed`: the share of the old model's bytes that must come back",
    )
    scenario: str = Field("", description="for `times-faster`: the scenario that is compared")
    strategy: str = Field(
        "",
        description="for `times-faster`: the strategy that is to be faster than stock; the best of all when "
        "empty",
    )
    of: Literal["total", "weights"] = Field(
        "total",
        description="for `times-faster`: `total`, the whole swap, or `weights`, loading without the "
        "tokenizer",
    )
    times: Real = Field(
        1.0, gt=0, le=1_000_000, description="for `times-faster`: how many times as fast as stock"
    )


class Gate(Strict):
    """How two sides are compared by `swapbench ab` and `swapbench gate`, and when the gate fails."""

    margin: Real = Field(
        0.05,
        gt=0,
        le=10,
        description="slower by more than this share is a regression: 0.05 suits a quiet machine, 0.25 a "
        "hosted one",
    )
    pairs: Whole = Field(
        10,
        ge=6,
        le=1000,
        description="rounds in which either side has a turn, at least 6; fixed before anything is measured",
    )
    confirm: Flag = Field(
        True, description="whether a regression is measured once more before the gate fails"
    )
    soak_swaps: Whole = Field(
        24,
        ge=0,
        le=10_000,
        description="swaps in one process, after the pairs, which show leaks; `0` for none",
    )
    tolerance_bytes: Bytes | None = Field(
        None, description="`leak_tolerance_bytes`, in bytes per swap, for the gate alone"
    )


class FaultKind(StrEnum):
    """What can be made to go wrong in a swap, for real."""

    DRAIN_NEVER_ENDS = "drain-never-ends"
    DISK_FULL = "disk-full"
    MISSING_SHARD = "missing-shard"
    TRUNCATED_SHARD = "truncated-shard"
    CORRUPT_HEADER = "corrupt-header"
    OTHER_SHAPES = "other-shapes"
    MEMORY_LIMIT = "memory-limit"
    KILL = "kill"


class Fault(Strict):
    """A fault in the swaps of one scenario (in one round, or in all)."""

    kind: FaultKind = Field(
        description="`drain-never-ends`, `disk-full`, `missing-shard`, `truncated-shard`, `corrupt-header`, "
        "`other-shapes`, `memory-limit`, `kill`"
    )
    scenario: str = Field(description="in whose swaps")
    round: Whole | None = Field(
        None, ge=0, description="only in this round, counted from 0, warm-up included; in all when left out"
    )
    when: Literal["before", "during"] = Field(
        "during",
        description="`before` damages a checkpoint before the swap is asked for, `during` once the old model "
        "is gone",
    )


class ScriptedSwap(Strict):
    """How one scenario (in one round, or in all) goes on the scripted target."""

    scenario: str = Field(description="which scenario")
    round: Whole | None = Field(
        None, ge=0, description="only in this round, counted from 0, warm-up included; in all when left out"
    )
    seconds: dict[Phase, Seconds] = Field({}, description="durations that differ")
    first_token_s: Seconds | None = Field(None, description="a time to the first token that differs")
    fails_in: Phase | None = Field(None, description="the phase in which it fails")
    failure: Literal["error", "exit", "kill", "hang"] = Field(
        "error", description="how: `error`, `exit`, `kill` or `hang`"
    )
    rollback: Flag = Field(True, description="whether the old model can be put back")
    answers_as: str | None = Field(
        None, description="the model that answers in the new one's place, for verification to find out"
    )


class Script(Strict):
    """What the scripted target plays: durations, memory and failures, on a clock of its own."""

    seconds: dict[Phase, Seconds] = Field(
        {}, description="duration of each phase, as in `seconds = { load = 3.2 }`"
    )
    spans: dict[str, Seconds] = Field(
        {}, description='duration of spans, as in `spans = { "load/read" = 2.0 }`'
    )
    first_token_s: Seconds = Field(0.1, description="time to the first token after the swap")
    model_bytes: dict[str, Bytes] = Field({}, description="resident bytes of each model")
    leak_bytes: Whole = Field(
        0, ge=-(1 << 50), le=1 << 50, description="bytes that each swap fails to give back"
    )
    resident: Real = Field(
        1.0, ge=0, le=1, description="share of the checkpoint that is found in the page cache"
    )
    swap: tuple[ScriptedSwap, ...] = Field((), description="exceptions, each under `[[script.swap]]`")


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
                raise ValueError(
                    f'no strategy "{name}"; {did_you_mean(name, NAMED)}, or [strategy.{name}] defines it'
                )
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


# A preset's name or file, a URL, or both with an @ between; `swapbench.targets` knows which there are.
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
    source: Source = Field(Source.HUB, description="where checkpoints come from: `hub`, `synthetic`, `mini`")
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
    target_s: PositiveSeconds = Field(30.0, description="the whole swap shall stay under this, in seconds")
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
        "machines give free memory to their host, and whoever touches it first pays for its return",
    )
    swap_timeout_s: PositiveSeconds = Field(
        900.0, description="a worker silent for longer is hung, and killed"
    )
    sample_every_s: Real = Field(0.05, ge=0.005, le=10, description="interval of the memory timeline")
    leak_tolerance_bytes: Bytes = Field(1 << 20, description="growth per swap that is not called a leak")
    workload: Workload = Workload()
    engine: EngineSettings = EngineSettings()
    verify: Verify = Verify()
    gate: Gate = Gate()
    criterion: tuple[Criterion, ...] = ()
    fault: tuple[Fault, ...] = ()
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

    def sharding(self) -> Sharded | None:
        """How models are shared among ranks; None for targets of one process."""
        return (self.sharded or Sharded()) if self.target == "sharded" else None

    def page_cache_of(self, scenario: Scenario) -> PageCache:
        """What is to be true of the page cache in a scenario's swaps."""
        return scenario.page_cache or self.page_cache

    def fault_in(self, scenario: str, round_: int) -> Fault | None:
        """The fault that a swap is to have."""
        return find_fault(self.fault, scenario, round_)


def find_fault(faults: Iterable[Fault], scenario: str, round_: int) -> Fault | None:
    """The first fault that is meant for a scenario in a round."""
    return next((f for f in faults if f.scenario == scenario and f.round in (None, round_)), None)


def _mistakes(experiment: Experiment) -> Iterator[LocatedError]:
    """What no single key shows: names that are there twice or not at all, ranges that run backwards."""
    seen: set[str] = set()
    for i, scenario in enumerate(experiment.scenario):
        if scenario.name in seen:
            yield LocatedError(
                ("scenario", i, "name"), f'"{scenario.name}" is there twice; names must differ'
            )
        seen.add(scenario.name)
        for side, model in (("from", scenario.from_model), ("to", scenario.to_model)):
            if model not in experiment.models:
                hint = did_you_mean(model, experiment.models)
                yield LocatedError(("scenario", i, side), f'no model "{model}" under [models]; {hint}')
    for phase, (low, high) in experiment.expected_s.items():
        if low > high:
            yield LocatedError(("expected_s", str(phase)), f"the range [{low:g}, {high:g}] runs backwards")
    if (experiment.target == "scripted") != (experiment.script is not None):
        yield LocatedError(("target",), 'target = "scripted" and a [script] table belong together')
    yield from _sharded_mistakes(experiment)
    yield from _fault_mistakes(experiment, seen)
    yield from _comparison_mistakes(experiment, seen)
    if experiment.script is not None:
        yield from _script_mistakes(experiment.script, seen, experiment.models)


def _sharded_mistakes(experiment: Experiment) -> Iterator[LocatedError]:
    if experiment.target != "sharded":
        if experiment.sharded is not None:
            yield LocatedError(("sharded",), 'a [sharded] table is for target = "sharded"')
        return
    for key in ("requests", "agents", "clients"):
        if getattr(experiment.workload, key):
            yield LocatedError(
                ("workload", key), "a sharded target is idle when it is swapped: leave it at 0"
            )
    for i, scenario in enumerate(experiment.scenario):
        if scenario.requests:
            where = ("scenario", i, "requests")
            yield LocatedError(where, "a sharded target is idle when it is swapped: leave it out")
    for name, strategy in experiment.strategy.items():
        if strategy != NAMED["stock"]:
            yield LocatedError(
                ("strategy", name), "a sharded target loads by mlx-lm's sharded_load: stock alone"
            )


def _fault_mistakes(experiment: Experiment, seen: set[str]) -> Iterator[LocatedError]:
    for i, fault in enumerate(experiment.fault):
        if fault.scenario not in seen:
            hint = did_you_mean(fault.scenario, seen)
            yield LocatedError(("fault", i, "scenario"), f'no scenario "{fault.scenario}"; {hint}')
    if experiment.fault and experiment.target != "inprocess":
        yield LocatedError(("fault",), 'faults are for target = "inprocess"; a script has fails_in')


def _comparison_mistakes(experiment: Experiment, scenarios: set[str]) -> Iterator[LocatedError]:
    for i, criterion in enumerate(experiment.criterion):
        if criterion.kind is not CriterionKind.TIMES_FASTER:
            continue
        if criterion.scenario not in scenarios:
            hint = did_you_mean(criterion.scenario, scenarios)
            where = ("criterion", i, "scenario")
            yield LocatedError(where, f'no scenario "{criterion.scenario}"; {hint}')
        if criterion.strategy and criterion.strategy not in experiment.strategy:
            hint = did_you_mean(criterion.strategy, experiment.strategy)
            where = ("criterion", i, "strategy")
            yield LocatedError(where, f'no strategy "{criterion.strategy}" in this experiment; {hint}')


def _script_mistakes(script: Script, scenarios: set[str], models: Iterable[str]) -> Iterator[LocatedError]:
    for i, played in enumerate(script.swap):
        if played.scenario not in scenarios:
            hint = did_you_mean(played.scenario, scenarios)
            yield LocatedError(("script", "swap", i, "scenario"), f'no scenario "{played.scenario}"; {hint}')
        if played.answers_as is not None and played.answers_as not in models:
            hint = did_you_mean(played.answers_as, models)
            where = ("script", "swap", i, "answers_as")
            yield LocatedError(where, f'no model "{played.answers_as}" under [models]; {hint}')
    for span in script.spans:
        phase, _, name = span.partition("/")
        if phase not in PHASES or not name:
            hint = did_you_mean(phase, PHASES)
            yield LocatedError(("script", "spans", span), f'spans are named "phase/span"; {hint}')
    for model in script.model_bytes:
        if model not in models:
            hint = did_you_mean(model, models)
            yield LocatedError(("script", "model_bytes", model), f"no such model under [models]; {hint}")


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
        if _is_file(path):
            return path
        raise UsageError(f"{name_or_path}: no such file; `swapbench list` shows the experiments there are")
    found = discover()
    if name_or_path in found:
        return found[name_or_path]
    raise UsageError(f'no experiment "{name_or_path}"; {did_you_mean(name_or_path, found)}')


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def load(path: Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment file and apply `key.path=value` overrides, both checked by one schema.

    Raises:
        UsageError: an override can't be read, or leads nowhere.
        ExperimentError: with file, key, what is wrong and the nearest valid word, in one line.
    """
    written = _read(path)
    given = tuple(overrides)
    if not given:
        return validate(written, str(path))
    changed = deepcopy(written)
    for override in given:
        settings.apply(changed, override)
    origin = " ".join((str(path), *(f"--set {override:.80}" for override in given)))
    try:
        experiment = validate(changed, origin)
    except ExperimentError:
        validate(written, str(path))  # where the file itself is at fault, the message names it alone
        raise
    _refuse_idle_models(experiment, written, origin)
    return experiment


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
            raise UsageError(f'no strategy "{name}"; {did_you_mean(name, known)}')
    criteria = tuple(
        criterion
        for criterion in experiment.criterion
        if criterion.kind is not CriterionKind.TIMES_FASTER
        or ("stock" in chosen and len(chosen) > 1 and criterion.strategy in ("", *chosen))
    )
    tables = {name: known[name] for name in chosen}
    return experiment.model_copy(update={"strategy": tables, "criterion": criteria})


def _refuse_idle_models(experiment: Experiment, written: Mapping[str, Any], origin: str) -> None:
    """An override that misspells a model would else add one, and the run would measure the old one."""
    for name in experiment.models:
        if name not in written.get("models", {}) and name not in experiment.model_names():
            hint = did_you_mean(name, experiment.model_names())
            raise ExperimentError(f"{origin}: models.{name}: no scenario uses it; {hint}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ExperimentError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ExperimentError(f"{path}: not UTF-8 text, so not TOML") from None
    except (ValueError, RecursionError) as error:
        # ValueError also covers what tomllib lets through: an integer of more than 4300 digits.
        raise ExperimentError(f"{path}: not valid TOML: {' '.join(str(error).split())}") from None


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
